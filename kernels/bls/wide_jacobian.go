package bls

import (
	"math/bits"
	"unsafe"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/hash_to_curve"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// Multiplications of points, one in each lane, in Jacobian coordinates. The formulas for additions
// do not hold for equal and for opposite points: they leave Z = 0 then, and so does everything that
// follows, for doubling keeps it, and an addition multiplies it. So a lane that ends with Z = 0 is
// one for scalar code, which knows all cases, and every other is right. Random points do not come
// to that; points of small order outside the subgroup do.

// wideChunk is how many points go through a multiplication together: their vectors stay in the
// first cache.
const wideChunk = 32

// wideJacobian is points (X/Z², Y/Z³), X and Y < 2^5, Z < 4, and temporaries.
type wideJacobian struct {
	x, y, z fp381.Vec
	sum     [3]fp381.Vec
	t       [6]fp381.Vec
	px, py  fp381.Vec // affine points, < 2
	blank   fp381.Mask
	empty   fp381.Mask
	lost    fp381.Mask
	cells   []int32
}

// grow makes room for n points.
func (j *wideJacobian) grow(n int) {
	blocks := (n + fp381.Lanes - 1) / fp381.Lanes
	for _, v := range []*fp381.Vec{&j.x, &j.y, &j.z, &j.sum[0], &j.sum[1], &j.sum[2], &j.px,
		&j.py} {
		*v = grow(*v, blocks)
	}
	for i := range j.t {
		j.t[i] = grow(j.t[i], blocks)
	}
	j.blank, j.empty, j.lost = grow(j.blank, blocks), grow(j.empty, blocks), grow(j.lost, blocks)
	j.cells = grow(j.cells, n)
}

// double doubles the points, as curve.double does.
func (w *wide) double(c *curve) {
	f, j := w.f, &w.jacobian
	yy, yyyy, s, m, t := j.t[0], j.t[1], j.t[2], j.t[3], j.t[4]
	f.Sqr(yy, j.y)
	f.Sqr(yyyy, yy)
	f.Mul(s, j.x, yy)
	f.Add(s, s, s)
	f.Add(s, s, s) // < 8
	f.Sqr(t, j.x)
	f.Add(m, t, t)
	f.Add(m, m, t) // < 6
	if c == &iso {
		f.Sqr(t, j.z)
		f.Sqr(t, t)
		f.Mul(t, t, w.isoA)
		f.Add(m, m, t) // < 8
	}
	f.Mul(j.z, j.z, j.y)
	f.Add(j.z, j.z, j.z) // < 4
	f.Sqr(j.x, m)
	f.Add(t, s, s) // < 16
	f.Sub(j.x, j.x, t, 4)
	for range 3 {
		f.Add(yyyy, yyyy, yyyy) // < 16
	}
	f.Sub(s, s, j.x, 5)
	f.Mul(j.y, s, m)
	f.Sub(j.y, j.y, yyyy, 4)
}

// addMixed sets sum to the points and (px, py), as curve.addMixed does for points that differ in x.
func (w *wide) addMixed() {
	f, j := w.f, &w.jacobian
	zz, h, r, hh, hhh, v := j.t[0], j.t[1], j.t[2], j.t[3], j.t[4], j.t[5]
	x, y, z := j.sum[0], j.sum[1], j.sum[2]
	f.Sqr(zz, j.z)
	f.Mul(h, j.px, zz)
	f.Sub(h, h, j.x, 5) // < 34
	f.Mul(r, zz, j.z)
	f.Mul(r, r, j.py)
	f.Sub(r, r, j.y, 5)
	f.Mul(z, j.z, h)
	f.Sqr(hh, h)
	f.Mul(hhh, hh, h)
	f.Mul(v, j.x, hh)
	f.Sqr(x, r)
	f.Sub(x, x, hhh, 1)
	f.Add(hh, v, v)
	f.Sub(x, x, hh, 2) // < 8
	f.Sub(v, v, x, 3)
	f.Mul(v, v, r)
	f.Mul(hhh, hhh, j.y)
	f.Sub(y, v, hhh, 1) // < 4
}

// take makes the sums the points.
func (j *wideJacobian) take() {
	j.x, j.y, j.z, j.sum = j.sum[0], j.sum[1], j.sum[2], [3]fp381.Vec{j.x, j.y, j.z}
}

// begin makes (px, py) the points.
func (w *wide) begin() {
	j := &w.jacobian
	copy(j.x, j.px)
	copy(j.y, j.py)
	for i := range j.z {
		j.z[i] = w.one[0]
	}
}

// multiply sets the points to k·(px, py) on g1, k > 0.
func (w *wide) multiply(k uint64) {
	w.begin()
	for bit := bits.Len64(k) - 2; bit >= 0; bit-- {
		if w.double(&g1); k>>bit&1 == 1 {
			w.addMixed()
			w.jacobian.take()
		}
	}
}

// normalise sets (px, py) to the points, and lost to those with Z = 0, which become the identity.
func (w *wide) normalise() {
	f, j := w.f, &w.jacobian
	inverse, square := j.t[0], j.t[1]
	f.Zero(j.lost, j.z)
	fp381.Inverse(f, inverse, j.z)
	f.Sqr(square, inverse)
	f.Mul(j.px, j.x, square)
	f.Mul(square, square, inverse)
	f.Mul(j.py, j.y, square)
}

// horner sets the points to Σ 2^k·bitSums[i][k] on c, and empty to those without any.
func (w *wide) horner(c *curve, bitSums [][coefficientBits]widePoint) {
	f, j := w.f, &w.jacobian
	for _, v := range []fp381.Vec{j.x, j.y, j.z} {
		clear(v)
	}
	for i := range j.empty {
		j.empty[i] = 0xff
	}
	cells := fp381.Cells(flat(bitSums))
	for k := coefficientBits - 1; k >= 0; k-- {
		w.double(c)
		for i := range j.cells {
			j.cells[i] = int32(2 * (i*coefficientBits + k))
		}
		f.Gather(j.px, cells, j.cells)
		next(j.cells)
		f.Gather(j.py, cells, j.cells)
		w.addMixed()
		if some(j.empty) {
			f.Select(j.sum[0], j.empty, j.px, j.sum[0])
			f.Select(j.sum[1], j.empty, j.py, j.sum[1])
			complement(j.empty)
			f.Select(j.sum[2], j.empty, j.sum[2], w.one)
			complement(j.empty)
		}
		if f.Blank(j.blank, j.py); some(j.blank) {
			f.Select(j.sum[0], j.blank, j.x, j.sum[0])
			f.Select(j.sum[1], j.blank, j.y, j.sum[1])
			f.Select(j.sum[2], j.blank, j.z, j.sum[2])
		}
		for i := range j.empty {
			j.empty[i] &= j.blank[i]
		}
		j.take()
	}
}

// flat is the points of all arrays as one slice.
func flat(bitSums [][coefficientBits]widePoint) []widePoint {
	return unsafe.Slice(&bitSums[0][0], len(bitSums)*coefficientBits)
}

// isogeny takes (px, py) from the isogenous curve to g1. The identity stays what it is.
func (w *wide) isogeny() {
	f, j := w.f, &w.jacobian
	f.Blank(j.blank, j.py)
	xn, xd, yn, yd, t := j.t[0], j.t[1], j.t[2], j.t[3], j.t[4]
	for i, z := range []fp381.Vec{xn, xd, yn, yd} {
		w.polynomial(z, w.isogenyMap[i], i%2 == 1)
	}
	f.Mul(t, xd, yd)
	fp381.Inverse(f, t, t) // zero, as both are, for what goes to the identity
	f.Mul(yd, yd, t)
	f.Mul(xd, xd, t)
	f.Mul(j.px, xn, yd)
	f.Mul(j.py, j.py, yn)
	f.Mul(j.py, j.py, xd)
	if some(j.blank) {
		complement(j.blank)
		f.Select(j.px, j.blank, j.px, w.none)
		f.Select(j.py, j.blank, j.py, w.none)
	}
}

// polynomial evaluates at px a polynomial with these coefficients, lowest first, and, if monic, a
// highest one of one.
func (w *wide) polynomial(z fp381.Vec, coefficients []fp381.Vec, monic bool) {
	f, x, last := w.f, w.jacobian.px, len(coefficients)-1
	if monic {
		f.Add(z, x, coefficients[last])
	} else {
		f.Mul(z, x, coefficients[last])
		last--
		f.Add(z, z, coefficients[last])
	}
	for i := last - 1; i >= 0; i-- {
		f.Mul(z, z, x)
		f.Add(z, z, coefficients[i]) // < 3
	}
}

func newIsogenyMap(f fp381.Field) (m [4][]fp381.Vec) {
	for i, coefficients := range hash_to_curve.G1IsogenyMap() {
		for _, c := range coefficients {
			m[i] = append(m[i], f.Broadcast(c))
		}
	}
	return m
}

// pack sets (px, py), and unpack reads them.
func (w *wide) pack(pts []affine) {
	w.jacobian.grow(len(pts))
	w.x = grow(w.x, len(pts))
	for i := range pts {
		w.x[i] = pts[i].X
	}
	w.f.Pack(w.jacobian.px, w.x)
	for i := range pts {
		w.x[i] = pts[i].Y
	}
	w.f.Pack(w.jacobian.py, w.x)
}

func (w *wide) unpack(pts []affine) {
	w.x, w.y = grow(w.x, len(pts)), grow(w.y, len(pts))
	w.f.Unpack(w.x, w.jacobian.px)
	w.f.Unpack(w.y, w.jacobian.py)
	for i := range pts {
		pts[i] = affine{X: w.x[i], Y: w.y[i]}
	}
}

// chunks calls one for parts of n.
func chunks(n int, one func(lo, hi int)) {
	for lo := 0; lo < n; lo += wideChunk {
		one(lo, min(lo+wideChunk, n))
	}
}

// combineIso sets dst[i] to what Σ 2^k·bitSums[i][k] on the isogenous curve is on g1.
func (w *wide) combineIso(dst []affine, bitSums [][coefficientBits]widePoint) {
	var narrow [coefficientBits]affine
	chunks(len(dst), func(lo, hi int) {
		j := &w.jacobian
		j.grow(hi - lo)
		w.horner(&iso, bitSums[lo:hi])
		w.normalise()
		copy(j.empty, j.lost) // isogeny does not change it
		w.isogeny()
		w.unpack(dst[lo:hi])
		for i := lo; i < hi; i++ {
			if j.empty.Has(i - lo) { // the identity, too
				w.narrow(narrow[:], bitSums[i][:])
				dst[i] = toG1(iso.combine(&narrow))
			}
		}
	})
}

// toG1 is the function of that name on many points.
func (w *wide) toG1(pts []affine) {
	chunks(len(pts), func(lo, hi int) {
		w.pack(pts[lo:hi])
		w.isogeny()
		w.unpack(pts[lo:hi])
	})
}

// clearCofactors multiplies points of g1's curve by the effective cofactor.
func (w *wide) clearCofactors(pts []affine) {
	chunks(len(pts), func(lo, hi int) {
		w.pack(pts[lo:hi])
		w.multiply(effectiveCofactor)
		w.normalise()
		var cleared [wideChunk]affine
		w.unpack(cleared[:hi-lo])
		for i := range pts[lo:hi] {
			if p := &pts[lo+i]; w.jacobian.lost.Has(i) || p.IsInfinity() {
				*p = clearCofactor(*p)
			} else {
				*p = cleared[i]
			}
		}
	})
}

// inSubgroup reports whether all points are in the subgroup: −x²·φ(P) = P, where φ is the
// endomorphism (βX, Y) and x the parameter of the curve, holds for no other point of the curve
// (Bowe, eprint 2019/814; Scott, eprint 2021/1130).
func (w *wide) inSubgroup(pts []affine) bool {
	for lo := 0; lo < len(pts); lo += wideChunk {
		if !w.chunkInSubgroup(pts[lo:min(lo+wideChunk, len(pts))]) {
			return false
		}
	}
	return true
}

func (w *wide) chunkInSubgroup(pts []affine) bool {
	f, j := w.f, &w.jacobian
	w.pack(pts)
	f.Mul(j.px, j.px, w.beta)
	w.multiply(loopParameter)
	w.normalise()
	scalar := j.empty
	copy(scalar, j.lost)
	w.multiply(loopParameter)
	f.Zero(j.lost, j.z)
	for i := range scalar {
		scalar[i] |= j.lost[i]
	}
	w.x = grow(w.x, len(pts))
	zz, t := j.t[0], j.t[1]
	f.Sqr(zz, j.z)
	w.packCoordinate(t, pts, func(p *affine) fp.Element { return p.X })
	f.Mul(t, t, zz)
	f.Sub(t, t, j.x, 5)
	f.Zero(j.blank, t)
	f.Mul(zz, zz, j.z)
	w.packCoordinate(t, pts, func(p *affine) fp.Element { return p.Y })
	f.Mul(t, t, zz)
	f.Add(t, t, j.y) // y of the product is −y of the point
	f.Zero(j.lost, t)
	for i := range pts {
		switch {
		case scalar.Has(i) || pts[i].IsInfinity():
			if !pts[i].IsInSubGroup() {
				return false
			}
		case !j.blank.Has(i) || !j.lost.Has(i):
			return false
		}
	}
	return true
}

func (w *wide) packCoordinate(v fp381.Vec, pts []affine, coordinate func(*affine) fp.Element) {
	for i := range pts {
		w.x[i] = coordinate(&pts[i])
	}
	w.f.Pack(v, w.x)
}
