package ingest

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

const (
	maxSessions = 16384 // that are remembered; more clients than that per node stay on rung 1
	maxOffered  = 8     // windows that one session is asked about at a time
	// barredTime is how long a session is asked nothing after it answered garbage.
	barredTime = 10 * time.Minute
)

// Sessions are the client processes that can be asked to co-sign. They implement
// pipeline.Cosigners, and are safe for concurrent use.
type Sessions struct {
	log *slog.Logger

	mu       sync.Mutex
	byID     map[api.SessionID]*session
	byNumber map[pipeline.Session]*session
	idle     list.List // sessions without a stream; the one that ended first is in front
	last     pipeline.Session
	stats    CosignStats
}

// session is one client process. Its fields are guarded by Sessions.mu.
type session struct {
	id       api.SessionID
	number   pipeline.Session
	streams  int
	waiting  *list.Element // in idle
	follower *follower     // its Cosign stream
	barred   time.Time     // until when
}

// CosignStats counts what became of offers since the node started. Refused is by reason.
type CosignStats struct {
	Following int // sessions that can be asked now

	Offers   uint64 // sessions that were asked, once per window
	Asked    uint64 // clients in these offers
	Signed   uint64 // signatures that came in time
	Refused  [cosign.NumReasons]uint64
	Silent   uint64 // clients that did not answer in time
	Late     uint64 // answers to offers that were over
	Garbage  uint64 // sessions that are not asked for a while, for a malformed answer
	Overfull uint64 // sessions that were not remembered, for want of room
}

// NewSessions returns an empty registry.
func NewSessions(log *slog.Logger) *Sessions {
	return &Sessions{
		log:      log,
		byID:     make(map[api.SessionID]*session),
		byNumber: make(map[pipeline.Session]*session),
	}
}

// Stats returns the counts.
func (s *Sessions) Stats() CosignStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	for _, session := range s.byID {
		if session.follower != nil {
			stats.Following++
		}
	}
	return stats
}

// acquire notes that a stream of a session begins; release must follow. It returns nil when there
// is no room.
func (s *Sessions) acquire(id api.SessionID) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.byID[id]
	if found == nil {
		if len(s.byID) >= maxSessions && !s.forget() {
			s.stats.Overfull++
			return nil
		}
		s.last++
		found = &session{id: id, number: s.last}
		s.byID[id], s.byNumber[found.number] = found, found
	}
	if found.waiting != nil {
		s.idle.Remove(found.waiting)
		found.waiting = nil
	}
	found.streams++
	return found
}

func (s *Sessions) release(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.streams--; x.streams == 0 {
		x.waiting = s.idle.PushBack(x)
	}
}

// forget drops the session that has been without a stream for the longest time.
func (s *Sessions) forget() bool {
	front := s.idle.Front()
	if front == nil {
		return false
	}
	x := s.idle.Remove(front).(*session)
	delete(s.byID, x.id)
	delete(s.byNumber, x.number)
	return true
}

// Reaches implements pipeline.Cosigners.
func (s *Sessions) Reaches(number pipeline.Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byNumber[number]
	return x != nil && x.follower != nil && !time.Now().Before(x.barred)
}

// Disproved implements pipeline.Cosigners.
func (s *Sessions) Disproved(number pipeline.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.byNumber[number]; x != nil {
		s.bar(x, "signatures that do not verify")
	}
}

// bar asks a session nothing for a while; the caller holds s.mu.
func (s *Sessions) bar(x *session, why string) {
	x.barred = time.Now().Add(barredTime)
	s.stats.Garbage++
	s.log.Warn(
		"a session answered garbage and is not asked to co-sign for a while",
		"why",
		why,
		"for",
		barredTime,
	)
}

// Offer implements pipeline.Cosigners.
func (s *Sessions) Offer(ctx context.Context, o *pipeline.Offer) []pipeline.Cosignature {
	c := &collection{sessions: s, offer: o, done: make(chan struct{})}
	c.deadline, _ = ctx.Deadline()
	s.mu.Lock()
	for i := range o.Parties {
		c.ask(&o.Parties[i])
	}
	if c.open == 0 {
		close(c.done)
	}
	s.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.over = true
	var signatures []pipeline.Cosignature
	for _, t := range c.tasks {
		t.end()
		signatures = append(signatures, t.signatures...)
	}
	return signatures
}

// collection is one offer that is under way. Its fields, and its tasks', are guarded by
// Sessions.mu, but for the signature.
type collection struct {
	sessions *Sessions
	offer    *pipeline.Offer
	deadline time.Time
	tasks    []*task
	open     int // tasks that may still bring something
	done     chan struct{}
	over     bool

	signing   sync.Once
	signature word.Signature // of the offer, by the node
}

// signed returns the node's signature of the offer, which sign makes once.
func (c *collection) signed(sign func(*pipeline.Offer) word.Signature) word.Signature {
	c.signing.Do(func() { c.signature = sign(c.offer) })
	return c.signature
}

// task is what one session is asked.
type task struct {
	*collection
	follower   *follower
	party      *pipeline.Party
	signatures []pipeline.Cosignature
	answered   []bool // by client of the party
	left       int
	sent       bool // or about to be
	closed     bool
}

// ask queues a party's offer for its session, if that can be asked.
func (c *collection) ask(p *pipeline.Party) {
	x := c.sessions.byNumber[p.Session]
	if x == nil || x.follower == nil ||
		len(x.follower.tasks) >= maxOffered { // gone, or reading nothing
		c.sessions.stats.Silent += uint64(len(p.Clients))
		return
	}
	t := &task{
		collection: c,
		follower:   x.follower,
		party:      p,
		answered:   make([]bool, len(p.Clients)),
		left:       len(p.Clients),
	}
	c.tasks = append(c.tasks, t)
	c.open++
	c.sessions.stats.Offers++
	c.sessions.stats.Asked += uint64(len(p.Clients))
	x.follower.tasks = append(x.follower.tasks, t)
	select {
	case x.follower.wake <- struct{}{}:
	default: // it is awake, or will be
	}
}

// offers are what the session is asked, made as they are sent.
func (t *task) offers() iter.Seq[*cosign.Offer] {
	w := cosign.Window{Network: t.offer.Network, Key: t.offer.Key, Tree: t.offer.Tree}
	asked := make([]cosign.Asked, len(t.party.Clients))
	for i, c := range t.party.Clients {
		asked[i] = cosign.Asked{
			Client:         c.Client,
			FirstStatement: c.FirstStatement,
			Statements:     c.Statements,
		}
	}
	return w.Offers(asked)
}

// end closes a task; nothing that comes for it counts any more. The caller holds Sessions.mu.
func (t *task) end() {
	if t.closed {
		return
	}
	t.closed = true
	t.sessions.stats.Silent += uint64(t.left)
	t.follower.tasks = slices.DeleteFunc(
		t.follower.tasks,
		func(other *task) bool { return other == t },
	)
	if t.open--; t.open == 0 && !t.over {
		close(t.done)
	}
}

// live reports whether answers still count.
func (t *task) live() bool {
	t.sessions.mu.Lock()
	defer t.sessions.mu.Unlock()
	return !t.closed
}

// follower is the Cosign stream of a session.
type follower struct {
	session *session
	stop    context.CancelCauseFunc
	wake    chan struct{} // there may be a task to send
	tasks   []*task       // not ended; guarded by Sessions.mu
}

var errReplaced = errors.New("another Cosign stream of this session has begun")

// follow makes the stream the one through which the session is asked; unfollow must follow.
func (s *Sessions) follow(x *session, stop context.CancelCauseFunc) *follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &follower{session: x, stop: stop, wake: make(chan struct{}, 1)}
	if old := x.follower; old != nil {
		s.drop(old)
		old.stop(errReplaced)
	}
	x.follower = f
	return f
}

// next waits for something to ask; it returns nil when ctx ends.
func (s *Sessions) next(ctx context.Context, f *follower) *task {
	for {
		s.mu.Lock()
		for _, t := range f.tasks {
			if !t.sent {
				t.sent = true
				s.mu.Unlock()
				return t
			}
		}
		s.mu.Unlock()
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// unfollow ends a stream: what it was asked stays without an answer.
func (s *Sessions) unfollow(f *follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(f)
}

func (s *Sessions) drop(f *follower) {
	if f.session.follower == f {
		f.session.follower = nil
	}
	for _, t := range slices.Clone(f.tasks) {
		t.end()
	}
}

// errGarbage is wrapped by what is wrong with an answer that is none.
var errGarbage = errors.New("not an answer to an offer")

// answer takes what came over a Cosign stream. After an error, which wraps errGarbage, the session
// is barred, nothing that it answered to offers under way counts, and the stream must end.
func (s *Sessions) answer(f *follower, request *api.CosignRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.take(f, request)
	if err != nil {
		s.bar(f.session, err.Error())
		for _, t := range f.tasks {
			t.signatures = nil
		}
		s.drop(f)
	}
	return err
}

func (s *Sessions) take(f *follower, request *api.CosignRequest) error {
	if n := len(request.Clients); len(request.Signatures) != n*rollup.SignatureSize {
		return fmt.Errorf(
			"%w: %d clients, %d bytes of signatures",
			errGarbage,
			n,
			len(request.Signatures),
		)
	}
	i := slices.IndexFunc(f.tasks, func(t *task) bool {
		return t.offer.Key.Epoch == request.Epoch && t.offer.Key.Window == request.Window
	})
	// Its time was over, or there never was such an offer: a client can not do better than answer
	// in time.
	if i < 0 {
		s.stats.Late++
		return nil
	}
	t := f.tasks[i]
	for i, client := range request.Clients {
		fresh, err := t.mark(client)
		if err != nil {
			return err
		}
		if fresh {
			s.stats.Signed++
			signature := [rollup.SignatureSize]byte(request.Signatures[i*rollup.SignatureSize:])
			t.signatures = append(
				t.signatures,
				pipeline.Cosignature{Client: client, Signature: signature},
			)
		}
	}
	for _, refusal := range request.Refusals {
		reason, ok := cosign.ParseReason(refusal.Reason)
		if !ok {
			return fmt.Errorf("%w: a refusal for an unknown reason", errGarbage)
		}
		for _, client := range refusal.Clients {
			fresh, err := t.mark(client)
			if err != nil {
				return err
			}
			if fresh {
				s.stats.Refused[reason]++
			}
		}
		if reason != cosign.ReasonDeclined && len(refusal.Clients) > 0 {
			s.log.Warn(
				"clients refuse to co-sign",
				"epoch",
				request.Epoch,
				"window",
				request.Window,
				"reason",
				reason.String(),
				"clients",
				len(refusal.Clients),
				"first",
				refusal.Clients[0],
			)
		}
	}
	if t.left == 0 {
		t.end()
	}
	return nil
}

// mark notes the answer of a client; fresh is false for its second one, which does not count.
func (t *task) mark(client uint64) (fresh bool, err error) {
	i, ok := slices.BinarySearchFunc(
		t.party.Clients,
		client,
		func(o pipeline.Offered, client uint64) int {
			return cmp.Compare(o.Client, client)
		},
	)
	if !ok {
		return false, fmt.Errorf(
			"%w: client %d was not asked through this session",
			errGarbage,
			client,
		)
	}
	if t.answered[i] {
		return false, nil
	}
	t.answered[i] = true
	t.left--
	return true, nil
}
