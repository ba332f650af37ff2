package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// recoverPool reads the pool back into windows that take no more acks, so that acks sent again
// are answered known. Their signatures are verified after the door is open, see reverify.
func (p *Pipeline) recoverPool(ctx context.Context) ([]*window, error) {
	keys, err := p.store.PoolWindows()
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	slices.SortFunc(keys, func(a, b rollup.WindowKey) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Window, b.Window))
	})
	var recovered []*window
	var onAccount bool
	for _, key := range keys {
		if key.Node != p.cfg.Node {
			return nil, fmt.Errorf("%w: a window of node %d in the pool of node %d",
				ErrPool, key.Node, p.cfg.Node)
		}
		w := newWindow(key, StateSealing)
		w.closed, w.queued = true, true
		p.windows.give(w)
		reload := func(frames []byte, account bool) error {
			onAccount = onAccount || account
			first := uint32(w.acks())
			if err := p.reload(ctx, w, frames, account); err != nil {
				return err
			}
			p.cfg.Taken([]rollup.Chunk{{Key: key, First: first, Frames: frames,
				OnAccount: account}})
			return nil
		}
		if err := p.store.ReadPool(key, reload); err != nil {
			return nil, fmt.Errorf("recover %v: %w", key, err)
		}
		recovered = append(recovered, w)
	}
	if onAccount {
		if recovered, err = p.dropForged(ctx, recovered); err != nil {
			return nil, err
		}
	}
	for _, w := range recovered {
		if err := p.restore(w); err != nil {
			return nil, fmt.Errorf("recover %v: %w", w.key, err)
		}
		p.windows.draining = append(p.windows.draining, w)
		p.log.Info("window recovered", "epoch", w.key.Epoch, "window", w.key.Window, "acks", w.acks())
	}
	return recovered, nil
}

// dropForged verifies what earlier runs took on account, in all windows of the pool, and takes out
// what those runs dropped or would have: forged acks, and those that no number led up to. Windows
// of which nothing is left are let go; their pools stay.
func (p *Pipeline) dropForged(ctx context.Context, windows []*window) (left []*window, err error) {
	verifier := p.cfg.NewVerifier()
	next := make(map[numberedSeries]uint32)
	var epoch *epoch
	for _, w := range windows {
		if epoch == nil || epoch.number != w.key.Epoch {
			if epoch, err = p.sealedNumbers(w.key.Epoch); err != nil {
				return nil, err
			}
		}
		forged, err := p.forgedOf(ctx, w, verifier)
		if err != nil {
			return nil, fmt.Errorf("recover %v: %w", w.key, err)
		}
		kept := 0
		for i := range w.acks() {
			f := w.frame(i)
			s := seriesOf(f)
			due, ok := next[s]
			if !ok {
				due = epoch.numbers.Next(s.client, s.service)
			}
			code, bad := forged[i]
			if !bad && f.Number() != due {
				code, bad = rollup.CodeDropped, true
			}
			if bad {
				p.windows.accounts.strike(f, code)
				continue
			}
			next[s] = due + 1
			copy(w.frame(kept), f)
			kept++
		}
		if lost := w.acks() - kept; lost > 0 {
			p.log.Warn("acks that were taken on account do not stand", "epoch", w.key.Epoch,
				"window", w.key.Window, "acks", lost)
		}
		w.frames = w.frames[:kept*rollup.AckSize]
		w.marks = w.marks[:0]
		if kept > 0 {
			left = append(left, w)
			continue
		}
		p.windows.takeBack(w)
	}
	return left, nil
}

// sealedNumbers returns the next numbers of an epoch as far as windows were sealed.
func (p *Pipeline) sealedNumbers(number uint32) (*epoch, error) {
	e := &epoch{number: number}
	err := p.store.ReadRuns(p.cfg.Node, number, func(runs []rollup.Run) error {
		for _, run := range runs {
			e.raise(run)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recover: numbers of epoch %d: %w", number, err)
	}
	return e, nil
}

// forgedOf verifies what a window took on account, and returns what is wrong by place.
func (p *Pipeline) forgedOf(ctx context.Context, w *window, v BatchVerifier) (
	map[int]rollup.Code, error) {
	forged := make(map[int]rollup.Code)
	var b batch
	view := p.chain.View()
	for from := 0; from < w.acks(); {
		var at []int
		b.reset()
		for ; from < w.acks() && len(at) < p.cfg.MaxBatch; from++ {
			if !w.has(from, markAccount) {
				continue
			}
			if err := b.append(w.frame(from), &p.cfg.Network, view); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrPool, err)
			}
			at = append(at, from)
		}
		if len(at) == 0 {
			break
		}
		verdicts, err := b.run(v)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		for i, verdict := range verdicts {
			if verdict != bls.VerdictValid {
				forged[at[i]] = verdictCodes[verdict]
			}
		}
	}
	return forged, nil
}

// reload puts frames from the store into a window.
func (p *Pipeline) reload(ctx context.Context, w *window, frames []byte, account bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(frames)%rollup.AckSize != 0 || len(w.frames)+len(frames) > cap(w.frames) {
		return fmt.Errorf("%w: %d bytes behind %d acks", ErrPool, len(frames), w.acks())
	}
	for ; len(frames) > 0; frames = frames[rollup.AckSize:] {
		f := rollup.Frame(frames[:rollup.AckSize])
		if !f.Tagged() || f.Net() != p.cfg.Network.Net() || f.Node() != w.key.Node ||
			f.Epoch() != w.key.Epoch {
			return fmt.Errorf("%w: ack %d is of another window", ErrPool, w.acks())
		}
		w.frames = append(w.frames, f...)
		if account {
			w.mark(markAccount)
		} else {
			w.mark(0)
		}
	}
	return nil
}

// restore makes what was read back known again.
func (p *Pipeline) restore(w *window) error {
	view, frames := p.chain.View(), w.frames
	w.frames = frames[:0]
	for ; len(frames) > 0; frames = frames[rollup.AckSize:] {
		f := rollup.Frame(frames[:rollup.AckSize])
		if _, found := w.find(f.Client(), f.Service(), f.Number()); found {
			return fmt.Errorf("%w: ack %d uses a number again", ErrPool, w.acks())
		}
		if c, ok := view.Client(f.Client()); ok { // or reverify says so
			p.windows.credit.Restore(w.memory.rows, c.Payer, f.Service(), f.Units())
		}
		w.memory.table.insert(f.Client(), f.Service(), f.Number(), w.acks())
		w.frames = append(w.frames, f...)
		w.sessions = append(w.sessions, NoSession) // the sessions ended with the process
		w.units += f.Units()
	}
	w.written, w.durable = w.acks(), w.acks()
	return nil
}

// reverify runs recovered windows through the same batches as fresh acks and hands them to the
// sealer.
func (p *Pipeline) reverify(windows []*window) {
	verifier := p.cfg.NewVerifier()
	for _, w := range windows {
		sum, err := p.reverifyWindow(w, verifier)
		if p.ctx.Err() != nil {
			return
		}
		if err != nil {
			p.fail(fmt.Sprintf("recovering %v", w.key), err)
			return
		}
		w.sum.AddSum(sum) // nobody else has the window yet
		p.windows.drained <- w
	}
}

func (p *Pipeline) reverifyWindow(w *window, verifier BatchVerifier) (*bls.Sum, error) {
	var b batch
	var adder bls.Adder
	sum := new(bls.Sum)
	view := p.chain.View()
	for from := 0; from < w.acks() && p.ctx.Err() == nil; from += p.cfg.MaxBatch {
		to := min(from+p.cfg.MaxBatch, w.acks())
		b.reset()
		frames := w.frames[from*rollup.AckSize : to*rollup.AckSize]
		if err := b.append(frames, &p.cfg.Network, view); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPool, err)
		}
		verdicts, err := b.run(verifier)
		if err != nil {
			return nil, err
		}
		for i, v := range verdicts {
			if v != bls.VerdictValid {
				return nil, fmt.Errorf("%w: ack %d: %w", ErrPool, from+i, v.Err())
			}
		}
		adder.Add(sum, verifier.Signatures()[:len(verdicts)])
	}
	return sum, nil
}
