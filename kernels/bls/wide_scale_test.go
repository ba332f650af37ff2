package bls

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/fp381"
)

// eachScaling runs f with a workspace of every implementation of the field that this CPU has.
func eachScaling(t *testing.T, f func(t *testing.T, w *scaling)) {
	for name, field := range kernelbench.Each[fp381.Field]("fp381") {
		t.Run(name, func(t *testing.T) { f(t, newScaling(field)) })
	}
}

// someCoefficients are those about the ends, about carries between digits and words, and random
// ones.
func someCoefficients(r *rand.Rand, n int) []coefficient {
	all := uint64(math.MaxUint64)
	cs := []coefficient{{1, 0}, {2, 0}, {3, 0}, {15, 0}, {16, 0}, {17, 0}, {all, all},
		{all - 1, all}, {0, 1 << 63}, {1, 1 << 63},
		{all, 0}, {all - 1, 0}, {0, 1}, {1, 1}, {0, all}, {0x1111111111111111, 0x1111111111111111},
		{0xfffffffffffffff0, 7}}
	for i := range 64 {
		cs = append(cs, coefficient{1 << i, 0}, coefficient{0, 1 << i})
	}
	for len(cs) < n {
		cs = append(cs, coefficient{r.Uint64(), r.Uint64() | 1})
	}
	r.Shuffle(len(cs), func(i, j int) { cs[i], cs[j] = cs[j], cs[i] })
	return cs[:n]
}

// multiple is k·p by affine additions, from the right.
func (c *curve) multiple(p affine, k *big.Int) (sum affine) {
	var l workspace
	for i := range k.BitLen() {
		if k.Bit(i) != 0 {
			two := []affine{sum, p}
			l.sum(c, two, []segment{{0, 2}})
			sum = two[0]
		}
		two := []affine{p, p}
		l.sum(c, two, []segment{{0, 2}})
		p = two[0]
	}
	return sum
}

func TestWideScale(t *testing.T) {
	r := seeded(t)
	sizes := []int{0, 1, 7, 8, 9, 64, 65, 200}
	if testing.Short() {
		sizes = []int{0, 9, 160}
	}
	for name, c := range map[string]*curve{"g1": &g1, "iso": &iso} {
		eachScaling(t, func(t *testing.T, w *scaling) {
			for _, n := range sizes {
				var pts []affine
				for len(pts) < n {
					pts = slices.DeleteFunc(somePoints(c, r, 2*n),
						func(p affine) bool { return p.IsInfinity() })
				}
				pts = pts[:n]
				coef := someCoefficients(r, n)
				got := append([]affine(nil), pts...)
				if !w.scale(c, got, coef) {
					t.Fatalf("%s: %d points have no multiples", name, n)
				}
				for i := range pts {
					k := new(big.Int).SetUint64(coef[i][1])
					k.Add(k.Lsh(k, 64), new(big.Int).SetUint64(coef[i][0]))
					if want := c.multiple(pts[i], k); got[i] != want ||
						c.times(pts[i], coef[i]) != want {
						t.Fatalf("%s: %d points: %x times point %d is wrong", name, n, coef[i], i)
					}
				}
			}
		})
	}
}

// The identity and points of small order are left as they are.
func TestWideScaleRefuses(t *testing.T) {
	r := seeded(t)
	var axis affine // of order 3
	axis.Y.SetUint64(2)
	for name, bad := range map[string]affine{"identity": {}, "order 3": axis} {
		eachScaling(t, func(t *testing.T, w *scaling) {
			pts := make([]affine, 20)
			for i := range pts {
				pts[i].Double(&g1Generator)
			}
			pts[13] = bad
			before := append([]affine(nil), pts...)
			if w.scale(&g1, pts, someCoefficients(r, len(pts))) {
				t.Errorf("%s: multiples of any point", name)
			}
			for i := range pts {
				if pts[i] != before[i] {
					t.Fatalf("%s: point %d has changed", name, i)
				}
			}
		})
	}
}

// Batches whose signers have one, two and three entries, valid and with a wrong one.
func TestFewEntries(t *testing.T) {
	f := newFixture(t, 250, 100)
	for _, workers := range []int{1, 3} {
		v := NewVerifier(Default, workers)
		verdicts := make([]Verdict, len(f.Signer))
		report, err := v.Verify(&f.Batch, verdicts)
		if err != nil || report.Invalid != 0 || report.Checks != 1 || report.Groups != 100 {
			t.Fatalf("%d workers: %+v, %v", workers, report, err)
		}
		for _, wrong := range []int{0, 60, 249} {
			bad := f.clone()
			bad.Signatures.At(wrong)[0] ^= flagLargest
			if report, err = v.Verify(&bad.Batch, verdicts); err != nil || report.Invalid != 1 ||
				verdicts[wrong] != VerdictBadSignature {
				t.Errorf("%d workers, entry %d is wrong: %+v, %v, %v", workers, wrong, report,
					verdicts[wrong], err)
			}
		}
	}
}

func BenchmarkScale(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{scaleFrom, 64, 512, scalePoints} {
		pts, coef := make([]affine, n), someCoefficients(r, n)
		for i := range pts {
			pts[i] = g1Generator
		}
		w := newScaling(fp381.Use())
		b.Run(fmt.Sprintf("points=%d", n), func(b *testing.B) {
			perSignature(b, n, func() bool { return w.scale(&g1, pts, coef) })
		})
	}
	b.Run("scalar", func(b *testing.B) {
		coef := someCoefficients(r, 1)
		perSignature(b, 1, func() bool { g1.times(g1Generator, coef[0]); return true })
	})
}
