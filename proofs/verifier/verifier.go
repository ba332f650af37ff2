package verifier

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"slices"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"golang.org/x/crypto/sha3"

	"github.com/waybill-network/waybill/rollup"
)

// Verifier checks proofs under a network's verifying keys, at most one of a size. It is immutable,
// safe for concurrent use, and a [rollup.ProofVerifier].
type Verifier struct{ keys map[int]*prepared }

var _ rollup.ProofVerifier = (*Verifier)(nil)

type lines = [2][len(curve.LoopCounter)]curve.LineEvaluationAff

// prepared is a key with what does not depend on proofs worked out.
type prepared struct {
	Key
	alphaBeta curve.GT // e(Alpha, Beta)
	fixed     []lines  // of -Gamma, -Delta, SigmaNegated, Commitment
}

// New returns a verifier of these keys. The error is ErrKey for two keys of one size.
func New(keys ...*Key) (*Verifier, error) {
	v := &Verifier{keys: make(map[int]*prepared, len(keys))}
	for _, k := range keys {
		if v.keys[k.Size] != nil {
			return nil, fmt.Errorf("%w: two of size %d", ErrKey, k.Size)
		}
		p := &prepared{Key: *k}
		var err error
		if p.alphaBeta, err = curve.Pair([]curve.G1Affine{k.Alpha},
			[]curve.G2Affine{k.Beta}); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKey, err)
		}
		var gamma, delta curve.G2Affine
		gamma.Neg(&k.Gamma)
		delta.Neg(&k.Delta)
		for _, q := range []curve.G2Affine{gamma, delta, k.SigmaNegated, k.Commitment} {
			p.fixed = append(p.fixed, curve.PrecomputeLines(q))
		}
		v.keys[k.Size] = p
	}
	return v, nil
}

// OfKey returns a verifier of the one key that is encoded, which must be of this size: what an
// export file is checked with. Errors: ErrEncoding, ErrPoint, ErrKey.
func OfKey(size int, encoded []byte) (rollup.ProofVerifier, error) {
	key, err := ParseKey(encoded)
	if err != nil {
		return nil, err
	}
	if key.Size != size {
		return nil, fmt.Errorf("%w of size %d: this one is of %d", ErrKey, size, key.Size)
	}
	return New(key)
}

// Sizes returns the sizes of which there are keys, in order.
func (v *Verifier) Sizes() (sizes []int) {
	for size := range v.keys {
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	return sizes
}

// VerifyProof checks the proof of a segment, in the calling goroutine. Errors: ErrKey, ErrEncoding,
// ErrPoint, ErrProof.
func (v *Verifier) VerifyProof(size int, public [32]byte,
	proof *[rollup.ProofSize]byte) (err error) {
	defer func() {
		// not known to happen; what came from the network must not stop a node
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrProof, r)
		}
	}()
	key := v.keys[size]
	if key == nil {
		return fmt.Errorf("%w of size %d", ErrKey, size)
	}
	input, err := fr.LittleEndian.Element(&public)
	if err != nil {
		return fmt.Errorf("%w: the public input is not below the order of its field", ErrEncoding)
	}
	p, err := ParseProof(proof)
	if err != nil {
		return err
	}
	return key.verify(input, p)
}

// verify checks the two equations
//
//	e(Ar, Bs) · e(L, −γ) · e(Krs, −δ) = e(α, β)
//	where L = K[0] + input·K[1] + digest·K[2] + Commitment
//	e(Commitment, −σG) · e(Known, G) = 1
//
// as one, the second raised to a random 128-bit power, so that there is one final exponentiation.
func (k *prepared) verify(input fr.Element, p *Proof) error {
	var random [17]byte
	if _, err := rand.Read(random[1:]); err != nil {
		return fmt.Errorf("verifier: %w", err)
	}
	random[0] = 1 // never zero
	power := new(big.Int).SetBytes(random[:])

	l := k.sum(input, p)
	var commitment, known curve.G1Affine
	commitment.ScalarMultiplication(&p.Commitment, power)
	known.ScalarMultiplication(&p.Known, power)

	left, err := curve.MillerLoop([]curve.G1Affine{p.Ar}, []curve.G2Affine{p.Bs})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	// gnark-crypto v0.21.0 uses the lines up, so it gets a copy.
	right, err := curve.MillerLoopFixedQ([]curve.G1Affine{l, p.Krs, commitment, known},
		slices.Clone(k.fixed))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	if got := curve.FinalExponentiation(&left, &right); got != k.alphaBeta {
		return ErrProof
	}
	return nil
}

// sum returns L.
func (k *prepared) sum(input fr.Element, p *Proof) (l curve.G1Affine) {
	digest := challenge(&p.Commitment, input)
	var a, b curve.G1Affine
	var s big.Int
	a.ScalarMultiplication(&k.K[1], input.BigInt(&s))
	b.ScalarMultiplication(&k.K[2], digest.BigInt(&s))
	var sum curve.G1Jac
	sum.FromAffine(&k.K[0])
	sum.AddMixed(&a).AddMixed(&b).AddMixed(&p.Commitment)
	l.FromJacobian(&sum)
	return l
}

// challenge is the random point of the circuit's lookups: Keccak-256 of the commitment and the
// public input, to which the circuit commits too, reduced.
func challenge(commitment *curve.G1Affine, input fr.Element) (digest fr.Element) {
	h := sha3.NewLegacyKeccak256()
	point, value := commitment.RawBytes(), input.Bytes()
	h.Write(point[:])
	h.Write(value[:])
	digest.SetBytes(h.Sum(nil))
	return digest
}
