package pipelinetest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// Prover implements certify.Prover and rollup.ProofVerifier with digests of the public inputs:
// anyone can make such a proof, so it shows nothing about statements, but it is as easily wrong
// as a real one. A network that would accept it is one of this package.
type Prover struct {
	Statements int // a proof is about so many; 0: 256
	// Before, when it is not nil, may fail a proof, or take its time over it.
	Before func(ctx context.Context, s *rollup.Segment) error
	// Wrong proofs are about something else.
	Wrong atomic.Bool

	Calls atomic.Int64 // of Prove
}

var errTag = errors.New("pipelinetest: a proof of something else")

// Size implements certify.Prover.
func (p *Prover) Size(uint32, int) int {
	if p.Statements == 0 {
		return 256
	}
	return p.Statements
}

// Prove implements certify.Prover.
func (p *Prover) Prove(ctx context.Context, _ uint32, s *rollup.Segment,
	statements []rollup.Statement) (proof [rollup.ProofSize]byte, err error) {
	p.Calls.Add(1)
	if len(statements) != len(s.List) {
		return proof, errors.New("pipelinetest: statements of another segment")
	}
	if p.Before != nil {
		if err := p.Before(ctx, s); err != nil {
			return proof, err
		}
	}
	if proof = tag(s.Public.Bytes()); p.Wrong.Load() {
		proof[0] ^= 1
	}
	return proof, ctx.Err()
}

// In returns what checks its proofs, in any epoch.
func (p *Prover) In(uint32) rollup.ProofVerifier { return p }

// VerifyProof implements rollup.ProofVerifier.
func (p *Prover) VerifyProof(size int, public [32]byte, proof *[rollup.ProofSize]byte) error {
	if size != p.Size(0, 0) || *proof != tag(public) {
		return errTag
	}
	return nil
}

func tag(public [32]byte) (proof [rollup.ProofSize]byte) {
	for i := 0; i < len(proof); i += blake3.Size {
		block := append(public[:], byte(i/blake3.Size))
		digest := blake3.Sum256(block)
		copy(proof[i:], digest[:])
	}
	return proof
}
