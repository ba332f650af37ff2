package registry

import "slices"

// At returns the tree as it was when it had count entries, and those at some indices, below the
// count, were as given: what they were before they were changed. So proofs can be made under a
// root that is not current any more. It shares what is equal: it is valid until the tree changes,
// and takes 4 KiB for each page that differs. The error is that of Set, and ReasonGap for a count
// that the tree never had. It needs the page of the last entry.
func (t *Tree) At(count uint64, indices []uint64, entries []byte) (*Tree, error) {
	if count > t.count {
		return nil, refuse(ReasonGap, "%d entries of %d", count, t.count)
	}
	past := &Tree{kind: t.kind, store: &overlay{Store: t.store}, count: count}
	if count == 0 {
		return past, nil
	}
	for h, pages := range t.upper[:heights(count)-1] {
		past.upper = append(past.upper, slices.Clone(pages[:width(count, pageLevels*(h+2))]))
	}
	if len(indices)*t.kind.width != len(entries) {
		return nil, refuse(ReasonLength, "%d bytes for %d entries", len(entries), len(indices))
	}
	if n := len(indices); n > 0 && indices[n-1] >= count {
		return nil, refuse(ReasonGap, "entry %d of %d", indices[n-1], count)
	}
	hashes := t.kind.leaves(entries)
	// What is above the last entry had fewer neighbours.
	if last := count - 1; len(indices) == 0 || indices[len(indices)-1] != last {
		id := PageID{Index: last / pageNodes}
		if past.forgotten(id) {
			return nil, refuse(ReasonForgotten, "entry %d", last)
		}
		var p page
		if err := t.load(id, &p); err != nil {
			return nil, err
		}
		indices = append(slices.Clone(indices), last)
		hashes = append(hashes, p.node(0, int(last%pageNodes))...)
	}
	if _, err := past.check(indices); err != nil {
		return nil, err
	}
	past.own(indices)
	return past, past.apply(indices, hashes, count)
}

// own copies the pages above entries, which are another tree's.
func (t *Tree) own(indices []uint64) {
	above := slices.Clone(indices)
	for h := range t.upper {
		above = climb(above)
		last := uint64(1<<64 - 1)
		for _, x := range above {
			if i := x / pageNodes; i != last {
				p := *t.upper[h][i]
				t.upper[h][i], last = &p, i
			}
		}
	}
}

// overlay is a store on top of another one, which it does not change.
type overlay struct {
	Store
	pages map[PageID][]byte
}

func (o *overlay) Page(id PageID) ([]byte, error) {
	if p, ok := o.pages[id]; ok {
		return p, nil
	}
	return o.Store.Page(id)
}

func (o *overlay) Write(id PageID, data []byte) {
	if o.pages == nil {
		o.pages = make(map[PageID][]byte)
	}
	o.pages[id] = slices.Clone(data)
}

func (o *overlay) Delete(id PageID) { delete(o.pages, id) }
