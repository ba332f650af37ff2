package serve

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/word"
)

// Kind is a kind of service that a node is paid for: what is asked for, and how it is made. All
// else, sessions, admission, credit, debts, the rate, refusals and counts, is the Server's. Content
// is one kind; to add another is to hand it to Config.Kinds.
type Kind interface {
	// Routes are where it is asked for. They do not change.
	Routes() []Route
}

// Route is a path at which a service is asked for in a session.
type Route struct {
	Pattern string // of http.ServeMux, with a method and a prefix that no other kind has
	Prefix  string // of all paths of the pattern, with a slash at its end
	Body    int64  // the most bytes that a request may have
	// Time is how long an answer may take, with all that a client lets it wait.
	Time time.Duration
	// Answer answers a call that is admitted. Before Begin its error is a refusal, and after it
	// an abort; it wraps a delivery.Reason, or is the operator's affair.
	Answer func(*Call) error
}

// StreamType is the media type of a stream of frames.
const StreamType = "application/vnd.waybill.stream"

// onItsWay is how long a session that is not open may be on its way: a client need not wait for the
// answer to its opening before it asks for content.
const onItsWay = 250 * time.Millisecond

// Call is a request for a service in a session, which is admitted. It is used by one goroutine.
type Call struct {
	Request *http.Request
	Session credit.ID
	Client  uint64
	Service uint32
	Price   uint64 // of 2^20 units, in Epoch
	Epoch   uint32
	Height  uint64
	// Before is what is put in front of each ask of the stream. It may be nil.
	Before func() []byte

	server    *Server
	w         http.ResponseWriter
	control   *http.ResponseController
	deadlines *door.Deadlines
	session   *session
	terms     terms
	ctx       context.Context
	stop      context.CancelCauseFunc
	began     bool
	broken    bool // nothing can be written any more
}

// paid has a call in a session answered.
func (s *Server) paid(w http.ResponseWriter, r *http.Request, t terms, answer func(*Call) error) {
	c, err := s.call(w, r, t)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer c.end()
	switch err = answer(c); {
	case err == nil:
	case c.began:
		c.abort(err)
	default:
		s.refuse(w, r, err)
	}
}

// end forgets the call.
func (c *Call) end() {
	if c.stop(nil); c.began {
		c.server.stats.open.Add(-1)
		c.server.accounts.leave(c)
	}
}

// call admits a request.
func (s *Server) call(w http.ResponseWriter, r *http.Request, t terms) (*Call, error) {
	id, err := sessionOf(t.session)
	if err != nil {
		return nil, err
	}
	session, err := s.accounts.await(r.Context(), id, onItsWay)
	if err != nil {
		return nil, err
	}
	price, epoch, err := s.admit(session, t.service)
	if err != nil {
		return nil, err
	}
	c := &Call{Request: r, Session: id, Client: session.client, Service: t.service, Price: price,
		Epoch: epoch, Height: uint64(s.cfg.Chain.View().Height()), server: s, w: w,
		control: http.NewResponseController(w), deadlines: door.DeadlinesOf(r.Context()),
		session: session, terms: t}
	c.ctx, c.stop = context.WithCancelCause(r.Context())
	return c, nil
}

// route answers at a route of a kind.
func (s *Server) route(route Route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t, paid, err := termsOf(r)
		if err == nil && t.head {
			err = delivery.Refuse(delivery.ReasonMalformed, "this has no head without the rest")
		}
		switch {
		case err == nil && !paid:
			err = delivery.Refuse(delivery.ReasonNotAcceptable, "Accept: %s;session=…;service=…",
				StreamType)
			fallthrough
		case err != nil:
			s.refuse(w, r, err)
		default:
			s.paid(w, r, t, route.Answer)
		}
	}
}

// Context ends when nobody is there any more, and when the client wants no more of the stream.
func (c *Call) Context() context.Context { return c.ctx }

// Sign signs a word with the node's key.
func (c *Call) Sign(w word.Word) word.Signature {
	return word.Sign(&c.server.cfg.Network, c.server.cfg.Key, w)
}

// Digest returns the digest of a word.
func (c *Call) Digest(w word.Word) rollup.Hash { return word.Digest(&c.server.cfg.Network, w) }

// Begin begins the stream with a frame, the node's word of what follows: its digest is what a
// client stops the stream by. There may be too many streams: ReasonStreams.
func (c *Call) Begin(digest rollup.Hash, frame []byte) error {
	s := c.server
	if err := s.accounts.enter(c, digest, s.cfg.MaxOfClient); err != nil {
		return err
	}
	c.began = true
	s.stats.streams.Add(1)
	s.stats.open.Add(1)
	h := c.w.Header()
	h.Set("Content-Type", StreamType)
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	c.deadlines.Write(s.cfg.Slow)
	c.w.WriteHeader(http.StatusOK)
	_ = c.write(frame) // the next write tells
	return nil
}

// Write writes a frame that is not taken from the credit. Its bytes count for the limits of rate
// and volume.
func (c *Call) Write(frame []byte) error {
	if err := c.server.pass(c.ctx, uint64(len(frame))); err != nil {
		return err
	}
	c.deadlines.Write(c.server.cfg.Slow)
	c.server.volume.use(uint64(len(frame)))
	return c.write(frame)
}

// Flush sends what was written.
func (c *Call) Flush() error { return c.flush() }

// Return gives units back that were taken and not delivered.
func (c *Call) Return(units uint64) { c.server.accounts.giveBack(c.session, c.Service, units) }

// write writes all, or notes that nothing can be written.
func (c *Call) write(b []byte) error {
	if c.broken {
		return errBroken
	}
	if _, err := c.w.Write(b); err != nil {
		c.broken = true
		return errors.Join(errBroken, err)
	}
	return nil
}

func (c *Call) flush() error {
	if err := c.control.Flush(); err != nil {
		c.broken = true
		return errors.Join(errBroken, err)
	}
	return nil
}

// Take takes units from the session's credit before they are delivered, in whole multiples of unit
// unless it takes all. It waits for credit: asked, a client that does not answer is waited for as
// long as package credit says. It is an error when the client's payer cannot pay. With ask the
// client is to be asked for an ack when they are delivered.
func (c *Call) Take(most, unit uint64) (n uint64, ask bool, err error) {
	s := c.server
	for asked := false; ; {
		n, ask, changed, err := s.accounts.take(time.Now(), c.session, c.Service, most, unit,
			func(least uint64) (uint64, error) { return s.afford(c.session, c.Service, least) })
		if err != nil || n > 0 {
			return n, ask, err
		}
		if !asked {
			if err := c.Ask(); err != nil {
				return 0, false, err
			}
			asked = true
		}
		s.stats.waits.Add(1)
		select {
		case <-changed:
		case <-time.After(time.Second): // what is not paid for too long, take tells
		case <-s.drain.Done():
			return 0, false, delivery.ReasonShuttingDown
		case <-c.ctx.Done():
			return 0, false, c.cut()
		}
	}
}

// cut is why a stream ends in the middle: the client said so, or is gone.
func (c *Call) cut() error {
	cause := context.Cause(c.ctx)
	if !errors.Is(cause, delivery.ReasonStopped) {
		c.broken = true
	}
	return cause
}

// Ask asks the client for an ack.
func (c *Call) Ask() error {
	c.deadlines.Write(c.server.cfg.Slow)
	if c.Before != nil {
		if err := c.write(c.Before()); err != nil {
			return err
		}
	}
	due, window := c.server.accounts.due(c.session)
	if err := c.write((&delivery.Ask{Due: due, Window: window}).Append(nil)); err != nil {
		return err
	}
	return c.flush()
}

// abort ends a stream that has begun.
func (c *Call) abort(err error) {
	reason := reasonOf(err)
	c.server.stats.aborts[reason].Add(1)
	if c.broken {
		// Without a frame that ends it, a stream must not look like one that has ended.
		panic(http.ErrAbortHandler)
	}
	c.deadlines.Write(c.server.cfg.Slow)
	_ = c.write((&delivery.Abort{Reason: reason,
		Arg: uint64(retryAfter(err).Milliseconds())}).Append(nil)) // or nobody is there
}

var errBroken = errors.New("serve: the connection broke")

// pass waits until the limits of rate let so many bytes through.
func (s *Server) pass(ctx context.Context, bytes uint64) error {
	if err := s.volume.left(); err != nil {
		return err
	}
	return s.rate.wait(ctx, bytes)
}

// terms are in which session and for which service something is asked for.
type terms struct {
	session string
	service uint32
	head    bool // nothing but the head is wanted
}

// termsOf reads the Accept of a request; ok is false when it does not ask for a stream.
func termsOf(r *http.Request) (t terms, ok bool, err error) {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			kind, rest, _ := strings.Cut(strings.TrimSpace(part), ";")
			if kind != StreamType {
				continue
			}
			t, err := parseTerms(rest)
			return t, true, err
		}
	}
	return t, false, nil
}

func parseTerms(text string) (t terms, err error) {
	bad := delivery.Refuse(delivery.ReasonMalformed,
		"Accept: %s;session=SESSION;service=SERVICE, and ;head for nothing but the head", StreamType)
	service := false
	for part := range strings.SplitSeq(text, ";") {
		key, value, valued := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "head":
			if valued {
				return t, bad
			}
			t.head = true
		case "session":
			t.session = value
		case "service":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return t, bad
			}
			t.service, service = uint32(n), true
		default:
			return t, bad
		}
	}
	if t.session == "" || !service {
		return t, bad
	}
	return t, nil
}

// permit refuses what a session's client may not have (ReasonPrivate). No session: nil.
func (s *Server) permit(session *session, root rollup.Hash) error {
	if s.cfg.Private == nil {
		return nil
	}
	payers, private := s.cfg.Private(root)
	if !private || session != nil && slices.Contains(payers, session.payer) {
		return nil
	}
	return delivery.ReasonPrivate // the same, whether it is there or not
}

// Permit returns ReasonPrivate when the call's client may not have what has a root.
func (c *Call) Permit(root rollup.Hash) error { return c.server.permit(c.session, root) }

// admit finds whether a session's client may be served now, and at which price.
func (s *Server) admit(session *session, service uint32) (price uint64, epoch uint32, err error) {
	view := s.cfg.Chain.View()
	epoch = view.Epoch()
	of, ok := view.Service(service)
	if !ok {
		return 0, 0, delivery.Refuse(delivery.ReasonService, "%d", service)
	}
	client, ok := view.Client(session.client)
	switch {
	case s.drain.Err() != nil:
		return 0, 0, delivery.ReasonShuttingDown
	case !ok || !client.ValidIn(epoch) || view.Revoked(session.client):
		return 0, 0, delivery.ReasonNotValid
	case !client.MayUse(service):
		return 0, 0, delivery.Refuse(delivery.ReasonNotGranted, "service %d", service)
	}
	if s.cfg.Counter != nil {
		next, ok := s.cfg.Counter(epoch, session.client, service)
		if ok && next >= client.Numbers {
			return 0, 0, delivery.Refuse(delivery.ReasonNumbers, "%d", client.Numbers)
		}
	}
	if err := s.volume.left(); err != nil {
		return 0, 0, err
	}
	s.accounts.mu.Lock()
	defer s.accounts.mu.Unlock()
	_, err = s.afford(session, service, delivery.GroupSize)
	return of.PriceIn(epoch), epoch, err
}
