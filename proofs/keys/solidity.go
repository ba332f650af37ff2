package keys

import (
	"fmt"
	"io"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/pedersen"
	groth16bn254 "github.com/consensys/gnark/backend/groth16/bn254"

	"github.com/waybill-network/waybill/proofs/verifier"
)

// WriteSolidity writes gnark's verifier contract for a key. Its function verifyProof(bytes,
// uint256[1]) takes a proof as package verifier encodes it and the public input as a number, and
// reverts unless the proof holds.
func WriteSolidity(w io.Writer, key *verifier.Key) error {
	vk := new(groth16bn254.VerifyingKey)
	vk.G1.Alpha = key.Alpha
	vk.G1.K = append([]curve.G1Affine(nil), key.K[:]...)
	vk.G2.Beta, vk.G2.Gamma, vk.G2.Delta = key.Beta, key.Gamma, key.Delta
	vk.CommitmentKeys = []pedersen.VerifyingKey{{G: key.Commitment, GSigmaNeg: key.SigmaNegated}}
	vk.PublicAndCommitmentCommitted = [][]int{{1}}
	if err := vk.Precompute(); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := vk.ExportSolidity(w); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}
