package rotation

import (
	"fmt"
	"math/bits"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

const handOverTag = "wb-han/2"

// HandOverSize is the size in bytes of a hand-over.
const HandOverSize = 8 + 32 + 4 + 4 + 4*32 + 8 + 8 + 32

// HandOver is what the committee of a term signs of the one that follows it.
type HandOver struct {
	Network        rollup.Network
	Term           uint32 // of the new committee; the one before it signs
	Epoch          uint32 // in which its seats were drawn
	Committee      rollup.Hash
	Seats          rollup.Hash // Seats.Digest
	Seed           rollup.Hash
	Terms          rollup.Hash // the root over all terms before, Terms.Root
	SnapshotHeight uint64
	SnapshotBytes  uint64
	SnapshotRoot   rollup.Hash
}

// Append appends the 224-byte encoding, which is what a member signs, to dst.
func (h *HandOver) Append(dst []byte) []byte {
	dst = append(dst, handOverTag...)
	dst = append(dst, h.Network[:]...)
	dst = le.AppendUint32(le.AppendUint32(dst, h.Term), h.Epoch)
	for _, hash := range [...]*rollup.Hash{&h.Committee, &h.Seats, &h.Seed, &h.Terms} {
		dst = append(dst, hash[:]...)
	}
	dst = le.AppendUint64(le.AppendUint64(dst, h.SnapshotHeight), h.SnapshotBytes)
	return append(dst, h.SnapshotRoot[:]...)
}

// ParseHandOver decodes exactly HandOverSize bytes: ErrMalformed of package rollup.
func ParseHandOver(b []byte) (*HandOver, error) {
	r := wire.Reader{B: b, Kind: rollup.ErrMalformed}
	r.Tag(handOverTag)
	h := new(HandOver)
	r.Fill(h.Network[:])
	h.Term, h.Epoch = r.U32(), r.U32()
	for _, hash := range [...]*rollup.Hash{&h.Committee, &h.Seats, &h.Seed, &h.Terms} {
		r.Fill(hash[:])
	}
	h.SnapshotHeight, h.SnapshotBytes = r.U64(), r.U64()
	r.Fill(h.SnapshotRoot[:])
	if h.Term == 0 {
		r.Fail("a hand-over to the committee of the genesis")
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("hand-over: %w", err)
	}
	return h, nil
}

// Verify checks that a quorum of the committee before handed over: ErrNetwork, ErrTerm, ErrBitmap,
// ErrQuorum, ErrSignature of package rollup. It costs two pairings.
func (h *HandOver) Verify(network rollup.Network, before *rollup.Committee, signers rollup.Bitmap,
	signature *[rollup.SignatureSize]byte) error {
	var err error
	switch {
	case h.Network != network:
		err = fmt.Errorf("%w: %s", rollup.ErrNetwork, h.Network)
	case uint64(h.Term) != uint64(before.Term)+1:
		err = fmt.Errorf("%w: %d after %d", rollup.ErrTerm, h.Term, before.Term)
	default:
		err = before.Verify(h.Append(nil), signers, signature)
	}
	if err != nil {
		return fmt.Errorf("hand-over: %w", err)
	}
	return nil
}

// TermTreeKind is the tree over term u32 ‖ committee root (32), by term.
var TermTreeKind = rollup.NewTreeKind("term")

// TermEntry returns the entry of a committee in the tree of terms.
func TermEntry(term uint32, committee rollup.Hash) []byte {
	return append(le.AppendUint32(nil, term), committee[:]...)
}

// Terms is the tree over all terms so far, as much of it as a new term changes: the roots of its
// complete subtrees, from the largest to the smallest. The zero value is the tree of no terms.
type Terms struct {
	count uint32
	peaks []rollup.Hash // one for each bit of count
}

// Count returns the number of terms.
func (t *Terms) Count() uint32 { return t.count }

// Add adds the committee of the next term.
func (t *Terms) Add(committee rollup.Hash) {
	hash := TermTreeKind.LeafHash(TermEntry(t.count, committee))
	for n := t.count; n&1 == 1; n >>= 1 {
		last := len(t.peaks) - 1
		hash = TermTreeKind.NodeHash(&t.peaks[last], &hash)
		t.peaks = t.peaks[:last]
	}
	t.peaks = append(t.peaks, hash)
	t.count++
}

// Root returns the root; that of no terms is zero.
func (t *Terms) Root() (root rollup.Hash) {
	for i := len(t.peaks) - 1; i >= 0; i-- {
		if i == len(t.peaks)-1 {
			root = t.peaks[i]
		} else {
			root = TermTreeKind.NodeHash(&t.peaks[i], &root)
		}
	}
	return root
}

// Append appends the encoding, count u32 ‖ hashes (32 each), to dst.
func (t *Terms) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, t.count)
	for i := range t.peaks {
		dst = append(dst, t.peaks[i][:]...)
	}
	return dst
}

// ParseTerms decodes what Append wrote, and nothing after it: ErrMalformed of package rollup.
func ParseTerms(b []byte) (*Terms, error) {
	r := wire.Reader{B: b, Kind: rollup.ErrMalformed}
	t := &Terms{count: r.U32()}
	t.peaks = make([]rollup.Hash, r.Count(uint64(bits.OnesCount32(t.count)), 32))
	for i := range t.peaks {
		r.Fill(t.peaks[i][:])
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("terms: %w", err)
	}
	return t, nil
}
