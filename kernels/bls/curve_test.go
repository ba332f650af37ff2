package bls

import (
	"math/rand/v2"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// somePoints returns points of a curve with repetitions, opposites and identities.
func somePoints(c *curve, rng *rand.Rand, n int) []affine {
	pts := make([]affine, n)
	for i := range pts {
		switch k := rng.IntN(10); {
		case k == 0:
		case k < 3 && i > 0:
			pts[i] = pts[rng.IntN(i)]
		case k < 5 && i > 0:
			pts[i].Neg(&pts[rng.IntN(i)])
		default:
			var y2 fp.Element
			for p := &pts[i]; ; {
				p.X = fp.NewElement(rng.Uint64())
				y2.Square(&p.X).Add(&y2, &c.a).Mul(&y2, &p.X).Add(&y2, &c.b)
				if p.Y.Sqrt(&y2) != nil {
					break
				}
			}
		}
	}
	return pts
}

// TestSums compares batched affine sums and linear combinations with Jacobian
// double-and-add, on both curves.
func TestSums(t *testing.T) {
	for name, c := range map[string]*curve{"g1": &g1, "iso": &iso} {
		rng := rand.New(rand.NewPCG(1, 1))
		var l workspace
		for _, n := range []int{0, 1, 2, 3, 7, 100, 700, 5000} {
			pts := somePoints(c, rng, n)
			coef := make([]coefficient, n)
			var plain, combined jacobian
			for i := range pts {
				if !pts[i].IsInfinity() && !c.contains(&pts[i]) {
					t.Fatal("not a point")
				}
				coef[i] = coefficient{rng.Uint64(), rng.Uint64()}
				if rng.IntN(4) == 0 {
					coef[i] = coefficient{^uint64(0), ^uint64(0)}
				}
				c.addMixed(&plain, &pts[i])
			}
			for k := coefficientBits - 1; k >= 0; k-- {
				c.double(&combined)
				for i := range pts {
					if coef[i].digit(k, 1) == 1 {
						c.addMixed(&combined, &pts[i])
					}
				}
			}
			if got, want := c.combine(l.bitSums(c, pts, coef)), combined.affine(); got != want {
				t.Errorf("%s: combination of %d points: got %v, want %v", name, n, got, want)
			}
			v := NewVerifier(Default, 3)
			if got, want := c.combine(v.bitSums(c, pts, coef)), combined.affine(); got != want {
				t.Errorf("%s: combination of %d points in three workspaces: got %v, want %v", name,
					n, got, want)
			}
			segs := []segment{{0, n}}
			got := affine{}
			if l.sum(c, pts, segs); segs[0].n == 1 {
				got = pts[0]
			}
			if want := plain.affine(); got != want {
				t.Errorf("%s: sum of %d points: got %v, want %v", name, n, got, want)
			}
		}
	}
}

func TestDigit(t *testing.T) {
	k := coefficient{0xf123456789abcdef, 0xfedcba9876543210}
	for _, tt := range []struct{ at, w, want int }{
		{0, 4, 0xf}, {4, 8, 0xde}, {60, 8, 0x0f}, {62, 5, 0x3}, {64, 8, 0x10}, {124, 4, 0xf},
		{120, 10, 0xfe}, {63, 1, 1},
	} {
		if got := k.digit(tt.at, tt.w); got != tt.want {
			t.Errorf("%d bits at %d: got %#x, want %#x", tt.w, tt.at, got, tt.want)
		}
	}
}
