package fp381

import (
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// Block12 is eight elements of Fp12 = Fp2[w], w⁶ = ξ = 1 + u: block k of A0 + A1·u is the
// coefficient of wᵏ. With v = w² and v³ = ξ, it is g + hw for elements g and h of Fp6 = Fp2[v],
// whose coefficients are those of the even and of the odd powers.
type Block12 struct{ A0, A1 [6]Block }

// Coefficients returns those of w^lo up to w^hi, without the last. They share memory with z.
func (z *Block12) Coefficients(lo, hi int) Vec2 { return Vec2{z.A0[lo:hi], z.A1[lo:hi]} }

// SetOne sets all elements to one.
func (z *Block12) SetOne(f Field) {
	var one fp.Element
	one.SetOne()
	*z = Block12{} // zero words are zero in any form
	z.A0[0] = f.Broadcast(one)[0]
}

// Sqr12 squares z < 2 and leaves < 2: (g + hw)² = (g + h)(g + vh) − gh − v·gh + 2gh·w.
func Sqr12(f Field, z *Block12) {
	w := squarings.Get().(*squaring)
	defer squarings.Put(w)
	w.f = f
	g, h, sum, mixed := w.t.part(0, 3), w.t.part(3, 6), w.t.part(6, 9), w.t.part(9, 12)
	shifted := g // whose place it takes
	for i := range 3 {
		g.part(i, i+1).copy(z.Coefficients(2*i, 2*i+1))
		h.part(i, i+1).copy(z.Coefficients(2*i+1, 2*i+2))
	}
	w.add(sum, g, h)       // < 4
	w.mulV(mixed, h)       // < 4
	w.add(mixed, mixed, g) // < 6
	w.factors(w.x.part(0, 6), g)
	w.factors(w.y.part(0, 6), h)
	w.factors(w.x.part(6, 12), sum)
	w.factors(w.y.part(6, 12), mixed) // < 12
	f.Mul2(w.p, w.x, w.y)             // < 2
	gh, product := sum, mixed
	w.collect(gh, w.p.part(0, 6)) // < 2
	w.collect(product, w.p.part(6, 12))
	w.sub(product, product, gh, 1)      // < 4
	w.mulV(shifted, gh)                 // < 4
	w.sub(product, product, shifted, 2) // < 8
	w.add(gh, gh, gh)
	for i := range 3 {
		w.tighten(z.Coefficients(2*i, 2*i+1), product.part(i, i+1))
		w.tighten(z.Coefficients(2*i+1, 2*i+2), gh.part(i, i+1))
	}
}

// squaring is the workspace of Sqr12: factors, their products, and four elements of Fp6.
type squaring struct {
	f          Field
	x, y, p, t Vec2
}

var squarings = sync.Pool{New: func() any {
	room := func() Vec2 { return NewVec2(12 * Lanes) }
	return &squaring{x: room(), y: room(), p: room(), t: room()}
}}

// factors lays out the factors of a product in Fp6 after Karatsuba: x0, x1, x2, x1 + x2, x0 + x1,
// x0 + x2.
func (w *squaring) factors(z, x Vec2) {
	z.part(0, 3).copy(x)
	w.add(z.part(3, 4), x.part(1, 2), x.part(2, 3))
	w.add(z.part(4, 5), x.part(0, 1), x.part(1, 2))
	w.add(z.part(5, 6), x.part(0, 1), x.part(2, 3))
}

// collect puts z < 2 together from the products p < 2 of such factors, and overwrites them.
func (w *squaring) collect(z, p Vec2) {
	p0, p1, p2 := p.part(0, 1), p.part(1, 2), p.part(2, 3)
	p12, p01, p02 := p.part(3, 4), p.part(4, 5), p.part(5, 6)
	z0, z1, z2 := z.part(0, 1), z.part(1, 2), z.part(2, 3)
	w.sub(p12, p12, p1, 1)
	w.sub(p12, p12, p2, 1) // < 6
	w.mulXi(z0, p12, 3)    // < 16
	w.add(z0, z0, p0)      // < 18
	w.mulXi(p12, p2, 1)    // < 4
	w.sub(p01, p01, p0, 1)
	w.sub(p01, p01, p1, 1) // < 6
	w.add(z1, p01, p12)    // < 10
	w.sub(p02, p02, p0, 1)
	w.sub(p02, p02, p2, 1) // < 6
	w.add(z2, p02, p1)     // < 8
	w.tighten(z, z)
}

// mulV multiplies an element of Fp6, < 2, by v, and leaves < 4.
func (w *squaring) mulV(z, x Vec2) {
	w.mulXi(z.part(0, 1), x.part(2, 3), 1)
	z.part(1, 3).copy(x.part(0, 2))
}

// mulXi multiplies x < 2^k by ξ: (a + bu)(1 + u) = a − b + (a + b)u, and leaves < 2^(k+1).
func (w *squaring) mulXi(z, x Vec2, k int) {
	w.f.Sub(z.A0, x.A0, x.A1, k)
	w.f.Add(z.A1, x.A0, x.A1)
}

func (w *squaring) add(z, x, y Vec2) {
	w.f.Add(z.A0, x.A0, y.A0)
	w.f.Add(z.A1, x.A1, y.A1)
}

func (w *squaring) sub(z, x, y Vec2, k int) {
	w.f.Sub(z.A0, x.A0, y.A0, k)
	w.f.Sub(z.A1, x.A1, y.A1, k)
}

func (w *squaring) tighten(z, x Vec2) {
	w.f.Tighten(z.A0, x.A0)
	w.f.Tighten(z.A1, x.A1)
}

// part is blocks lo to hi of v.
func (v Vec2) part(lo, hi int) Vec2 { return Vec2{v.A0[lo:hi], v.A1[lo:hi]} }

func (v Vec2) copy(x Vec2) {
	copy(v.A0, x.A0)
	copy(v.A1, x.A1)
}
