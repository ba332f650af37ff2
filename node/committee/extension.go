package committee

import (
	"encoding/binary"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// A vote extension is empty, or extensionTag and then, for each record that waits for its
// certificate, ascending and ledger.MaxPendingRecords at most, height u64 ‖ BLS signature (48) of
// the record (docs/protocol.md, section 7), little-endian. It is the only encoding.
const (
	extensionTag  = 1
	recordSigSize = 8 + 48
)

// recordSignature is a member's signature of the record of a height.
type recordSignature struct {
	height    uint64
	signature bls.Signature
}

// appendExtension encodes a vote extension; that of no signatures is empty.
func appendExtension(dst []byte, signatures []recordSignature) []byte {
	if len(signatures) == 0 {
		return dst
	}
	dst = append(dst, extensionTag)
	for _, s := range signatures {
		dst = binary.LittleEndian.AppendUint64(dst, s.height)
		encoded := s.signature.Bytes()
		dst = append(dst, encoded[:]...)
	}
	return dst
}

// parseExtension splits a vote extension that is not empty, and decodes its signatures strictly (on
// the curve, in the subgroup, not the identity). ok is false for anything else.
func parseExtension(b []byte) (signatures []recordSignature, ok bool) {
	if len(b) < 1 || b[0] != extensionTag || (len(b)-1)%recordSigSize != 0 ||
		len(b) == 1 || len(b) > 1+ledger.MaxPendingRecords*recordSigSize {
		return nil, false
	}
	for b = b[1:]; len(b) > 0; b = b[recordSigSize:] {
		s := recordSignature{height: binary.LittleEndian.Uint64(b)}
		var err error
		if s.signature, err = bls.ParseSignature(b[8:recordSigSize]); err != nil {
			return nil, false
		}
		signatures = append(signatures, s)
	}
	return signatures, true
}
