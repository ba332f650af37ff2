package pipeline

import (
	"slices"
	"sync"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// order is the order in which the chunks of one source are judged: that in which they were
// admitted. Batches are verified side by side, and one that is verified early keeps what it found
// with its chunks until their turn comes. So a client's numbers are taken one after the other,
// however many workers there are, and nobody waits for another source. What is admitted while a
// source is new comes before what is admitted once it is established. Acks of suspects have an
// order of their own: they are verified apart, and hold up nobody else's.
//
// The queue gives the turns out, and every chunk that has one is judged, also when the pipeline
// closes.
type order struct {
	last uint64 // turn that the queue gave out; guarded by the queue

	mu      sync.Mutex
	judged  uint64 // turns that are over
	waiting []*chunk
}

// order returns the order that a chunk belongs to.
func (c *chunk) order() *order {
	if c.class == classSuspect {
		return &c.source.order[1]
	}
	return &c.source.order[0]
}

// arrive reports whether it is the turn of a chunk. Otherwise the chunk keeps what the batch found,
// and whoever ends the turn before takes it up.
func (o *order) arrive(c *chunk, v verdict) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.turn == o.judged+1 {
		return true
	}
	c.verdict.codes = append(c.verdict.codes[:0], v.codes...)
	c.verdict.payers = append(c.verdict.payers[:0], v.payers...)
	c.verdict.points = append(c.verdict.points[:0], v.points...)
	o.waiting = append(o.waiting, c)
	return false
}

// next ends the turn, and returns the chunk that has waited for the next one.
func (o *order) next() *chunk {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.judged++
	i := slices.IndexFunc(o.waiting, func(c *chunk) bool { return c.turn == o.judged+1 })
	if i < 0 {
		return nil
	}
	c := o.waiting[i]
	o.waiting = slices.Delete(o.waiting, i, i+1)
	return c
}

// giveUp answers chunks that nobody will verify. Those behind them that were verified are judged.
func (p *Pipeline) giveUp(chunks []*chunk, code rollup.Code) {
	w := &worker{p: p}
	for _, c := range chunks {
		w.settle(c, verdict{codes: slices.Repeat([]rollup.Code{code}, len(c.at))})
	}
	w.finish()
}

// finish hands what was judged on to the committer.
func (w *worker) finish() {
	w.sum()
	w.p.committer.add(w.judged)
	clear(w.judged)
	w.judged = w.judged[:0]
}

// settle judges a chunk that was verified, and those behind it that waited for that.
func (w *worker) settle(c *chunk, v verdict) {
	o := c.order()
	if !o.arrive(c, v) {
		return
	}
	for {
		w.judge(c, v)
		if c = o.next(); c == nil {
			return
		}
		v = c.verdict
	}
}

// judge takes the valid acks of a chunk whose turn it is, and hands it on.
func (w *worker) judge(c *chunk, v verdict) {
	p := w.p
	valid := count(v.codes, rollup.CodeAccepted)
	if c.class == classAccount {
		valid = count(v.codes, rollup.CodeOnAccount)
	} else {
		p.counters.verify.Settle(valid, len(v.codes)-valid)
	}
	if c.epoch == nil {
		w.collect(c, v)
		return
	}
	added := w.insert(c, v)
	p.counters.window.Settle(added, valid-added)
	w.judged = append(w.judged, c)
}

// collect writes verdicts into the answers of a chunk whose acks are looked for.
func (w *worker) collect(c *chunk, v verdict) {
	looks := false
	for i, code := range v.codes {
		a := &c.future.answers[c.at[i]]
		if code != rollup.CodeAccepted {
			a.Code = code
		}
		looks = looks || a.Code == rollup.CodeAccepted
	}
	if looks {
		w.p.recaller.add(c)
	} else {
		w.judged = append(w.judged, c)
	}
}

// insert takes the valid acks of a chunk into the open window of its epoch, one after the other.
func (w *worker) insert(c *chunk, v verdict) (added int) {
	p := w.p
	var service uint32
	var unitCap uint64
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	// Read here, it is no older than any that an ack was judged by before: what was once answered
	// not_valid is not taken.
	view := p.chain.View()
	p.windows.credit.Show(view)
	for i, code := range v.codes {
		a := &c.future.answers[c.at[i]]
		mark := uint8(0)
		if code == rollup.CodeOnAccount {
			mark = markAccount | markOpen
		} else if code != rollup.CodeAccepted {
			*a = rollup.Answer{Code: code}
			continue
		}
		if a.Code != rollup.CodeAccepted { // the door's, now that the ack is signed
			continue
		}
		f := c.frame(i)
		if s := f.Service(); unitCap == 0 || s != service {
			service = s
			unitCap, _ = c.view.UnitCap(s)
		}
		var held rollup.Frame
		ack := signedAck{f, v.payers[i], unitCap, c.source.session, mark}
		if *a, held = p.judge(c.epoch, &ack, view, c.future); held != nil {
			c.future.hold(c.at[i], held)
		}
		if a.Code == rollup.CodeAccepted {
			added++
			w.noteTaken(c, &v, i, a, &ack)
		}
	}
	p.unreserve(c)
	p.leave(c.epoch, len(c.at))
	if c.epoch.open.acks() == rollup.MaxAcks {
		p.rotate(c.epoch)
	}
	return added
}

// noteTaken books an ack that was just taken, and what is answered. Whatever follows an open ack of
// its series stands and falls with that. The caller holds windows.mu.
func (w *worker) noteTaken(c *chunk, v *verdict, i int, a *rollup.Answer, ack *signedAck) {
	b := &w.p.windows.accounts
	if ack.mark == 0 {
		w.note(c, &v.points[i])
		if len(b.pending) > 0 && b.pending[seriesOf(ack.frame)] > 0 {
			a.Code = rollup.CodeOnAccount
		} else {
			b.earn(ack.session, ack.frame.Client())
		}
		return
	}
	w.note(c, nil)
	a.Code = rollup.CodeOnAccount
	b.pending[seriesOf(ack.frame)]++
	c.lentAcks--
	c.lentUnits -= ack.frame.Units()
}

// unreserve gives back what was lent to acks of a chunk that were not taken on account. The caller
// holds windows.mu.
func (p *Pipeline) unreserve(c *chunk) {
	if c.lentAcks > 0 {
		p.windows.accounts.release(c.source.session, c.lentAcks, c.lentUnits)
		c.lentAcks, c.lentUnits = 0, 0
	}
}

// note counts an ack that its epoch's open window has just taken, with its signature when that was
// verified. The caller holds windows.mu.
func (w *worker) note(c *chunk, point *bls.Signature) {
	open := c.epoch.open
	if n := len(c.windows); n == 0 || c.windows[n-1].window != open {
		c.windows = append(c.windows, windowShare{window: open})
	}
	c.windows[len(c.windows)-1].acks++
	open.unanswered++
	if point == nil {
		return
	}
	if w.window != open {
		w.sumLocked()
		w.window = open
	}
	w.added = append(w.added, *point)
}

// sum adds the signatures of added acks to their window's. They are in its sum before their chunk
// goes on, and until then the window does not drain.
func (w *worker) sum() {
	if len(w.added) == 0 {
		w.window = nil
		return
	}
	var sum bls.Sum
	w.adder.Add(&sum, w.added)
	w.p.windows.mu.Lock()
	w.window.sum.AddSum(&sum)
	w.p.windows.mu.Unlock()
	w.window, w.added = nil, w.added[:0]
}

// sumLocked is sum for a caller that holds windows.mu.
func (w *worker) sumLocked() {
	if len(w.added) > 0 {
		w.adder.Add(&w.window.sum, w.added)
	}
	w.added = w.added[:0]
}
