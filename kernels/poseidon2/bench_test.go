package poseidon2

import (
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"

	"github.com/waybill-network/waybill/internal/kernelbench"
)

// BenchmarkCompress gives times per compression, of sixty-four. The best run is what the code can
// do, the mean what the machine let it do.
func BenchmarkCompress(b *testing.B) {
	const states = 64
	r := seeded(b)
	in, out := make([]Element, states*Width), make([]Element, states)
	for i := range in {
		in[i] = randomElement(r)
	}
	perState := func(b *testing.B, do func()) {
		best := time.Hour
		for b.Loop() {
			start := time.Now()
			do()
			best = min(best, time.Since(start))
		}
		b.ReportMetric(float64(best.Nanoseconds())/states, "best-ns/state")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/states, "ns/state")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("kernel=gnark-crypto", func(b *testing.B) {
		p := poseidon2.NewPermutation(Width, externalRounds, internalRounds)
		x := make([]fr.Element, Width)
		perState(b, func() {
			for range states {
				_ = p.Permutation(x)
			}
		})
	})
	for name, compressMany := range kernelbench.Each[func(out, in []Element)]("poseidon2") {
		b.Run("kernel="+name, func(b *testing.B) { perState(b, func() { compressMany(out, in) }) })
	}
}
