// Package bls implements BLS signatures on BLS12-381 with signatures in G1 (48
// bytes compressed) and public keys in G2 (96 bytes compressed), as in
// draft-irtf-cfrg-bls-signature, proof-of-possession scheme, with hashing to the
// curve from RFC 9380 (XMD:SHA-256, simplified SWU, random oracle).
//
// Three kinds of checks are offered: one signature ([Suite.Verify]), many
// signatures with a verdict for each ([Verifier]), and one aggregate over many
// messages or many signers ([Suite.AggregateVerify], [Suite.FastAggregateVerify]).
//
// Decoding is strict everywhere: exact length, canonical encoding, on the curve,
// in the subgroup of prime order r, not the identity. A [Signature] or [PublicKey]
// that exists has passed those checks or was computed from values that did.
//
// Files: keys.go, encoding.go, and verify.go hold the scheme as a reader of the
// draft expects it; hash.go is RFC 9380; curve.go and msm.go are batched point
// arithmetic, and the wide files its forms for eight lanes of kernels/fp381;
// batch.go, check.go and locate.go are batch verification.
package bls

import (
	"errors"
	"sync/atomic"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// Sizes of encodings in bytes.
const (
	SecretKeySize = 32
	PublicKeySize = 96
	SignatureSize = 48
)

// Domain separation tags of the proof-of-possession scheme.
const (
	SignatureDST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
	ProofDST     = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
)

// Suite names the domain separation tag under which messages are hashed to the
// curve. It is explicit so that signatures of other systems can be checked too.
// A Suite is a value and safe for concurrent use.
type Suite struct{ DST string }

// Default is the suite of the protocol's own signatures.
var Default = Suite{SignatureDST}

// Proofs is the suite of proofs of possession.
var Proofs = Suite{ProofDST}

// Reasons for which a parser or KeyGen refuses its input, beside a [Verdict]. Their errors wrap one
// of these or a verdict.
var (
	ErrLength    = errors.New("bls: wrong length")
	ErrZeroKey   = errors.New("bls: secret key is zero")
	ErrShortSeed = errors.New("bls: key material shorter than 32 bytes")
)

// IdentitySignature is the encoding of the identity, which no parser accepts. The
// protocol writes it where an aggregate signature is absent.
var IdentitySignature = [SignatureSize]byte{0: 0xc0}

// Signature is a point of G1 in the subgroup of order r. The zero value is the
// identity, which verifies nothing. It is a plain value: comparable, free to copy.
type Signature struct{ p affine }

// IsIdentity reports whether s is the identity, as the zero value and the sum of no
// signatures are.
func (s Signature) IsIdentity() bool { return s.p.IsInfinity() }

// Bytes returns the compressed encoding, [IdentitySignature] for the identity.
func (s *Signature) Bytes() [SignatureSize]byte { return s.p.Bytes() }

// PublicKey is a point of G2 in the subgroup of order r. It is immutable and safe
// for concurrent use, and must not be copied. One that was part of a large sum keeps the
// form that sums compute in, 256 bytes, for the next.
type PublicKey struct {
	p    bls12381.G2Affine
	wide atomic.Pointer[widePoint2]
}

// Bytes returns the compressed encoding.
func (pk *PublicKey) Bytes() [PublicKeySize]byte { return pk.p.Bytes() }

// IsIdentity reports whether pk is the sum of no keys, or of keys that cancel. It verifies nothing.
func (pk *PublicKey) IsIdentity() bool { return pk.p.IsInfinity() }

// Equal reports whether both keys are the same point.
func (pk *PublicKey) Equal(other *PublicKey) bool { return pk.p.Equal(&other.p) }
