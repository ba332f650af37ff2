package serve

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/word"
)

// StreamType is the media type of a stream of frames.
const StreamType = "application/vnd.waybill.stream"

// onItsWay is how long a session that is not open may be on its way: a client need not wait for the
// answer to its opening before it asks for content.
const onItsWay = 250 * time.Millisecond

// sliceBytes are read and written at once.
const sliceBytes = 16 * delivery.GroupSize

// terms are in which session and for which service content is asked for.
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

// stream answers a request in a session.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, x Name, t terms) {
	id, err := sessionOf(t.session)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	session, err := s.accounts.await(r.Context(), id, onItsWay)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	price, epoch, err := s.admit(session, t.service)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	file, err := s.cfg.Content.Open(r.Context(), x.Root)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer file.Close() //nolint:errcheck // it was only read
	span, err := spanOf(r, file.Size())
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	head := word.Head{Node: s.cfg.Node, Epoch: epoch, Height: uint64(s.cfg.Chain.View().Height()),
		Client: session.client, Session: id, Service: t.service, Price: price, Content: x.Root,
		Manifest: x.Manifest, Path: x.Path, Size: file.Size(), Offset: span.From,
		Length: span.Bytes}
	ctx, stop := context.WithCancelCause(r.Context())
	defer stop(nil)
	out := &outlet{server: s, w: w, control: http.NewResponseController(w),
		deadlines: door.DeadlinesOf(ctx), session: session, service: t.service, file: file,
		stop: func() { stop(delivery.ReasonStopped) }}
	err = s.accounts.enter(out, word.Digest(&s.cfg.Network, head), s.cfg.MaxOfClient)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer s.accounts.leave(out)
	s.stats.streams.Add(1)
	s.stats.open.Add(1)
	defer s.stats.open.Add(-1)
	signature := word.Sign(&s.cfg.Network, s.cfg.Key, head)
	out.begin((&delivery.Head{Word: head, Signature: signature}).Append(nil))
	if t.head {
		_ = out.write(delivery.AppendEnd(nil)) // or nobody is there
		return
	}
	if err := out.send(ctx, span); err != nil {
		out.abort(err)
	}
}

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
	return of.PriceIn(epoch), epoch, s.volume.left()
}

// spanOf reads the Range of a request: one range, or all.
func spanOf(r *http.Request, size uint64) (delivery.Span, error) {
	text := r.Header.Get("Range")
	if text == "" {
		return delivery.Widen(size, 0, size)
	}
	bad := delivery.Refuse(delivery.ReasonRange, "Range: %s, of %d bytes", text, size)
	set, ok := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(set, "-")
	if !ok || !dash {
		return delivery.Span{}, bad
	}
	from, err := strconv.ParseUint(first, 10, 64)
	if first == "" { // the last so many bytes
		n, err := strconv.ParseUint(last, 10, 64)
		if err != nil || n == 0 {
			return delivery.Span{}, bad
		}
		n = min(n, size)
		return delivery.Widen(size, size-n, n)
	}
	to := size
	if last != "" && err == nil {
		to, err = strconv.ParseUint(last, 10, 62)
		to = min(to+1, size)
	}
	if err != nil || from >= to {
		return delivery.Span{}, bad
	}
	return delivery.Widen(size, from, to-from)
}

// outlet sends one stream.
type outlet struct {
	server    *Server
	w         http.ResponseWriter
	control   *http.ResponseController
	deadlines *door.Deadlines
	session   *session
	service   uint32
	file      File
	stop      func()
	first     uint64 // group of the stream
	parents   []byte
	frame     []byte
	slice     []byte
	broken    bool // nothing can be written any more
}

var errBroken = errors.New("serve: the connection broke")

func (o *outlet) begin(head []byte) {
	h := o.w.Header()
	h.Set("Content-Type", StreamType)
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	o.deadlines.Write(o.server.cfg.Slow)
	o.w.WriteHeader(http.StatusOK)
	_ = o.write(head) // the next write tells
}

// write writes all, or notes that nothing can be written.
func (o *outlet) write(b []byte) error {
	if o.broken {
		return errBroken
	}
	if _, err := o.w.Write(b); err != nil {
		o.broken = true
		return errors.Join(errBroken, err)
	}
	return nil
}

func (o *outlet) flush() error {
	if err := o.control.Flush(); err != nil {
		o.broken = true
		return errors.Join(errBroken, err)
	}
	return nil
}

// send sends runs until the span is sent, and the end.
func (o *outlet) send(ctx context.Context, span delivery.Span) error {
	o.first = span.First
	for next, end := span.First, span.First+span.Groups; next < end; {
		if ctx.Err() != nil {
			return o.cut(ctx)
		}
		n, err := o.run(ctx, next, end)
		if err != nil {
			return err
		}
		next += n
	}
	o.deadlines.Write(o.server.cfg.Slow)
	return o.write(delivery.AppendEnd(o.frame[:0]))
}

// run sends the next run, as long as credit and rate allow, and returns how many groups it had.
func (o *outlet) run(ctx context.Context, next, end uint64) (uint64, error) {
	s := o.server
	_, window := s.accounts.due(o.session)
	groups := min(delivery.MaxRun, end-next, max(1, window/2/delivery.GroupSize))
	from := next * delivery.GroupSize
	most := min(o.file.Size(), from+groups*delivery.GroupSize) - from
	taken, ask, err := o.take(ctx, most)
	if err != nil {
		return 0, err
	}
	groups = delivery.Groups(taken)
	sent := uint64(0)
	defer func() { s.accounts.giveBack(o.session, o.service, taken-sent) }()
	if err := s.pass(ctx, taken); err != nil {
		return 0, err
	}
	if err := o.file.Check(); err != nil {
		return 0, err
	}
	if o.parents, err = o.file.Parents(o.parents[:0], o.first, next, next+groups); err != nil {
		return 0, err
	}
	o.deadlines.Write(s.cfg.Slow)
	run := delivery.Run{First: next, Groups: uint32(groups), Parents: o.parents}
	o.frame = run.Append(o.frame[:0])
	if sent, err = o.bytes(from, taken); err != nil {
		return 0, err
	}
	if ask {
		return groups, o.ask()
	}
	return groups, nil
}

// take takes bytes from the session's credit, and waits for it: asked, a client that does not
// answer is waited for as long as package credit says.
func (o *outlet) take(ctx context.Context, most uint64) (n uint64, ask bool, err error) {
	s := o.server
	for asked := false; ; {
		n, ask, changed, err := s.accounts.take(time.Now(), o.session, o.service, most,
			delivery.GroupSize)
		if err != nil || n > 0 {
			return n, ask, err
		}
		if !asked {
			if err := o.ask(); err != nil {
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
		case <-ctx.Done():
			return 0, false, o.cut(ctx)
		}
	}
}

// cut is why a stream ends in the middle: the client said so, or is gone.
func (o *outlet) cut(ctx context.Context) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, delivery.ReasonStopped) {
		o.broken = true
	}
	return cause
}

func (o *outlet) ask() error {
	o.deadlines.Write(o.server.cfg.Slow)
	due, window := o.server.accounts.due(o.session)
	if err := o.write((&delivery.Ask{Due: due, Window: window}).Append(nil)); err != nil {
		return err
	}
	return o.flush()
}

// bytes sends the frame, and the bytes behind it. It returns how many of them were handed to the
// connection, those of a write that failed among them: they may have arrived.
func (o *outlet) bytes(from, length uint64) (sent uint64, err error) {
	if o.slice == nil {
		o.slice = make([]byte, sliceBytes)
	}
	for sent < length {
		b := o.slice[:min(sliceBytes, length-sent)]
		if _, err := o.file.ReadAt(b, int64(from+sent)); err != nil {
			o.broken = true // a run that was announced cannot be taken back
			return sent, delivery.Refuse(delivery.ReasonFailed, "%w", err)
		}
		if sent == 0 {
			if err := o.write(o.frame); err != nil {
				return 0, err
			}
		} else {
			o.deadlines.Write(o.server.cfg.Slow)
		}
		sent += uint64(len(b))
		if err := o.write(b); err != nil {
			o.server.stats.sent.Add(uint64(len(b)))
			return sent, err
		}
		o.server.stats.sent.Add(uint64(len(b)))
		o.server.volume.use(uint64(len(b)))
	}
	return sent, nil
}

// abort ends a stream that has begun.
func (o *outlet) abort(err error) {
	reason := reasonOf(err)
	o.server.stats.aborts[reason].Add(1)
	if o.broken {
		// Without a frame that ends it, a stream must not look like one that has ended.
		panic(http.ErrAbortHandler)
	}
	o.deadlines.Write(o.server.cfg.Slow)
	_ = o.write((&delivery.Abort{Reason: reason,
		Arg: uint64(retryAfter(err).Milliseconds())}).Append(nil)) // or nobody is there
}

// pass waits until the limits of rate let so many bytes through.
func (s *Server) pass(ctx context.Context, bytes uint64) error {
	if err := s.volume.left(); err != nil {
		return err
	}
	return s.rate.wait(ctx, bytes)
}
