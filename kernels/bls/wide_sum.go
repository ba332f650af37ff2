package bls

import "github.com/waybill-network/waybill/kernels/fp381"

// widePoint is an affine point, x and y < 2p. The identity has zero cells; no other point has, for
// the orders of both curves are odd, and so y is never zero.
type widePoint = [2]fp381.Cell

const (
	// wideSumFrom is from how many points on a linear combination is worth the conversion.
	wideSumFrom = 8
	// wideAddBlock is how many additions share an inversion; wideAddBlock2 is that on the twist.
	wideAddBlock  = 1024
	wideAddBlock2 = 512
)

// wideSums is a workspace for additions.
type wideSums struct {
	sums[widePoint]
	chords         fp381.ChordSums
	converted      []widePoint
	from, to       []int32 // cells
	x1, y1, x2, y2 fp381.Vec
	den, dy, t, u  fp381.Vec
	zero, same     fp381.Mask
	blank1, blank2 fp381.Mask
}

// grow makes room for n additions.
func (s *wideSums) grow(n int) {
	blocks := (n + fp381.Lanes - 1) / fp381.Lanes
	for _, v := range []*fp381.Vec{&s.x1, &s.y1, &s.x2, &s.y2, &s.den, &s.dy, &s.t, &s.u} {
		*v = grow(*v, blocks)
	}
	for _, m := range []*fp381.Mask{&s.zero, &s.same, &s.blank1, &s.blank2} {
		*m = grow(*m, blocks)
	}
	s.from, s.to = grow(s.from, n), grow(s.to, n)
}

// bitSums returns the sums.bitSums for points in scalar form.
func (w *wide) bitSums(c *curve, pts []affine, coef []coefficient,
	runs []segment) [][coefficientBits]widePoint {
	s := &w.sums
	s.converted = grow(s.converted, len(pts))
	w.widen(s.converted, pts)
	s.bitSums(s.converted, coef, runs, wideAddBlock,
		func(to, from []widePoint, pairs []fp381.Pair) { w.addPairs(c, to, from, pairs) })
	return s.bits
}

// sum is sums.sum for points in scalar form, of which the first of each segment is set.
func (w *wide) sum(c *curve, pts []affine, segs []segment) {
	s := &w.sums
	s.converted = grow(s.converted, len(pts))
	w.widen(s.converted, pts)
	s.sum(s.converted, segs, wideAddBlock,
		func(to, from []widePoint, pairs []fp381.Pair) { w.addPairs(c, to, from, pairs) })
	for _, seg := range segs {
		w.narrow(pts[seg.start:seg.start+1], s.converted[seg.start:seg.start+1])
	}
}

// widen converts points from scalar form, narrow to it.
func (w *wide) widen(dst []widePoint, src []affine) {
	w.convert(len(src), func(lo, hi, row int, index []int32, v fp381.Vec) {
		for i := range hi - lo {
			p := &src[lo+i]
			if w.x[i] = p.X; row == 1 {
				w.x[i] = p.Y
			}
		}
		w.f.Pack(v, w.x)
		w.f.Scatter(fp381.Cells(dst), index, v)
	})
}

func (w *wide) narrow(dst []affine, src []widePoint) {
	w.convert(len(src), func(lo, hi, row int, index []int32, v fp381.Vec) {
		w.f.Gather(v, fp381.Cells(src), index)
		w.f.Unpack(w.x, v)
		for i := range hi - lo {
			if p := &dst[lo+i]; row == 0 {
				p.X = w.x[i]
			} else {
				p.Y = w.x[i]
			}
		}
	})
}

// convert calls one for parts of n points and both coordinates, with their cells and room for as
// many elements.
func (w *wide) convert(n int, one func(lo, hi, row int, index []int32, v fp381.Vec)) {
	const part = 128
	for lo := 0; lo < n; lo += part {
		hi := min(lo+part, n)
		w.grow(hi - lo)
		w.sums.from = grow(w.sums.from, hi-lo)
		for row := range 2 {
			for i := range w.sums.from {
				w.sums.from[i] = int32(2*(lo+i) + row)
			}
			one(lo, hi, row, w.sums.from, w.v[0])
		}
	}
}

// addPairs is an adder on c.
func (w *wide) addPairs(c *curve, to, from []widePoint, pairs []fp381.Pair) {
	if w.sums.chords.Add(w.f, fp381.Cells(to), fp381.Cells(from), pairs) {
		return
	}
	s := &w.sums
	s.grow(len(pairs))
	gather := func(x, y fp381.Vec, point func(fp381.Pair) int32) {
		for i, p := range pairs {
			s.from[i] = 2 * point(p)
		}
		w.f.Gather(x, fp381.Cells(from), s.from)
		next(s.from)
		w.f.Gather(y, fp381.Cells(from), s.from)
	}
	gather(s.x1, s.y1, func(p fp381.Pair) int32 { return p.A })
	gather(s.x2, s.y2, func(p fp381.Pair) int32 { return p.B })
	w.add(c)
	for i, p := range pairs {
		s.to[i] = 2 * p.To
	}
	w.f.Scatter(fp381.Cells(to), s.to, s.x1)
	next(s.to)
	w.f.Scatter(fp381.Cells(to), s.to, s.y1)
}

func next(cells []int32) {
	for i := range cells {
		cells[i]++
	}
}

// add sets the points (x1, y1) to their sums with (x2, y2), all < 2p.
func (w *wide) add(c *curve) {
	f, s := w.f, &w.sums
	f.Sub(s.den, s.x2, s.x1, 1) // < 4
	f.Sub(s.dy, s.y2, s.y1, 1)
	f.Blank(s.blank1, s.y1)
	f.Blank(s.blank2, s.y2)
	f.Zero(s.zero, s.den)
	special := some(s.zero)
	if special {
		w.addSpecial(c)
	}
	fp381.Inverse(f, s.den, s.den)
	f.Mul(s.dy, s.dy, s.den) // the slope

	x3, y3 := s.t, s.den
	f.Add(y3, s.x1, s.x2) // < 4
	f.Sqr(x3, s.dy)
	f.Sub(x3, x3, y3, 2)
	f.Tighten(x3, x3)
	f.Sub(y3, s.x1, x3, 1)
	f.Mul(y3, y3, s.dy)
	f.Sub(y3, y3, s.y1, 1)
	f.Tighten(y3, y3)

	if special { // what is still in zero are points that cancel
		complement(s.zero)
		f.Select(x3, s.zero, x3, w.none)
		f.Select(y3, s.zero, y3, w.none)
	}
	if some(s.blank1) {
		f.Select(x3, s.blank1, s.x2, x3)
		f.Select(y3, s.blank1, s.y2, y3)
	}
	if some(s.blank2) {
		f.Select(x3, s.blank2, s.x1, x3)
		f.Select(y3, s.blank2, s.y1, y3)
	}
	s.x1, s.t, s.y1, s.den = x3, s.x1, y3, s.y1
}

// addSpecial mends the slopes of points with equal x, which are in the mask zero: equal points get
// the tangent's, (3x² + a)/2y, and are taken from the mask; for opposite points, and the identity,
// the denominator becomes 1.
func (w *wide) addSpecial(c *curve) {
	f, s := w.f, &w.sums
	f.Zero(s.same, s.dy)
	for i := range s.same {
		s.same[i] &= s.zero[i] &^ s.blank1[i]
		s.zero[i] &^= s.same[i]
	}
	f.Add(s.t, s.y1, s.y1)
	f.Select(s.den, s.same, s.t, s.den)
	complement(s.zero)
	f.Select(s.den, s.zero, s.den, w.one)
	complement(s.zero)
	f.Sqr(s.t, s.x1)
	f.Add(s.u, s.t, s.t)
	f.Add(s.t, s.t, s.u)
	if c == &iso { // and a = 0 on g1
		f.Add(s.t, s.t, w.isoA) // < 7
	}
	f.Select(s.dy, s.same, s.t, s.dy)
}

func some(m fp381.Mask) bool {
	for _, b := range m {
		if b != 0 {
			return true
		}
	}
	return false
}

func complement(m fp381.Mask) {
	for i := range m {
		m[i] = ^m[i]
	}
}
