package poseidon2

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

func TestEvaluate(t *testing.T) {
	rng := seeded(t)
	x := randomElement(rng)
	list := [][]uint64{nil, {0}, {7}, {0, 1}, {^uint64(0), 0, ^uint64(0), 5, 0}}
	for n := range 3*chains + 1 {
		coefficients := make([]uint64, n)
		for i := range coefficients {
			coefficients[i] = rng.Uint64()
		}
		list = append(list, coefficients)
	}
	for _, coefficients := range list {
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

func BenchmarkEvaluate(b *testing.B) {
	coefficients := make([]uint64, 4096)
	for i := range coefficients {
		coefficients[i] = uint64(i) << 20
	}
	x := randomElement(seeded(b))
	for b.Loop() {
		Evaluate(coefficients, x)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(coefficients)), "ns/coefficient")
}
