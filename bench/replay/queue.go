package replay

import (
	"context"
	"iter"
	"sync"

	"github.com/waybill-network/waybill/client"
)

// maxQueued bounds the acks that wait for one node, so that the others go on while that is silent:
// about 150 MB.
const maxQueued = 1 << 20

// queue is what is still to be delivered to one node. It has one writer and one reader.
type queue struct {
	mu      sync.Mutex
	acks    []client.Delivery
	closed  bool   // no more come
	given   bool   // no more are taken
	refused uint64 // that were put after that
	changed chan struct{}
}

func newQueue() *queue { return &queue{changed: make(chan struct{})} }

// change does something to the queue, and wakes the other side.
func (q *queue) change(do func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	do()
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *queue) close() { q.change(func() { q.closed = true }) }

// abandon is called when the reader has ended: what is put then is counted, and does not block.
func (q *queue) abandon() { q.change(func() { q.given = true }) }

func (q *queue) left() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return uint64(len(q.acks)) + q.refused
}

// put waits while the queue is full.
func (q *queue) put(ctx context.Context, ack client.Delivery) error {
	for {
		q.mu.Lock()
		room, changed := q.given || len(q.acks) < maxQueued, q.changed
		q.mu.Unlock()
		if room {
			q.change(func() {
				if q.given {
					q.refused++
				} else {
					q.acks = append(q.acks, ack)
				}
			})
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// all yields what is put until the queue is closed and empty, or ctx ends.
func (q *queue) all(ctx context.Context) iter.Seq[client.Delivery] {
	return func(yield func(client.Delivery) bool) {
		for {
			q.mu.Lock()
			acks, closed, changed := q.acks, q.closed, q.changed
			q.mu.Unlock()
			switch {
			case len(acks) > 0:
				q.change(func() { q.acks = q.acks[1:] })
				if !yield(acks[0]) {
					return
				}
				continue
			case closed:
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
