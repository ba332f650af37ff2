package registry

import (
	"bytes"
	"math/bits"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// PageNodes is how many nodes stand on the lowest of the six levels of a page.
const PageNodes = 1 << pageLevels

const (
	pageLevels = 6
	pageSize   = (2*PageNodes - 2) * blake3.Size
)

// Sizes of encoded pages: of height 0, and of those above, which also say which pages below them
// were forgotten.
const (
	LeafPageSize  = pageSize
	UpperPageSize = pageSize + 8
)

// PageID names a page: node i of level 6·Height is in the page with the index ⌊i / 64⌋.
type PageID struct {
	Height uint8
	Index  uint64
}

// Size returns the size of the page's encoding.
func (id PageID) Size() int {
	if id.Height == 0 {
		return LeafPageSize
	}
	return UpperPageSize
}

// page holds 64, 32, 16, 8, 4 and 2 nodes; those that the tree does not have yet are zero.
type page struct {
	nodes [pageSize]byte
	gone  uint64 // bit i: the page below node i was forgotten
}

// offset is where the node of a level begins.
func offset(level, node int) int {
	return (2*PageNodes - 2*PageNodes>>level + node) * blake3.Size
}

// node returns a node of a level in place.
func (p *page) node(level, i int) []byte { return p.nodes[offset(level, i):][:blake3.Size] }

// append appends the encoding of a page of that height.
func (p *page) append(dst []byte, height int) []byte {
	dst = append(dst, p.nodes[:]...)
	if height > 0 {
		dst = le.AppendUint64(dst, p.gone)
	}
	return dst
}

// root returns what the first n nodes of the page lead to, and false when one above them is another
// one, or when there is something beyond them.
func (p *page) root(kind *Kind, n int) (root Hash, ok bool) {
	level := bytes.Clone(p.nodes[:n*blake3.Size])
	for l := range pageLevels {
		own := p.nodes[offset(l, 0):offset(l+1, 0)]
		if !bytes.Equal(level, own[:len(level)]) || !zero(own[len(level):]) {
			return root, false
		}
		level = blake3.ReduceLevel(&kind.node, level)
	}
	return Hash(level), true
}

// fill computes what is above the first n nodes of the page, and returns the root.
func (p *page) fill(kind *Kind, n int) Hash {
	level := bytes.Clone(p.nodes[:n*blake3.Size])
	for l := range pageLevels {
		copy(p.nodes[offset(l, 0):], level)
		level = blake3.ReduceLevel(&kind.node, level)
	}
	return Hash(level)
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// width returns the number of nodes on a level of a tree of n entries.
func width(n uint64, level int) uint64 {
	return (n + 1<<level - 1) >> level
}

// widthIn returns how many nodes of a level, counted from the page's lowest, a page has.
func widthIn(n uint64, id PageID, level int) int {
	first := id.Index << (pageLevels - level)
	w := width(n, pageLevels*int(id.Height)+level)
	return int(min(w-first, PageNodes>>level))
}

// heights returns how many heights of pages a tree of n entries has.
func heights(n uint64) int {
	if n == 0 {
		return 0
	}
	return max(1, (bits.Len64(n-1)+pageLevels-1)/pageLevels)
}

// parents returns the parents of the nodes in a set of a page's nodes on one level.
func parents(nodes uint64) (up uint64) {
	for nodes != 0 {
		k := bits.TrailingZeros64(nodes) / 2
		nodes &^= 3 << (2 * k)
		up |= 1 << k
	}
	return up
}
