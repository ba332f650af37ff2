package poseidon2

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

func TestEvaluate(t *testing.T) {
	rng := seeded(t)
	x := randomElement(rng)
	most := [3]uint64{^uint64(0), ^uint64(0), ^uint64(0)}
	list := [][][3]uint64{nil, {{}}, {{7}}, {{}, {1}}, {most, {}, most, {0, 0, 5}, {}, {0, 1}}}
	for n := range 3*chains + 1 {
		coefficients := make([][3]uint64, n)
		for i := range coefficients {
			coefficients[i] = [3]uint64{rng.Uint64(), rng.Uint64(), rng.Uint64()}
		}
		list = append(list, coefficients)
	}
	for _, coefficients := range list {
		want := new(big.Int)
		for i, c := range coefficients {
			power := new(big.Int).Exp(integer(x), big.NewInt(int64(i)), nil)
			coefficient := new(big.Int)
			for j := 2; j >= 0; j-- {
				coefficient.Lsh(coefficient, 64).Add(coefficient, new(big.Int).SetUint64(c[j]))
			}
			want.Add(want, power.Mul(power, coefficient))
		}
		if got := integer(Evaluate(coefficients, x)); got.Cmp(want.Mod(want, fr.Modulus())) != 0 {
			t.Errorf("%v at %v: %v, not %v", coefficients, x, got, want)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	coefficients := make([][3]uint64, 4096)
	for i := range coefficients {
		coefficients[i] = [3]uint64{uint64(i) << 20, uint64(i), uint64(i)}
	}
	x := randomElement(seeded(b))
	for b.Loop() {
		Evaluate(coefficients, x)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(coefficients)),
		"ns/coefficient")
}
