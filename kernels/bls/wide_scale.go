package bls

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// Multiples of many points, each by its own coefficient: what Σ r·H is for signers with few
// messages. All points take the same steps, in affine coordinates, so that each step shares one
// inversion among them.
//
// A coefficient r has 32 digits of four bits, all odd, from −15 to 15, and the first positive: with
// u the four bits from bit 4i+1 on, digit i is 2u − 15, and the last one 2u + 1 for what is left of
// r above bit 125. That is r for an odd r, and r + 1 else, so that P is subtracted at the end where
// r is even.

const (
	// scaleFrom is from how many points on that is worth it, scalePoints how many go through the
	// steps together.
	scaleFrom   = 64
	scalePoints = 2048

	digitBits = 4
	digits    = coefficientBits / digitBits
	multiples = 1 << (digitBits - 1) // P, 3P, 5P, … 15P
	// blocks that are worked on at a time, so that they stay in the first cache
	scaleBlock = 8
)

// scaling is a workspace. Coordinates are < 2, in multiples of p.
type scaling struct {
	f        fp381.Field
	one, a   fp381.Vec // blocks
	elements []fp.Element

	// By block of points: the sum, what is added to it, and what the slope is divided by.
	x, y, tx, ty, den fp381.Vec
	negative, even    fp381.Mask

	table []fp381.Cell // the multiples of each point, x and y
	index []int32

	slope, u, v, w fp381.Vec // for a few blocks
}

func newScaling(f fp381.Field) *scaling {
	var one fp.Element
	one.SetOne()
	room := func() fp381.Vec { return make(fp381.Vec, scaleBlock) }
	return &scaling{f: f, one: f.Broadcast(one), slope: room(), u: room(), v: room(), w: room()}
}

// scalingFor returns l's workspace if multiples of n points are worth it on this CPU, and else nil.
func (l *workspace) scalingFor(n int) *scaling {
	if n < scaleFrom || !fp381.Wide() {
		return nil
	}
	if l.scaling == nil {
		l.scaling = newScaling(fp381.Use())
	}
	return l.scaling
}

// scale multiplies points of c by coefficients.
func (l *workspace) scale(c *curve, pts []affine, coef []coefficient) {
	if w := l.scalingFor(len(pts)); w != nil && w.scale(c, pts, coef) {
		return
	}
	for i := range pts {
		pts[i] = c.times(pts[i], coef[i])
	}
}

// times is k·p by doubling and adding.
func (c *curve) times(p affine, k coefficient) affine {
	var acc jacobian
	for i := coefficientBits - 1; i >= 0; i-- {
		c.double(&acc)
		if k[i/64]>>(i%64)&1 != 0 {
			c.addMixed(&acc, &p)
		}
	}
	return acc.affine()
}

// scale multiplies points of c by non-zero coefficients. It reports false, and has changed nothing,
// if a sum on the way has no chord or tangent: for the identity, and for points of small order
// only.
func (w *scaling) scale(c *curve, pts []affine, coef []coefficient) bool {
	for i := range pts {
		if pts[i].IsInfinity() {
			return false
		}
	}
	if len(pts) == 0 {
		return true
	}
	w.grow(len(pts))
	w.a = w.f.Broadcast(c.a)
	w.load(pts)
	clear(w.even)
	for i := range coef {
		if coef[i][0]&1 == 0 {
			w.even[i/fp381.Lanes] |= 1 << (i % fp381.Lanes)
		}
	}
	if !w.fillTable() {
		return false
	}
	w.choose(coef, digits-1)
	copy(w.x, w.tx)
	copy(w.y, w.ty)
	for i := digits - 2; i >= 0; i-- {
		for range digitBits {
			if !w.double() {
				return false
			}
		}
		w.choose(coef, i)
		if !w.add(nil) {
			return false
		}
	}
	w.gather(func(int) int { return 0 }, w.even)
	if !w.add(w.even) {
		return false
	}
	w.unload(pts)
	return true
}

// grow makes room for n points.
func (w *scaling) grow(n int) {
	blocks := (n + fp381.Lanes - 1) / fp381.Lanes
	for _, v := range []*fp381.Vec{&w.x, &w.y, &w.tx, &w.ty, &w.den} {
		*v = grow(*v, blocks)
	}
	w.negative, w.even = grow(w.negative, blocks), grow(w.even, blocks)
	n = blocks * fp381.Lanes
	w.elements, w.index, w.table = grow(w.elements, n), grow(w.index, n),
		grow(w.table, 2*multiples*n)
}

// load sets the sums to points, the first of them in lanes that are not used.
func (w *scaling) load(pts []affine) {
	for row, v := range []fp381.Vec{w.x, w.y} {
		for i := range w.elements {
			p := &pts[0]
			if i < len(pts) {
				p = &pts[i]
			}
			if w.elements[i] = p.X; row == 1 {
				w.elements[i] = p.Y
			}
		}
		w.f.Pack(v, w.elements)
	}
}

func (w *scaling) unload(pts []affine) {
	w.f.Unpack(w.elements, w.x)
	for i := range pts {
		pts[i].X = w.elements[i]
	}
	w.f.Unpack(w.elements, w.y)
	for i := range pts {
		pts[i].Y = w.elements[i]
	}
}

// fillTable sets the table to the odd multiples of the points.
func (w *scaling) fillTable() bool {
	w.scatter(0)
	if !w.double() {
		return false
	}
	copy(w.tx, w.x)
	copy(w.ty, w.y)
	w.gatherInto(w.x, w.y, func(int) int { return 0 })
	for k := 1; k < multiples; k++ {
		if !w.add(nil) {
			return false
		}
		w.scatter(k)
	}
	return true
}

// scatter sets multiple k of all points to the sums.
func (w *scaling) scatter(k int) {
	for row, v := range []fp381.Vec{w.x, w.y} {
		for i := range w.index {
			w.index[i] = int32(2*(multiples*i+k) + row)
		}
		w.f.Scatter(w.table, w.index, v)
	}
}

// gatherInto sets x and y to a multiple of each point.
func (w *scaling) gatherInto(x, y fp381.Vec, multiple func(i int) int) {
	for i := range w.index {
		w.index[i] = int32(2 * (multiples*i + multiple(i)))
	}
	w.f.Gather(x, w.table, w.index)
	next(w.index)
	w.f.Gather(y, w.table, w.index)
}

// gather sets what is added to multiples, or to their opposites.
func (w *scaling) gather(multiple func(i int) int, negative fp381.Mask) {
	w.gatherInto(w.tx, w.ty, multiple)
	for lo := 0; lo < len(w.ty); lo += scaleBlock {
		hi := min(len(w.ty), lo+scaleBlock)
		minus, y := w.u[:hi-lo], w.ty[lo:hi]
		clear(minus)
		w.f.Sub(minus, minus, y, 1)
		w.f.Select(y, negative[lo:hi], minus, y)
	}
}

// choose sets what is added to digit i of the coefficients, times the points.
func (w *scaling) choose(coef []coefficient, i int) {
	clear(w.negative)
	w.gather(func(at int) int {
		k := &coef[0]
		if at < len(coef) {
			k = &coef[at]
		}
		if i == digits-1 {
			return k.digit(digitBits*i+1, digitBits-1)
		}
		u := k.digit(digitBits*i+1, digitBits)
		if u >= multiples {
			return u - multiples
		}
		w.negative[at/fp381.Lanes] |= 1 << (at % fp381.Lanes)
		return multiples - 1 - u
	}, w.negative)
}

// double doubles the sums; false means that one has no tangent.
func (w *scaling) double() bool {
	f := w.f
	f.Add(w.den, w.y, w.y)
	if !fp381.Invertible(f, w.den, w.den) {
		return false
	}
	w.each(func(lo, hi int) {
		x, slope, u := w.x[lo:hi], w.slope[:hi-lo], w.u[:hi-lo]
		f.Sqr(slope, x)
		f.Add(u, slope, slope)
		f.Add(slope, slope, u)   // < 6
		f.Add(slope, slope, w.a) // < 7
		f.Mul(slope, slope, w.den[lo:hi])
		f.Add(u, x, x) // < 4
		w.advance(lo, hi, nil)
	})
	return true
}

// add adds to the sums, or to those in only; false means that there is no chord for one of them.
func (w *scaling) add(only fp381.Mask) bool {
	f := w.f
	f.Sub(w.den, w.tx, w.x, 1) // < 4
	if only != nil {
		f.Select(w.den, only, w.den, w.one)
	}
	if !fp381.Invertible(f, w.den, w.den) {
		return false
	}
	w.each(func(lo, hi int) {
		slope, u := w.slope[:hi-lo], w.u[:hi-lo]
		f.Sub(slope, w.ty[lo:hi], w.y[lo:hi], 1) // < 4
		f.Mul(slope, slope, w.den[lo:hi])
		f.Add(u, w.x[lo:hi], w.tx[lo:hi]) // < 4
		w.advance(lo, hi, only)
	})
	return true
}

func (w *scaling) each(do func(lo, hi int)) {
	for lo := 0; lo < len(w.x); lo += scaleBlock {
		do(lo, min(len(w.x), lo+scaleBlock))
	}
}

// advance moves the sums, or those in only, along lines of a slope < 2, to x3 = slope² − u for u <
// 4, the sum of the x coordinates of two points on them.
func (w *scaling) advance(lo, hi int, only fp381.Mask) {
	f, x, y := w.f, w.x[lo:hi], w.y[lo:hi]
	slope, u, x3, y3 := w.slope[:hi-lo], w.u[:hi-lo], w.v[:hi-lo], w.w[:hi-lo]
	f.SqrSub(x3, slope, u)
	f.Sub(u, x, x3, 1) // < 4
	f.MulSub(y3, slope, u, y)
	if only != nil {
		f.Select(x, only[lo:hi], x3, x)
		f.Select(y, only[lo:hi], y3, y)
		return
	}
	copy(x, x3)
	copy(y, y3)
}
