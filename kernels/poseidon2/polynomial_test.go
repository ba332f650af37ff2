package poseidon2

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

func TestEvaluate(t *testing.T) {
	x := randomElement(seeded(t))
	for _, coefficients := range [][]uint64{nil, {0}, {7}, {0, 1}, {^uint64(0), 0, ^uint64(0), 5, 0}} {
		want := new(big.Int)
		for i, c := range coefficients {
			power := new(big.Int).Exp(integer(x), big.NewInt(int64(i)), nil)
			want.Add(want, power.Mul(power, new(big.Int).SetUint64(c)))
		}
		if got := integer(Evaluate(coefficients, x)); got.Cmp(want.Mod(want, fr.Modulus())) != 0 {
			t.Errorf("%v at %v: %v, not %v", coefficients, x, got, want)
		}
	}
}
