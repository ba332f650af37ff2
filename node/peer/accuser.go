package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/word"
)

// Court is the chain that convicts.
type Court interface {
	Chain
	SubmitTx(ctx context.Context, tx []byte) error
	// Updated returns a channel that closes with the next block.
	Updated() <-chan struct{}
}

// AccuserConfig is what an Accuser works with.
type AccuserConfig struct {
	Network rollup.Network
	Chain   Court
	Store   *store.Store
	Self    uint32 // this node, which accuses itself of nothing
	Logger  *slog.Logger
}

// Accuser takes evidence to the chain, and insists until it has convicted or can not. What it was
// given survives the process. It is safe for concurrent use.
type Accuser struct {
	cfg  AccuserConfig
	kv   *store.KV // window, as in words → evidence
	wake chan struct{}

	mu      sync.Mutex
	pending map[string][]byte // as in kv
}

// maxPending is how much evidence waits at once. A node is convicted once of a window, and has
// nothing to lose after a few.
const maxPending = 1024

// NewAccuser returns an accuser that goes on with what an earlier one left; Run makes it work.
func NewAccuser(cfg AccuserConfig) (*Accuser, error) {
	a := &Accuser{cfg: cfg, kv: cfg.Store.KV("accusations"), wake: make(chan struct{}, 1),
		pending: make(map[string][]byte)}
	it, err := a.kv.Iterator(nil, nil, false)
	if err != nil {
		return nil, err
	}
	for ; it.Valid(); it.Next() {
		a.pending[string(it.Key())] = it.Value()
	}
	return a, errors.Join(it.Error(), it.Close())
}

// Accuse takes evidence of two rollups of a window.
func (a *Accuser) Accuse(e *word.TwoRollups) {
	log := a.cfg.Logger.With("node", e.Node, "epoch", e.Epoch, "window", e.Window)
	if e.Node == a.cfg.Self {
		log.Error("this node said two things of one window: is its home or its key in use twice?")
		return
	}
	key := string(wordKey(rollup.WindowKey{Epoch: e.Epoch, Node: e.Node, Window: e.Window}))
	evidence := word.Append(nil, e)
	a.mu.Lock()
	_, known := a.pending[key]
	full := len(a.pending) >= maxPending
	if !known && !full {
		a.pending[key] = evidence
	}
	a.mu.Unlock()
	switch {
	case known:
		return
	case full:
		log.Error("a node made two rollups of a window; too many accusations wait to keep this one")
		return
	}
	log.Error("a node made two rollups of a window: it is accused on chain")
	if err := a.kv.SetSync([]byte(key), evidence); err != nil {
		log.Error("evidence could not be kept, and is lost if this process ends now", "err", err)
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run submits what there is after each block, until ctx ends.
func (a *Accuser) Run(ctx context.Context) {
	for {
		updated := a.cfg.Chain.Updated()
		a.submit(ctx)
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-updated:
		}
	}
}

// submit goes through what is pending once.
func (a *Accuser) submit(ctx context.Context) {
	a.mu.Lock()
	pending := make(map[string][]byte, len(a.pending))
	for key, b := range a.pending {
		pending[key] = b
	}
	a.mu.Unlock()
	for key, b := range pending {
		if done, err := a.press(ctx, b); done {
			a.drop(key, err)
		}
	}
}

// press submits evidence again, and reports whether nothing can come of it any more, and why.
func (a *Accuser) press(ctx context.Context, b []byte) (done bool, why error) {
	e, err := word.Parse(b)
	if err != nil {
		return true, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if _, err := (&ledger.Evidence{Words: e}).Accused(a.cfg.Chain.View()); err != nil {
		return true, err
	}
	err = a.cfg.Chain.SubmitTx(ctx, ledger.NewEvidence(a.cfg.Network, e))
	_, final := err.(*ledger.Refusal) //nolint:errorlint // one that is wrapped is not final
	if final {
		return true, err
	}
	if err != nil {
		a.cfg.Logger.Debug("evidence waits", "err", err)
	}
	return false, nil
}

// drop forgets evidence of which nothing more can come.
func (a *Accuser) drop(key string, why error) {
	if errors.Is(why, ledger.CodeAlreadyConvicted) {
		a.cfg.Logger.Info("evidence has convicted", "why", why)
	} else {
		a.cfg.Logger.Warn("evidence convicts nobody", "why", why)
	}
	a.mu.Lock()
	delete(a.pending, key)
	a.mu.Unlock()
	if err := a.kv.DeleteSync([]byte(key)); err != nil {
		a.cfg.Logger.Error("evidence that is done with could not be dropped", "err", err)
	}
}
