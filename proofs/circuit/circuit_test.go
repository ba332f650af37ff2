package circuit

import (
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/constraint/solver"
	"github.com/consensys/gnark/frontend/cs"
)

// tiny is the same relation on fewer places, fast enough for thousands of windows. Its limbs are as
// wide as the large circuits' are.
var tiny = Shape{Statements: 16, Rows: 20, Level: 1, Width: 11}

var systems sync.Map // of Shape

func system(t testing.TB, shape Shape) constraint.ConstraintSystem {
	t.Helper()
	compiled := sync.OnceValues(func() (constraint.ConstraintSystem, error) { return compile(shape) })
	found, _ := systems.LoadOrStore(shape, compiled)
	s, err := found.(func() (constraint.ConstraintSystem, error))()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// satisfied solves the compiled system for input wires, with a random point in place of the
// commitment's digest.
func satisfied(t testing.TB, shape Shape, values fr.Vector) error {
	t.Helper()
	s := system(t, shape)
	w, err := Witness(values)
	if err != nil {
		t.Fatal(err)
	}
	id := solver.GetHintID(cs.Bsb22CommitmentComputePlaceholder)
	point := solver.OverrideHint(id, func(_ *big.Int, _, out []*big.Int) error {
		var e fr.Element
		e.MustSetRandom()
		e.BigInt(out[0])
		return nil
	})
	return s.IsSolved(w, point)
}

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
