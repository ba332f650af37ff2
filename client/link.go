package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// link is a fetcher's session at one node, and the acks of what came from there.
type link struct {
	fetcher *Fetcher
	client  *Client
	terms   *terms // guarded by Fetcher.mu

	cosigner  *cosigner // nil: nobody co-signs
	cosigning sync.Mutex

	opening sync.Mutex
	deliver sync.WaitGroup

	mu       sync.Mutex
	session  [16]byte
	opened   bool
	window   uint64
	records  []delivery.Record
	bytes    uint64 // of the records
	queue    []Delivery
	moved    chan struct{} // closed when queue or waiting changes
	waiting  int           // deliveries that have no last word
	running  bool          // Deliver runs
	err      error         // why Deliver ended
	lazy     *time.Timer   // acknowledges what nobody asks for
	stats    FetchStats
	finished bool
}

// lazyAck is how long what was received may go without an ack when the node does not ask for one,
// so that one ack may cover many small contents.
const lazyAck = 500 * time.Millisecond

func newLink(f *Fetcher, c *Client) *link {
	l := &link{fetcher: f, client: c, moved: make(chan struct{})}
	if f.cfg.Cosign {
		l.cosigner = newCosigner(CosignConfig{Sign: CosignWith(func(client uint64) *bls.SecretKey {
			if client != f.cfg.Client {
				return nil
			}
			return f.cfg.Key
		})}, c.cfg.Pin, c.cfg.Book, c.cfg.Logger)
	}
	return l
}

func (l *link) counts() FetchStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	stats := l.stats
	if l.cosigner != nil {
		stats.Cosigned = l.cosigner.counts().Signed
	}
	return stats
}

// challenge is what a node answers to GET /session.
type challenge struct {
	Network   rollup.Network `json:"network"`
	Node      uint32         `json:"node"`
	NodeKey   rollup.Hash    `json:"node_key"`
	Epoch     uint32         `json:"epoch"`
	Height    uint64         `json:"height"`
	Challenge rollup.Hash    `json:"challenge"`
}

// current returns the session, if one is open.
func (l *link) current() (session [16]byte, opened bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.opened
}

// forget forgets a session that the node does not know any more.
func (l *link) forget(session [16]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == session {
		l.opened = false
	}
}

// stall is how long the node may send nothing in the middle of content before another one is asked
// beside it. One that always takes long may take longer, within bounds.
func (l *link) stall() time.Duration {
	most := l.fetcher.cfg.Stall
	average, _, _ := l.client.port.expects()
	return max(most, min(8*average, 2*most))
}

// ready reports whether one request brings content.
func (l *link) ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened || l.client.port.invited() != nil
}

// invited returns the node's challenge, which it asks for unless there is one. A challenge is not a
// client's own.
func (l *link) invited(ctx context.Context) (*challenge, error) {
	port := &l.client.port
	if c := port.invited(); c != nil {
		return c, nil
	}
	c, took, err := l.client.greet(ctx)
	if err != nil {
		return nil, err
	}
	port.beat(took)
	// Nothing is billed in the epoch of a session. That of acks is held to what records show.
	if last := l.client.cfg.Book.epoch(l.client.cfg.Pin); c.Epoch < last {
		return nil, rollup.Refuse(ReasonEpochBackwards, "%d, after %d", c.Epoch, last)
	}
	port.invites(c)
	return c, nil
}

// greet asks for a challenge, and sees that the node is the pinned one. It returns how long the
// answer took on a connection that was there.
func (c *Client) greet(ctx context.Context) (*challenge, time.Duration, error) {
	answer := new(challenge)
	var sent time.Time
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
		sent = time.Now()
	}}
	err := c.small(httptrace.WithClientTrace(ctx, trace), http.MethodGet, "/session", nil, answer)
	if err != nil {
		return nil, 0, err
	}
	return answer, time.Since(sent), c.cfg.Pin.differs(&Pin{answer.Network, answer.Node,
		answer.NodeKey})
}

// Ping asks the node's content port who is there, and returns how long the answer took, without the
// time that it takes to connect. The error is a Reason when it is not the pinned node.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	if c.cfg.Pin == nil {
		return 0, ErrNotPinned
	}
	_, took, err := c.greet(ctx)
	if err != nil {
		return 0, &NodeError{c.cfg.URL, "session", err}
	}
	return took, nil
}

// enter returns a session. When it has to be opened, the node has been told, and opening is where
// its answer comes: requests may follow at once. With a session's name it opens one in its place,
// unless another one has done so.
func (l *link) enter(ctx context.Context, over *[16]byte) (session [16]byte, opening <-chan error,
	err error) {
	l.opening.Lock()
	if session, opened := l.current(); opened && (over == nil || *over != session) {
		l.opening.Unlock()
		return session, nil, nil
	}
	c, err := l.invited(ctx)
	if err != nil {
		l.opening.Unlock()
		return session, nil, err
	}
	session = [16]byte(api.NewSessionID())
	pin := l.client.cfg.Pin
	open := delivery.SignSession(l.fetcher.cfg.Key, delivery.Session{Network: pin.Network,
		Node: pin.Node, Client: l.fetcher.cfg.Client, Epoch: c.Epoch, ID: session,
		Challenge: c.Challenge})
	done, sent := make(chan error, 1), make(chan struct{})
	told := sync.OnceFunc(func() { close(sent) })
	go func() {
		defer l.opening.Unlock()
		defer told()
		trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { told() }}
		ctx := httptrace.WithClientTrace(l.fetcher.ctx, trace) // of the link, not of this content
		done <- l.open(ctx, &open)
	}()
	<-sent
	return session, done, nil
}

// open opens a session.
func (l *link) open(ctx context.Context, open *delivery.Open) error {
	var answer struct{ Window uint64 }
	err := l.call(ctx, http.MethodPost, "/session", open.Append(nil), &answer)
	if err != nil {
		l.client.port.invites(nil) // it may be another node that has begun there
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.session, l.opened, l.window = open.ID, true, answer.Window
	}
	return err
}

// maxAnswer bounds the answers that are JSON.
const maxAnswer = 64 << 10

// call makes a small call.
func (l *link) call(ctx context.Context, method, path string, body []byte, answer any) error {
	return l.client.small(ctx, method, path, body, answer)
}

// small makes a small call at the node's content port.
func (c *Client) small(ctx context.Context, method, path string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout)
	defer cancel()
	own := c.nodes.list[0]
	r, err := http.NewRequestWithContext(ctx, method, own.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := own.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNoContent && answer == nil:
		return nil
	case response.StatusCode != http.StatusOK:
		return refusedBy(response)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

// refusedBy reads why a node refused: a delivery.Reason where it says one.
func refusedBy(response *http.Response) error {
	var refused struct{ Code, Message string }
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(text, &refused)
	}
	for _, reason := range delivery.Reasons() {
		if err == nil && reason.String() == refused.Code {
			return delivery.Refuse(reason, "the node says: %s", refused.Message)
		}
	}
	return fmt.Errorf("the node answers %s, and not as one that delivers content does",
		response.Status)
}

// received notes bytes that were received and verified, or units of a run.
func (l *link) received(head *heading, from, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Received += n
	l.bytes += n
	l.straight(head)
	now := micros(time.Since(head.asked))
	last := len(l.records) - 1
	if last >= 0 && l.records[last].Head == head.digest &&
		l.records[last].From+l.records[last].Bytes == from {
		l.records[last].Bytes += n
		l.records[last].Duration = now
	} else {
		l.records = append(l.records, delivery.Record{Head: head.digest, Run: head.run, From: from,
			Bytes: n, FirstByte: head.first, Duration: now})
	}
	switch {
	case 2*l.bytes >= l.window, l.bytes >= l.fetcher.cap.Load(), len(l.records) >= delivery.MaxRecords:
		l.flush()
	case l.lazy == nil:
		l.lazy = time.AfterFunc(lazyAck, l.acknowledge)
	}
}

// straight has a connection made for streams like the one with a head, which shares one.
func (l *link) straight(head *heading) {
	if !head.run && !head.own {
		f := l.fetcher
		l.client.nodes.list[0].streams.want(f.ctx, l.stats.Received, f.helpers.Go)
	}
}

func micros(d time.Duration) uint32 { return uint32(min(d.Microseconds(), 1<<32-1)) }

// acknowledge has what was received acknowledged.
func (l *link) acknowledge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
}

// flush makes deliveries of what was received. The caller holds l.mu.
func (l *link) flush() {
	if l.lazy != nil {
		l.lazy.Stop()
		l.lazy = nil
	}
	if l.bytes == 0 {
		return
	}
	for rest := l.records; len(rest) > 0; {
		var now []delivery.Record
		now, rest = cut(rest, l.fetcher.cap.Load())
		units := uint64(0)
		for _, r := range now {
			units += r.Bytes
		}
		l.queue = append(l.queue, Delivery{Client: l.fetcher.cfg.Client,
			Service: l.fetcher.cfg.Service, Units: units, Request: delivery.Request(now)})
		l.stats.Signed += units
		l.stats.Acks++
		l.waiting++
	}
	l.records, l.bytes = l.records[:0], 0
	l.wake()
	if !l.running && !l.finished {
		l.running, l.err = true, nil
		l.deliver.Go(l.run)
	}
}

// cut returns the first records, which one ack may cover: of up to so many bytes. A record may end
// in the middle; then the rest begins with its other part.
func cut(records []delivery.Record, most uint64) (now, rest []delivery.Record) {
	for i, r := range records {
		if i == delivery.MaxRecords || most == 0 {
			return now, records[i:]
		}
		if r.Bytes > most {
			other := r
			r.Bytes, other.From, other.Bytes = most, r.From+most, other.Bytes-most
			return append(now, r), append([]delivery.Record{other}, records[i+1:]...)
		}
		most -= r.Bytes
		now = append(now, r)
	}
	return now, nil
}

// wake tells those who wait for queue or waiting. The caller holds l.mu.
func (l *link) wake() {
	close(l.moved)
	l.moved = make(chan struct{})
}

// run delivers what is queued until the fetcher is closed, or Deliver fails.
func (l *link) run() {
	sign := SignWith(func(uint64) *bls.SecretKey { return l.fetcher.cfg.Key })
	if l.cosigner != nil {
		l.deliver.Go(l.cosign)
	}
	// Without a co-signer of its own, the client's answers, as for all its deliveries.
	err := l.client.deliverFor(l.fetcher.ctx, cmp.Or(l.cosigner, l.client.cosigner), l.queued, sign,
		l.outcome)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running, l.err = false, err
	l.wake()
}

// cosign answers the node's offers until the fetcher is closed, unless somebody does.
func (l *link) cosign() {
	if !l.cosigning.TryLock() {
		return
	}
	defer l.cosigning.Unlock()
	if err := l.client.cosignBy(l.fetcher.ctx, l.cosigner); l.fetcher.ctx.Err() == nil {
		l.client.cfg.Logger.Info("the node's windows are not co-signed", "node", l.client.cfg.URL,
			"err", err)
	}
}

// queued yields deliveries as they come, until ctx ends.
func (l *link) queued(ctx context.Context) iter.Seq[Delivery] {
	return func(yield func(Delivery) bool) { l.yieldQueued(ctx, yield) }
}

func (l *link) yieldQueued(ctx context.Context, yield func(Delivery) bool) {
	for {
		l.mu.Lock()
		var next []Delivery
		next, l.queue = l.queue, nil
		moved, over := l.moved, l.finished
		l.mu.Unlock()
		for i, d := range next {
			if !yield(d) {
				l.mu.Lock()
				l.queue = append(next[i:len(next):len(next)], l.queue...)
				l.mu.Unlock()
				return
			}
		}
		if over {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// outcome takes the last word about a delivery.
func (l *link) outcome(o *Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.Delivery.Client != l.fetcher.cfg.Client || o.Delivery.Service != l.fetcher.cfg.Service {
		return // of an earlier program with the same book
	}
	switch {
	case o.Err != nil:
		l.waiting = max(0, l.waiting-1)
	case o.Code.Class() == rollup.ClassTaken:
		l.waiting = max(0, l.waiting-1)
		l.stats.Charged += o.Delivery.Units
		l.stats.Taken++
	default:
		l.waiting = max(0, l.waiting-1)
		l.stats.Refused += o.Delivery.Units
	}
	l.wake()
}

// settle has all acknowledged and waits for the answers.
func (l *link) settle(ctx context.Context) error {
	l.mu.Lock()
	l.flush()
	for l.waiting > 0 && l.running {
		moved := l.moved
		l.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	if l.waiting > 0 || l.err != nil && !errors.Is(l.err, context.Canceled) {
		return l.err
	}
	return nil
}

func (l *link) close() {
	l.mu.Lock()
	l.finished = true
	if l.lazy != nil {
		l.lazy.Stop()
	}
	l.wake()
	l.mu.Unlock()
	l.deliver.Wait()
}
