package committee

import (
	"encoding/binary"

	"github.com/waybill-network/waybill/kernels/bls"
)

// extensionSize is the size of a vote extension: epoch u32 ‖ BLS signature (48) of the epoch's
// settlement message. It is the only encoding; a vote that has nothing to say carries no extension.
const extensionSize = 4 + 48

// appendExtension encodes a vote extension.
func appendExtension(dst []byte, epoch uint32, signature [48]byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, epoch)
	return append(dst, signature[:]...)
}

// parseExtension splits a vote extension and decodes its signature strictly (on the curve, in the
// subgroup, not the identity). ok is false for anything else.
func parseExtension(b []byte) (epoch uint32, signature bls.Signature, ok bool) {
	if len(b) != extensionSize {
		return 0, signature, false
	}
	signature, err := bls.ParseSignature(b[4:])
	return binary.LittleEndian.Uint32(b), signature, err == nil
}
