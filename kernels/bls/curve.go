package bls

import (
	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/hash_to_curve"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// affine is a point of g1 or of iso; (0, 0), which is on neither, is the identity.
type affine = bls12381.G1Affine

// curve is y² = x³ + ax + b. Both curves below have odd order, so no point has y = 0
// and every tangent has a slope.
type curve struct{ a, b fp.Element }

var (
	g1  = func() (c curve) { c.a, c.b = bls12381.CurveCoefficients(); return }()
	iso = func() (c curve) { c.a, c.b = hash_to_curve.G1SSWUIsogenyCurveCoefficients(); return }()
)

// workspace is what one goroutine works in. Its slices keep their capacity.
type workspace struct {
	sums[affine]
	den, prefix []fp.Element
	tangent     []bool
	// groups
	some     []*group
	runs     []segment
	combined []affine
	// hashing
	messages [][]byte
	uniform  []byte
	u        []fp.Element
	// field arithmetic in vectors
	wide    *wide
	keys    *keyDecoder
	pairing *pairing
	scaling *scaling

	pairings pairings
}

// segment is a run of points; summing it leaves its sum at start and n at 0 or 1.
type segment struct{ start, n int }

// addBlock is how many additions share an inversion: enough to make the inversion
// vanish, few enough for the operands to stay in the first-level cache's reach.
const addBlock = 256

// sum is sums.sum on c; each addition costs six multiplications with its share of the inversion.
func (l *workspace) sum(c *curve, pts []affine, segs []segment) {
	l.sums.sum(pts, segs, addBlock,
		func(to, from []affine, pairs []fp381.Pair) { l.addPairs(c, to, from, pairs) })
}

// bitSums returns the sums.bitSums of one run on c, in vectors if that is worth it. They are valid
// until the next call.
func (l *workspace) bitSums(c *curve, pts []affine, coef []coefficient) *[coefficientBits]affine {
	if w := l.wideFor(len(pts)); w != nil && len(pts) >= wideSumFrom {
		l.bits = grow(l.bits, 1)
		w.narrow(l.bits[0][:], w.bitSums(c, pts, coef, []segment{{0, len(pts)}})[0][:])
	} else {
		l.scalarBitSums(c, pts, coef)
	}
	return &l.bits[0]
}

func (l *workspace) scalarBitSums(c *curve, pts []affine, coef []coefficient) {
	l.sums.bitSums(pts, coef, []segment{{0, len(pts)}}, addBlock,
		func(to, from []affine, pairs []fp381.Pair) { l.addPairs(c, to, from, pairs) })
}

// toG1, clearCofactors and inSubgroup do what their scalar counterparts do for many points, in
// vectors if that is worth it.
func (l *workspace) toG1(pts []affine) {
	if w := l.wideFor(len(pts)); w != nil {
		w.toG1(pts)
		return
	}
	for i := range pts {
		pts[i] = toG1(pts[i])
	}
}

func (l *workspace) clearCofactors(pts []affine) {
	if w := l.wideFor(len(pts)); w != nil {
		w.clearCofactors(pts)
		return
	}
	for i := range pts {
		pts[i] = clearCofactor(pts[i])
	}
}

func (l *workspace) inSubgroup(pts []affine) bool {
	if w := l.wideFor(len(pts)); w != nil {
		return w.inSubgroup(pts)
	}
	for i := range pts {
		if !pts[i].IsInSubGroup() {
			return false
		}
	}
	return true
}

// addPairs is an adder on c.
func (l *workspace) addPairs(c *curve, to, from []affine, pairs []fp381.Pair) {
	l.den, l.tangent = grow(l.den, len(pairs)), grow(l.tangent, len(pairs))
	for i, p := range pairs {
		a, b, d := &from[p.A], &from[p.B], &l.den[i]
		d.Sub(&b.X, &a.X)
		if l.tangent[i] = d.IsZero() && a.Y.Equal(&b.Y) && !a.IsInfinity(); l.tangent[i] {
			d.Double(&a.Y)
		}
	}
	l.invert(l.den)
	for i, p := range pairs {
		c.addWithInverse(&to[p.To], &from[p.A], &from[p.B], &l.den[i], l.tangent[i])
	}
}

// addWithInverse sets dst to a + b, given the inverse of the slope's denominator.
func (c *curve) addWithInverse(dst, a, b *affine, inverse *fp.Element, tangent bool) {
	var slope, x, y fp.Element
	switch {
	case tangent:
		slope.Square(&a.X)
		x.Double(&slope)
		slope.Add(&slope, &x).Add(&slope, &c.a)
	case a.IsInfinity():
		*dst = *b
		return
	case b.IsInfinity():
		*dst = *a
		return
	case inverse.IsZero(): // equal x, opposite y
		*dst = affine{}
		return
	default:
		slope.Sub(&b.Y, &a.Y)
	}
	slope.Mul(&slope, inverse)
	x.Square(&slope).Sub(&x, &a.X).Sub(&x, &b.X)
	y.Sub(&a.X, &x).Mul(&y, &slope).Sub(&y, &a.Y)
	dst.X, dst.Y = x, y
}

// invert replaces every non-zero element by its inverse, with one inversion
// (Montgomery's trick); zeros stay.
func (l *workspace) invert(x []fp.Element) {
	if len(x) == 0 {
		return
	}
	l.prefix = grow(l.prefix, len(x))
	var product fp.Element
	product.SetOne()
	for i := range x {
		l.prefix[i] = product
		if !x[i].IsZero() {
			product.Mul(&product, &x[i])
		}
	}
	product.Inverse(&product)
	for i := len(x) - 1; i >= 0; i-- {
		if x[i].IsZero() {
			continue
		}
		l.prefix[i].Mul(&l.prefix[i], &product)
		product.Mul(&product, &x[i])
		x[i] = l.prefix[i]
	}
}

// jacobian is the point (X/Z², Y/Z³), the identity when Z is zero.
type jacobian struct{ x, y, z fp.Element }

// double sets p to 2p (dbl-2007-bl of the explicit-formulas database).
func (c *curve) double(p *jacobian) {
	if p.z.IsZero() {
		return
	}
	var xx, yy, yyyy, zz, s, m, t fp.Element
	xx.Square(&p.x)
	yy.Square(&p.y)
	yyyy.Square(&yy)
	zz.Square(&p.z)
	s.Mul(&p.x, &yy).Double(&s).Double(&s)
	m.Double(&xx).Add(&m, &xx)
	if !c.a.IsZero() {
		t.Square(&zz).Mul(&t, &c.a)
		m.Add(&m, &t)
	}
	p.z.Mul(&p.z, &p.y).Double(&p.z)
	p.x.Square(&m).Sub(&p.x, &s).Sub(&p.x, &s)
	yyyy.Double(&yyyy).Double(&yyyy).Double(&yyyy)
	p.y.Sub(&s, &p.x).Mul(&p.y, &m).Sub(&p.y, &yyyy)
}

// addMixed sets p to p + q (madd-2007-bl).
func (c *curve) addMixed(p *jacobian, q *affine) {
	if q.IsInfinity() {
		return
	}
	if p.z.IsZero() {
		p.x, p.y = q.X, q.Y
		p.z.SetOne()
		return
	}
	var zz, h, r, hh, hhh, v fp.Element
	zz.Square(&p.z)
	h.Mul(&q.X, &zz).Sub(&h, &p.x)
	r.Mul(&q.Y, &zz).Mul(&r, &p.z).Sub(&r, &p.y)
	if h.IsZero() {
		if r.IsZero() {
			c.double(p)
		} else {
			p.z.SetZero()
		}
		return
	}
	hh.Square(&h)
	hhh.Mul(&hh, &h)
	v.Mul(&p.x, &hh)
	p.z.Mul(&p.z, &h)
	p.x.Square(&r).Sub(&p.x, &hhh).Sub(&p.x, &v).Sub(&p.x, &v)
	hhh.Mul(&hhh, &p.y)
	p.y.Sub(&v, &p.x).Mul(&p.y, &r).Sub(&p.y, &hhh)
}

// affine normalises p.
func (p *jacobian) affine() affine {
	j := bls12381.G1Jac{X: p.x, Y: p.y, Z: p.z}
	var a affine
	return *a.FromJacobian(&j)
}

// grow returns a slice of length n with the capacity of s where that suffices. The
// contents are unspecified.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}
