package pipeline

import (
	"cmp"
	"context"
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
	for _, key := range keys {
		if key.Node != p.cfg.Node {
			return nil, fmt.Errorf("%w: a window of node %d in the pool of node %d",
				ErrPool, key.Node, p.cfg.Node)
		}
		w := newWindow(key, StateSealing)
		w.closed, w.queued = true, true
		p.windows.give(w)
		reload := func(frames []byte) error { return p.reload(ctx, w, frames) }
		if err := p.store.ReadPool(key, reload); err != nil {
			return nil, fmt.Errorf("recover %v: %w", key, err)
		}
		w.written, w.durable = w.acks(), w.acks()
		p.windows.draining = append(p.windows.draining, w)
		recovered = append(recovered, w)
		p.log.Info("window recovered", "epoch", key.Epoch, "window", key.Window, "acks", w.acks())
	}
	return recovered, nil
}

// reload puts frames from the store into a window.
func (p *Pipeline) reload(ctx context.Context, w *window, frames []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(frames)%rollup.AckSize != 0 || len(w.frames)+len(frames) > cap(w.frames) {
		return fmt.Errorf("%w: %d bytes behind %d acks", ErrPool, len(frames), w.acks())
	}
	view := p.chain.View()
	for ; len(frames) > 0; frames = frames[rollup.AckSize:] {
		f := rollup.Frame(frames[:rollup.AckSize])
		if !f.Tagged() || f.Net() != p.cfg.Network.Net() || f.Node() != w.key.Node ||
			f.Epoch() != w.key.Epoch {
			return fmt.Errorf("%w: ack %d is of another window", ErrPool, w.acks())
		}
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
