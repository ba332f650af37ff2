package registry

import (
	"cmp"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// Past is an earlier version of a tree: how many entries it had, and the hashes of those that have
// changed since, which Kind.LeafHash gives.
type Past struct {
	Count   uint64
	Changed []PastEntry // ascending by index
}

// PastEntry is an entry that has changed.
type PastEntry struct {
	Index uint64
	Hash  Hash
}

// RootAt returns the root of an earlier version. Errors are those of ProveAt.
func (t *Tree) RootAt(past Past) (root Hash, err error) {
	if past.Count == 0 {
		return root, nil
	}
	h := history{tree: t, past: past}
	level := 0
	for width(past.Count, level) > 1 {
		level++
	}
	root = h.node(level, 0)
	return root, h.err
}

// ProveAt is Prove for an earlier version of the tree. What is complete in it and did not change is
// read; only nodes above a changed entry, or at the edge that grew, are hashed again, each once. The
// error is ReasonNone, ReasonOrder, ReasonGap, ReasonForgotten or ReasonStore.
func (t *Tree) ProveAt(past Past, indices []uint64) (proof []byte, err error) {
	if past.Count > t.count {
		return nil, refuse(ReasonGap, "%d entries, where %d are", past.Count, t.count)
	}
	if err := checkIndices(past.Count, indices); err != nil {
		return nil, err
	}
	h := history{tree: t, past: past}
	known := slices.Clone(indices)
	for level, w := 0, past.Count; w > 1; level, w = level+1, (w+1)/2 {
		for i := 0; i < len(known); i++ {
			switch x := known[i]; {
			case x%2 == 0 && i+1 < len(known) && known[i+1] == x+1:
				i++
			case x^1 < w:
				node := h.node(level, x^1)
				proof = append(proof, node[:]...)
			}
		}
		known = raise(known)
	}
	return proof, h.err
}

// history reads the nodes of an earlier version.
type history struct {
	tree   *Tree
	past   Past
	hashed map[position]Hash // nodes that are not those of today
	id     PageID            // of leaves
	leaves page
	loaded bool
	err    error
}

type position struct {
	level int
	index uint64
}

// node returns a node of the earlier version, which has it.
func (h *history) node(level int, index uint64) Hash {
	from := index << level
	complete := from+1<<level <= h.past.Count
	at, _ := slices.BinarySearchFunc(h.past.Changed, from,
		func(e PastEntry, from uint64) int { return cmp.Compare(e.Index, from) })
	changed := at < len(h.past.Changed) && h.past.Changed[at].Index < from+1<<level
	switch {
	case h.err != nil:
		return Hash{}
	case complete && !changed:
		return h.today(level, index)
	case level == 0:
		return h.past.Changed[at].Hash
	}
	where := position{level, index}
	if hash, ok := h.hashed[where]; ok {
		return hash
	}
	hash := h.node(level-1, 2*index)
	if 2*index+1 < width(h.past.Count, level-1) {
		right := h.node(level-1, 2*index+1)
		hash = blake3.Keyed(&h.tree.kind.node, slices.Concat(hash[:], right[:]))
	}
	if h.hashed == nil {
		h.hashed = make(map[position]Hash)
	}
	h.hashed[where] = hash
	return hash
}

// today returns a node of the tree as it is, which is complete.
func (h *history) today(level int, index uint64) Hash {
	height := level / pageLevels
	if height >= heights(h.tree.count) {
		return h.tree.root
	}
	within := level % pageLevels
	id := PageID{uint8(height), index / (pageNodes >> within)}
	p := &h.leaves
	if height > 0 || !h.loaded || h.id != id {
		if p, h.err = h.tree.page(id, &h.leaves); h.err != nil {
			return Hash{}
		}
		if height == 0 {
			h.id, h.loaded = id, true
		}
	}
	return Hash(p.node(within, int(index%(pageNodes>>within))))
}
