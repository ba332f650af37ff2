package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/waybill-network/waybill/rollup"
)

// Reader reads content as it comes. It is not safe for concurrent use.
type Reader struct {
	fetcher *Fetcher
	ctx     context.Context
	root    rollup.Hash
	size    uint64
	known   bool // size is
	at      uint64
	stream  *incoming
	ready   []byte // verified bytes from at on
	tried   []int  // failures of each node since bytes came
	prefer  int    // the node that is asked first
	errs    []error
	done    error
}

// maxTries is how often a node is asked while no bytes come.
const maxTries = 2

// Size is the length of the content. It is the node's word until the last byte is verified.
func (r *Reader) Size() int64 { return int64(r.size) }

// connect gets a stream from where the reader is. It asks one node after the other.
func (r *Reader) connect() error {
	for r.stream == nil {
		l := r.pick()
		if l < 0 {
			r.done = errors.Join(r.errs...)
			return r.done
		}
		s, err := r.fetcher.links[l].request(r.ctx, r.root, r.at)
		if err == nil && r.known && s.word.Size != r.size {
			s.close()
			err = in("head", refuseHead("%d bytes of content, where it had %d before", s.word.Size,
				r.size))
		}
		if err != nil {
			if err := r.failed(l, err); err != nil {
				return err
			}
			continue
		}
		r.stream, r.size, r.known, r.prefer = s, s.word.Size, true, l
	}
	return nil
}

// pick returns the node to ask next: the preferred one, or the next that failed least; -1 when all
// have failed often enough.
func (r *Reader) pick() int {
	best := -1
	for i := range r.tried {
		l := (r.prefer + i) % len(r.tried)
		if r.tried[l] < maxTries && (best < 0 || r.tried[l] < r.tried[best]) {
			best = l
		}
	}
	return best
}

// failed notes a failure of a node; it returns the caller's own.
func (r *Reader) failed(l int, err error) error {
	phase := "stream"
	var at *phased
	if errors.As(err, &at) {
		phase, err = at.phase, at.err
	}
	link := r.fetcher.links[l]
	if r.ctx.Err() != nil {
		r.done = r.fetcher.failure(link, phase, r.root, r.at, r.ctx.Err())
		return r.done
	}
	r.tried[l]++
	if len(r.tried) > 1 {
		r.prefer = (l + 1) % len(r.tried)
	}
	if permanent := new(Reason); errors.As(err, permanent) {
		r.tried[l] = maxTries // it will not be another node
	}
	r.errs = append(r.errs, r.fetcher.failure(link, phase, r.root, r.at, err))
	r.fetcher.cfg.Nodes[l].cfg.Logger.Debug("a node failed", "phase", phase, "err", err)
	return nil
}

// Read implements io.Reader. When a node fails, it goes on at another one.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		if r.done != nil {
			return 0, r.done
		}
		if r.known && r.at >= r.size {
			return 0, r.finish()
		}
		if err := r.connect(); err != nil {
			return 0, err
		}
		before := r.stream.offset()
		data, err := r.stream.run()
		if len(data) > 0 {
			skip := r.at - min(r.at, before)
			r.ready = data[min(skip, uint64(len(data))):]
			clear(r.tried)
			r.errs = nil
		}
		if err != nil || len(data) == 0 {
			r.stream.close()
			r.stream = nil
		}
		if err != nil {
			if err := r.failed(r.prefer, err); err != nil && len(r.ready) == 0 {
				return 0, err
			}
		}
	}
	n := copy(p, r.ready)
	r.ready, r.at = r.ready[n:], r.at+uint64(n)
	return n, nil
}

// finish takes the end of a stream that has brought all.
func (r *Reader) finish() error {
	if s := r.stream; s != nil {
		r.stream = nil
		if s.offset() == s.end {
			_, _ = s.run() // the end; all bytes are here, whatever follows them
		}
		s.close()
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
	r.ready = nil
	if s := r.stream; s != nil {
		r.stream = nil
		r.fetcher.drains.Go(s.drain)
	}
}

// Close ends reading. What was received is acknowledged a little later, or with the next content.
func (r *Reader) Close() error {
	r.leave()
	if r.done == nil {
		r.done = fmt.Errorf("client: read: the reader is closed")
	}
	return nil
}
