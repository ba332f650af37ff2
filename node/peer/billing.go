package peer

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
)

// billings are what this member signed of each node's rollups in the epochs that are not settled. A
// number is signed once: two tickets of an epoch hold a quorum of the same committee each, and an
// honest member is in both.
type billings struct {
	store *store.Store

	mu      sync.Mutex
	of      map[billedBy]*billing
	settled uint32 // epochs before it are forgotten
}

type billedBy struct{ node, epoch uint32 }

// billing is what this member signed of a node in an epoch, and the windows that it works on.
type billing struct {
	store *store.Store
	by    billedBy

	mu      sync.Mutex
	loaded  bool
	numbers *rollup.Numbers
	window  uint32 // above all that were signed
	working []uint32
	changed chan struct{} // closed when a window is not worked on any more
}

func newBillings(s *store.Store) *billings {
	return &billings{store: s, of: make(map[billedBy]*billing)}
}

// billing returns what was signed of the node whose rollup it is. What the store says is read when
// it is first needed.
func (bs *billings) billing(h *rollup.Header) *billing {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	by := billedBy{h.Node, h.Epoch}
	b := bs.of[by]
	if b == nil {
		b = &billing{store: bs.store, by: by, changed: make(chan struct{})}
		bs.of[by] = b
	}
	return b
}

// forgets reports whether epochs before one are still remembered.
func (bs *billings) forgets(before uint32) bool {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	return before > bs.settled
}

// forget drops the epochs before one, which are settled.
func (bs *billings) forget(before uint32) error {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if before <= bs.settled {
		return nil
	}
	bs.settled = before
	for by := range bs.of {
		if by.epoch < before {
			delete(bs.of, by)
		}
	}
	return bs.store.ForgetBilled(before)
}

// begin says that a window has arrived. Higher ones are not signed before end.
func (b *billing) begin(window uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.working = append(b.working, window)
}

func (b *billing) end(window uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.working, window)
	b.working = slices.Delete(b.working, i, i+1)
	close(b.changed)
	b.changed = make(chan struct{})
}

// await returns when no lower window is worked on, or with ctx's error.
func (b *billing) await(ctx context.Context, window uint32) error {
	for {
		b.mu.Lock()
		changed := b.changed
		waits := slices.ContainsFunc(b.working, func(w uint32) bool { return w < window })
		b.mu.Unlock()
		if !waits {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// check refuses a rollup that bills what was signed before: ReasonBehind, ReasonNumbers,
// ReasonNoTable, ReasonTooOld.
func (b *billing) check(window uint32, runs []rollup.Run) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.judge(window, runs)
}

// judge is check for a caller that holds b.mu.
func (b *billing) judge(window uint32, runs []rollup.Run) error {
	if err := b.load(); err != nil {
		return err
	}
	if window < b.window {
		return rollup.Refuse(ReasonBehind, "window %d, where %d is the next to sign", window,
			b.window)
	}
	if err := b.numbers.CheckAll(runs); err != nil {
		return &Refusal{Code: ReasonNumbers, Err: err}
	}
	return nil
}

func (b *billing) load() (err error) {
	if b.loaded {
		return nil
	}
	b.numbers, b.window, err = b.store.Billed(b.by.node, b.by.epoch)
	switch {
	case errors.Is(err, store.ErrNew):
		return &Refusal{Code: ReasonNoTable, Err: err}
	case errors.Is(err, store.ErrPruned):
		return &Refusal{Code: ReasonTooOld, Err: err}
	case err != nil:
		return err
	}
	b.loaded = true
	return nil
}

// sign binds the member to a rollup, durably, unless its window is bound already: to prior.
func (b *billing) sign(h *rollup.Header, evidence []byte, runs []rollup.Run) (prior rollup.Hash,
	err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	prior, locked, err := b.store.Locked(h.Key())
	if locked || err != nil {
		return prior, err
	}
	if err := b.judge(h.Window, runs); err != nil {
		return prior, err
	}
	if err := b.store.Sign(h, evidence, runs); err != nil {
		return prior, err
	}
	b.numbers.TakeAll(runs)
	b.window = h.Window + 1
	return h.ID(), nil
}
