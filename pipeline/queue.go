package pipeline

import (
	"sync"
	"time"
)

// Lanes of budgets and of the verify queue. A batch is of one lane, so what quarantined clients send delays nobody else's
// batch, and what sources send that nobody knows yet delays the proven ones by a batch at most, however many there are:
// anyone can open connections, and bad acks are found out only by verifying them.
const (
	laneProven = iota
	laneNew
	laneSuspect
	lanes
)

// queue holds chunks that wait for verification. Within a lane, sources take turns.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	rings   [lanes]ring
	acks    [lanes]int
	waiting int        // idle workers
	busy    [lanes]int // workers with a batch of the lane
	turn    int        // batches since suspects had theirs
	newTurn bool       // the last batch that was not of suspects was of proven sources
	closed  bool
}

// ring is the sources that have chunks in a lane, the next to serve first.
type ring struct{ first, last *Source }

// lineup is what one source has in one lane.
type lineup struct {
	first, last *chunk
	next        *Source // in the ring
}

func (r *ring) push(s *Source, lane int) {
	if r.first == nil {
		r.first = s
	} else {
		r.last.lineups[lane].next = s
	}
	r.last = s
}

func (r *ring) pop(lane int) {
	l := &r.first.lineups[lane]
	r.first, l.next = l.next, nil
}

func (q *queue) init() { q.filled.L = &q.mu }

// push adds a chunk to its source's line. It is refused, with false, after close.
func (q *queue) push(c *chunk) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	l := &c.source.lineups[c.lane]
	if l.first == nil {
		l.first = c
		q.rings[c.lane].push(c.source, c.lane)
	} else {
		l.last.next = c
	}
	l.last = c
	q.acks[c.lane] += len(c.at)
	q.filled.Signal()
	return true
}

// take waits for chunks and returns a batch of one lane and one epoch: all that is queued, shared among the idle
// workers, up to limit acks. After close it returns nothing.
func (q *queue) take(batch []*chunk, limit int) (_ []*chunk, lane int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed {
			return batch, lane
		}
		q.setApart()
		if lane, ok := q.lane(); ok {
			q.busy[lane]++
			if lane == laneSuspect {
				q.turn = 0
				return q.fill(batch, lane, min(limit, suspectChunk)), lane
			}
			q.turn++
			q.newTurn = lane == laneProven
			share := (q.acks[lane] + q.waiting) / (q.waiting + 1)
			return q.fill(batch, lane, min(limit, max(share, maxChunk))), lane
		}
		q.waiting++
		q.filled.Wait()
		q.waiting--
	}
}

// setApart moves what sources queued in the other lanes before they turned out to be suspect. The budget that it was
// admitted under still counts it.
func (q *queue) setApart() {
	q.setApartOf(laneProven)
	q.setApartOf(laneNew)
}

func (q *queue) setApartOf(lane int) {
	for r := &q.rings[lane]; r.first != nil && r.first.suspect(); {
		s := r.first
		from, to := &s.lineups[lane], &s.lineups[laneSuspect]
		r.pop(lane)
		if to.first == nil {
			to.first = from.first
			q.rings[laneSuspect].push(s, laneSuspect)
		} else {
			to.last.next = from.first
		}
		to.last = from.last
		for c := from.first; c != nil; c = c.next {
			q.acks[lane] -= len(c.at)
			q.acks[laneSuspect] += len(c.at)
		}
		from.first, from.last = nil, nil
	}
}

// suspectTurns is how many other batches go before one of suspects when both wait.
const suspectTurns = 4

// lane returns whose turn it is. Never more than one worker is busy with suspects, and only one with new sources while
// proven ones wait, which take turns with them.
func (q *queue) lane() (lane int, ok bool) {
	waits := func(lane int) bool { return q.rings[lane].first != nil }
	switch {
	case waits(laneSuspect) && q.busy[laneSuspect] == 0 && (q.turn >= suspectTurns || !waits(laneProven) && !waits(laneNew)):
		return laneSuspect, true
	case waits(laneNew) && (!waits(laneProven) || q.newTurn && q.busy[laneNew] == 0):
		return laneNew, true
	case waits(laneProven):
		return laneProven, true
	}
	return 0, false
}

// fill moves chunks of one epoch to the batch, about maxChunk acks from each source in turn. Sources that have not shown
// good acks yet are not let into a large batch: if theirs are bad, finding that out takes as long as verifying many times
// as many good ones, and others would wait for it.
func (q *queue) fill(batch []*chunk, lane, limit int) []*chunk {
	taken := 0
	for r := &q.rings[lane]; ; {
		if lane != laneSuspect {
			q.setApartOf(lane)
		}
		if r.first == nil {
			return batch
		}
		s := r.first
		if !s.proven() {
			limit = min(limit, maxChunk)
		}
		l := &s.lineups[lane]
		quantum, full := maxChunk, false
		for l.first != nil && quantum > 0 && !full {
			c := l.first
			if full = len(batch) > 0 && (taken+len(c.at) > limit || c.window.key.Epoch != batch[0].window.key.Epoch); !full {
				l.first, c.next = c.next, nil
				batch = append(batch, c)
				taken += len(c.at)
				quantum -= len(c.at)
				q.acks[lane] -= len(c.at)
			}
		}
		if full && quantum == maxChunk {
			return batch // whose turn it is, and nothing taken: first in the next batch
		}
		r.pop(lane)
		if l.first != nil {
			r.push(s, lane)
		}
		if full {
			return batch
		}
	}
}

// done says that a batch of a lane was verified.
func (q *queue) done(lane int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy[lane]--
	q.filled.Signal()
}

// close ends take and returns what is left.
func (q *queue) close() (left []*chunk) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	for lane := range q.rings {
		for r := &q.rings[lane]; r.first != nil; r.pop(lane) {
			for c := r.first.lineups[lane].first; c != nil; c = c.next {
				left = append(left, c)
			}
		}
		q.acks[lane] = 0
	}
	q.filled.Broadcast()
	return left
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.acks[laneProven] + q.acks[laneNew] + q.acks[laneSuspect]
}

// oldest returns when the chunk that waits longest was queued, the zero time if none waits.
func (q *queue) oldest() (t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for lane, r := range q.rings {
		for s := r.first; s != nil; s = s.lineups[lane].next {
			if c := s.lineups[lane].first; t.IsZero() || c.queued.Before(t) {
				t = c.queued
			}
		}
	}
	return t
}

// fifo is a queue without a bound, for what is bounded elsewhere.
type fifo[T any] struct {
	mu     sync.Mutex
	filled sync.Cond
	items  []T
	closed bool
}

func (q *fifo[T]) init() { q.filled.L = &q.mu }

func (q *fifo[T]) push(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, v)
	q.filled.Signal()
}

// pop waits for an item; false means that the queue was closed, whatever it holds.
func (q *fifo[T]) pop() (v T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return v, false
	}
	v = q.items[0]
	q.items = q.items[1:]
	return v, true
}

func (q *fifo[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}
