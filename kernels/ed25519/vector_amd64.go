//go:build !purego

package ed25519

import (
	"crypto/sha512"

	"github.com/klauspost/cpuid/v2"
	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// The point arithmetic of curve25519-voi, a port of curve25519-dalek's, has the four coordinates of
// a point in the lanes of a vector.
var vectorized = []cpu.Implementation[verify]{
	{Name: cpu.AVX2, Needs: []cpuid.FeatureID{cpuid.AVX2}, Code: vector},
}

// vector does what crypto/ed25519 does, step by step: A may have any encoding that decodes, S is
// below the order, k = SHA-512(R ‖ A ‖ M) modulo the order, and what the sum of the products
// encodes to is compared with R, which is never decoded.
func vector(s *Signed) bool {
	var a, sum curve.EdwardsPoint
	encoded := curve.CompressedEdwardsY(s.Key)
	if _, err := a.SetCompressedY(&encoded); err != nil {
		return false
	}
	if !scalar.ScMinimalVartime(s.Signature[32:]) {
		return false
	}
	var digest [sha512.Size]byte
	h := sha512.New()
	h.Write(s.Signature[:32])
	h.Write(s.Key[:])
	h.Write(s.Message)
	h.Sum(digest[:0])
	var by, k scalar.Scalar
	if _, err := by.SetBytesModOrder(s.Signature[32:]); err != nil {
		return false
	}
	if _, err := k.SetBytesModOrderWide(digest[:]); err != nil {
		return false
	}
	sum.DoubleScalarMulBasepointVartime(&k, a.Neg(&a), &by)
	encoded.SetEdwardsPoint(&sum)
	return [32]byte(encoded) == [32]byte(s.Signature[:32])
}
