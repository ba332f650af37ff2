package committee

import (
	"encoding/binary"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// A vote extension is empty, or one or both of these, in this order, little-endian:
//
//   - recordTag and then, for each record that waits for its certificate and whose committee the
//     voter is a member of, ascending and ledger.MaxPendingRecords at most, height u64 ‖ BLS
//     signature (48) of the record (docs/protocol.md, section 7);
//   - handOverTag ‖ term u32 ‖ BLS signature (48) of the hand-over to that term
//     (docs/rotation.md).
//
// It is the only encoding.
const (
	recordTag     = 1
	handOverTag   = 2
	recordSigSize = 8 + 48
	handOverSize  = 1 + 4 + 48
)

// recordSignature is a member's signature of the record of a height.
type recordSignature struct {
	height    uint64
	signature bls.Signature
}

// handOverSignature is a member's signature of the hand-over to a term.
type handOverSignature struct {
	term      uint32
	signature bls.Signature
}

// extension is what a vote says beside its block.
type extension struct {
	records  []recordSignature
	handOver *handOverSignature // nil: nothing
}

// append encodes a vote extension; that of no signatures is empty.
func (x *extension) append(dst []byte) []byte {
	if len(x.records) > 0 {
		dst = append(dst, recordTag)
	}
	for _, s := range x.records {
		dst = binary.LittleEndian.AppendUint64(dst, s.height)
		encoded := s.signature.Bytes()
		dst = append(dst, encoded[:]...)
	}
	if x.handOver != nil {
		dst = append(dst, handOverTag)
		dst = binary.LittleEndian.AppendUint32(dst, x.handOver.term)
		encoded := x.handOver.signature.Bytes()
		dst = append(dst, encoded[:]...)
	}
	return dst
}

// parseExtension splits a vote extension that is not empty, and decodes its signatures strictly (on
// the curve, in the subgroup, not the identity). ok is false for anything else.
func parseExtension(b []byte) (x extension, ok bool) {
	if len(b) == 0 || len(b) > 1+ledger.MaxPendingRecords*recordSigSize+handOverSize {
		return x, false
	}
	if b[0] == recordTag {
		b = b[1:]
		if len(b) < recordSigSize {
			return x, false
		}
		for ; len(b) >= recordSigSize; b = b[recordSigSize:] {
			s := recordSignature{height: binary.LittleEndian.Uint64(b)}
			var err error
			if s.signature, err = bls.ParseSignature(b[8:recordSigSize]); err != nil {
				return x, false
			}
			x.records = append(x.records, s)
		}
	}
	if len(x.records) > ledger.MaxPendingRecords {
		return x, false
	}
	if len(b) == 0 {
		return x, true
	}
	if len(b) != handOverSize || b[0] != handOverTag {
		return x, false
	}
	signature, err := bls.ParseSignature(b[5:])
	x.handOver = &handOverSignature{binary.LittleEndian.Uint32(b[1:]), signature}
	return x, err == nil
}
