package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/word"
)

// heading is what is noted of a stream's head for the records of what it brings.
type heading struct {
	digest rollup.Hash
	run    bool // of a run
	own    bool // it has a connection of its own
	asked  time.Time
	first  uint32 // microseconds from the request to the first byte of content
}

// incoming is one stream of one node. A goroutine of its own reads it, and hands on what is
// verified; it belongs to that goroutine, except for what is said to be another's.
type incoming struct {
	link    *link
	target  target
	session [16]byte
	body    io.ReadCloser
	in      *bufio.Reader
	cancel  context.CancelFunc
	silence *time.Timer // ends the stream when the node sends nothing
	silent  chan struct{}
	heard   atomic.Int64 // Unix nanoseconds when bytes came last

	head    heading
	word    word.Head
	decoder *blake3.Decoder // nil for empty content
	end     uint64          // of what the head names
	frame   []byte

	parents []byte // of what is left of a run
	rest    int    // bytes of content that the run still has, those at hand among them
	data    []byte // that are at hand are its first
	have    int

	pieces chan piece    // closed at the end of the stream
	give   func()        // gives back the stream's connection; nil when it has none of its own
	left   chan struct{} // closed when nobody wants more
	leave  func()        // closes it, and takes what is on its way
}

// piece is verified bytes of a stream.
type piece struct {
	from uint64
	data []byte
	end  bool  // there is no more, and all has come
	err  error // there is no more
}

// maxPiece is how many bytes of a run are waited for at most before they are verified.
const maxPiece = 16 * delivery.GroupSize

// phased is an error with the phase in which it came up.
type phased struct {
	phase string
	err   error
}

func (e *phased) Error() string { return e.phase + ": " + e.err.Error() }
func (e *phased) Unwrap() error { return e.err }

func in(phase string, err error) error {
	if err == nil {
		return nil
	}
	return &phased{phase, err}
}

// request asks for content from a byte on. The head is read and checked when it returns, and the
// stream is being read until its end, or until cancel, which ends ctx, is called.
func (l *link) request(ctx context.Context, cancel context.CancelFunc, t target, from uint64) (
	*incoming, error) {
	var over *[16]byte
	for first := true; ; first = false {
		session, opening, err := l.enter(ctx, over)
		if err != nil {
			return nil, in("session", err)
		}
		s, err := l.ask(ctx, t, session, from, false)
		if opening != nil {
			if opened := <-opening; opened != nil {
				if s != nil {
					s.close()
				}
				if first && errors.Is(opened, delivery.ReasonChallenge) {
					continue // it was an old one
				}
				return nil, in("session", opened)
			}
		}
		switch {
		case err == nil:
			inner := s.cancel
			s.cancel = func() { inner(); cancel() }
			go s.pump()
			return s, nil
		case over != nil, !errors.Is(err, delivery.ReasonSession) &&
			!errors.Is(err, delivery.ReasonSuperseded):
			return nil, err
		}
		if opening == nil { // else the request came before it
			over = &session
		} else {
			over = new([16]byte)
		}
	}
}

// look finds out whether the node answers and, once a session is open, whether it has the content.
// Nothing is sent that has to be paid for.
func (l *link) look(ctx context.Context, t target, from uint64) error {
	session, opened := l.current()
	if !opened {
		_, err := l.invited(ctx)
		return in("session", err)
	}
	s, err := l.ask(ctx, t, session, from, true)
	if err == nil {
		s.close()
		return nil
	}
	if errors.Is(err, delivery.ReasonSession) || errors.Is(err, delivery.ReasonSuperseded) {
		l.forget(session)
		_, err = l.invited(ctx)
		err = in("session", err)
	}
	return err
}

// ask asks for a stream and checks its head. A node that does not have the site's manifest may have
// the content.
func (l *link) ask(ctx context.Context, t target, session [16]byte, from uint64, look bool) (
	*incoming, error) {
	s, err := l.askFor(ctx, t, session, from, look)
	if t.showing != nil && errors.Is(err, delivery.ReasonNotFound) {
		s, err = l.askFor(ctx, byRoot(t.root), session, from, look)
	}
	return s, err
}

func (l *link) askFor(ctx context.Context, t target, session [16]byte, from uint64, look bool) (
	*incoming, error) {
	own, f := l.client.nodes.list[0], l.fetcher
	ctx, cancel := context.WithCancel(ctx)
	s := &incoming{link: l, target: t, session: session, cancel: cancel,
		silent: make(chan struct{}), pieces: make(chan piece), left: make(chan struct{})}
	s.heard.Store(time.Now().UnixNano())
	s.leave = sync.OnceFunc(s.abandon)
	s.silence = time.AfterFunc(f.cfg.Silence, func() { close(s.silent); cancel() })
	s.head.asked = time.Now()
	err := func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, own.base+t.url, nil)
		if err != nil {
			return in("request", err)
		}
		asks(r, session, f.cfg.Service, from, look)
		response, err := s.answer(own, r, look)
		if err != nil {
			return in("request", s.judge(err))
		}
		s.body = response.Body
		if response.StatusCode != http.StatusOK {
			return in("request", refusedBy(response))
		}
		s.in = bufio.NewReaderSize(response.Body, 64<<10)
		return s.begin(ctx, from)
	}()
	if err != nil {
		s.close()
		return nil, err
	}
	l.client.port.beat(time.Since(s.head.asked))
	return s, nil
}

// answer asks by the way that there is for such a stream.
func (s *incoming) answer(own *endpoint, r *http.Request, look bool) (*http.Response, error) {
	if own.special.serves() {
		response, err := own.special.http.Do(r)
		if err == nil || r.Context().Err() != nil {
			s.head.own = true
			return response, err
		}
		own.special.failed()
	}
	by := own.http
	if !look && own.streams.take() {
		by, s.give, s.head.own = own.streams.http, sync.OnceFunc(own.streams.give), true
	}
	return by.Do(r)
}

// judge says that a node was silent, where that is why a call broke.
func (s *incoming) judge(err error) error {
	select {
	case <-s.silent:
		return fmt.Errorf("%w within %v", ErrNoAnswer, s.link.fetcher.cfg.Silence)
	default:
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream ends early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func (s *incoming) close() {
	s.silence.Stop()
	s.cancel()
	if s.body != nil {
		_ = s.body.Close() // nothing more is wanted of it
	}
	if s.give != nil {
		s.give()
	}
}

// idle is for how long nothing has come. Any goroutine may ask.
func (s *incoming) idle() time.Duration { return time.Since(time.Unix(0, s.heard.Load())) }

// read reads what there is, at least a byte.
func (s *incoming) read(b []byte) (int, error) {
	s.silence.Reset(s.link.fetcher.cfg.Silence)
	n, err := s.in.Read(b)
	s.heard.Store(time.Now().UnixNano())
	if err != nil {
		err = in("stream", s.judge(err))
	}
	return n, err
}

// full fills b.
func (s *incoming) full(b []byte) error {
	for len(b) > 0 {
		n, err := s.read(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// next reads a frame's prefix and body.
func (s *incoming) next() (kind delivery.Kind, body []byte, err error) {
	var prefix [delivery.PrefixSize]byte
	if err := s.full(prefix[:]); err != nil {
		return 0, nil, err
	}
	p, err := delivery.ParsePrefix(prefix[:])
	if err != nil {
		return 0, nil, in("stream", err)
	}
	s.frame = grow(s.frame, p.Length)
	return p.Kind, s.frame, s.full(s.frame)
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// begin reads the head, and takes nothing of the stream unless it is the pinned node's, is about
// what was asked for, and names no higher price than was agreed.
func (s *incoming) begin(ctx context.Context, from uint64) error {
	kind, body, err := s.next()
	if err != nil {
		return err
	}
	if kind != delivery.KindHead {
		return in("head", refuseHead("the first frame is of kind %d", kind))
	}
	h, err := delivery.ParseHead(body)
	if err != nil {
		return in("head", err)
	}
	price, err := s.link.fetcher.terms(ctx, s.link)
	if err != nil {
		return in("price", err)
	}
	return in("head", s.admit(&h, price, from))
}

func refuseHead(format string, args ...any) error {
	return rollup.Refuse(ReasonHead, format, args...)
}

func (s *incoming) admit(h *delivery.Head, price, from uint64) error {
	w, f, pin := &h.Word, s.link.fetcher, s.link.client.cfg.Pin
	if err := word.Verify(&pin.Network, pin.Key, *w, &h.Signature); err != nil {
		return refuseHead("%w", err)
	}
	if t := &s.target; t.showing != nil {
		shown := &t.showing.Shown[0]
		if e := word.NewContent(*w, h.Signature, &t.showing.Head, shown); e != nil {
			f.accuse(s.link, e, w.Epoch)
			return refuseHead("content %v, where the manifest has %v", w.Content, t.root)
		}
	}
	switch {
	case w.Node != pin.Node || w.Client != f.cfg.Client || w.Session != s.session ||
		w.Service != f.cfg.Service || !s.target.isOf(w):
		return refuseHead("it is about something else")
	case w.Price > price:
		f.accuse(s.link, &word.Price{Head: *w, Signature: h.Signature}, w.Epoch)
		return refuseHead("a price of %d, where %d is agreed", w.Price, price)
	case w.Epoch < s.link.client.cfg.Book.epoch(pin):
		return refuseHead("epoch %d, which is over", w.Epoch)
	case w.Size > delivery.MaxSize:
		return refuseHead("%d bytes of content", w.Size)
	}
	var want delivery.Span
	if from < w.Size || w.Size == 0 {
		var err error
		if want, err = delivery.Widen(w.Size, from, w.Size-from); err != nil {
			return refuseHead("%w", err)
		}
	}
	if w.Offset != want.From || w.Length != want.Bytes {
		return refuseHead("bytes %d to %d of %d, where all from %d on were asked for", w.Offset,
			w.Offset+w.Length, w.Size, from)
	}
	s.word, s.end = *w, w.Offset+w.Length
	s.head.digest = word.Digest(&pin.Network, *w)
	if w.Size == 0 {
		if w.Content != blake3.Sum256(nil) {
			return refuseHead("content of this root is not empty")
		}
		return nil
	}
	s.decoder = blake3.NewDecoder(w.Content, int64(w.Size), delivery.GroupSize, int64(want.First))
	return nil
}

// offset is up to where the content is verified.
func (s *incoming) offset() uint64 {
	if s.decoder == nil {
		return 0
	}
	return uint64(s.decoder.Offset())
}

// pump reads the stream to its end. When it is left, what comes is verified and counted all the
// same.
func (s *incoming) pump() {
	defer close(s.pieces)
	defer s.close()
	for over := false; !over; {
		p := piece{from: s.offset()}
		p.data, p.err = s.piece()
		p.end = p.err == nil && len(p.data) == 0
		over = p.end || p.err != nil
		s.silence.Stop()
		select {
		case s.pieces <- p:
		case <-s.left:
			release(p.data)
		}
		if p.end && s.give != nil { // a connection is of use once more when it has been read to its end
			s.silence.Reset(time.Second)
			_, _ = s.in.Peek(1)
		}
	}
	release(s.data)
}

// piece reads until bytes of content are verified, which it returns; none at the end. With an error
// it may return bytes, too: they are verified.
func (s *incoming) piece() ([]byte, error) {
	for {
		if s.rest > 0 {
			if data, err := s.more(); err != nil || len(data) > 0 {
				return data, err
			}
			continue
		}
		kind, body, err := s.next()
		if err != nil {
			return nil, err
		}
		switch kind {
		case delivery.KindRun:
			err = s.run(body)
		case delivery.KindAsk:
			err = s.asked(body)
		case delivery.KindEnd:
			if s.offset() != s.end {
				err = in("stream", fmt.Errorf("it ends at byte %d of %d", s.offset(), s.end))
			}
			return nil, err
		case delivery.KindAbort:
			a, err := delivery.ParseAbort(body)
			if err == nil {
				err = delivery.Refuse(a.Reason, "the node ends the stream: %s", a.Reason.Meaning())
			}
			return nil, in("stream", err)
		default:
			err = in("stream", fmt.Errorf("%w: a second head", delivery.ReasonMalformed))
		}
		if err != nil {
			return nil, err
		}
	}
}

// asked acknowledges, since the node asks for it.
func (s *incoming) asked(body []byte) error {
	a, err := delivery.ParseAsk(body)
	if err != nil {
		return in("stream", err)
	}
	s.link.asked(a.Window)
	return nil
}

// asked takes what a node says of its window, and acknowledges.
func (l *link) asked(window uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window = window
	l.flush()
}

// run begins a run, whose bytes follow.
func (s *incoming) run(body []byte) error {
	r, err := delivery.ParseRun(body)
	if err != nil {
		return in("stream", err)
	}
	at := s.offset()
	if s.decoder == nil || r.First*delivery.GroupSize != at || at >= s.end {
		return in("stream", fmt.Errorf("a run from group %d on, at byte %d of %d", r.First, at,
			s.end))
	}
	nodes, length := s.decoder.Need(int(r.Groups))
	if uint64(length) > uint64(r.Groups)*delivery.GroupSize || nodes != len(r.Parents) ||
		at+uint64(length) > s.end {
		return in("verify", fmt.Errorf("%w: a run of %d groups with %d bytes of parents",
			blake3.ErrNodes, r.Groups, len(r.Parents)))
	}
	s.parents, s.rest = r.Parents, length
	return nil
}

// more reads bytes of a run, and verifies the groups that are whole. Nothing waits for what has not
// come.
func (s *incoming) more() ([]byte, error) {
	if s.data == nil {
		s.data = buffer()
	}
	n, err := s.read(s.data[s.have:min(maxPiece, s.rest)])
	if s.have == 0 && n > 0 && s.head.first == 0 {
		s.head.first = max(1, micros(time.Since(s.head.asked)))
	}
	if s.have += n; err != nil {
		return nil, err
	}
	groups := s.have / delivery.GroupSize
	if s.have == s.rest {
		groups = (s.have + delivery.GroupSize - 1) / delivery.GroupSize
	}
	if groups == 0 {
		return nil, nil
	}
	at := s.offset()
	nodes, length := s.decoder.Need(groups)
	verified, err := s.decoder.Decode(s.parents[:nodes], s.data[:length])
	if verified > 0 {
		s.link.received(&s.head, at, uint64(verified))
	}
	data := s.data[:verified]
	next := buffer()
	s.have = copy(next, s.data[length:s.have])
	s.data, s.parents, s.rest = next, s.parents[nodes:], s.rest-length
	return data, in("verify", err)
}

// buffers are of all streams.
var buffers = sync.Pool{New: func() any { return new([maxPiece]byte) }}

func buffer() []byte { return buffers.Get().(*[maxPiece]byte)[:] }

// release gives back the bytes of a piece, of which its first is the first of a buffer.
func release(data []byte) {
	if cap(data) >= maxPiece {
		buffers.Put((*[maxPiece]byte)(data[:maxPiece]))
	}
}

// abandon ends a stream of which nobody wants more, and takes what is on its way, so that it is
// acknowledged and the client owes nothing.
func (s *incoming) abandon() {
	close(s.left)
	s.link.fetcher.drains.Go(func() {
		defer s.link.acknowledge()
		// A node that does not even answer to that has nothing on its way that will be paid for.
		ctx, cancel := context.WithTimeout(s.link.fetcher.ctx, lateLoser)
		defer cancel()
		stop := delivery.Stop{Session: s.session, Head: s.head.digest}
		err := s.link.call(ctx, http.MethodPost, "/stop", stop.Append(nil), nil)
		if err != nil {
			s.cancel()
		}
		for range s.pieces { // until the stream has ended
		}
	})
}
