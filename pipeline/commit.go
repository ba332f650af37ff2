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
// Its chunks have provisional codes: accepted, known and replayed_seq rest on acks that may not
// be durable yet. One goroutine takes group after group, writes what the windows of its chunks
// have, and then makes the codes final. If the write failed, or one before it, whatever rests on
// it is answered store_failed.
type committer struct {
	mu      sync.Mutex
	filled  sync.Cond
	pending []*chunk
	acks    int // in pending and in the write under way
	since   time.Time
	closed  bool
}

func (c *committer) init() { c.filled.L = &c.mu }

// add hands over chunks whose acks have provisional codes and are in their windows.
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
			if err := g.write(p, chunks); err != nil {
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
	runs    []rollup.Run
}

// write makes everything durable that the chunks' windows hold, which includes acks of chunks
// that are not in the group yet.
func (g *group) write(p *Pipeline, chunks []*chunk) error {
	g.windows, g.runs = g.windows[:0], g.runs[:0]
	for _, c := range chunks {
		if !g.has(c.window) {
			g.add(c.window)
		}
	}
	if len(g.runs) == 0 {
		return nil
	}
	if err := p.store.AppendAcks(g.runs); err != nil {
		return err
	}
	p.counters.writes.Add(1)
	for _, w := range g.windows {
		w.mu.Lock()
		w.durable = w.written
		w.mu.Unlock()
	}
	return nil
}

func (g *group) has(w *window) bool {
	for _, seen := range g.windows {
		if seen == w {
			return true
		}
	}
	return false
}

func (g *group) add(w *window) {
	g.windows = append(g.windows, w)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.acks(); n > w.written {
		run := rollup.Run{Key: w.key, First: uint32(w.written),
			Frames: w.frames[w.written*rollup.AckSize:]}
		g.runs = append(g.runs, run)
		w.written = n
	}
}

// answer makes the provisional codes of a chunk final and gives back what it held.
func (p *Pipeline) answer(c *chunk) {
	failed := p.failed()
	durable := 0
	for _, i := range c.at {
		code := &c.future.codes[i]
		switch {
		case failed && (code.OK() || *code == rollup.CodeReplayedSeq): // what it rests on may be lost
			*code = rollup.CodeStoreFailed
		case code.OK():
			durable++
		}
		p.counters.answer(*code, 1)
	}
	p.counters.commit.Settle(durable, len(c.at)-durable)
	p.finish(c)
}

// abandon answers all acks of a chunk that was queued and not verified.
func (p *Pipeline) abandon(c *chunk, code rollup.Code) {
	for _, i := range c.at {
		c.future.codes[i] = code
	}
	p.counters.refuse(&p.counters.verify, code, len(c.at))
	c.window.mu.Lock()
	c.window.inFlight -= len(c.at)
	c.window.mu.Unlock()
	p.finish(c)
}

func (p *Pipeline) finish(c *chunk) {
	n, future, w := len(c.at), c.future, c.window
	p.budgets[c.class].release(&c.source.shares[c.class], n, c.size())
	c.recycle()
	p.answered(w, n)
	future.resolve(n)
}
