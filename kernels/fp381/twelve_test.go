package fp381

import (
	"math/rand/v2"
	"testing"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// coefficients are those of w⁰ … w⁵, where gnark-crypto keeps them.
func coefficients(e *bls12381.E12) [6]*bls12381.E2 {
	return [6]*bls12381.E2{&e.C0.B0, &e.C1.B0, &e.C0.B1, &e.C1.B1, &e.C0.B2, &e.C1.B2}
}

// twelves are elements of Fp12 with boundary values in all coordinates, with mixed ones, and random
// ones.
func twelves(r *rand.Rand, n int) []bls12381.E12 {
	b := boundaries()
	es := make([]bls12381.E12, n)
	for i := range es {
		for _, c := range coefficients(&es[i]) {
			for _, e := range []*fp.Element{&c.A0, &c.A1} {
				switch {
				case i < n/3:
					*e = b[i%len(b)]
				case i < 2*n/3:
					*e = b[r.IntN(len(b))]
				default:
					*e = randomElement(r)
				}
			}
		}
	}
	return es
}

// pack2 packs eight elements of the extension; to lifted ones, p is added, as lazy values below 2p
// may have it.
func pack2(f Field, z Vec2, lifted bool, of func(l int) *bls12381.E2) {
	var c [2][Lanes]fp.Element
	for l := range Lanes {
		c[0][l], c[1][l] = of(l).A0, of(l).A1
	}
	for i, v := range []Vec{z.A0, z.A1} {
		f.Pack(v, c[i][:])
		if lifted {
			f.Sub(v, v, NewVec(1), 0)
		}
	}
}

func pack12(f Field, es []bls12381.E12, lifted bool) (z Block12) {
	for k := range 6 {
		pack2(f, z.Coefficients(k, k+1), lifted, func(l int) *bls12381.E2 {
			return coefficients(&es[l])[k]
		})
	}
	return z
}

func unpack12(f Field, z *Block12) []bls12381.E12 {
	es := make([]bls12381.E12, Lanes)
	for k := range 6 {
		a0, a1 := unpack(f, z.A0[k:k+1], Lanes), unpack(f, z.A1[k:k+1], Lanes)
		for l := range es {
			*coefficients(&es[l])[k] = bls12381.E2{A0: a0[l], A1: a1[l]}
		}
	}
	return es
}

func TestTwelve(t *testing.T) {
	r := seeded(t)
	n := 30 * Lanes
	es := twelves(r, n)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		for lo := 0; lo < n; lo += Lanes {
			for _, lifted := range []bool{false, true} {
				x := es[lo : lo+Lanes]
				check := func(op string, z Block12, want func(z, x *bls12381.E12, l int)) {
					t.Helper()
					for l, got := range unpack12(f, &z) {
						var e bls12381.E12
						if want(&e, &x[l], l); got != e {
							t.Fatalf("%s: elements %d, lane %d, lifted: %v", op, lo, l, lifted)
						}
					}
				}
				z := pack12(f, x, lifted)
				Sqr12(f, &z)
				check("square", z, func(z, x *bls12381.E12, _ int) { z.Square(x) })

				// Three lines, made of the coefficients of the elements that come last.
				const lines = 3
				free, slope := NewVec2(lines*Lanes), NewVec2(lines*Lanes)
				line := func(i, l int) (free, slope *bls12381.E2) {
					c := coefficients(&es[n-1-lo-l])
					return c[2*i], c[2*i+1]
				}
				for i := range lines {
					pack2(f, free.part(i, i+1), lifted, func(l int) *bls12381.E2 {
						free, _ := line(i, l)
						return free
					})
					pack2(f, slope.part(i, i+1), lifted, func(l int) *bls12381.E2 {
						_, slope := line(i, l)
						return slope
					})
				}
				for count := range lines + 1 {
					z = pack12(f, x, lifted)
					f.MulLines(&z, free.part(0, count), slope.part(0, count))
					check("lines", z, func(z, x *bls12381.E12, l int) {
						*z = *x
						for i := range count {
							var y bls12381.E12
							free, slope := line(i, l)
							y.C0.B0 = *free
							y.C0.B1 = *slope
							y.C1.B1.SetOne()
							y.C0.Double(&y.C0)
							y.C1.Double(&y.C1)
							z.Mul(z, &y)
						}
					})
				}
				z.SetOne(f)
				check("one", z, func(z, _ *bls12381.E12, _ int) { z.SetOne() })
			}
		}
	})
}
