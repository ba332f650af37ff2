package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/waybill-network/waybill/internal/retry"
)

// Origin is where content comes from that a store lacks: a web server, a folder, another node. What
// it gives is not trusted: a store takes what leads to the root.
//
// Implementations are safe for concurrent use.
type Origin interface {
	// Open begins to read wanted content at an offset, or before it. The error ReasonOriginFailed
	// says that a later attempt may go better; other errors are final. The body ends with io.EOF
	// when the content does, and with another error when the way to the origin broke; then Open is
	// called again with the offset that was reached. ctx holds until the body is closed.
	Open(ctx context.Context, want Want, offset int64) (Body, error)
	// String names the origin in errors and logs.
	String() string
}

// Body is what an origin gives.
type Body struct {
	io.ReadCloser
	Offset int64 // where it begins
	Size   int64 // of the whole content; negative: not known
}

// Bounds of a fetch.
const (
	attempts   = 5                // in a row that bring nothing
	firstDelay = time.Second / 4  // after the first of them
	mostDelay  = 10 * time.Second // after the last
	stall      = 30 * time.Second // without a byte, after which an attempt ends
)

var errStalled = fmt.Errorf("%w: nothing came for %v", ReasonOriginFailed, stall)

// flight is one fetch for all who wait for it.
type flight struct {
	cancel  context.CancelCauseFunc
	waiters int // guarded by the store's mutex
	done    chan struct{}
	content *Content // open until the last waiter leaves
	err     error
}

// errLeft ends a fetch that nobody waits for any more.
var errLeft = errors.New("content: nobody waits for the fetch any more")

// Fetch returns content from the store, or from the first of the origins that gives it. All who
// want a root at the same time wait for one fetch, that of who came first. It goes on until it is
// done or until the last of them has left. The caller closes the content.
func (s *Store) Fetch(ctx context.Context, want Want, origins ...Origin) (*Content, error) {
	c, err := s.Open(want.Root)
	if !errors.Is(err, ReasonAbsent) {
		return c, err
	}
	if len(origins) == 0 {
		return nil, refuse(ReasonNoOrigin, "%v", want.Root)
	}
	f, err := s.join(want, origins)
	if err != nil {
		return nil, err
	}
	defer s.leave(f, want)
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-f.done:
	}
	if f.err != nil {
		return nil, f.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reader(f.content.entry)
}

// join takes part in the fetch of a root, and begins it if there is none.
func (s *Store) join(want Want, origins []Origin) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ReasonClosed
	}
	if f := s.flights[want.Root]; f != nil {
		f.waiters++
		s.counts.Joined++
		return f, nil
	}
	if len(s.flights) >= s.o.MaxFetches {
		return nil, refuse(ReasonBusy, "%d run", len(s.flights))
	}
	ctx, cancel := context.WithCancelCause(s.context)
	f := &flight{cancel: cancel, waiters: 1, done: make(chan struct{})}
	s.flights[want.Root] = f
	s.work.Go(func() {
		defer cancel(nil)
		c, err := s.fetch(ctx, want, origins)
		if !s.land(f, want, c, err) && c != nil {
			c.Close()
		}
	})
	return f, nil
}

// land ends a fetch, and tells whether anybody waits for it still.
func (s *Store) land(f *flight, want Want, c *Content, err error) (awaited bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.content, f.err = c, err
	if err == nil {
		s.counts.Fetched++
	} else {
		s.counts.Failed++
	}
	if s.flights[want.Root] == f {
		delete(s.flights, want.Root)
	}
	close(f.done)
	return f.waiters > 0
}

// leave ends waiting. The last one ends a fetch that is not done.
func (s *Store) leave(f *flight, want Want) {
	if s.last(f, want) && f.content != nil {
		f.content.Close()
	}
}

// last takes a waiter away and tells whether it was the last one. Then either the fetch has landed,
// or it will see that nobody waits.
func (s *Store) last(f *flight, want Want) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiters--; f.waiters > 0 {
		return false
	}
	if s.flights[want.Root] == f {
		delete(s.flights, want.Root) // who comes now begins anew
	}
	select {
	case <-f.done:
		return true
	default:
		f.cancel(errLeft)
		return false
	}
}

// fetch asks origins in turn.
func (s *Store) fetch(ctx context.Context, want Want, origins []Origin) (*Content, error) {
	var failed []error
	for _, origin := range origins {
		began := time.Now()
		c, err := s.fetchFrom(ctx, want, origin)
		if err == nil {
			s.o.Log.Debug("fetched", "root", want.Root, "size", c.Size, "origin", origin.String(),
				"took", time.Since(began))
			return c, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", origin, err))
		s.o.Log.Info("fetch failed", "root", want.Root, "origin", origin.String(), "error", err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// fetchFrom fetches from one origin, and goes on where it broke off.
func (s *Store) fetchFrom(ctx context.Context, want Want, origin Origin) (*Content, error) {
	w, err := s.newWriter(want.Size)
	if err != nil {
		return nil, err
	}
	defer w.discard()
	backoff := retry.New(firstDelay, mostDelay)
	for left := attempts; ; {
		before := w.encoder.Size()
		err := w.attempt(ctx, want, origin)
		if err == nil {
			return w.commit(ctx, &want.Root)
		}
		if w.encoder.Size() > before {
			left = attempts
			backoff.Reset()
		}
		if left--; left == 0 || !errors.Is(err, ReasonOriginFailed) || ctx.Err() != nil {
			return nil, err
		}
		if err := backoff.Wait(ctx, retryAfter(err)); err != nil {
			return nil, err
		}
	}
}

// retryAfter is when the origin wants to be asked again.
func retryAfter(err error) time.Duration {
	var says interface{ RetryAfter() time.Duration }
	if errors.As(err, &says) {
		return min(says.RetryAfter(), time.Minute)
	}
	return 0
}

// attempt reads from the origin to the content's end.
func (w *writer) attempt(ctx context.Context, want Want, origin Origin) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.Stop()
	at := w.encoder.Size()
	body, err := origin.Open(ctx, want, at)
	if err != nil {
		return stalled(ctx, err)
	}
	defer body.Close()
	switch {
	case body.Offset == 0 && at > 0:
		if err := w.restart(); err != nil {
			return err
		}
	case body.Offset != at:
		return refuse(ReasonOriginRange, "from %d on, not from %d", body.Offset, at)
	}
	if body.Size >= 0 {
		if err := w.expect(body.Size); err != nil {
			return err
		}
	}
	err = w.copy(&watchedReader{ctx, body, watch})
	if err == nil && body.Size >= 0 && w.encoder.Size() < body.Size {
		err = refuse(ReasonOriginFailed, "%d bytes of %d", w.encoder.Size(), body.Size)
	}
	return err
}

// expect takes an origin's word for a size: it can be refused before a byte is read.
func (w *writer) expect(size int64) error {
	switch {
	case w.size >= 0 && size != w.size:
		return refuse(ReasonSize, "the origin has %d bytes, not %d", size, w.size)
	case size > w.store.o.MaxContent:
		return refuse(ReasonTooLarge, "%d bytes, at most %d", size, w.store.o.MaxContent)
	}
	return w.reserve(footprint(size))
}

// watchedReader reads from an origin as long as something comes.
type watchedReader struct {
	ctx   context.Context
	body  io.Reader
	watch *time.Timer
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	if n > 0 {
		r.watch.Reset(stall)
	}
	if err != nil && err != io.EOF {
		err = stalled(r.ctx, refuse(ReasonOriginFailed, "%w", err))
	}
	return n, err
}

// stalled says why a call ended: for the reason that its context has, if that ended.
func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
