package pipeline

import (
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// committer collects chunks while a write is under way; they are the next group. So the groups
// grow with the load and with the latency of the disk, and an ack waits for two writes at most:
// for the rest of the one under way, and for its own.
//
// Its chunks have provisional answers: accepted, known and number_used rest on acks that may not
// be durable yet. One goroutine takes group after group, writes what the windows in
// memory have, and then makes the answers final. If the write failed, or one before it, whatever
// rests on it is answered store_failed.
type committer struct {
	mu      sync.Mutex
	filled  sync.Cond
	pending []*chunk
	acks    int // in pending and in the write under way
	since   time.Time
	closed  bool
}

func (c *committer) init() { c.filled.L = &c.mu }

// add hands over chunks whose acks have provisional answers, and are in their windows.
func (c *committer) add(chunks []*chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		c.since = time.Now()
	}
	for _, chunk := range chunks {
		c.pending = append(c.pending, chunk)
		c.acks += len(chunk.at)
	}
	c.filled.Signal()
}

// take waits for a group; spare becomes the space of the next. An empty one means that the
// committer is closed.
func (c *committer) take(spare []*chunk) (group []*chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) == 0 && !c.closed {
		c.filled.Wait()
	}
	group, c.pending = c.pending, spare[:0]
	return group
}

func (c *committer) done(acks int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acks -= acks
}

func (c *committer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.filled.Signal()
}

func (c *committer) queued() (acks int, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) > 0 {
		since = c.since
	}
	return c.acks, since
}

// commitGroups writes group after group until the committer is closed and empty.
func (p *Pipeline) commitGroups() {
	var g group
	var spare []*chunk
	for {
		chunks := p.committer.take(spare)
		if len(chunks) == 0 {
			return
		}
		start := time.Now()
		if !p.failed() { // otherwise answer says so
			if err := g.write(p); err != nil {
				p.fail("committing acks", err)
			}
		}
		acks := 0
		for i, c := range chunks {
			acks += len(c.at)
			p.answer(c)
			chunks[i] = nil
		}
		p.committer.done(acks)
		p.counters.commit.Batch(acks, time.Since(start))
		spare = chunks
	}
}

// group is one write.
type group struct {
	windows []*window
	chunks  []rollup.Chunk
}

// write makes everything durable that the windows in memory hold, which includes acks of chunks
// that are not in the group yet: what is known or used may have been taken with any of them.
func (g *group) write(p *Pipeline) error {
	g.windows, g.chunks = g.windows[:0], g.chunks[:0]
	p.windows.mu.Lock()
	p.windows.each(g.add)
	p.windows.mu.Unlock()
	if len(g.chunks) == 0 {
		return nil
	}
	if err := p.store.AppendAcks(g.chunks); err != nil {
		return err
	}
	p.counters.writes.Add(1)
	p.cfg.Taken(g.chunks)
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	for _, w := range g.windows {
		w.durable = w.written
	}
	return nil
}

func (g *group) add(w *window) {
	n := w.acks()
	if n == w.written {
		return
	}
	g.windows = append(g.windows, w)
	for from := w.written; from < n; { // what was taken on account lies apart
		to, account := from+1, w.has(from, markAccount)
		if len(w.marks) == 0 {
			to = n
		}
		for to < n && w.has(to, markAccount) == account {
			to++
		}
		g.chunks = append(g.chunks, rollup.Chunk{Key: w.key, First: uint32(from), OnAccount: account,
			Frames: w.frames[from*rollup.AckSize : to*rollup.AckSize]})
		from = to
	}
	w.written = n
}

// answer makes the provisional answers of a chunk final and gives back what it held.
func (p *Pipeline) answer(c *chunk) {
	failed := p.failed()
	durable := 0
	for _, i := range c.at {
		a := &c.future.answers[i]
		switch {
		case failed && (a.Code.OK() || a.Code == rollup.CodeNumberUsed): // it may rest on what is lost
			*a = rollup.Answer{Code: rollup.CodeStoreFailed}
		case a.Code.OK():
			durable++
		}
		p.counters.answer(a.Code, 1)
	}
	p.counters.commit.Settle(durable, len(c.at)-durable)
	p.finish(c)
}

// abandon answers all acks of a chunk that did not get into the queue.
func (p *Pipeline) abandon(c *chunk, code rollup.Code) {
	p.repay(c)
	p.judged(c.epoch, len(c.at))
	for _, i := range c.at {
		c.future.answers[i] = rollup.Answer{Code: code}
	}
	p.counters.refuse(&p.counters.verify, code, len(c.at))
	p.finish(c)
}

// finish gives back what a chunk held. Windows whose acks have all been answered drain.
func (p *Pipeline) finish(c *chunk) {
	n, future := len(c.at), c.future
	class := c.budget()
	p.budgets[class].release(&c.source.shares[class], n, c.size())
	p.windows.mu.Lock()
	for _, share := range c.windows {
		w := share.window
		if w.unanswered -= share.acks; w.drained() {
			p.windows.drained <- w
		}
	}
	p.windows.mu.Unlock()
	c.recycle()
	future.resolve(n)
}
