package rotation

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// MinWeight is the least weight of all candidates together with which seats are drawn. Each of the
// strata has some of it then, and far more than one micro-credit.
const MinWeight = 100_000_000

// candidateSize is the size in bytes of an entry of the tree of candidates.
const candidateSize = 4 + 8

// CandidateTreeKind is the tree over node u32 ‖ weight u64, by node.
var CandidateTreeKind = rollup.NewTreeKind("candidate")

// Candidate is a node that can be drawn.
type Candidate struct {
	Node   uint32
	Weight uint64 // micro-credits: its stake, up to a cap
}

// Candidates are the nodes among which the seats of one epoch are drawn.
type Candidates struct {
	list []Candidate
	sums []uint64 // sums[i] is the weight of the candidates up to i, with it
}

// NewCandidates returns the candidates, which ascend by node, each with a weight: ReasonOrder;
// ReasonField for a weight of 0 or a sum beyond 64 bits. The list is kept.
func NewCandidates(list []Candidate) (*Candidates, error) {
	sums := make([]uint64, len(list))
	var sum uint64
	for i, c := range list {
		if i > 0 && list[i-1].Node >= c.Node {
			return nil, refuse(ReasonOrder, "candidate %d", c.Node)
		}
		total, carry := bits.Add64(sum, c.Weight, 0)
		if c.Weight == 0 || carry != 0 || c.Node == NoHolder {
			return nil, refuse(ReasonField, "candidate %d weighs %d", c.Node, c.Weight)
		}
		sum, sums[i] = total, total
	}
	return &Candidates{list, sums}, nil
}

// Len returns the number of candidates.
func (c *Candidates) Len() int { return len(c.list) }

// Weight returns the weight of all candidates.
func (c *Candidates) Weight() uint64 {
	if len(c.sums) == 0 {
		return 0
	}
	return c.sums[len(c.sums)-1]
}

// Has reports whether a node is a candidate.
func (c *Candidates) Has(node uint32) bool {
	_, ok := slices.BinarySearchFunc(c.list, node,
		func(c Candidate, node uint32) int { return cmp.Compare(c.Node, node) })
	return ok
}

// Root returns the root of the tree of candidates; that of none is zero.
func (c *Candidates) Root() rollup.Hash {
	b := make([]byte, 0, len(c.list)*candidateSize)
	for _, v := range c.list {
		b = le.AppendUint64(le.AppendUint32(b, v.Node), v.Weight)
	}
	return rollup.RootOf(CandidateTreeKind, b, candidateSize)
}

var seatKey = blake3.ContextKey("waybill/seat/2")

// Draw returns the winner of a seat of k. The line of the candidates' weights, by node, has k equal
// strata, and the seed takes a point of stratum seat, without bias: the winner's weight covers it.
// The candidates weigh MinWeight at least, and k is at most MaxSeats.
func (c *Candidates) Draw(seed rollup.Hash, epoch uint32, seat, k int) uint32 {
	x := point(seed, epoch, seat, c.bound(seat, k), c.bound(seat+1, k))
	i, _ := slices.BinarySearchFunc(c.sums, x, func(sum, x uint64) int {
		if sum > x {
			return 1
		}
		return -1
	})
	return c.list[i].Node
}

// bound returns ⌊T·seat / k⌋, T the weight of all.
func (c *Candidates) bound(seat, k int) uint64 {
	hi, lo := bits.Mul64(c.Weight(), uint64(seat))
	if seat == k {
		return c.Weight()
	}
	quotient, _ := bits.Div64(hi, lo, uint64(k))
	return quotient
}

// point returns a point of lo ≤ x < hi: lo + u mod (hi − lo), where u is the first of the words
// that the seed gives that is not in the 2^64 mod (hi − lo) lowest, which would favour some points.
func point(seed rollup.Hash, epoch uint32, seat int, lo, hi uint64) uint64 {
	width := hi - lo
	b := make([]byte, 0, 32+3*4)
	b = append(b, seed[:]...)
	b = le.AppendUint32(le.AppendUint32(b, epoch), uint32(seat))
	for count := uint32(0); ; count++ {
		digest := blake3.Keyed(&seatKey, le.AppendUint32(b, count))
		if u := le.Uint64(digest[:]); u >= -width%width {
			return lo + u%width
		}
	}
}

// First returns the seats of term 0: k seats, each drawn among the members of the genesis. The
// error is ReasonWeight.
func First(members *Candidates, seed rollup.Hash, k int) (Seats, error) {
	if members.Weight() < MinWeight {
		return nil, refuse(ReasonWeight, "%d of %d", members.Weight(), uint64(MinWeight))
	}
	seats := make(Seats, k)
	for i := range seats {
		seats[i].Holder = members.Draw(seed, 0, i, k)
	}
	return seats, nil
}
