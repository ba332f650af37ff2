package verifier

import (
	curve "github.com/consensys/gnark-crypto/ecc/bn254"

	"github.com/waybill-network/waybill/rollup"
)

// Proof is a proof of one segment, in the notation of Groth's paper (eprint 2016/260). It is
// malleable: whoever has one can make others of the same statement.
type Proof struct {
	Ar  curve.G1Affine
	Bs  curve.G2Affine
	Krs curve.G1Affine
	// Pedersen commitment to some of the wires, and proof that they are known
	Commitment, Known curve.G1Affine
}

// Bytes returns the encoding: Ar, Bs, Krs, Commitment, Known, as in a [Key].
func (p *Proof) Bytes() (out [rollup.ProofSize]byte) {
	b := appendG2(appendG1(out[:0], &p.Ar), &p.Bs)
	for _, q := range []*curve.G1Affine{&p.Krs, &p.Commitment, &p.Known} {
		b = appendG1(b, q)
	}
	return out
}

// ParseProof decodes a proof: canonical coordinates, points of their groups, none of them the
// identity. Errors: ErrEncoding, ErrPoint.
func ParseProof(b *[rollup.ProofSize]byte) (*Proof, error) {
	p, d := new(Proof), decoder{b: b[:]}
	d.g1(&p.Ar)
	d.g2(&p.Bs)
	d.g1(&p.Krs)
	d.g1(&p.Commitment)
	d.g1(&p.Known)
	if d.err != nil {
		return nil, d.err
	}
	return p, nil
}
