package word

import (
	"math"

	"github.com/waybill-network/waybill/rollup"
)

const recordTag = "wb-rec/2"

// RecordSize is the size of a record in bytes: what the members of a term sign of a block.
const RecordSize = 8 + 32 + 4 + 2*8 + 2*4 + 2*32 + 4 + 32

// NotSettled stands in a record for the epoch of a block that settles none.
const NotSettled = math.MaxUint32

// Record is what the committee says of a block: which rollups it ordered, which registry it left,
// and what it settled.
type Record struct {
	Network    rollup.Network
	Term       uint32 // of the committee that signs
	Height     uint64
	Time       uint64 // milliseconds since 1970
	Epoch      uint32
	Rollups    uint32      // how many
	RollupRoot rollup.Hash // over their ids, as executed
	Registry   rollup.Hash
	Settled    uint32 // epoch, or NotSettled
	Settlement rollup.Hash
}

// Append appends the encoding, which is what is signed, to dst.
func (r *Record) Append(dst []byte) []byte {
	dst = append(append(dst, recordTag...), r.Network[:]...)
	dst = le.AppendUint32(dst, r.Term)
	dst = le.AppendUint64(le.AppendUint64(dst, r.Height), r.Time)
	dst = le.AppendUint32(le.AppendUint32(dst, r.Epoch), r.Rollups)
	dst = append(append(dst, r.RollupRoot[:]...), r.Registry[:]...)
	return append(le.AppendUint32(dst, r.Settled), r.Settlement[:]...)
}

// ParseRecord decodes a record and nothing after it: ReasonMalformed. A root of nothing is zero,
// and no other is.
func ParseRecord(b []byte) (Record, error) { return parse(b, (*reader).record) }

func (r *reader) record() (v Record) {
	r.Tag(recordTag)
	r.Fill(v.Network[:])
	v.Term = r.U32()
	v.Height, v.Time = r.U64(), r.U64()
	v.Epoch, v.Rollups = r.U32(), r.U32()
	v.RollupRoot, v.Registry = r.hash(), r.hash()
	v.Settled = r.U32()
	v.Settlement = r.hash()
	none := rollup.Hash{}
	if r.Err == nil && ((v.Rollups == 0) != (v.RollupRoot == none) ||
		v.Settled == NotSettled && v.Settlement != none) {
		r.Fail("a record with a root of nothing")
	}
	return v
}

// Sum is a set of members of a committee, by position, and their signatures, added up.
type Sum struct {
	Signers   rollup.Bitmap
	Signature [rollup.SignatureSize]byte
}

func (s *Sum) append(dst []byte) []byte {
	dst = append(append(dst, byte(len(s.Signers))), s.Signers...)
	return append(dst, s.Signature[:]...)
}

func (r *reader) sum() (s Sum) {
	s.Signers = append(rollup.Bitmap(nil), r.Next(int(r.U8()))...)
	r.Fill(s.Signature[:])
	return s
}
