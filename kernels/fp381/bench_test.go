package fp381

import (
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/internal/kernelbench"
)

// The figures are per element: vectors of 128 elements, of which operands and results stay in the
// first cache.
const benchmarked = 128

func BenchmarkField(b *testing.B) {
	x := make([]fp.Element, benchmarked)
	r := seeded(b)
	for i := range x {
		x[i] = randomElement(r)
	}
	for name, f := range kernelbench.Each[Field]("fp381") {
		u, v, z := pack(f, x), pack(f, x), NewVec(benchmarked)
		v2, z2 := Vec2{u, v}, NewVec2(benchmarked)
		m := NewMask(benchmarked)
		cells, order := make([]Cell, benchmarked), make([]int32, benchmarked)
		for i, at := range r.Perm(benchmarked) {
			order[i] = int32(at)
		}
		for _, c := range []struct {
			op string
			do func()
		}{
			{"mul", func() { f.Mul(z, u, v) }},
			{"sqr", func() { f.Sqr(z, u) }},
			{"add", func() { f.Add(z, u, v) }},
			{"sub", func() { f.Sub(z, u, v, 1) }},
			{"reduce", func() { f.Reduce(z, u) }},
			{"tighten", func() { f.Tighten(z, u) }},
			{"zero", func() { f.Zero(m, u) }},
			{"odd", func() { f.Odd(m, u) }},
			{"gather", func() { f.Gather(z, cells, order) }},
			{"scatter", func() { f.Scatter(cells, order, u) }},
			{"pow", func() { f.PowP34(z, u) }},
			{"inverse", func() { Inverse(f, z, u) }},
			{"mul2", func() { f.Mul2(z2, v2, v2) }},
			{"sqr2", func() { f.Sqr2(z2, v2) }},
			{"pack", func() { f.Pack(z, x) }},
			{"unpack", func() { f.Unpack(x, u) }},
		} {
			b.Run("op="+c.op+"/kernel="+name, func(b *testing.B) {
				perElement(b, c.do)
			})
		}
	}
	for _, c := range []struct {
		op string
		do func(z, x *fp.Element)
	}{
		{"mul", func(z, x *fp.Element) { z.Mul(x, &x0) }},
		{"sqr", func(z, x *fp.Element) { z.Square(x) }},
		{"sqrt", func(z, x *fp.Element) { z.Sqrt(x) }},
	} {
		b.Run("op="+c.op+"/kernel=gnark-crypto", func(b *testing.B) {
			var z fp.Element
			perElement(b, func() {
				for i := range x {
					c.do(&z, &x[i])
				}
			})
		})
	}
}

var x0 = fp.NewElement(3)

// perElement runs a function over the benchmarked elements. The best run is what the code can do,
// the mean what this machine let it do.
func perElement(b *testing.B, do func()) {
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		do()
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchmarked, "ns/element")
	b.ReportMetric(float64(best.Nanoseconds())/benchmarked, "best-ns/element")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkBound is the roofline: the time that the multiply-adds of an operation take when nothing
// else is in the way.
func BenchmarkBound(b *testing.B) {
	for _, c := range []struct {
		op  string
		ops int
	}{{"mul", mulOps}, {"sqr", sqrOps}} {
		b.Run("op="+c.op, func(b *testing.B) {
			n := c.ops * benchmarked / Lanes
			if issueMultiplyAdds(n) == 0 {
				b.Skip("no vector multiply-adds")
			}
			perElement(b, func() { issueMultiplyAdds(n) })
		})
	}
}
