package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// Reader reads content as it comes. It is not safe for concurrent use.
type Reader struct {
	fetcher *Fetcher
	ctx     context.Context
	target  target
	links   []*link // that the content may come from
	size    uint64
	known   bool // size is
	at      uint64
	stream  *incoming
	origin  io.ReadSeekCloser // when no node delivers
	ready   []byte            // verified bytes from at on
	piece   []byte            // that they are of
	tried   map[*link]int     // failures of each node since bytes came
	errs    []error
	done    error
}

// maxTries is how often a node is asked while no bytes come.
const maxTries = 2

// Size is the length of the content. It is the node's word until the last byte is verified.
func (r *Reader) Size() int64 { return int64(r.size) }

// Root is the content's root.
func (r *Reader) Root() rollup.Hash { return r.target.root }

// From is the URL of the node that sends at present; that of the origin when it does.
func (r *Reader) From() string {
	switch {
	case r.stream != nil:
		return r.stream.link.client.cfg.URL
	case r.origin != nil:
		return r.fetcher.cfg.Origin
	}
	return ""
}

// take takes a stream that has begun.
func (r *Reader) take(s *incoming) error {
	if r.known && s.word.Size != r.size {
		return in("head", refuseHead("%d bytes of content, where it had %d before", s.word.Size,
			r.size))
	}
	r.stream, r.size, r.known = s, s.word.Size, true
	return nil
}

// exhausted says that all nodes failed, when they did so often enough, and turns to the origin.
func (r *Reader) exhausted() error {
	for _, l := range r.links {
		if r.tried[l] < maxTries {
			return nil
		}
	}
	if r.fetcher.cfg.Origin == "" {
		r.done = errors.Join(r.errs...)
		return r.done
	}
	file, size, err := r.fetcher.fromOrigin(r.ctx, &r.target)
	if err == nil && r.known && size != r.size {
		err = errors.Join(fmt.Errorf("%d bytes, where the nodes say %d", size, r.size), file.Close())
	}
	if err == nil {
		_, err = file.Seek(int64(r.at), io.SeekStart)
	}
	if err != nil {
		at := &FetchError{Node: r.fetcher.cfg.Origin, Phase: "origin"}
		r.done = errors.Join(append(r.errs, r.fetcher.complete(at, r, err))...)
		return r.done
	}
	r.origin, r.size, r.known = file, size, true
	return nil
}

// gaveUp is the caller's own end.
func (r *Reader) gaveUp() error {
	r.done = r.fetcher.complete(&FetchError{Phase: "request"}, r, r.ctx.Err())
	return r.done
}

// failed notes a failure of a node; it returns the caller's own.
func (r *Reader) failed(l *link, err error) error {
	at := &FetchError{Node: l.client.cfg.URL, Phase: "stream"}
	var phased *phased
	if errors.As(err, &phased) {
		at.Phase, err = phased.phase, phased.err
	}
	if r.ctx.Err() != nil {
		r.done = r.fetcher.complete(at, r, r.ctx.Err())
		return r.done
	}
	l.client.port.fell()
	if r.tried[l]++; final(err) {
		r.tried[l] = maxTries
	}
	r.errs = append(r.errs, r.fetcher.complete(at, r, err))
	l.client.cfg.Logger.Debug("a node failed", "node", at.Node, "phase", at.Phase, "err", err)
	return nil
}

// final reports whether a node will say the same when it is asked again: it will not be another
// node, and will not have what it lacks.
func final(err error) bool {
	var own Reason
	var reason delivery.Reason
	if errors.As(err, &own) {
		return true
	}
	if !errors.As(err, &reason) {
		return false
	}
	switch reason {
	case delivery.ReasonNotFound, delivery.ReasonDenied, delivery.ReasonRange,
		delivery.ReasonService, delivery.ReasonNotGranted, delivery.ReasonNotValid,
		delivery.ReasonNumbers, delivery.ReasonVolume, delivery.ReasonOwesClient,
		delivery.ReasonOwesPayer, delivery.ReasonOwesAddress:
		return true
	}
	return false
}

// put takes what a stream brings.
func (r *Reader) put(p piece) error {
	s := r.stream
	if len(p.data) > 0 {
		skip := min(r.at-min(r.at, p.from), uint64(len(p.data)))
		r.piece, r.ready = p.data, p.data[skip:]
		clear(r.tried)
		r.errs = nil
	}
	if p.err == nil && !p.end {
		return nil
	}
	r.stream = nil
	if p.err == nil {
		return nil
	}
	if err := r.failed(s.link, p.err); err != nil && len(r.ready) == 0 {
		return err
	}
	return nil
}

// Read implements io.Reader. When a node fails, it goes on at another one.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		switch {
		case r.done != nil:
			return 0, r.done
		case r.known && r.at >= r.size:
			return 0, r.finish()
		case r.origin != nil:
			n, err := r.origin.Read(p)
			r.at += uint64(n)
			return n, err
		}
		if err := r.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.ready)
	r.ready, r.at = r.ready[n:], r.at+uint64(n)
	if len(r.ready) == 0 {
		release(r.piece)
		r.piece, r.ready = nil, nil
	}
	return n, nil
}

// more waits for more of the present stream, or gets one. When nothing comes for a while, another
// node is asked beside it.
func (r *Reader) more() error {
	s := r.stream
	if s == nil {
		return r.connect(nil)
	}
	stall := s.link.stall()
	timer := time.NewTimer(stall)
	defer timer.Stop()
	for {
		select {
		case p := <-s.pieces:
			return r.put(p)
		case <-timer.C:
			if idle := s.idle(); idle < stall {
				timer.Reset(stall - idle)
				continue
			}
			return r.connect(s)
		case <-r.ctx.Done():
			return r.gaveUp()
		}
	}
}

// endsWithin is how long a reader waits for the end behind the last byte, which comes with it.
const endsWithin = 20 * time.Millisecond

// finish takes the end of a stream that has brought all.
func (r *Reader) finish() error {
	if s := r.stream; s != nil {
		r.stream = nil
		ended := make(chan struct{})
		r.fetcher.drains.Go(func() {
			defer close(ended)
			// All bytes are here. What is still to come is the end.
			defer time.AfterFunc(time.Second, s.cancel).Stop()
			for p := range s.pieces {
				release(p.data)
			}
		})
		if s.give != nil { // the next content may have the connection
			select {
			case <-ended:
			case <-time.After(endsWithin):
			}
		}
	}
	return io.EOF
}

// Seek implements io.Seeker. What is on its way when it leaves the present stream is still received
// and acknowledged, for it was sent.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += int64(r.at)
	case io.SeekEnd:
		offset += int64(r.size)
	default:
		return 0, fmt.Errorf("client: seek: whence %d", whence)
	}
	if offset < 0 {
		return 0, fmt.Errorf("client: seek before the content")
	}
	to := uint64(offset)
	switch {
	case to == r.at:
		return offset, nil
	case to > r.at && to-r.at < uint64(len(r.ready)):
		r.ready = r.ready[to-r.at:]
	default:
		if r.origin != nil {
			if _, err := r.origin.Seek(offset, io.SeekStart); err != nil {
				return 0, err
			}
		}
		r.leave()
		if errors.Is(r.done, io.EOF) {
			r.done = nil
		}
	}
	r.at = to
	return offset, nil
}

// leave gives up the present stream.
func (r *Reader) leave() {
	if r.piece != nil {
		release(r.piece)
		r.piece, r.ready = nil, nil
	}
	if s := r.stream; s != nil {
		r.stream = nil
		s.leave()
	}
}

// Close ends reading. What was received is acknowledged a little later, or with the next content.
func (r *Reader) Close() error {
	r.leave()
	if r.done == nil {
		r.done = fmt.Errorf("client: read: the reader is closed")
	}
	if r.origin != nil {
		err := r.origin.Close()
		r.origin = nil
		return err
	}
	return nil
}
