package pipeline

import (
	"sync"
	"time"
)

// Classes of budgets and of the verify queue. A batch is of one class, so what quarantined
// clients send delays nobody else's batch, and what sources send that nobody knows yet delays the
// established ones by a batch at most, however many there are: anyone can open connections, and bad
// acks are found out only by verifying them.
const (
	classAccount = iota // not verified at once: never in the queue, and of the budget of the next
	classEstablished
	classNew
	classSuspect
	classes
)

// queue holds chunks that wait for verification. Within a class, sources take turns.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	rings   [classes]ring
	acks    [classes]int
	waiting int          // idle workers
	busy    [classes]int // workers with a batch of the class
	turn    int          // batches since suspects had theirs
	newTurn bool         // the last batch that was not of suspects was of established sources
	closed  bool
}

// ring is the sources that have chunks in a class, the next to serve first.
type ring struct{ first, last *Source }

// lineup is what one source has in one class.
type lineup struct {
	first, last *chunk
	next        *Source // in the ring
}

func (r *ring) push(s *Source, class int) {
	if r.first == nil {
		r.first = s
	} else {
		r.last.lineups[class].next = s
	}
	r.last = s
}

func (r *ring) pop(class int) {
	l := &r.first.lineups[class]
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
	l := &c.source.lineups[c.class]
	if l.first == nil {
		l.first = c
		q.rings[c.class].push(c.source, c.class)
	} else {
		l.last.next = c
	}
	l.last = c
	o := c.order()
	o.last++
	c.turn = o.last
	q.acks[c.class] += len(c.at)
	q.filled.Signal()
	return true
}

// enlist gives a chunk its turn that does not wait in the queue. It is refused after close; until
// the caller has settled it, workers counts one more.
func (q *queue) enlist(c *chunk, workers *sync.WaitGroup) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	o := c.order()
	o.last++
	c.turn = o.last
	workers.Add(1)
	return true
}

// idle reports whether nothing waits and nothing is verified.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for class := range q.acks {
		n += q.acks[class] + q.busy[class]
	}
	return n == 0
}

// take waits for chunks and returns a batch of one class: all that is queued, shared among the
// idle workers, up to limit acks. After close it returns nothing.
func (q *queue) take(batch []*chunk, limit int) (_ []*chunk, class int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed {
			return batch, class
		}
		q.setApart()
		if class, ok := q.next(); ok {
			q.busy[class]++
			if class == classSuspect {
				q.turn = 0
				return q.fill(batch, class, min(limit, suspectChunk)), class
			}
			q.turn++
			q.newTurn = class == classEstablished
			share := (q.acks[class] + q.waiting) / (q.waiting + 1)
			return q.fill(batch, class, min(limit, max(share, maxChunk))), class
		}
		q.waiting++
		q.filled.Wait()
		q.waiting--
	}
}

// setApart moves what sources queued in the other classes before they turned out to be suspect.
// The budget that it was admitted under still counts it.
func (q *queue) setApart() {
	q.setApartOf(classEstablished)
	q.setApartOf(classNew)
}

func (q *queue) setApartOf(class int) {
	for r := &q.rings[class]; r.first != nil && r.first.suspect(); {
		s := r.first
		from, to := &s.lineups[class], &s.lineups[classSuspect]
		r.pop(class)
		if to.first == nil {
			to.first = from.first
			q.rings[classSuspect].push(s, classSuspect)
		} else {
			to.last.next = from.first
		}
		to.last = from.last
		for c := from.first; c != nil; c = c.next {
			q.acks[class] -= len(c.at)
			q.acks[classSuspect] += len(c.at)
		}
		from.first, from.last = nil, nil
	}
}

// suspectTurns is how many other batches go before one of suspects when both wait.
const suspectTurns = 4

// next returns whose turn it is. Never more than one worker is busy with suspects, and only one
// with new sources while established ones wait, which take turns with them.
func (q *queue) next() (class int, ok bool) {
	waits := func(class int) bool { return q.rings[class].first != nil }
	switch {
	case waits(classSuspect) && q.busy[classSuspect] == 0 &&
		(q.turn >= suspectTurns || !waits(classEstablished) && !waits(classNew)):
		return classSuspect, true
	case waits(classNew) && (!waits(classEstablished) || q.newTurn && q.busy[classNew] == 0):
		return classNew, true
	case waits(classEstablished):
		return classEstablished, true
	}
	return 0, false
}

// fill moves chunks to the batch, about maxChunk acks from each source in turn.
// Sources that have not shown good acks yet are not let into a large batch: if theirs are bad,
// finding that out takes as long as verifying many times as many good ones, and others would wait
// for it.
func (q *queue) fill(batch []*chunk, class, limit int) []*chunk {
	taken := 0
	for r := &q.rings[class]; ; {
		if class != classSuspect {
			q.setApartOf(class)
		}
		if r.first == nil {
			return batch
		}
		s := r.first
		if !s.established() {
			limit = min(limit, maxChunk)
		}
		l := &s.lineups[class]
		quantum, full := maxChunk, false
		for l.first != nil && quantum > 0 && !full {
			c := l.first
			full = len(batch) > 0 && taken+len(c.at) > limit
			if !full {
				l.first, c.next = c.next, nil
				batch = append(batch, c)
				taken += len(c.at)
				quantum -= len(c.at)
				q.acks[class] -= len(c.at)
			}
		}
		if full && quantum == maxChunk {
			return batch // whose turn it is, and nothing taken: first in the next batch
		}
		r.pop(class)
		if l.first != nil {
			r.push(s, class)
		}
		if full {
			return batch
		}
	}
}

// done says that a batch of a class was verified.
func (q *queue) done(class int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy[class]--
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
	for class := range q.rings {
		for r := &q.rings[class]; r.first != nil; r.pop(class) {
			for c := r.first.lineups[class].first; c != nil; c = c.next {
				left = append(left, c)
			}
		}
		q.acks[class] = 0
	}
	q.filled.Broadcast()
	return left
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.acks[classEstablished] + q.acks[classNew] + q.acks[classSuspect]
}

// oldest returns when the chunk that waits longest was queued, the zero time if none waits.
func (q *queue) oldest() (t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for class, r := range q.rings {
		for s := r.first; s != nil; s = s.lineups[class].next {
			if c := s.lineups[class].first; t.IsZero() || c.queued.Before(t) {
				t = c.queued
			}
		}
	}
	return t
}
