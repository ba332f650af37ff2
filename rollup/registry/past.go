package registry

import "slices"

// Replaced tells what stood on the lowest level of a page and was replaced since: it calls put for
// each place, with the hash that was there. Those are hashes of entries, or roots of the pages
// below.
type Replaced func(id PageID, put func(place int, hash Hash)) error

// ProveAt returns the proof that Prove returned when the tree had count entries, given what was
// replaced since. It asks for the pages of the entries, and for those of the last entry there was.
// The error is that of Prove, ReasonGap for a count that the tree never had, or that of replaced.
func (t *Tree) ProveAt(count uint64, replaced Replaced, indices []uint64) ([]byte, error) {
	if count > t.count {
		return nil, refuse(ReasonGap, "%d entries of %d", count, t.count)
	}
	return t.prove(count, indices, func(id PageID) (*page, error) {
		p, _, err := t.pageAt(id, count, replaced)
		return p, err
	})
}

// pageAt returns a page as it was when the tree had count entries, and its root.
func (t *Tree) pageAt(id PageID, count uint64, replaced Replaced) (*page, Hash, error) {
	now, err := t.page(id, new(page))
	if err != nil {
		return nil, Hash{}, err
	}
	past, n := new(page), widthIn(count, id, 0)
	copy(past.nodes[:offset(0, n)], now.nodes[:])
	err = replaced(id, func(place int, hash Hash) {
		if place < n {
			copy(past.node(0, place), hash[:])
		}
	})
	// The page below the last node may have got entries since: then it had another root.
	last := id.Index*PageNodes + uint64(n) - 1
	if err == nil && id.Height > 0 && (last+1)<<(pageLevels*id.Height) > count {
		var root Hash
		_, root, err = t.pageAt(PageID{id.Height - 1, last}, count, replaced)
		copy(past.node(0, n-1), root[:])
	}
	if err != nil {
		return nil, Hash{}, err
	}
	return past, past.fill(t.kind, n), nil
}

// Above calls node for the roots of the pages above an entry, from the lowest on, until that
// answers false: with the page's height, its index, and its root. The root of the top is the
// tree's, and left out.
func (t *Tree) Above(index uint64, node func(id PageID, root Hash) bool) {
	id := PageID{Index: index / PageNodes}
	for int(id.Height) < len(t.upper) {
		above, at := t.above(id)
		if above == nil || !node(id, Hash(slices.Clone(above.node(0, at)))) {
			return
		}
		id = PageID{id.Height + 1, id.Index / PageNodes}
	}
}
