package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Terms are the committees of a network whose committee rotates, as a client knows them: that of
// the genesis file, and those that hand-overs lead to, each signed by a quorum of the one before.
// They grow when a node shows a record of a later term. It is safe for concurrent use; clients of
// one network share one.
type Terms struct {
	path string

	following semaphore // held while hand-overs are asked for or taken
	mu        sync.RWMutex
	chain     *rotation.Chain
}

// OpenTerms returns the committees that follow from a genesis file, and those that are kept in a
// file, where nobody else writes: what was verified before is not verified again. With the path ""
// nothing is kept. Errors: those of ledger.ParseGenesis, rollup.ErrNetwork for a genesis file of
// another network than the one asked for, and what is wrong with what is kept.
func OpenTerms(genesis []byte, network rollup.Network, path string) (*Terms, error) {
	g, err := ledger.ParseGenesis(genesis)
	if err != nil {
		return nil, err
	}
	if of := g.Network(); of != network {
		return nil, fmt.Errorf("%w: the genesis file is of %s, and not of %s", rollup.ErrNetwork, of,
			network)
	}
	t := newTerms(g)
	t.path = path
	if path == "" {
		return t, nil
	}
	kept, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := t.parse(kept)
	if err == nil {
		err = t.chain.Restore(h)
	}
	if err != nil {
		return nil, fmt.Errorf("client: terms kept in %s: %w", path, err)
	}
	return t, nil
}

func newTerms(g *ledger.Genesis) *Terms {
	return &Terms{chain: g.Terms(), following: make(semaphore, 1)}
}

// semaphore is a lock that is waited for as long as a context allows.
type semaphore chan struct{}

func (s semaphore) lock(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s semaphore) unlock() { <-s }

// Last returns the last term that is known.
func (t *Terms) Last() uint32 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.chain.Last()
}

// Chain returns the terms that are known, which must not be changed.
func (t *Terms) Chain() *rotation.Chain {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.chain
}

// Signers returns the committee that signs a record: rollup.ErrUnknownTerm before Follow led there,
// rollup.ErrOffice for a record of a time in which that committee was not in office.
func (t *Terms) Signers(record *rollup.Record) (*rollup.Committee, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.chain.Signers(record)
}

// Take verifies a file of hand-overs (export.TypeHandOvers), and keeps what is new in it. The
// errors are those of export.Parse and rotation.Chain.Extend.
func (t *Terms) Take(file []byte) error {
	_ = t.following.lock(context.Background()) // which does not end
	defer t.following.unlock()
	return t.take(file)
}

// take is Take for who holds t.following.
func (t *Terms) take(file []byte) error {
	h, err := t.parse(file)
	if err != nil {
		return err
	}
	// Signatures are verified beside readers, and what holds is taken over at once.
	first, before := h.First, t.Last()
	t.mu.RLock()
	known, ok := t.chain.HandOvers(1, before)
	t.mu.RUnlock()
	next := t.chain.Begin()
	if ok {
		err = next.Restore(known)
	}
	if err == nil {
		err = next.Extend(h, 2)
	}
	if err != nil {
		return fmt.Errorf("client: terms from %d on: %w", first, err)
	}
	t.mu.Lock()
	t.chain = next
	t.mu.Unlock()
	if t.path == "" || next.Last() == before {
		return nil
	}
	all, _ := next.HandOvers(1, next.Last())
	return t.keep(export.NewHandOvers(next.Network(), all).Append(nil))
}

// Follow asks a node for the hand-overs after the last term that is known, and takes them. Of many
// that follow at a time, as all clients of a program do when a term begins, one asks, and the
// others go on with what that found.
func (t *Terms) Follow(ctx context.Context, ledger api.LedgerServiceClient) error {
	last := t.Last()
	if err := t.following.lock(ctx); err != nil {
		return err
	}
	defer t.following.unlock()
	if t.Last() > last {
		return nil
	}
	res, err := Call(ctx, ledger.ExportTerms, &api.ExportTermsRequest{First: t.Last() + 1})
	if err != nil {
		return err
	}
	return t.take(res.File)
}

// Committee returns the committee of a term that is known. Errors: those of
// rotation.Chain.Committee.
func (t *Terms) Committee(term uint32) (*rollup.Committee, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.chain.Committee(term)
}

// following does what needs the committee of a record, and once more when that is of a term which
// is not known before a node has shown the hand-overs that lead to it.
func (cfg *Config) following(ctx context.Context, ledger api.LedgerServiceClient,
	do func() error) error {
	err := do()
	if cfg.Terms == nil || !errors.Is(err, rollup.ErrUnknownTerm) {
		return err
	}
	if err := cfg.Terms.Follow(ctx, ledger); err != nil {
		return err
	}
	return do()
}

func (t *Terms) parse(file []byte) (*rotation.HandOvers, error) {
	parsed, err := export.Parse(file)
	if err != nil {
		return nil, err
	}
	h, ok := parsed.(*export.HandOvers)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: %s, and no hand-overs", rollup.ErrMalformed, parsed.Type())
	case h.Network != t.chain.Network():
		return nil, fmt.Errorf("%w: hand-overs of %s", rollup.ErrNetwork, h.Network)
	}
	return h.HandOvers, nil
}

// keep replaces the file as a whole.
func (t *Terms) keep(b []byte) error {
	file, err := os.OpenFile(t.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(b); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(t.path+".new", t.path)
	}
	return err
}

// certifies reports whether the client knows who certifies records.
func (cfg *Config) certifies() bool { return cfg.Terms != nil || cfg.Committee != nil }

// signers returns the committee that signs a record.
func (cfg *Config) signers(record *rollup.Record) (*rollup.Committee, error) {
	if cfg.Terms != nil {
		return cfg.Terms.Signers(record)
	}
	return cfg.Committee, nil
}
