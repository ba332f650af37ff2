package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/rollup"
)

// Shortage is why acks of a payer were refused, and when it is worth to come again.
type Shortage struct {
	exposure.Credit             // as it was when the first of the acks was refused
	Code            rollup.Code // what that was answered with
	Height          uint64      // of the chain; the argument of the answers
	Wait            time.Duration
}

// maxShortages is how many payers a receipt tells of.
const maxShortages = 16

// reserveRetry is how long it takes to reserve more: people or programs do it.
const reserveRetry = 10 * time.Second

// lacks answers an ack whose payer cannot have it. The caller holds windows.mu.
func (p *Pipeline) lacks(f *Future, e *epoch, payer uint32, code rollup.Code) rollup.Answer {
	f.heldMu.Lock()
	defer f.heldMu.Unlock()
	for i := range f.short {
		if s := &f.short[i]; s.Payer == payer && s.Epoch == e.number && s.Code == code {
			return rollup.Answer{Code: code, Arg: s.Height}
		}
	}
	s := Shortage{Credit: p.windows.credit.Credit(payer, e.number), Code: code}
	s.Height, s.Wait = p.again(e, code)
	if len(f.short) < maxShortages {
		f.short = append(f.short, s)
	}
	return rollup.Answer{Code: code, Arg: s.Height}
}

// refuseShort refuses an ack at the door whose payer is known not to have it. The caller holds
// windows.mu.
func (p *Pipeline) refuseShort(c *chunk, e *epoch, at uint32, f rollup.Frame) bool {
	client, ok := c.view.Client(f.Client())
	if !ok {
		return false
	}
	code := p.windows.credit.Refuse(client.Payer, e.number, f.Service(), f.Units())
	if code == rollup.CodeAccepted {
		return false
	}
	p.refuse(c.future, at, p.lacks(c.future, e, client.Payer, code))
	return true
}

// again returns when a payer may have credit again: for the node's own limit when the open window
// can be ordered, for the allowance when the next epoch has begun, and for the reserve when
// somebody may have reserved more. The caller holds windows.mu.
func (p *Pipeline) again(e *epoch, code rollup.Code) (height uint64, wait time.Duration) {
	view, pace := p.chain.View(), p.windows.credit.Pace()
	switch code {
	case rollup.CodeOwnLimit:
		if e.open != nil {
			wait = time.Until(e.open.opened.Add(p.cfg.WindowAge)) + pace
		}
	case rollup.CodeInsufficientAllowance:
		if e.number == view.Epoch() {
			wait = view.EpochEnd().Sub(view.Time())
		}
	default:
		wait = reserveRetry
	}
	wait = max(wait, pace)
	return uint64(view.Height()) + uint64((wait+pace-1)/pace), wait
}

// Credit returns how a payer stands with this node in an epoch.
func (p *Pipeline) Credit(payer, epoch uint32) Shortage {
	ws := &p.windows
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.credit.Show(p.chain.View())
	s := Shortage{Credit: ws.credit.Credit(payer, epoch)}
	s.Code = s.Bound
	s.Height, s.Wait = p.again(ws.taking[0], s.Code)
	return s
}

// Credits returns how payers stand with this node in the epochs in which it took or refused an ack
// of theirs, those with the largest exposure first.
func (p *Pipeline) Credits() []exposure.Credit {
	ws := &p.windows
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.credit.Show(p.chain.View())
	return ws.credit.Credits()
}

// dropGivenUp takes windows that will never be ordered off the sums.
func (p *Pipeline) dropGivenUp() {
	ws := &p.windows
	ws.mu.Lock()
	keys := ws.credit.Windows()
	ws.mu.Unlock()
	keys = slices.DeleteFunc(keys, func(k rollup.WindowKey) bool { return !p.outbox.GivenUp(k) })
	if len(keys) == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, key := range keys {
		ws.credit.Drop(key)
	}
}

// recoverCredit adds up the windows of earlier runs that are not ordered.
func (p *Pipeline) recoverCredit(ctx context.Context) error {
	keys, err := p.store.Unordered()
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	view := p.chain.View()
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		if key.Node != p.cfg.Node || view.Settled(key.Epoch) || view.IsOrdered(key) {
			continue
		}
		h, err := p.store.Header(key)
		if err != nil { // what can not be read will not be ordered either: its job says so
			p.log.Warn("a window that is not ordered can not be read", "epoch", key.Epoch,
				"window", key.Window, "err", err)
			continue
		}
		p.windows.credit.Sealed(key, h.Rows)
	}
	return nil
}
