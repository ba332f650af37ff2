package witness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

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
	history, err := p.w.history(p.height)
	if err != nil {
		return nil, nil, err
	}
	return p.w.state.Prove(tree, &heads, history, indices)
}

// history returns what blocks behind a height have replaced.
func (w *Witness) history(height uint64) (ledger.History, error) {
	some, err := w.holds(heightKey('q', height+1), []byte{'q' + 1})
	if err != nil {
		return nil, err
	}
	return func(tree ledger.RegistryTree, page registry.PageID) ([]ledger.Replaced, error) {
		var list []ledger.Replaced
		if some {
			if list, err = w.replaced(tree, page, height); err != nil {
				return nil, err
			}
		}
		for _, r := range w.executed {
			at := func(known ledger.Replaced) bool { return known.Index == r.Index }
			if r.Tree == tree && r.Page() == page && !slices.ContainsFunc(list, at) {
				list = append(list, r)
			}
		}
		return list, nil
	}, nil
}

// holds reports whether there is an entry in a range of keys.
func (w *Witness) holds(from, to []byte) (some bool, err error) {
	it, err := w.kv.Iterator(from, to, false)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	return it.Valid(), it.Error()
}

// replaced returns what blocks behind a height have replaced on the lowest level of a page, for
// each place the earliest.
func (w *Witness) replaced(
	tree ledger.RegistryTree, page registry.PageID, height uint64,
) (list []ledger.Replaced, err error) {
	at := ledger.Replaced{Tree: tree, Height: page.Height, Index: page.Index * registry.PageNodes}
	end := at
	end.Index += registry.PageNodes
	for at.Index < end.Index {
		next, behind, err := w.nextReplaced(&at, &end, height)
		if err != nil || next == nil {
			return list, err
		}
		if at = *next; behind {
			list, at.Index = append(list, at), at.Index+1
		}
	}
	return list, nil
}

// nextReplaced returns the first entry from a place on, in which it looks behind a height, and
// whether the entry is of behind that height. There is none when it returns nil.
func (w *Witness) nextReplaced(at, end *ledger.Replaced, height uint64) (
	next *ledger.Replaced, behind bool, err error,
) {
	it, err := w.kv.Iterator(replacedKey(placeOf(at), height+1), replacedKey(placeOf(end), 0), false)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.Valid() {
		return nil, false, it.Error()
	}
	key := it.Key()
	if len(key) != 1+len(place{})+8 {
		return nil, false, corrupt(key, errSize)
	}
	r := *at
	r.Index, r.Before = binary.BigEndian.Uint64(key[3:]), slices.Clone(it.Value())
	return &r, binary.BigEndian.Uint64(key[11:]) > height, nil
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
