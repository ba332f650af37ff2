package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/word"
)

// heading is what is noted of a stream's head for the records of what it brings.
type heading struct {
	digest rollup.Hash
	asked  time.Time
	first  uint32 // microseconds from the request to the first byte of content
}

// incoming is one stream of one node.
type incoming struct {
	link    *link
	root    rollup.Hash
	session [16]byte
	body    io.ReadCloser
	in      *bufio.Reader
	cancel  context.CancelFunc
	stall   *time.Timer
	stalled chan struct{}

	head    heading
	word    word.Head
	decoder *blake3.Decoder // nil for empty content
	end     uint64          // of what the head names
	frame   []byte
	data    []byte
}

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

// request asks for content from a byte on. The head is read and checked when it returns.
func (l *link) request(ctx context.Context, root rollup.Hash, from uint64) (_ *incoming,
	err error) {
	session, err := l.open(ctx, nil)
	if err != nil {
		return nil, in("session", err)
	}
	s, err := l.ask(ctx, root, session, from)
	if errors.Is(err, delivery.ReasonSession) || errors.Is(err, delivery.ReasonSuperseded) {
		if session, err = l.open(ctx, &session); err != nil {
			return nil, in("session", err)
		}
		s, err = l.ask(ctx, root, session, from)
	}
	return s, err
}

func (l *link) ask(ctx context.Context, root rollup.Hash, session [16]byte, from uint64) (
	*incoming, error) {
	own, f := l.client.nodes.list[0], l.fetcher
	ctx, cancel := context.WithCancel(ctx)
	s := &incoming{link: l, root: root, session: session, cancel: cancel,
		stalled: make(chan struct{})}
	s.stall = time.AfterFunc(f.cfg.Stall, func() { close(s.stalled); cancel() })
	s.head.asked = time.Now()
	err := func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, own.base+"/b3/"+root.String(),
			nil)
		if err != nil {
			return in("request", err)
		}
		r.Header.Set("Accept", fmt.Sprintf("application/vnd.waybill.stream;session=%x;service=%d",
			session, f.cfg.Service))
		if from > 0 {
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		}
		response, err := own.http.Do(r)
		if err != nil {
			return in("request", s.judge(err))
		}
		s.body = response.Body
		if response.StatusCode != http.StatusOK {
			return in("request", refusedBy(response))
		}
		s.in = bufio.NewReaderSize(response.Body, 64<<10)
		return s.begin(from)
	}()
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// judge says that a node was silent, where that is why a call broke.
func (s *incoming) judge(err error) error {
	select {
	case <-s.stalled:
		return fmt.Errorf("%w within %v", ErrNoAnswer, s.link.fetcher.cfg.Stall)
	default:
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream ends early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func (s *incoming) close() {
	s.stall.Stop()
	s.cancel()
	if s.body != nil {
		_ = s.body.Close() // nothing more is wanted of it
	}
}

// next reads a frame's prefix and body.
func (s *incoming) next() (kind delivery.Kind, body []byte, err error) {
	s.stall.Reset(s.link.fetcher.cfg.Stall)
	var prefix [delivery.PrefixSize]byte
	if _, err := io.ReadFull(s.in, prefix[:]); err != nil {
		return 0, nil, in("stream", s.judge(err))
	}
	p, err := delivery.ParsePrefix(prefix[:])
	if err != nil {
		return 0, nil, in("stream", err)
	}
	s.frame = grow(s.frame, p.Length)
	if _, err := io.ReadFull(s.in, s.frame); err != nil {
		return 0, nil, in("stream", s.judge(err))
	}
	return p.Kind, s.frame, nil
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// begin reads the head, and takes nothing of the stream unless it is the pinned node's, is about
// what was asked for, and names no higher price than was agreed.
func (s *incoming) begin(from uint64) error {
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
	return in("head", s.admit(&h, from))
}

func refuseHead(format string, args ...any) error {
	return rollup.Refuse(ReasonHead, format,
		args...)
}

func (s *incoming) admit(h *delivery.Head, from uint64) error {
	w, f, pin := &h.Word, s.link.fetcher, s.link.client.cfg.Pin
	if err := word.Verify(&pin.Network, pin.Key, *w, &h.Signature); err != nil {
		return refuseHead("%w", err)
	}
	switch {
	case w.Node != pin.Node || w.Client != f.cfg.Client || w.Session != s.session ||
		w.Service != f.cfg.Service || w.Content != s.root:
		return refuseHead("it is about something else")
	case w.Price > f.price:
		return refuseHead("a price of %d, where %d is agreed", w.Price, f.price)
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
		if s.root != blake3.Sum256(nil) {
			return refuseHead("content of this root is not empty")
		}
		return nil
	}
	s.decoder = blake3.NewDecoder(s.root, int64(w.Size), delivery.GroupSize, int64(want.First))
	return nil
}

// offset is up to where the content is verified.
func (s *incoming) offset() uint64 {
	if s.decoder == nil {
		return 0
	}
	return uint64(s.decoder.Offset())
}

// run reads until bytes of content are verified, which it returns; none at the end. They are valid
// until the next call. With an error it may return bytes, too: they are verified.
func (s *incoming) run() ([]byte, error) {
	for {
		kind, body, err := s.next()
		if err != nil {
			return nil, err
		}
		switch kind {
		case delivery.KindRun:
			return s.verify(body)
		case delivery.KindAsk:
			if _, err := s.asked(body); err != nil {
				return nil, err
			}
		case delivery.KindEnd:
			if s.offset() != s.end {
				return nil, in("stream", fmt.Errorf("it ends at byte %d of %d", s.offset(), s.end))
			}
			return nil, nil
		case delivery.KindAbort:
			a, err := delivery.ParseAbort(body)
			if err == nil {
				err = delivery.Refuse(a.Reason, "the node ends the stream: %s", a.Reason.Meaning())
			}
			return nil, in("stream", err)
		default:
			return nil, in("stream", fmt.Errorf("%w: a second head", delivery.ReasonMalformed))
		}
	}
}

// asked acknowledges, since the node asks for it.
func (s *incoming) asked(body []byte) (delivery.Ask, error) {
	a, err := delivery.ParseAsk(body)
	if err != nil {
		return a, in("stream", err)
	}
	s.link.asked(a.Window)
	return a, nil
}

// asked takes what a node says of its window, and acknowledges.
func (l *link) asked(window uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window = window
	l.flush()
}

// verify reads the bytes of a run and verifies them. What is verified counts, and nothing else.
func (s *incoming) verify(body []byte) ([]byte, error) {
	r, err := delivery.ParseRun(body)
	if err != nil {
		return nil, in("stream", err)
	}
	at := s.offset()
	if s.decoder == nil || r.First*delivery.GroupSize != at || at >= s.end {
		return nil, in("stream", fmt.Errorf("a run from group %d on, at byte %d of %d", r.First, at,
			s.end))
	}
	nodes, length := s.decoder.Need(int(r.Groups))
	if uint64(length) > uint64(r.Groups)*delivery.GroupSize || nodes != len(r.Parents) ||
		at+uint64(length) > s.end {
		return nil, in("verify", fmt.Errorf("%w: a run of %d groups with %d bytes of parents",
			blake3.ErrNodes, r.Groups, len(r.Parents)))
	}
	s.data = grow(s.data, length)
	got, err := s.fill(s.data)
	if err != nil {
		// The run is cut. Its whole groups are of use.
		return s.part(r.Parents, got, err)
	}
	n, err := s.decoder.Decode(r.Parents, s.data)
	return s.count(at, n, in("verify", err))
}

// fill reads the bytes of a run. It returns how many came.
func (s *incoming) fill(b []byte) (n int, err error) {
	for n < len(b) {
		s.stall.Reset(s.link.fetcher.cfg.Stall)
		m, err := s.in.Read(b[n:])
		if n == 0 && m > 0 && s.head.first == 0 {
			s.head.first = max(1, micros(time.Since(s.head.asked)))
		}
		if n += m; err != nil && n < len(b) {
			return n, in("stream", s.judge(err))
		}
	}
	return n, nil
}

// part verifies what came of a run that was cut, group by group: the decoder takes as many nodes as
// the groups at hand need, which lead the others.
func (s *incoming) part(parents []byte, got int, cause error) ([]byte, error) {
	at := s.offset()
	groups := got / delivery.GroupSize
	if groups == 0 {
		return nil, cause
	}
	nodes, length := s.decoder.Need(groups)
	n, err := s.decoder.Decode(parents[:nodes], s.data[:length])
	if err != nil {
		cause = in("verify", err)
	}
	return s.count(at, n, cause)
}

// count notes verified bytes.
func (s *incoming) count(at uint64, n int, err error) ([]byte, error) {
	if n > 0 {
		s.link.received(&s.head, at, uint64(n))
	}
	return s.data[:n], err
}

// drain ends a stream of which nobody wants more, and takes what is on its way, so that it is
// acknowledged and the client owes nothing.
func (s *incoming) drain() {
	defer s.link.acknowledge()
	defer s.close()
	stop := delivery.Stop{Session: s.session, Head: s.head.digest}
	if err := s.link.call(s.link.fetcher.ctx, http.MethodPost, "/stop", stop.Append(nil),
		nil); err != nil {
		return
	}
	for {
		if data, err := s.run(); err != nil || len(data) == 0 {
			return
		}
	}
}
