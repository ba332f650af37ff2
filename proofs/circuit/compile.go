package circuit

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"github.com/consensys/gnark/logger"
)

// gnark writes to the standard output, a hundred thousand lines about the largest circuit.
func init() { logger.Disable() }

// Compile returns the constraint system of a circuit of the protocol. It is the same for every
// call, and takes seconds for the largest. Errors: ErrSize, ErrDigest.
func Compile(size int) (constraint.ConstraintSystem, error) {
	want, err := DigestOf(size)
	if err != nil {
		return nil, err
	}
	shape, err := ShapeOf(size)
	if err != nil {
		return nil, err
	}
	system, err := compile(shape)
	if err != nil {
		return nil, err
	}
	if got := digest(system); got != want {
		return nil, fmt.Errorf("%w: %d statements: %s, not %s", ErrDigest, size, got, want)
	}
	return system, nil
}

func compile(shape Shape) (constraint.ConstraintSystem, error) {
	system, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, New(shape))
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	return system, nil
}

// Digest identifies a constraint system: the SHA-256 of gnark's encoding. Keys belong to one.
type Digest [sha256.Size]byte

// String is hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads hexadecimal: ErrDigest.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) {
		return fmt.Errorf("%w: %d hexadecimal digits", ErrDigest, len(text))
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return fmt.Errorf("%w: %w", ErrDigest, err)
	}
	return nil
}

func digest(system constraint.ConstraintSystem) (d Digest) {
	h := sha256.New()
	if _, err := system.WriteTo(h); err != nil {
		panic(err) // a hash takes everything
	}
	h.Sum(d[:0])
	return d
}

// golden is a line per circuit: statements, constraints, input wires, other wires, digest. A test
// holds it against what the compiler makes of them; make circuits writes it.
//
//go:embed circuits.txt
var golden string

// DigestOf returns the digest of a circuit of the protocol without compiling it: ErrSize.
func DigestOf(size int) (Digest, error) {
	line, err := goldenLine(size)
	if err != nil {
		return Digest{}, err
	}
	fields := strings.Fields(line)
	var d Digest
	err = d.UnmarshalText([]byte(fields[len(fields)-1]))
	return d, err
}

func goldenLine(size int) (string, error) {
	for line := range strings.Lines(golden) {
		var statements int
		if n, _ := fmt.Sscan(line, &statements); n == 1 && statements == size {
			return strings.TrimSpace(line), nil
		}
	}
	return "", fmt.Errorf("%w: %d statements", ErrSize, size)
}
