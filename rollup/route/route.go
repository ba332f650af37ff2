// Package route says which nodes content is asked of: the same for everybody who knows the
// registry, without an announcement and without a word about any file (protocol section 20).
//
// # Candidates
//
// Rendezvous hashing: a root and a node give a number, and the nodes with the best numbers are the
// candidates for the content. A node of twice the stake is first for twice as many roots. When a
// node comes or goes, only the roots that it is a candidate for change theirs.
//
// # List
//
// A List is all nodes of the registry with what the committee signed of them. A client that has the
// committee from the genesis file checks it, whoever gave it, and needs nobody to route for it.
//
// The package reads no clock, no environment and no randomness, does no I/O and starts no
// goroutine.
package route

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

var le = binary.LittleEndian

// Default is how many candidates a content has.
const Default = 8

// Node is a node that may be a candidate.
type Node struct {
	Index uint32
	Stake uint64 // micro-credits
}

var scoreKey = blake3.ContextKey("waybill/route/2")

// draw is the pseudo-random number of a root and a node.
func draw(root *rollup.Hash, node uint32) uint64 {
	var b [36]byte
	copy(b[:], root[:])
	le.PutUint32(b[32:], node)
	digest := blake3.Keyed(&scoreKey, b[:])
	return le.Uint64(digest[:8])
}

// fraction is how many binary digits of a logarithm are computed.
const fraction = 32

// distance is −log2(x / 2^64) in units of 2^−32, where x is the draw with its lowest bit set. It is
// computed digit by digit in whole numbers, so that everybody gets the same.
func distance(x uint64) uint64 {
	x |= 1
	log := uint64(bits.Len64(x)-1) << fraction
	m := x << bits.LeadingZeros64(x) // in [2^63, 2^64): the mantissa
	for digit := uint64(1) << (fraction - 1); digit > 0; digit >>= 1 {
		hi, lo := bits.Mul64(m, m)
		if hi>>63 == 1 { // the square is 2 or more
			m = hi
			log += digit
		} else {
			m = hi<<1 | lo>>63
		}
	}
	return 64<<fraction - log
}

// scored is a node with its distance from a root.
type scored struct {
	Node
	distance uint64
}

// nearer orders by distance / stake, without a division; equal ones by index.
func nearer(a, b scored) int {
	ahi, alo := bits.Mul64(a.distance, b.Stake)
	bhi, blo := bits.Mul64(b.distance, a.Stake)
	return cmp.Or(cmp.Compare(ahi, bhi), cmp.Compare(alo, blo), cmp.Compare(a.Index, b.Index))
}

// Candidates returns up to k of the nodes, the best for the root first. Nodes without stake are
// none. The order in which nodes are given says nothing.
func Candidates(root rollup.Hash, nodes []Node, k int) []uint32 {
	list := make([]scored, 0, len(nodes))
	for _, n := range nodes {
		if n.Stake > 0 {
			list = append(list, scored{n, distance(draw(&root, n.Index))})
		}
	}
	slices.SortFunc(list, nearer)
	indices := make([]uint32, min(max(k, 0), len(list)))
	for i := range indices {
		indices[i] = list[i].Index
	}
	return indices
}

// Eligible returns the nodes that may serve in an epoch: registered in it, not convicted, and with
// at least the stake that serving takes. Who does not answer is for the caller to leave out.
func Eligible(nodes []registry.Node, epoch uint32, stake uint64) (list []Node) {
	for i, n := range nodes {
		if n.Since <= epoch && epoch < n.Until && n.Status != registry.Convicted &&
			n.Stake >= max(stake, 1) {
			list = append(list, Node{uint32(i), n.Stake})
		}
	}
	return list
}
