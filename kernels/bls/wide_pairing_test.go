package bls

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/fp381"
)

// eachPairing runs f with a workspace of every implementation of the field that this CPU has.
func eachPairing(t *testing.T, f func(t *testing.T, w *pairing)) {
	for name, field := range kernelbench.Each[fp381.Field]("fp381") {
		t.Run(name, func(t *testing.T) { f(t, newPairing(field)) })
	}
}

func randomScalar(r *rand.Rand) *big.Int {
	k := new(big.Int)
	for range 4 {
		k.Add(k.Lsh(k, 64), new(big.Int).SetUint64(r.Uint64()))
	}
	return k.Mod(k, fr.Modulus())
}

// somePairs returns n pairs: distinct ones, and every fourth with an earlier point, or an opposite
// one.
func somePairs(r *rand.Rand, n int) (p []affine, q []bls12381.G2Affine) {
	_, _, base1, base2 := bls12381.Generators()
	base1.ScalarMultiplication(&base1, randomScalar(r))
	base2.ScalarMultiplication(&base2, randomScalar(r))
	p, q = make([]affine, n), make([]bls12381.G2Affine, n)
	for i := range p {
		if i == 0 {
			p[i], q[i] = base1, base2
			continue
		}
		p[i].Double(&p[i-1])
		q[i].Add(&q[i-1], &base2)
		switch i % 8 {
		case 3:
			p[i] = p[i/2]
		case 5:
			q[i] = q[i/2]
		case 7:
			p[i].Neg(&p[i/2])
			q[i] = q[i/2]
		}
	}
	return p, q
}

// reduced is the pairing that a Miller loop leads to.
func reduced(f bls12381.GT) bls12381.GT { return bls12381.FinalExponentiation(&f) }

// sameAsScalar compares loops of lanes with gnark-crypto's.
func sameAsScalar(t *testing.T, w *pairing, lanes int, p []affine, q []bls12381.G2Affine) {
	t.Helper()
	out := make([]bls12381.GT, lanes)
	w.loops(out, p, q)
	for i := range out {
		var ps []affine
		var qs []bls12381.G2Affine
		for j := i; j < len(p); j += lanes {
			ps, qs = append(ps, p[j]), append(qs, q[j])
		}
		if reduced(out[i]) != reduced(millerLoop(ps, qs)) {
			t.Fatalf("%d pairs in %d lanes: lane %d is wrong", len(p), lanes, i)
		}
	}
}

func TestWideLoops(t *testing.T) {
	p, q := somePairs(seeded(t), loopPairs+1)
	few := []int{0, 1, 2, 7, 8, 9, 16, 33}
	lanes := []int{1, 2, 7, 8, 9, 17}
	if testing.Short() {
		few, lanes = []int{0, 9}, []int{1, 8, 9}
	}
	eachPairing(t, func(t *testing.T, w *pairing) {
		for _, n := range few {
			for _, lanes := range lanes {
				sameAsScalar(t, w, lanes, p[:n], q[:n])
			}
		}
		if !testing.Short() {
			for _, n := range []int{loopPairs - 1, loopPairs, loopPairs + 1} {
				sameAsScalar(t, w, 8, p[:n], q[:n])
			}
		}
		w.loops(nil, nil, nil)
	})
}

// Identities count as one; points with x = 0, which are outside the subgroup, and others outside of
// it pair as they do alone; what was left in the workspace does not matter.
func TestWideLoopsSpecialPoints(t *testing.T) {
	r := seeded(t)
	p, q := somePairs(r, 20)
	p[0], q[3], p[9], q[9] = affine{}, bls12381.G2Affine{}, affine{}, bls12381.G2Affine{}
	var axis affine // of order 3
	axis.Y.SetUint64(2)
	p[4] = axis
	p[12].Neg(&axis)
	// on the curve, most of them outside the subgroup
	for _, outside := range somePoints(&g1, r, 40) {
		if !outside.IsInfinity() && !outside.IsInSubGroup() {
			p[13] = outside
			break
		}
	}
	eachPairing(t, func(t *testing.T, w *pairing) {
		sameAsScalar(t, w, 8, p, q)
		sameAsScalar(t, w, 3, p[9:14], q[9:14])
		sameAsScalar(t, w, 8, make([]affine, 9), make([]bls12381.G2Affine, 9))
		sameAsScalar(t, w, 8, p[14:], q[14:])
	})
}

func TestWideLoopsAreBilinear(t *testing.T) {
	r := seeded(t)
	_, _, p, q := bls12381.Generators()
	var ps [4]affine
	var qs [4]bls12381.G2Affine
	a, b := randomScalar(r), randomScalar(r)
	ps[0].ScalarMultiplication(&p, a)
	qs[0].ScalarMultiplication(&q, b)
	ps[1].ScalarMultiplication(&p, b)
	qs[1].ScalarMultiplication(&q, a)
	ps[2].ScalarMultiplication(&p, new(big.Int).Mul(a, b))
	qs[2] = q
	ps[3].ScalarMultiplication(&p, new(big.Int).Add(a, b))
	qs[3] = q
	eachPairing(t, func(t *testing.T, w *pairing) {
		var out [4]bls12381.GT
		w.loops(out[:], ps[:], qs[:])
		for i := range out {
			out[i] = reduced(out[i])
		}
		if out[0] != out[1] || out[0] != out[2] || out[0] == out[3] || out[0].IsOne() {
			t.Error("not bilinear")
		}
	})
}

// A product that is one is not one when anything about it changes.
func TestMutatedLoops(t *testing.T) {
	r := seeded(t)
	const n = 11
	p, q := somePairs(r, n)
	for i := range p { // e(p, q)·e(-p, q), not side by side
		minus := p[i]
		minus.Neg(&minus)
		p, q = append(p, minus), append(q, q[i])
	}
	eachPairing(t, func(t *testing.T, w *pairing) {
		product := func() bool {
			var out [fp381.Lanes]bls12381.GT
			w.loops(out[:], p, q)
			return productIsOne(new(workspace), out[:])
		}
		if !product() {
			t.Fatal("a product of opposite pairs is not one")
		}
		for i := 0; i < len(p); i += 5 {
			for name, change := range map[string]func(p *affine, q *bls12381.G2Affine){
				"opposite":    func(p *affine, _ *bls12381.G2Affine) { p.Neg(p) },
				"double":      func(_ *affine, q *bls12381.G2Affine) { q.Double(q) },
				"identity":    func(p *affine, _ *bls12381.G2Affine) { *p = affine{} },
				"no key":      func(_ *affine, q *bls12381.G2Affine) { *q = bls12381.G2Affine{} },
				"other point": func(p *affine, _ *bls12381.G2Affine) { p.Add(p, &g1Generator) },
			} {
				oldP, oldQ := p[i], q[i]
				change(&p[i], &q[i])
				if product() {
					t.Errorf("pair %d, %s: the product is still one", i, name)
				}
				p[i], q[i] = oldP, oldQ
			}
		}
	})
}

// The functions that choose between lanes and scalar code.
func TestWideMillerLoop(t *testing.T) {
	p, q := somePairs(seeded(t), 24)
	for name, l := range map[string]*workspace{"as chosen": {},
		"in lanes": {pairing: newPairing(fp381.Use())}} {
		for _, n := range []int{0, 1, max(1, crossover().loops-1), crossover().loops, 24} {
			if reduced(l.millerLoop(p[:n], q[:n])) != reduced(millerLoop(p[:n], q[:n])) {
				t.Errorf("%s: the product of %d pairs is wrong", name, n)
			}
		}
		for _, n := range []int{1, max(1, crossover().loops-1), max(1, crossover().loops), 12} {
			out := make([]bls12381.GT, n)
			l.millerLoops(out, p[:2*n], q[:2*n])
			for i := range out {
				if reduced(out[i]) != reduced(millerLoop([]affine{p[i], p[n+i]},
					[]bls12381.G2Affine{q[i], q[n+i]})) {
					t.Errorf("%s: loop %d of %d is wrong", name, i, n)
				}
			}
		}
	}
}

func TestLoopPart(t *testing.T) {
	for _, workers := range []int{1, 2, 7} {
		v := NewVerifier(Default, workers)
		for n := 1; n < 3*loopPairs; n++ {
			part := v.loopPart(n, loopPairs)
			if parts := (n + part - 1) / part; part%fp381.Lanes != 0 || part > loopPairs ||
				parts > workers*((n+loopPairs*workers-1)/(loopPairs*workers)) {
				t.Fatalf("%d loops on %d workers: %d parts of %d", n, workers, parts, part)
			}
		}
	}
}

// BenchmarkLoops reports also the best run, which is what the code can do when the machine lets it.
func BenchmarkLoops(b *testing.B) {
	run := func(name string, n int, loops func()) {
		b.Run(fmt.Sprintf("pairs=%d/kernel=%s", n, name), func(b *testing.B) {
			best := time.Hour
			perSignature(b, n, func() bool {
				start := time.Now()
				loops()
				best = min(best, time.Since(start))
				return true
			})
			b.ReportMetric(float64(best.Nanoseconds())/float64(n), "best-ns/pair")
		})
	}
	for _, n := range []int{4, 8, 16, 64, loopPairs} {
		p, q := somePairs(rand.New(rand.NewPCG(1, 2)), n)
		for name, f := range kernelbench.Each[fp381.Field]("fp381") {
			w := newPairing(f)
			run(name, n, func() {
				var out [fp381.Lanes]bls12381.GT
				w.loops(out[:], p, q)
			})
		}
		run("gnark-crypto", n, func() { millerLoop(p, q) })
	}
}
