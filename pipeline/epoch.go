package pipeline

import (
	"bytes"
	"time"

	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// epoch is an epoch whose acks are taken: the numbers that come next, and the window that is open.
// It is guarded by windows.mu.
type epoch struct {
	number   uint32
	numbers  rollup.Numbers
	open     *window // nil when the store is too new to say what this node took in the epoch
	inFlight int     // acks that are admitted and not judged yet

	ends  time.Time // when it takes no more, once another epoch has begun
	ended bool      // takes no more at the door; what is in flight still has its place
}

// free is how many more acks may be admitted: each must find a place in the open window, or in
// the next one when that can be opened.
func (e *epoch) free(ws *windows) int {
	if e.open == nil {
		return 0
	}
	n := rollup.MaxAcks - e.open.acks() - e.inFlight
	if len(ws.draining) < maxDraining {
		n += rollup.MaxAcks
	}
	return max(0, n)
}

// screen looks at the numbers of a chunk's acks at the door. What is answered here is cut out of
// the chunk: acks that are known to the byte, and acks that no ack in flight can lead up to. Acks
// whose number was taken in a window that is in memory no more are handed to old. The caller holds
// windows.mu.
func (e *epoch) screen(c *chunk, ws *windows, old *acksAt) {
	kept := 0
	for i, at := range c.at {
		f := c.frame(i)
		answer := &c.future.answers[at]
		next := e.numbers.Next(f.Client(), f.Service())
		number := f.Number()
		switch {
		case answer.Code != rollup.CodeAccepted: // it is never taken, if it is signed
		case number < next:
			w, i := ws.find(e.number, f)
			if w == nil {
				old.frames, old.at = append(old.frames, f...), append(old.at, at)
				continue
			}
			if w.has(i, markOpen) { // nothing is said about it yet
				ws.accounts.wanted[f.Client()] = true
				c.source.p.refuse(c.future, at, rollup.Answer{Code: rollup.CodeBusy})
				continue
			}
			if i < w.durable && bytes.Equal(w.frame(i), f) {
				c.source.p.refuse(c.future, at, rollup.Answer{Code: rollup.CodeKnown})
				continue
			}
			if c.class == classAccount { // what is said of it is said of a verified one
				old.frames, old.at = append(old.frames, f...), append(old.at, at)
				continue
			}
		case uint64(number) > uint64(next)+uint64(e.inFlight+kept):
			c.source.p.refuse(c.future, at, rollup.Answer{Code: rollup.CodeGap, Arg: uint64(next)})
			continue
		case ws.credit.Short() && c.source.p.refuseShort(c, e, at, f):
			continue
		}
		if kept != i {
			copy(c.frame(kept), f)
			c.at[kept] = at
		}
		kept++
	}
	c.shrink(kept)
}

// signedAck is an ack whose signature is valid, or that is taken on account.
type signedAck struct {
	frame   rollup.Frame
	payer   uint32
	unitCap uint64
	session Session
	mark    uint8
}

// judge says what becomes of an ack. Accepted means that it is in the open window now; held is the
// ack under a number that is used. The future hears which payer lacks credit. The caller holds
// windows.mu.
func (p *Pipeline) judge(e *epoch, ack *signedAck, view *ledger.View, future *Future) (
	a rollup.Answer, held rollup.Frame) {
	f := ack.frame
	next := e.numbers.Next(f.Client(), f.Service())
	switch number := f.Number(); {
	case number < next:
		return p.judgeTaken(e, f, ack.mark == 0)
	case ack.mark != 0 && view.Revoked(f.Client()): // said of verified ones
		return rollup.Answer{Code: rollup.CodeBusy}, nil
	case view.Revoked(f.Client()):
		return rollup.Answer{Code: rollup.CodeNotValid}, nil
	case number > next:
		return rollup.Answer{Code: rollup.CodeGap, Arg: uint64(next)}, nil
	}
	credit := p.windows.credit
	code := e.open.take(ack, credit)
	if code == exposure.Full && p.rotate(e) {
		code = e.open.take(ack, credit)
	}
	switch {
	case code == rollup.CodeAccepted:
		e.numbers.Take(rollup.Run{Client: f.Client(), Service: f.Service(), First: next, Count: 1})
	case code == exposure.Full:
		code = rollup.CodeOverloaded
	case exposure.IsCredit(code):
		return p.lacks(future, e, ack.payer, code), nil
	default:
	}
	return rollup.Answer{Code: code}, nil
}

// judgeTaken answers an ack whose number was taken while it was verified.
func (p *Pipeline) judgeTaken(e *epoch, f rollup.Frame, signed bool) (
	a rollup.Answer, held rollup.Frame) {
	w, i := p.windows.find(e.number, f)
	switch {
	case w == nil || w.has(i, markOpen):
		return rollup.Answer{Code: rollup.CodeBusy}, nil
	case !signed && !bytes.Equal(w.frame(i), f):
		return rollup.Answer{Code: rollup.CodeBusy}, nil
	case sameAck(w.frame(i), f):
		return rollup.Answer{Code: rollup.CodeKnown}, nil
	}
	return rollup.Answer{Code: rollup.CodeNumberUsed}, w.frame(i)
}

// sameAck reports whether two acks of this network say the same. When both are signed they are
// equal to the byte: a message has one signature.
func sameAck(a, b rollup.Frame) bool { return bytes.Equal(a.Leaf(), b.Leaf()) }

// rotate closes the epoch's open window and opens the next one, unless too many windows drain. The
// caller holds windows.mu.
func (p *Pipeline) rotate(e *epoch) bool {
	ws := &p.windows
	if len(ws.draining) >= maxDraining {
		ws.cutOfferShort()
		return false // sealing wakes the keeper, which tries again
	}
	p.closeOpen(e)
	old := e.open.key
	p.openWindowOf(e, rollup.WindowKey{Node: old.Node, Epoch: old.Epoch, Window: old.Window + 1})
	return true
}

// openWindowOf makes a new window the epoch's open one. The caller holds windows.mu.
func (p *Pipeline) openWindowOf(e *epoch, key rollup.WindowKey) {
	e.open = newWindow(key, StateOpen)
	p.windows.give(e.open)
	p.windows.tell()
	p.wakeKeeper()
}

// closeOpen closes the epoch's open window. One without acks is let go. The caller holds
// windows.mu.
func (p *Pipeline) closeOpen(e *epoch) {
	ws, w := &p.windows, e.open
	if w.idle() {
		ws.takeBack(w)
		return
	}
	w.closed = true
	w.become(StateSealing)
	ws.draining = append(ws.draining, w)
	if len(ws.draining) >= maxDraining-1 {
		ws.cutOfferShort()
	}
	if w.drained() {
		ws.drained <- w
	}
}

// newEpoch returns an epoch with the numbers that the store knows, and those of recovered windows.
// Nothing is taken in one that began before the store.
func (p *Pipeline) newEpoch(number uint32) (*epoch, rollup.WindowKey, error) {
	e := &epoch{number: number}
	var key rollup.WindowKey
	if since, known := p.store.Since(); !known || number < since {
		return e, key, nil
	}
	key, err := p.nextKey(number)
	if err != nil {
		return nil, key, err
	}
	p.windows.mu.Lock()
	for _, w := range p.windows.draining { // what is sealed meanwhile is read below
		if w.key.Epoch == number {
			e.raiseAll(w)
		}
	}
	p.windows.mu.Unlock()
	err = p.store.ReadRuns(p.cfg.Node, number, func(runs []rollup.Run) error {
		for _, run := range runs {
			e.raise(run)
		}
		return nil
	})
	if err != nil {
		return nil, key, err
	}
	return e, key, nil
}

// raise notes that a run was taken. Runs come in any order.
func (e *epoch) raise(run rollup.Run) {
	if run.End() > uint64(e.numbers.Next(run.Client, run.Service)) {
		e.numbers.Take(run)
	}
}

func (e *epoch) raiseAll(w *window) {
	for i := range w.acks() {
		f := w.frame(i)
		e.raise(rollup.Run{Client: f.Client(), Service: f.Service(), First: f.Number(), Count: 1})
	}
}

// past returns what the door says of acks of an epoch that takes none, before it verifies them:
// Accepted when it has to look for them.
func (p *Pipeline) past(number uint32, view *ledger.View, lost bool) rollup.Code {
	if number >= view.Epoch() && !lost { // or the keeper has not seen yet that it has begun
		return rollup.CodeEpochAhead
	}
	if since, known := p.store.Since(); lost || !known || number < since {
		return rollup.CodeStoreFailed // what was taken then is known no more
	}
	return rollup.CodeAccepted
}
