package bench

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/bls"
)

// Peers brings libraries into suites that the product itself must not depend on; the nested module
// bench/peers has them. Each function returns contenders for the work that is described, on one
// core unless it says otherwise, in the order of interest: the first becomes the baseline. Nil
// functions bring nobody.
type Peers struct {
	// Field is element by element z = x∘y; "mul", "sqr", or "pow", the exponentiation to (p−3)/4.
	// Results are the words of the elements, or nil where a peer computes something close to the
	// operation and not the same.
	Field func(op string, x, y []fp.Element) []Contender
	// BLAKE3 is the digests of 64-byte messages, one after another.
	BLAKE3 func(in []byte) []Contender
	// Outboard is root and outboard tree of content over groups of 16 KiB, Verify the verification
	// of all of it under them. Results are roots.
	Outboard func(in []byte) []Contender
	Verify   func(in []byte) []Contender
	// SHA256 is the digests of messages of length bytes, one after another.
	SHA256 func(in []byte, length int) []Contender
	// Expand is expand_message_xmd of every message to width bytes.
	Expand func(dst string, msgs [][]byte, width int) []Contender
	// Decompress is the points of signatures without the check of the subgroup, Hash the points in
	// G1 of messages; results are the compressed points. Subgroup is the check of points, which are
	// given compressed, that all are in the subgroup.
	Decompress func(signatures bls.Column) []Contender
	Subgroup   func(signatures bls.Column) []Contender
	Hash       func(dst string, msgs bls.Column) []Contender
	// MillerLoop is the product of the Miller loops of points, which are given compressed, and
	// keys; the result is a byte, 1 if the pairings' product is one.
	MillerLoop func(points bls.Column, keys []*bls.PublicKey) []Contender
	// BatchVerify finds that all signatures of a batch are valid, starting from their encodings and
	// from decoded keys. The first contender is the best use of its library.
	BatchVerify func(dst string, b *bls.Batch) []Contender
	// AggregateVerify finds that a signature is the sum of those of a batch, which are not there;
	// keys are decoded. The first contender is the best use of its library.
	AggregateVerify func(dst string, b *bls.Batch, aggregate *bls.Signature) []Contender
	// FastAggregate verifies a signature on one message by all keys.
	FastAggregate func(dst string, keys []*bls.PublicKey, msg []byte,
		signature *bls.Signature) []Contender
}
