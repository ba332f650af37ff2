package rotation

import (
	"fmt"
	"math"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

// Change is a seat that a hand-over gives to somebody else.
type Change struct {
	Seat   uint16
	Holder uint32 // NoHolder when it falls empty
}

// Hop is a hand-over as files carry it: what it changes, and who signed. What else was signed
// follows from the terms before.
type Hop struct {
	Epoch          uint32
	Changes        []Change // ascending by seat
	Seed           rollup.Hash
	SnapshotHeight uint64
	SnapshotBytes  uint64
	SnapshotRoot   rollup.Hash
	Signers        rollup.Bitmap
	Signature      [rollup.SignatureSize]byte
}

// NodeKey is the BLS key of a node, encoded.
type NodeKey struct {
	Node uint32
	Key  [bls.PublicKeySize]byte
}

// HandOvers are hand-overs that follow each other, as files carry them: section 13 of
// docs/rotation.md. A Chain makes and takes them.
type HandOvers struct {
	First uint32    // the term that the first one leads to, at least 1
	Keys  []NodeKey // who gets a seat and had none before the first one, ascending by node
	Hops  []Hop     // at least one
}

// Sizes in bytes: of an entry of the keys, of a change, and of a hop without changes and with the
// shortest bitmap.
const (
	nodeKeySize = 4 + bls.PublicKeySize
	changeSize  = 2 + 4
	leastHop    = 4 + 2 + 32 + 8 + 8 + 32 + 1 + 1 + rollup.SignatureSize
)

// Last returns the term that the last hop leads to.
func (h *HandOvers) Last() uint32 { return h.First + uint32(len(h.Hops)) - 1 }

// Append appends the encoding to dst. A hop has at most MaxSeats changes, a bitmap 255 bytes.
func (h *HandOvers) Append(dst []byte) []byte {
	dst = le.AppendUint32(le.AppendUint32(dst, h.First), uint32(len(h.Hops)))
	dst = le.AppendUint32(dst, uint32(len(h.Keys)))
	for i := range h.Keys {
		dst = append(le.AppendUint32(dst, h.Keys[i].Node), h.Keys[i].Key[:]...)
	}
	for i := range h.Hops {
		dst = h.Hops[i].Append(dst)
	}
	return dst
}

// Append appends the encoding of one hop to dst.
func (h *Hop) Append(dst []byte) []byte {
	dst = le.AppendUint16(le.AppendUint32(dst, h.Epoch), uint16(len(h.Changes)))
	for _, c := range h.Changes {
		dst = le.AppendUint32(le.AppendUint16(dst, c.Seat), c.Holder)
	}
	dst = append(dst, h.Seed[:]...)
	dst = le.AppendUint64(le.AppendUint64(dst, h.SnapshotHeight), h.SnapshotBytes)
	dst = append(append(dst, h.SnapshotRoot[:]...), byte(len(h.Signers)))
	return append(append(dst, h.Signers...), h.Signature[:]...)
}

// ParseHandOvers decodes what Append wrote, and nothing after it. What it says is for
// Chain.Extend. The error is ErrMalformed of package rollup, in a *rollup.DecodeError.
func ParseHandOvers(b []byte) (*HandOvers, error) {
	r := &wire.Reader{B: b, Kind: rollup.ErrMalformed}
	h := &HandOvers{First: r.U32()}
	count := r.U32()
	if r.Err == nil && (h.First == 0 || count == 0 || count > math.MaxUint32-h.First) {
		r.Fail("%d hand-overs from term %d on", count, h.First)
	}
	h.Keys = make([]NodeKey, r.Count(uint64(r.U32()), nodeKeySize))
	for i := range h.Keys {
		h.Keys[i].Node = r.U32()
		if i > 0 && h.Keys[i-1].Node >= h.Keys[i].Node {
			r.Fail("the key of node %d does not ascend", h.Keys[i].Node)
		}
		r.Fill(h.Keys[i].Key[:])
	}
	h.Hops = make([]Hop, r.Count(uint64(count), leastHop))
	for i := range h.Hops {
		h.Hops[i].read(r)
	}
	if err := r.End(); err != nil {
		return nil, &rollup.DecodeError{Offset: len(b) - r.Mark, Err: fmt.Errorf("hand-overs: %w", err)}
	}
	return h, nil
}

// ParseHop decodes one hop and nothing after it: ErrMalformed of package rollup.
func ParseHop(b []byte) (*Hop, error) {
	r, h := &wire.Reader{B: b, Kind: rollup.ErrMalformed}, new(Hop)
	h.read(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("hand-over: %w", err)
	}
	return h, nil
}

func (h *Hop) read(r *wire.Reader) {
	h.Epoch = r.U32()
	h.Changes = make([]Change, r.Count(uint64(r.U16()), changeSize))
	for i := range h.Changes {
		h.Changes[i] = Change{r.U16(), r.U32()}
		if i > 0 && h.Changes[i-1].Seat >= h.Changes[i].Seat {
			r.Fail("the change of seat %d does not ascend", h.Changes[i].Seat)
		}
	}
	r.Fill(h.Seed[:])
	h.SnapshotHeight, h.SnapshotBytes = r.U64(), r.U64()
	r.Fill(h.SnapshotRoot[:])
	length := int(r.U8())
	if r.Err == nil && length == 0 {
		r.Fail("an empty bitmap")
	}
	h.Signers = append(rollup.Bitmap(nil), r.Next(length)...)
	r.Fill(h.Signature[:])
}
