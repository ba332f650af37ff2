package rollup

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
)

const memberSize = 4 + 8 + bls.PublicKeySize

// Member is one node of the committee. Its key's proof of possession was verified when the key was
// registered.
type Member struct {
	Node  uint32
	Power uint64
	Key   *bls.PublicKey
}

// Committee is the set of members that certify during one term. Outside of it a member is named by
// its node index, which stays the same from term to term. The members' positions are known here
// alone: the member at position i is bit i of the bitmaps in this committee's certificates.
type Committee struct {
	Term    uint32   // counts from 0, the term of the genesis committee
	Members []Member // ascending by node index
}

// Position returns the position of a node, false when it is no member.
func (c *Committee) Position(node uint32) (int, bool) {
	return slices.BinarySearchFunc(c.Members, node,
		func(m Member, node uint32) int { return cmp.Compare(m.Node, node) })
}

// Member returns the member that a node is, false when it is none.
func (c *Committee) Member(node uint32) (Member, bool) {
	i, ok := c.Position(node)
	if !ok {
		return Member{}, false
	}
	return c.Members[i], true
}

// Nodes returns the nodes of the members in the bitmap, ascending. Bits beyond the last member name
// none.
func (c *Committee) Nodes(signers Bitmap) []uint32 {
	nodes := make([]uint32, 0, signers.Len())
	for i, m := range c.Members {
		if signers.Has(i) {
			nodes = append(nodes, m.Node)
		}
	}
	return nodes
}

// Signers returns the bitmap of some nodes. Nodes that are no members are left out.
func (c *Committee) Signers(nodes ...uint32) Bitmap {
	b := NewBitmap(len(c.Members))
	for _, node := range nodes {
		if i, ok := c.Position(node); ok {
			b.Set(i)
		}
	}
	return b
}

// Root returns the committee root (section 3).
func (c *Committee) Root() Hash {
	entries := make([]byte, 0, len(c.Members)*memberSize)
	for _, m := range c.Members {
		key := m.Key.Bytes()
		entries = le.AppendUint32(entries, m.Node)
		entries = le.AppendUint64(entries, m.Power)
		entries = append(entries, key[:]...)
	}
	return RootOf(CommitteeTreeKind, entries, memberSize)
}

// TotalPower returns the sum of the members' powers. The genesis file's rules keep it far below
// 2^64.
func (c *Committee) TotalPower() (power uint64) {
	for _, m := range c.Members {
		power += m.Power
	}
	return power
}

// Power returns the power of the members in the bitmap.
func (c *Committee) Power(signers Bitmap) (power uint64) {
	for i, m := range c.Members {
		if signers.Has(i) {
			power += m.Power
		}
	}
	return power
}

// Quorum reports whether three times the set's power exceeds twice the committee's.
func (c *Committee) Quorum(signers Bitmap) bool {
	hi3, lo3 := bits.Mul64(3, c.Power(signers))
	hi2, lo2 := bits.Mul64(2, c.TotalPower())
	return hi3 > hi2 || hi3 == hi2 && lo3 > lo2
}

// Verify checks bitmap, quorum and the multi-signature on message: ErrBitmap, ErrQuorum,
// ErrSignature. It costs two pairings.
func (c *Committee) Verify(message []byte, signers Bitmap, signature *[SignatureSize]byte) error {
	if err := c.Enough(signers); err != nil {
		return err
	}
	return c.VerifySum(message, signers, signature)
}

// Enough checks that a bitmap is one of this committee and names a quorum: ErrBitmap, ErrQuorum.
func (c *Committee) Enough(signers Bitmap) error {
	if err := signers.Validate(len(c.Members)); err != nil {
		return err
	}
	if !c.Quorum(signers) {
		return fmt.Errorf("%w: power %d of %d", ErrQuorum, c.Power(signers), c.TotalPower())
	}
	return nil
}

// Sum returns the sum of the keys of the members in the bitmap.
func (c *Committee) Sum(signers Bitmap) *bls.PublicKey {
	keys := make([]*bls.PublicKey, 0, signers.Len())
	for i, m := range c.Members {
		if signers.Has(i) {
			keys = append(keys, m.Key)
		}
	}
	return bls.AggregatePublicKeys(keys)
}

// Roster returns the members' keys, by position, for batches of signatures of many sets of them.
func (c *Committee) Roster() *bls.Roster {
	keys := make([]*bls.PublicKey, len(c.Members))
	for i, m := range c.Members {
		keys[i] = m.Key
	}
	roster, err := bls.NewRoster(keys)
	if err != nil {
		panic(fmt.Sprintf("rollup: a committee: %v", err)) // keys are registered, so decoded
	}
	return roster
}

// MaxMembers is the number of members that a bitmap can name.
const MaxMembers = 255 * 8

// Bitmap is a set of members of one committee, by position: bit i of the set is bit i mod 8, least
// significant first, of byte i/8.
type Bitmap []byte

// NewBitmap returns the empty set of a committee with n members.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+7)/8) }

// Set adds member i, which must be one of the committee.
func (b Bitmap) Set(i int) { b[i/8] |= 1 << (i % 8) }

// Has reports whether member i is in the set.
func (b Bitmap) Has(i int) bool { return i >= 0 && i/8 < len(b) && b[i/8]>>(i%8)&1 == 1 }

// Len returns the number of members in the set.
func (b Bitmap) Len() (n int) {
	for _, v := range b {
		n += bits.OnesCount8(v)
	}
	return n
}

// Positions returns the positions of the members in the set, ascending. Committee.Nodes names them.
func (b Bitmap) Positions() []int {
	positions := make([]int, 0, b.Len())
	for i := range 8 * len(b) {
		if b.Has(i) {
			positions = append(positions, i)
		}
	}
	return positions
}

// Validate checks that the bitmap is one of a committee with n members: its length, and that no bit
// lies beyond the last member. The error is ErrBitmap.
func (b Bitmap) Validate(n int) error {
	if n > MaxMembers || len(b) != (n+7)/8 {
		return fmt.Errorf("%w: %d bytes for %d members", ErrBitmap, len(b), n)
	}
	if n%8 != 0 && b[len(b)-1]>>(n%8) != 0 {
		return fmt.Errorf("%w: a bit beyond member %d", ErrBitmap, n-1)
	}
	return nil
}

func (b Bitmap) append(dst []byte) []byte {
	return append(append(dst, byte(len(b))), b...)
}

func (r *reader) bitmap() Bitmap {
	b := r.Next(int(r.U8()))
	if r.Err == nil && len(b) == 0 {
		r.Fail("an empty bitmap")
	}
	return append(Bitmap(nil), b...)
}
