package registry

import (
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// Set changes entries and appends some: indices ascend, and those from the count on follow it
// without a gap. The entries lie one after the other. It reads and writes each page once; a batch
// of n takes up to 4 KiB·n of memory while it lasts. What fails changes nothing: ReasonLength,
// ReasonOrder, ReasonGap, ReasonFull, ReasonForgotten, ReasonStore.
func (t *Tree) Set(indices []uint64, entries []byte) error {
	if len(indices)*t.kind.width != len(entries) {
		return refuse(ReasonLength, "%d bytes for %d entries", len(entries), len(indices))
	}
	count, err := t.check(indices)
	if err != nil || len(indices) == 0 {
		return err
	}
	return t.apply(indices, t.kind.leaves(entries), count)
}

// apply puts hashes of entries into a tree that has count of them then: ReasonStore.
func (t *Tree) apply(indices []uint64, hashes []byte, count uint64) error {
	b := batch{tree: t, count: count}
	if err := b.begin(indices, hashes); err != nil {
		return err
	}
	for {
		roots := b.climb()
		b.write()
		if b.height == 0 {
			t.reuse(b.work)
		}
		if int(b.height)+1 == heights(count) {
			t.count, t.root = count, Hash(roots)
			return nil
		}
		b.lift(roots)
	}
}

// check checks indices and returns the tree's count behind them.
func (t *Tree) check(indices []uint64) (count uint64, err error) {
	count = t.count
	for i, index := range indices {
		switch {
		case i > 0 && index <= indices[i-1]:
			return 0, refuse(ReasonOrder, "%d behind %d", index, indices[i-1])
		case index > count:
			return 0, refuse(ReasonGap, "entry %d of %d", index, count)
		case index == t.kind.most:
			return 0, refuse(ReasonFull, "entry %d", index)
		case index == count:
			count++
		case t.forgotten(PageID{Index: index / PageNodes}):
			return 0, refuse(ReasonForgotten, "entry %d", index)
		}
	}
	return count, nil
}

// batch is a batch of changes on its way up.
type batch struct {
	tree     *Tree
	count    uint64 // of the tree behind it
	height   uint8
	work     []work
	messages []byte
	digests  []byte
}

// work is a page that a batch changes.
type work struct {
	index uint64
	page  *page
	dirty uint64 // nodes of the level at hand that changed
}

// begin reads the pages of the entries and puts their hashes there. Nothing fails behind it.
func (b *batch) begin(indices []uint64, hashes []byte) error {
	old := width(b.tree.count, pageLevels)
	for i, index := range indices {
		if n := len(b.work); n == 0 || b.work[n-1].index != index/PageNodes {
			w := work{index: index / PageNodes, page: b.tree.blank()}
			if w.index < old {
				if err := b.tree.load(PageID{Index: w.index}, w.page); err != nil {
					return err
				}
			}
			b.work = append(b.work, w)
		}
		b.put(index, hashes[i*blake3.Size:])
	}
	return nil
}

// maxSpare bounds the pages that wait for the next batch: 4 MiB.
const maxSpare = 1024

// blank returns a page of zeros.
func (t *Tree) blank() *page {
	n := len(t.spare)
	if n == 0 {
		return new(page)
	}
	p := t.spare[n-1]
	t.spare = t.spare[:n-1]
	*p = page{}
	return p
}

// reuse takes pages that are in the store.
func (t *Tree) reuse(done []work) {
	for i := range done[:min(len(done), maxSpare-len(t.spare))] {
		t.spare = append(t.spare, done[i].page)
	}
}

// put puts a node into the last page.
func (b *batch) put(index uint64, hash []byte) {
	w := &b.work[len(b.work)-1]
	copy(w.page.node(0, int(index%PageNodes)), hash[:blake3.Size])
	w.dirty |= 1 << (index % PageNodes)
}

// lift puts the roots of the pages into those above, which are in memory.
func (b *batch) lift(roots []byte) {
	below := b.work
	b.height++
	if len(b.tree.upper) < int(b.height) {
		b.tree.upper = append(b.tree.upper, nil)
	}
	pages := &b.tree.upper[b.height-1]
	b.work = make([]work, 0, len(below))
	lift := func(index uint64, root []byte) {
		at := index / PageNodes
		if n := len(b.work); n == 0 || b.work[n-1].index != at {
			for uint64(len(*pages)) <= at {
				*pages = append(*pages, new(page))
			}
			b.work = append(b.work, work{index: at, page: (*pages)[at]})
		}
		b.put(index, root)
	}
	// A tree that grows by a height keeps the root that it had, as the first node of that height.
	if heights(b.tree.count) == int(b.height) && below[0].index > 0 {
		lift(0, b.tree.root[:])
	}
	for i, w := range below {
		lift(w.index, roots[i*blake3.Size:])
	}
}

// climb hashes what is above the changed nodes, within their pages, and returns the pages' roots.
func (b *batch) climb() (roots []byte) {
	for level := range pageLevels {
		b.hash(level)
		digests := b.digests
		for i := range b.work {
			w := &b.work[i]
			n := widthIn(b.count, PageID{b.height, w.index}, level)
			w.dirty = parents(w.dirty)
			for up := w.dirty; up != 0; up &= up - 1 {
				k := bits.TrailingZeros64(up)
				parent := w.page.node(level, 2*k)
				if 2*k+1 < n {
					parent, digests = digests[:blake3.Size], digests[blake3.Size:]
				}
				if level == pageLevels-1 {
					roots = append(roots, parent...)
				} else {
					copy(w.page.node(level+1, k), parent)
				}
			}
		}
	}
	return roots
}

// hash hashes the pairs of a level, of all pages at once, in which a node changed.
func (b *batch) hash(level int) {
	b.messages = b.messages[:0]
	for i := range b.work {
		w := &b.work[i]
		n := widthIn(b.count, PageID{b.height, w.index}, level)
		for up := parents(w.dirty); up != 0; up &= up - 1 {
			k := bits.TrailingZeros64(up)
			if 2*k+1 < n {
				pair := w.page.nodes[offset(level, 2*k):][:blake3.MessageSize]
				b.messages = append(b.messages, pair...)
			}
		}
	}
	size := len(b.messages) / 2
	b.digests = slices.Grow(b.digests[:0], size)[:size]
	blake3.HashMany64(&b.tree.kind.node, b.digests, b.messages)
}

// write gives the pages to the store.
func (b *batch) write() {
	data := make([]byte, 0, UpperPageSize)
	for i := range b.work {
		w := &b.work[i]
		data = w.page.append(data[:0], int(b.height))
		b.tree.store.Write(PageID{b.height, w.index}, data)
	}
}
