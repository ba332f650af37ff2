package bls

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// SecretKey is a non-zero scalar modulo r. It is immutable and safe for concurrent
// use; printing it shows nothing.
type SecretKey struct{ s fr.Element }

// String hides the key, so that a stray %v does not log it.
func (sk *SecretKey) String() string { return "bls.SecretKey(hidden)" }

// GoString hides the key from %#v.
func (sk *SecretKey) GoString() string { return sk.String() }

// KeyGen derives a master key from at least 32 bytes of secret key material
// (EIP-2333, derive_master_SK). Less gives [ErrShortSeed].
func KeyGen(ikm []byte) (*SecretKey, error) {
	if len(ikm) < 32 {
		return nil, fmt.Errorf("%w: %d bytes", ErrShortSeed, len(ikm))
	}
	return hkdfModR(ikm), nil
}

// Derive returns the child key of an index (EIP-2333, derive_child_SK).
func (sk *SecretKey) Derive(index uint32) *SecretKey {
	salt := binary.BigEndian.AppendUint32(nil, index)
	ikm := sk.Bytes()
	flipped := ikm
	for i := range flipped {
		flipped[i] ^= 0xff
	}
	digest := sha256.New()
	for _, seed := range [][32]byte{ikm, flipped} {
		chunks := lamportChunks(seed[:], salt)
		for ; len(chunks) > 0; chunks = chunks[sha256.Size:] {
			hashed := sha256.Sum256(chunks[:sha256.Size])
			digest.Write(hashed[:])
		}
	}
	return hkdfModR(digest.Sum(nil))
}

// lamportChunks expands a seed into the 255 chunks of 32 bytes of a Lamport secret key.
func lamportChunks(ikm, salt []byte) []byte {
	prk := must(hkdf.Extract(sha256.New, ikm, salt))
	return must(hkdf.Expand(sha256.New, prk, "", 255*sha256.Size))
}

// hkdfModR maps key material to a non-zero scalar (draft-irtf-cfrg-bls-signature,
// KeyGen; EIP-2333, hkdf_mod_r).
func hkdfModR(ikm []byte) *SecretKey {
	const length = 48
	ikm = append(ikm[:len(ikm):len(ikm)], 0)
	salt := []byte("BLS-SIG-KEYGEN-SALT-")
	for {
		hashed := sha256.Sum256(salt)
		salt = hashed[:]
		prk := must(hkdf.Extract(sha256.New, ikm, salt))
		okm := must(hkdf.Expand(sha256.New, prk, string([]byte{0, length}), length))
		sk := new(SecretKey)
		if sk.s.SetBytes(okm); !sk.s.IsZero() {
			return sk
		}
	}
}

// must unwraps an HKDF result: with SHA-256 and these lengths it cannot fail.
func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// ParseSecretKey decodes 32 big-endian bytes. Zero gives [ErrZeroKey], a value of r
// or more [VerdictBadEncoding], another size [ErrLength].
func ParseSecretKey(b []byte) (*SecretKey, error) {
	if len(b) != SecretKeySize {
		return nil, fmt.Errorf("%w: secret key of %d bytes", ErrLength, len(b))
	}
	sk := new(SecretKey)
	if err := sk.s.SetBytesCanonical(b); err != nil {
		return nil, fmt.Errorf("%w: secret key", VerdictBadEncoding)
	}
	if sk.s.IsZero() {
		return nil, ErrZeroKey
	}
	return sk, nil
}

// Bytes returns the 32 big-endian bytes of the scalar.
func (sk *SecretKey) Bytes() [SecretKeySize]byte { return sk.s.Bytes() }

// PublicKeyG1 is the key's public key where public keys are in G1 and signatures in G2, compressed:
// Ethereum's validators have it so. Nothing here is signed or verified under it.
func (sk *SecretKey) PublicKeyG1() [SignatureSize]byte {
	var p bls12381.G1Affine
	p.ScalarMultiplicationBase(sk.s.BigInt(new(big.Int)))
	return p.Bytes()
}

// PublicKey computes the public key, with the scalar split as in [Suite.Sign].
func (sk *SecretKey) PublicKey() *PublicKey {
	_, _, _, generator := bls12381.Generators()
	a, b := sk.split()
	pk := new(PublicKey)
	var second bls12381.G2Affine
	pk.p.ScalarMultiplication(&generator, a)
	second.ScalarMultiplication(&generator, b)
	pk.p.Add(&pk.p, &second)
	return pk
}

// Sign signs a message. The point arithmetic below is not constant time, so every
// call splits the scalar into a + b mod r with a fresh uniform a, and computes
// aH + bH: neither share, and so no running time, depends on the key alone.
func (su Suite) Sign(sk *SecretKey, msg []byte) Signature {
	h := su.hash(msg)
	a, b := sk.split()
	var s Signature
	var second affine
	s.p.ScalarMultiplication(&h, a)
	second.ScalarMultiplication(&h, b)
	s.p.Add(&s.p, &second)
	return s
}

// split returns random a and b with a + b = sk mod r.
func (sk *SecretKey) split() (a, b *big.Int) {
	var x, y fr.Element
	if _, err := x.SetRandom(); err != nil {
		panic(err) // crypto/rand does not fail
	}
	y.Sub(&sk.s, &x)
	return x.BigInt(new(big.Int)), y.BigInt(new(big.Int))
}

// Prove makes a proof of possession: the key's signature under [ProofDST] of a message
// that names the key, and whatever else the proof is to be bound to.
func Prove(sk *SecretKey, message []byte) Signature { return Proofs.Sign(sk, message) }

// VerifyProof checks a proof of possession. That the message names the key is the
// caller's to see to.
func VerifyProof(pk *PublicKey, message []byte, proof *Signature) bool {
	return Proofs.Verify(pk, message, proof)
}
