package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

// The registry's trees are part of the state, and no records of it: they follow from those of
// clients, nodes, services and proof keys, and are built anew when a state is restored. That of the
// clients is not when a depot has its pages.

// RegistryTree names one of the registry's trees in a Replaced.
type RegistryTree uint8

// The trees whose entries change.
const (
	TreeClients RegistryTree = iota
	TreeNodes
	TreeServices
	numTrees
)

// Replaced is what stood on the lowest level of a page of the registry before a block changed it:
// an entry, or, above height 0, the root of a page below.
type Replaced struct {
	Tree   RegistryTree
	Height uint8
	Index  uint64 // on the level
	Before []byte // the entry, or the root
}

// Page returns the page on whose lowest level it stood.
func (r *Replaced) Page() registry.PageID {
	return registry.PageID{Height: r.Height, Index: r.Index / registry.PageNodes}
}

// History returns what blocks replaced on the lowest level of a page since an earlier one, for each
// place what stood there first.
type History func(tree RegistryTree, page registry.PageID) ([]Replaced, error)

// registers are the trees, and what the block that is executed replaces in them.
type registers struct {
	trees    [numTrees]*registry.Tree
	replaced []Replaced
	noted    map[place]struct{} // what is in replaced
}

var registryKinds = [numTrees]*registry.Kind{registry.Clients, registry.Nodes, registry.Services}

// registryPrefixes are the prefixes of the records that the trees' entries follow from.
var registryPrefixes = [numTrees]byte{prefixClient, prefixNode, prefixService}

// buildRegistry makes the trees of the state as it is, but for that of the clients.
func (s *State) buildRegistry() error {
	counts := [numTrees]uint64{TreeNodes: uint64(s.nodes.size()),
		TreeServices: uint64(s.services.size())}
	for t, count := range counts {
		if RegistryTree(t) == TreeClients {
			continue // it grew with the clients
		}
		s.registers.trees[t] = registry.New(registryKinds[t], new(registry.Memory))
		indices, leaves := make([]uint64, count), make([]byte, 0, count*uint64(registryKinds[t].Width()))
		for i := range count {
			indices[i] = i
			leaves = s.appendLeaf(leaves, RegistryTree(t), i)
		}
		if count == 0 {
			continue
		}
		if err := s.registers.trees[t].Set(indices, leaves); err != nil {
			return err
		}
	}
	s.takeHeads()
	return nil
}

// updateRegistry brings the trees up to date with the records that the block touched.
func (s *State) updateRegistry() {
	s.registers.replaceAbove()
	var touched [numTrees][]uint64
	for k := range s.dirty { // order-free: sorted below
		t := slices.Index(registryPrefixes[:], k[0])
		if t < 0 {
			continue
		}
		index := uint64(be.Uint32([]byte(k[1:])))
		if RegistryTree(t) == TreeClients {
			index = be.Uint64([]byte(k[1:]))
		}
		touched[t] = append(touched[t], index)
	}
	for t, indices := range touched {
		if len(indices) == 0 {
			continue
		}
		slices.Sort(indices)
		var leaves []byte
		for _, i := range indices {
			leaves = s.appendLeaf(leaves, RegistryTree(t), i)
		}
		if err := s.registers.trees[t].Set(indices, leaves); err != nil {
			panic(fmt.Sprintf("ledger: block %d: registry: %v", s.height, err))
		}
	}
	s.takeHeads()
}

// takeHeads puts the trees' heads into the world.
func (s *State) takeHeads() {
	trees := &s.registers.trees
	s.heads = registry.Heads{Clients: trees[TreeClients].Head(), Nodes: trees[TreeNodes].Head(),
		Services:  trees[TreeServices].Head(),
		ProofKeys: registry.ProofKeys.RootOf(s.appendProofKeys(nil))}
}

// replace notes an entry of a tree before the block changes it for the first time.
func (s *State) replace(tree RegistryTree, index uint64) {
	if index >= s.registers.trees[tree].Count() {
		return // it is new in this block
	}
	if at := (place{tree, 0, index}); s.registers.note(at) {
		s.registers.add(at, s.appendLeaf(nil, tree, index))
	}
}

// place is where something stands in one of the trees.
type place struct {
	tree   RegistryTree
	height uint8
	index  uint64
}

// note reports whether a place was not noted yet.
func (r *registers) note(at place) bool {
	if _, noted := r.noted[at]; noted {
		return false
	}
	if r.noted == nil {
		r.noted = make(map[place]struct{})
	}
	r.noted[at] = struct{}{}
	return true
}

func (r *registers) add(at place, before []byte) {
	r.replaced = append(r.replaced, Replaced{at.tree, at.height, at.index, before})
}

// replaceAbove notes the roots of the pages above what the block replaced. The trees are still
// those of before.
func (r *registers) replaceAbove() {
	for _, below := range r.replaced {
		r.trees[below.Tree].Above(below.Index, func(id registry.PageID, root registry.Hash) bool {
			at := place{below.Tree, id.Height + 1, id.Index}
			fresh := r.note(at)
			if fresh {
				r.add(at, root[:])
			}
			return fresh
		})
	}
}

// takeReplaced returns what the block replaced, in order.
func (s *State) takeReplaced() []Replaced {
	replaced := s.registers.replaced
	s.registers.replaced = nil
	clear(s.registers.noted)
	slices.SortFunc(replaced, func(a, b Replaced) int {
		return cmp.Or(cmp.Compare(a.Tree, b.Tree), cmp.Compare(a.Height, b.Height),
			cmp.Compare(a.Index, b.Index))
	})
	return replaced
}

// Prove returns entries of one of the registry's trees, one after the other, and the multiproof
// that leads from them to the root that the tree had after an earlier block: heads are those of the
// block, and history is since then. It asks for the pages that the proof goes through. It must not
// be called inside a block. Errors: a [registry.Reason], a *DepotError, or the history's.
func (s *State) Prove(tree RegistryTree, heads *registry.Heads, history History, indices []uint64) (
	entries, proof []byte, err error,
) {
	defer func() {
		if failed := depotError(recover()); failed != nil {
			entries, proof, err = nil, nil, failed
		}
	}()
	count := [numTrees]registry.Head{heads.Clients, heads.Nodes, heads.Services}[tree].Count
	old := make(map[uint64][]byte)
	replaced := func(id registry.PageID, put func(int, registry.Hash)) error {
		list, err := history(tree, id)
		for _, r := range list {
			at := int(r.Index % registry.PageNodes)
			if id.Height > 0 {
				put(at, registry.Hash(r.Before))
				continue
			}
			old[r.Index] = r.Before
			put(at, registryKinds[tree].LeafHash(r.Before))
		}
		return err
	}
	if proof, err = s.registers.trees[tree].ProveAt(count, replaced, indices); err != nil {
		return nil, nil, err
	}
	for _, i := range indices {
		if leaf, ok := old[i]; ok {
			entries = append(entries, leaf...)
		} else {
			entries = s.appendLeaf(entries, tree, i)
		}
	}
	return entries, proof, nil
}

// appendLeaf appends an entry of a tree.
func (w *world) appendLeaf(dst []byte, tree RegistryTree, index uint64) []byte {
	switch tree {
	case TreeClients:
		c := w.clients.at(index)
		leaf := registry.Client{Key: c.key.bytes, Payer: c.payer, Since: c.since,
			Until: c.until, Numbers: c.numbers, Services: c.services}
		return leaf.Append(dst)
	case TreeNodes:
		n := w.nodes.at(uint32(index))
		leaf := registry.Node{Key: n.key, NodeKey: n.transport, Owner: n.owner, Since: n.since,
			Until: n.until, Stake: n.stake, Status: registry.Idle}
		switch {
		case len(n.convictions) > 0:
			leaf.Status = registry.Convicted
		case n.until != Forever && n.leaving.amount > 0:
			leaf.Status = registry.Leaving
		case n.until != Forever:
			leaf.Status = registry.Gone
		case n.candidacy != nil && n.candidacy.jailed > 0:
			leaf.Status = registry.Jailed
		case n.candidacy != nil, w.rotation == nil && w.power(uint32(index)) > 0:
			leaf.Status = registry.Standing
		}
		return leaf.Append(dst)
	default:
		v := w.services.at(uint32(index))
		leaf := registry.Service{Owner: v.Owner, Cap: v.UnitCap, Price: v.Price,
			NextPrice: v.NextPrice, From: v.From}
		return leaf.Append(dst)
	}
}

// appendProofKeys appends all entries of the tree of proof keys.
func (w *world) appendProofKeys(dst []byte) []byte {
	for _, k := range w.proofKeys {
		leaf := registry.ProofKey{Size: k.Statements, Digest: k.Key, From: k.From, Until: k.Until}
		dst = leaf.Append(dst)
	}
	return dst
}

// Heads returns the heads of the registry's trees, whose root the committee signs in records.
func (v *View) Heads() registry.Heads { return v.heads }

// ProofKeyEntries returns the entries of the registry's tree of proof keys.
func (v *View) ProofKeyEntries() []byte { return v.appendProofKeys(nil) }

func (w *world) registryRoot() rollup.Hash { return w.heads.Root() }
