// Package prover makes the proofs of rung 3, in a child process whose cores, memory and life its
// parent bounds.
package prover

import (
	"errors"
	"fmt"

	"github.com/consensys/gnark/backend"
	"github.com/consensys/gnark/backend/groth16"
	groth16bn254 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/backend/solidity"

	"github.com/waybill-network/waybill/proofs/circuit"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
)

// ErrFalse is for a segment that is not true of its statements: no proof exists.
var ErrFalse = errors.New("prover: the segment does not follow from the statements")

// Prove proves a segment in this process, on all its cores. It can neither be bounded nor
// interrupted: a node uses a [Worker]. Errors: circuit.ErrSegment, circuit.ErrSize, ErrFalse.
func Prove(with *keys.Proving, segment *rollup.Segment,
	statements []rollup.Statement) (proof [rollup.ProofSize]byte, err error) {
	values, err := circuit.Assign(segment, statements)
	if err != nil {
		return proof, err
	}
	if with.System.GetNbSecretVariables()+with.System.GetNbPublicVariables()-1 != len(values) {
		return proof, fmt.Errorf("%w: the key is of another circuit", circuit.ErrSize)
	}
	witness, err := circuit.Witness(values)
	if err != nil {
		return proof, err
	}
	made, err := groth16.Prove(with.System, with.Key, witness,
		solidity.WithProverTargetSolidityVerifier(backend.GROTH16))
	if err != nil {
		return proof, fmt.Errorf("%w: %w", ErrFalse, err)
	}
	p, ok := made.(*groth16bn254.Proof)
	if !ok || len(p.Commitments) != 1 {
		return proof, errors.New("prover: gnark made a proof of another form")
	}
	out := verifier.Proof{Ar: p.Ar, Bs: p.Bs, Krs: p.Krs, Commitment: p.Commitments[0],
		Known: p.CommitmentPok}
	return out.Bytes(), nil
}
