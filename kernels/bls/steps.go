package bls

import (
	"fmt"
	"math/bits"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/waybill-network/waybill/internal/kernelbench"
)

func init() {
	kernelbench.NewSteps = func() kernelbench.Steps { return &steps{v: NewVerifier(Default, 1)} }
}

// steps are the single steps of batch verification, for benchmarks that compare them with those of
// other libraries. kernelbench.Steps says what the methods do.
type steps struct {
	v        *Verifier
	verdicts []Verdict
	points   []affine

	p       []affine
	q       []bls12381.G2Affine
	product bls12381.GT
}

func (s *steps) Decode(data []byte, stride int) int {
	signatures := Column{data, stride, SignatureSize}
	s.verdicts = grow(s.verdicts, signatures.Len())
	s.v.decode(signatures, s.verdicts)
	s.points = s.points[:0]
	for i, verdict := range s.verdicts {
		if verdict == VerdictPending {
			s.points = append(s.points, s.v.sigs[i].p)
		}
	}
	return len(s.points)
}

func (s *steps) InSubgroup() bool {
	s.v.entry = grow(s.v.entry, len(s.points)) // as many coefficients are drawn
	s.v.draw()
	return s.v.inSubgroup(s.v.bitSums(&g1, s.points, s.v.coef), s.points)
}

func (s *steps) HashDeferred(data []byte, stride, width int) {
	messages := Column{data, stride, width}
	s.points = grow(s.points, messages.Len())
	s.v.spaces[0].hashToIso(s.points, s.v.dst, messages.At)
}

func (s *steps) Hash(data []byte, stride, width int) {
	s.HashDeferred(data, stride, width)
	s.v.spaces[0].toG1(s.points)
	s.v.spaces[0].clearCofactors(s.points)
}

func (s *steps) Scale(factors []uint32) {
	sums := make([]bls12381.G1Jac, len(s.points))
	for i := range s.points {
		for bit := bits.Len32(factors[i]) - 1; bit >= 0; bit-- {
			sums[i].DoubleAssign()
			if factors[i]>>bit&1 == 1 {
				sums[i].AddMixed(&s.points[i])
			}
		}
	}
	copy(s.points, bls12381.BatchJacobianToAffineG1(sums))
}

func (s *steps) Encoded(out []byte) []byte {
	for i := range s.points {
		b := s.points[i].Bytes()
		out = append(out, b[:]...)
	}
	return out
}

func (s *steps) Pair(points, keys []byte) error {
	n := len(points) / SignatureSize
	if len(points) != n*SignatureSize || len(keys) != n*PublicKeySize {
		return fmt.Errorf("%w: points of %d bytes, keys of %d", ErrLength, len(points), len(keys))
	}
	s.p, s.q = grow(s.p, n), grow(s.q, n)
	for i := range n {
		sig, err := ParseSignature(points[i*SignatureSize:][:SignatureSize])
		if err != nil {
			return err
		}
		key, err := ParsePublicKey(keys[i*PublicKeySize:][:PublicKeySize])
		if err != nil {
			return err
		}
		s.p[i], s.q[i] = sig.p, key.p
	}
	return nil
}

func (s *steps) MillerLoop() { s.product = s.v.millerLoop(s.p, s.q) }

func (s *steps) IsOne() bool { return s.v.spaces[0].isOne(&s.product) }
