package circuit

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
)

// Compile returns the constraint system of a circuit of the protocol. It is the same for every call. The error is ErrSize.
func Compile(size int) (constraint.ConstraintSystem, error) {
	shape, err := ShapeOf(size)
	if err != nil {
		return nil, err
	}
	return compile(shape)
}

func compile(shape Shape) (constraint.ConstraintSystem, error) {
	system, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, New(shape))
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	return system, nil
}
