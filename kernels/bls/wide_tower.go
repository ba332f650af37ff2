package bls

import (
	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// fp12 is eight elements of Fp12 = Fp2[w], w⁶ = ξ = 1 + u: block k is the coefficient of wᵏ. As v = w² and
// v³ = ξ, the even blocks are a g and the odd ones an h in Fp6 = Fp2[v], with f = g + hw.
type fp12 fp381.Vec2

func newFp12() fp12 { return fp12(newBlocks2(6)) }

func newBlocks2(n int) fp381.Vec2 { return fp381.NewVec2(n * fp381.Lanes) }

// fp12Coordinate is where gnark-crypto keeps a coordinate of the coefficient of wᵏ.
func fp12Coordinate(f *bls12381.GT, k, c int) *fp.Element {
	half := &f.C0
	if k%2 != 0 {
		half = &f.C1
	}
	e := [3]*bls12381.E2{&half.B0, &half.B1, &half.B2}[k/2]
	if c == 0 {
		return &e.A0
	}
	return &e.A1
}

// tower is a workspace for fp12. Elements there are < 2 in every coordinate, in multiples of p.
type tower struct {
	f    fp381.Field
	one  fp381.Vec
	a, b fp381.Vec2 // factors
	p    fp381.Vec2 // products
	s, t fp381.Vec2
}

func newTower(f fp381.Field) tower {
	var one fp.Element
	one.SetOne()
	return tower{f: f, one: f.Broadcast(one), a: newBlocks2(12), b: newBlocks2(12), p: newBlocks2(12), s: newBlocks2(6), t: newBlocks2(6)}
}

func (w *tower) setOne(z *fp12) {
	clear(z.A0)
	clear(z.A1)
	copy(z.A0, w.one)
}

// mulLine sets z to 2z·(free − slope·w² + w³), for free and slope < 2.
//
// As a polynomial of v, each half of z, say g, times free − slope·v has degree 3. It is interpolated at 0, 1, −1 and ∞, with
// four products p0 … p3 instead of six. The doubling saves halving: twice that product is
//
//	2p0 + (p1 − p2 + 2p3)·v + (p1 + p2 − 2p0)·v² − 2p3·v³
//
// for p0 = g0·free, p1 = g(1)·(free − slope), p2 = g(−1)·(free + slope), p3 = g2·slope. And w³ times z moves coefficients by
// three places. Below, pairs of blocks hold the same thing for g and for h.
func (w *tower) mulLine(z *fp12, free, slope fp381.Vec2) {
	f, a, b, p, s, t := w.f, w.a, w.b, part(w.p, 0, 8), w.s, w.t
	z0, z1, z2 := part(fp381.Vec2(*z), 0, 2), part(fp381.Vec2(*z), 2, 4), part(fp381.Vec2(*z), 4, 6)
	w.copy(part(a, 0, 2), z0)
	w.add(part(a, 4, 6), z0, z2)               // < 4
	w.add(part(a, 2, 4), part(a, 4, 6), z1)    // < 6
	w.sub(part(a, 4, 6), part(a, 4, 6), z1, 1) // < 6
	w.copy(part(a, 6, 8), z2)
	w.sub(part(b, 2, 3), free, slope, 1) // < 4
	w.add(part(b, 4, 5), free, slope)
	w.copy(part(b, 0, 1), free)
	w.copy(part(b, 6, 7), slope)
	for i := 0; i < 8; i += 2 {
		w.copy(part(b, i+1, i+2), part(b, i, i+1))
	}
	f.Mul2(p, part(a, 0, 8), part(b, 0, 8)) // < 4
	p0, p1, p2, p3 := part(p, 0, 2), part(p, 2, 4), part(p, 4, 6), part(p, 6, 8)

	zs := fp381.Vec2(*z)
	w.mulXi(part(s, 0, 3), part(zs, 3, 6), 1) // w³z < 4: the upper half times ξ, then the lower half
	w.copy(part(s, 3, 6), part(zs, 0, 3))

	t0, t1, t2 := part(t, 0, 2), part(t, 2, 4), part(t, 4, 6)
	w.mulXi(t1, p3, 2)              // < 8
	w.add(t0, p0, part(s, 0, 2))    // < 8
	w.sub(t0, t0, t1, 3)            // < 16
	w.add(t1, p3, part(s, 2, 4))    // < 8
	w.sub(t2, part(s, 4, 6), p0, 2) // < 8
	w.add(t, t, t)                  // < 32
	w.add(t2, t2, p1)
	w.add(t2, t2, p2) // < 24
	w.add(t1, t1, p1)
	w.sub(t1, t1, p2, 2) // < 24
	f.Tighten(z.A0, t.A0)
	f.Tighten(z.A1, t.A1)
}

// square squares z: for f = g + hw, the square is (g + h)(g + vh) − gh − v·gh + 2gh·w.
func (w *tower) square(z *fp12) {
	f, s, t := w.f, w.s, w.t
	g, h := part(s, 0, 3), part(s, 3, 6)
	for i := range 3 {
		w.copy(part(g, i, i+1), part(fp381.Vec2(*z), 2*i, 2*i+1))
		w.copy(part(h, i, i+1), part(fp381.Vec2(*z), 2*i+1, 2*i+2))
	}
	x, y := part(t, 0, 3), part(t, 3, 6)
	w.add(x, g, h)                           // < 4
	w.mulXi(part(y, 0, 1), part(h, 2, 3), 1) // < 4
	w.copy(part(y, 1, 3), part(h, 0, 2))     //
	w.add(y, y, g)                           // < 6
	w.fp6Factors(part(w.a, 0, 6), g)         // < 12
	w.fp6Factors(part(w.b, 0, 6), h)         //
	w.fp6Factors(part(w.a, 6, 12), x)        //
	w.fp6Factors(part(w.b, 6, 12), y)        //
	f.Mul2(w.p, w.a, w.b)                    // < 4
	gh, xy := x, y
	w.fp6Product(gh, part(w.p, 0, 6))  // < 2
	w.fp6Product(xy, part(w.p, 6, 12)) // < 2
	w.sub(xy, xy, gh, 1)               // < 4
	w.mulXi(part(s, 0, 1), part(gh, 2, 3), 1)
	w.copy(part(s, 1, 3), part(gh, 0, 2)) // v·gh < 4
	w.sub(xy, xy, part(s, 0, 3), 2)       // < 8
	w.add(gh, gh, gh)
	f.Tighten(t.A0, t.A0)
	f.Tighten(t.A1, t.A1)
	for i := range 3 {
		w.copy(part(fp381.Vec2(*z), 2*i, 2*i+1), part(xy, i, i+1))
		w.copy(part(fp381.Vec2(*z), 2*i+1, 2*i+2), part(gh, i, i+1))
	}
}

// fp6Factors lays out the factors of a product in Fp6 after Karatsuba: x0, x1, x2, x1 + x2, x0 + x1, x0 + x2.
func (w *tower) fp6Factors(z, x fp381.Vec2) {
	w.copy(part(z, 0, 3), x)
	w.add(part(z, 3, 4), part(x, 1, 2), part(x, 2, 3))
	w.add(part(z, 4, 5), part(x, 0, 1), part(x, 1, 2))
	w.add(part(z, 5, 6), part(x, 0, 1), part(x, 2, 3))
}

// fp6Product puts the product < 2 together from the products p < 4 of the factors, which it overwrites.
func (w *tower) fp6Product(z, p fp381.Vec2) {
	z0, z1, z2 := part(z, 0, 1), part(z, 1, 2), part(z, 2, 3)
	p0, p1, p2 := part(p, 0, 1), part(p, 1, 2), part(p, 2, 3)
	w.sub(part(p, 3, 4), part(p, 3, 4), p1, 2)
	w.sub(part(p, 3, 4), part(p, 3, 4), p2, 2) // < 12
	w.mulXi(z0, part(p, 3, 4), 4)              // < 32
	w.add(z0, z0, p0)                          // < 36
	w.mulXi(part(p, 3, 4), p2, 2)              // < 8
	w.sub(part(p, 4, 5), part(p, 4, 5), p0, 2)
	w.sub(part(p, 4, 5), part(p, 4, 5), p1, 2) // < 12
	w.add(z1, part(p, 4, 5), part(p, 3, 4))    // < 20
	w.sub(part(p, 5, 6), part(p, 5, 6), p0, 2)
	w.sub(part(p, 5, 6), part(p, 5, 6), p2, 2) // < 12
	w.add(z2, part(p, 5, 6), p1)               // < 16
	w.f.Tighten(z.A0, z.A0)
	w.f.Tighten(z.A1, z.A1)
}

// mulXi multiplies x < 2^k by ξ: (a + bu)(1 + u) = a − b + (a + b)u, and leaves < 2^(k+1).
func (w *tower) mulXi(z, x fp381.Vec2, k int) {
	w.f.Sub(z.A0, x.A0, x.A1, k)
	w.f.Add(z.A1, x.A0, x.A1)
}

func (w *tower) add(z, x, y fp381.Vec2) {
	w.f.Add(z.A0, x.A0, y.A0)
	w.f.Add(z.A1, x.A1, y.A1)
}

func (w *tower) sub(z, x, y fp381.Vec2, k int) {
	w.f.Sub(z.A0, x.A0, y.A0, k)
	w.f.Sub(z.A1, x.A1, y.A1, k)
}

func (w *tower) copy(z, x fp381.Vec2) {
	copy(z.A0, x.A0)
	copy(z.A1, x.A1)
}

// part is blocks lo to hi of v.
func part(v fp381.Vec2, lo, hi int) fp381.Vec2 { return fp381.Vec2{A0: v.A0[lo:hi], A1: v.A1[lo:hi]} }
