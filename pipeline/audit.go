package pipeline

import (
	"errors"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// auditor verifies what was taken on account.
type auditor struct {
	mu        sync.Mutex // one audit at a time; no other lock is held when it is taken
	verifiers []BatchVerifier
}

// finding is what an audit found of one ack.
type finding struct {
	at      int
	verdict rollup.Code
	point   bls.Signature
}

// audit verifies the open acks of a window for which pick says so, at most so many, and drops what
// is forged with all that follows it. It returns how many it verified. The error is that of a
// batch, or of the context.
func (p *Pipeline) audit(w *window, most, workers int, pick func(Session, uint64) bool) (n int,
	err error) {
	a := &p.auditor
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []finding
	p.windows.mu.Lock()
	frames := w.frames // what is in them does not change
	for i := range w.marks {
		if len(found) == most || w.open == 0 {
			break
		}
		if w.marks[i]&markOpen != 0 && pick(w.sessions[i], w.frame(i).Client()) {
			found = append(found, finding{at: i})
		}
	}
	p.windows.mu.Unlock()
	if len(found) == 0 {
		return 0, nil
	}
	for len(a.verifiers) < workers {
		a.verifiers = append(a.verifiers, p.cfg.NewVerifier())
	}
	if err := p.verifyFound(frames, found, workers); err != nil {
		return 0, err
	}
	return len(found), p.book(w, found)
}

// verifyFound fills in what a window's acks are, in large batches side by side.
func (p *Pipeline) verifyFound(all []byte, found []finding, workers int) error {
	view := p.chain.View()
	size := min(auditBatches*p.cfg.MaxBatch, max(p.cfg.MaxBatch, (len(found)+workers-1)/workers))
	errs := make([]error, workers)
	var next sync.Mutex
	from := 0
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() {
			var b batch
			var frames []byte
			for p.ctx.Err() == nil {
				next.Lock()
				part := found[from:min(from+size, len(found))]
				from += len(part)
				next.Unlock()
				if len(part) == 0 {
					return
				}
				frames = frames[:0]
				for i := range part {
					at := part[i].at * rollup.AckSize
					frames = append(frames, all[at:at+rollup.AckSize]...)
				}
				b.reset()
				err := b.append(frames, &p.cfg.Network, view)
				verdicts, runErr := b.run(p.auditor.verifiers[k])
				if errs[k] = errors.Join(err, runErr); errs[k] != nil {
					return
				}
				points := p.auditor.verifiers[k].Signatures()
				for i, v := range verdicts {
					part[i].verdict = verdictCodes[v]
					if v == bls.VerdictValid {
						part[i].point = points[i]
					}
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, p.ctx.Err())...)
}

// book keeps what an audit found.
func (p *Pipeline) book(w *window, found []finding) error {
	var good []bls.Signature
	for i := range found {
		if found[i].verdict == rollup.CodeAccepted {
			good = append(good, found[i].point)
		}
	}
	var sum bls.Sum
	new(bls.Adder).Add(&sum, good)
	cuts := make(map[numberedSeries]uint32)
	var liars []uint64
	ws := &p.windows
	ws.mu.Lock()
	w.sum.AddSum(&sum)
	for _, x := range found {
		f, s := w.frame(x.at), w.sessions[x.at]
		ws.close(w, x.at)
		if x.verdict == rollup.CodeAccepted {
			ws.accounts.counts.Verified++
			ws.accounts.earn(s, f.Client())
			continue
		}
		ws.accounts.bar(s, f.Client())
		liars = append(liars, f.Client())
		p.lose(w, x.at, x.verdict)
		first, ok := cuts[seriesOf(f)]
		if !ok || f.Number() < first {
			cuts[seriesOf(f)] = f.Number()
		}
	}
	taken := p.cut(cuts)
	ws.mu.Unlock()
	for _, client := range liars {
		p.quarantine.bad(client)
	}
	if len(liars) > 0 {
		p.log.Warn("acks taken on account were forged, and are dropped with what followed them",
			"epoch", w.key.Epoch, "window", w.key.Window, "forged", len(liars), "series", len(cuts))
	}
	return p.subtract(taken)
}

// lose drops an ack of a window. The caller holds windows.mu.
func (p *Pipeline) lose(w *window, i int, code rollup.Code) {
	f := w.frame(i)
	w.marks[i] |= markLost
	w.lost++
	w.units -= f.Units()
	if c, ok := p.chain.View().Client(f.Client()); ok {
		p.windows.credit.Return(w.memory.rows, c.Payer, f.Service(), f.Units())
	}
	p.windows.accounts.strike(f, code)
}

// cut drops everything of series from a number on, and makes that the next one. It returns the
// signatures that are in the sums of windows and no longer belong there. The caller holds
// windows.mu.
func (p *Pipeline) cut(from map[numberedSeries]uint32) map[*window][]byte {
	if len(from) == 0 {
		return nil
	}
	ws := &p.windows
	taken := make(map[*window][]byte)
	ws.each(func(w *window) {
		for i := range w.acks() {
			f := w.frame(i)
			first, ok := from[seriesOf(f)]
			if !ok || f.Number() < first || w.has(i, markLost) {
				continue
			}
			for len(w.marks) <= i {
				w.marks = append(w.marks, 0)
			}
			if w.marks[i]&markOpen != 0 {
				ws.close(w, i)
			} else {
				taken[w] = append(taken[w], f.Signature()...)
			}
			p.lose(w, i, rollup.CodeDropped)
		}
	})
	for _, e := range ws.taking {
		for s, first := range from { // order-free: one a series
			if s.epoch == e.number && e.numbers.Next(s.client, s.service) > first {
				e.numbers.Take(rollup.Run{Client: s.client, Service: s.service, First: first})
			}
		}
	}
	return taken
}

// subtract takes verified signatures out of the sums of their windows.
func (p *Pipeline) subtract(taken map[*window][]byte) error {
	for w, signatures := range taken { // order-free: sums
		var out bls.Sum
		v := bls.NewVerifier(bls.Default, 1)
		column := bls.Column{Data: signatures, Stride: bls.SignatureSize, Width: bls.SignatureSize}
		if err := v.AddEncoded(&out, column); err != nil {
			return err
		}
		p.windows.mu.Lock()
		w.sum.Subtract(&out)
		p.windows.mu.Unlock()
	}
	return nil
}

// liveOf returns the frames of a window that were not dropped, and how many were.
func (p *Pipeline) liveOf(w *window) (frames []byte, lost int) {
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	return w.live(), w.lost
}

// anybody's acks are picked by an audit of all.
func anybody(Session, uint64) bool { return true }

// settleWindow brings a drained window of which something may be open to where nothing is. Who can
// not be asked is verified before the offer; who did not answer it, after it; and what a client
// co-signed never.
func (p *Pipeline) settleWindow(w *window, reached map[uint64]Session) (c *cosigned, err error) {
	if len(reached) > 0 {
		_, err = p.audit(w, rollup.MaxAcks, p.cfg.Workers, func(_ Session, client uint64) bool {
			return reached[client] == NoSession
		})
		if err == nil {
			c, err = p.offer(w, reached)
		}
		if c != nil && err == nil {
			return c, nil
		}
	}
	_, again := p.audit(w, rollup.MaxAcks, p.cfg.Workers, anybody)
	return nil, errors.Join(err, again, p.awaitOldest(w))
}

// settleSigned verifies what nobody signed for, and returns the sum of the signatures of those who
// did not co-sign. It is false when acks were dropped since the offer: its statements are not those
// of the window any more, and nobody's co-signature is used.
func (p *Pipeline) settleSigned(w *window, v *bls.Verifier, lost int,
	signed func(client uint64) bool) (rest bls.Signature, ok bool, err error) {
	_, err = p.audit(w, rollup.MaxAcks, p.cfg.Workers, func(_ Session, client uint64) bool {
		return !signed(client)
	})
	if _, now := p.liveOf(w); err != nil || now != lost {
		return rest, false, err
	}
	p.auditor.mu.Lock() // nobody else verifies anything of it meanwhile
	defer p.auditor.mu.Unlock()
	if rest, err = w.sumWithout(v, signed); err != nil {
		return rest, false, err
	}
	p.cover(w)
	return rest, true, nil
}

// cover closes what is open in a window: its clients answer for it with their co-signature.
func (p *Pipeline) cover(w *window) {
	ws := &p.windows
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for i := range w.marks {
		if w.marks[i]&markOpen != 0 {
			ws.close(w, i)
			w.marks[i] |= markCovered
			ws.accounts.counts.Covered++
			ws.accounts.earn(w.sessions[i], w.frame(i).Client())
		}
	}
}

// awaitOldest waits until the windows that were closed before this one are sealed.
func (p *Pipeline) awaitOldest(w *window) error {
	ws := &p.windows
	for {
		ws.mu.Lock()
		first, released := ws.draining[0] == w, ws.released
		ws.mu.Unlock()
		if first {
			return nil
		}
		select {
		case <-released:
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

// auditWindows verifies, while the workers have nothing to do, what no co-signature will cover and
// what somebody waits for.
func (p *Pipeline) auditWindows() {
	pause := time.NewTicker(auditPause)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-p.ctx.Done():
			return
		}
		for p.ctx.Err() == nil && p.queue.idle() {
			if n, err := p.auditSome(); err != nil && p.ctx.Err() == nil {
				p.fail("verifying what was taken on account", err)
				return
			} else if n == 0 {
				break
			}
		}
	}
}

// auditSome verifies one batch, of the oldest window that has something to verify.
func (p *Pipeline) auditSome() (n int, err error) {
	ws := &p.windows
	asked := make(map[Session]bool)
	var open []*window
	ws.mu.Lock()
	ws.each(func(w *window) {
		if w.open > 0 {
			open = append(open, w)
		}
	})
	for s, t := range ws.accounts.tabs { // order-free
		if t.acks > 0 {
			asked[s] = false
		}
	}
	wanted := ws.accounts.wanted
	if len(wanted) > 0 {
		ws.accounts.wanted = make(map[uint64]bool)
	}
	ws.mu.Unlock()
	if p.cfg.Cosigners != nil && p.cfg.CosignWait > 0 {
		for s := range asked { // order-free
			asked[s] = p.cfg.Cosigners.Reaches(s)
		}
	}
	for _, w := range open {
		n, err = p.audit(w, auditBatches*p.cfg.MaxBatch, 1, func(s Session, client uint64) bool {
			return !asked[s] || wanted[client]
		})
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}
