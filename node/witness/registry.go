package witness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/registry"
)

// Registry returns the registry as it was at the record of a height. Its methods answer ErrMissing
// for a record that is not kept, and ErrBroken.
func (w *Witness) Registry(height uint64) export.Prover { return past{w, height} }

// past proves entries of the registry as it was at a record. The state's trees are today's: they
// go back by the entries that blocks replaced since.
type past struct {
	w      *Witness
	height uint64
}

func (p past) load() (heads registry.Heads, proofKeys []byte, err error) {
	key := heightKey('h', p.height)
	b, err := p.w.kv.Get(key)
	switch {
	case err != nil:
		return heads, nil, err
	case b == nil:
		return heads, nil, fmt.Errorf("%w: the registry at block %d", ErrMissing, p.height)
	case len(b) < registry.HeadsSize || (len(b)-registry.HeadsSize)%registry.ProofKeySize != 0:
		return heads, nil, corrupt(key, errSize)
	}
	if heads, err = registry.ParseHeads(b[:registry.HeadsSize]); err != nil {
		return heads, nil, corrupt(key, err)
	}
	return heads, b[registry.HeadsSize:], nil
}

// prove looks while no block is executed or forgotten, so that what was replaced fits the trees.
func (p past) prove(tree ledger.RegistryTree, indices []uint64) (entries, proof []byte, err error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.open {
		return nil, nil, ErrBroken
	}
	heads, _, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	replaced, err := p.w.replaced(p.height)
	if err != nil {
		return nil, nil, err
	}
	return p.w.state.Prove(tree, &heads, replaced, indices)
}

// replaced returns the entries that blocks behind a height have replaced, for each the earliest, in
// order.
func (w *Witness) replaced(height uint64) (all []ledger.Replaced, err error) {
	it, err := w.kv.Iterator(heightKey('p', height+1), []byte{'p' + 1}, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	known := make(map[ledger.RegistryTree]map[uint64]bool)
	add := func(r ledger.Replaced) {
		if known[r.Tree] == nil {
			known[r.Tree] = make(map[uint64]bool)
		}
		if !known[r.Tree][r.Index] {
			known[r.Tree][r.Index] = true
			all = append(all, r)
		}
	}
	for ; it.Valid(); it.Next() {
		key := it.Key()
		if len(key) != 1+8+1+8 {
			return nil, fmt.Errorf("%w: witness %x", store.ErrCorrupt, key)
		}
		add(ledger.Replaced{Tree: ledger.RegistryTree(key[9]),
			Index: binary.BigEndian.Uint64(key[10:]), Leaf: it.Value()})
	}
	for _, r := range w.executed {
		add(r)
	}
	slices.SortFunc(all, ledger.CompareReplaced)
	return all, it.Error()
}

func (p past) Heads() (registry.Heads, error) {
	heads, _, err := p.load()
	return heads, err
}

func (p past) Clients(indices []uint64) (entries, proof []byte, err error) {
	return p.prove(ledger.TreeClients, indices)
}

func (p past) Services(indices []uint64) (entries, proof []byte, err error) {
	return p.prove(ledger.TreeServices, indices)
}

func (p past) Nodes(indices []uint64) (entries, proof []byte, err error) {
	return p.prove(ledger.TreeNodes, indices)
}

func (p past) ProofKeys() ([]byte, error) {
	_, keys, err := p.load()
	return keys, err
}
