package fp381

import (
	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// Pair is an addition of affine points of a curve over the field: point To is to be the sum of
// points A and B. Point i stands in cells 2i and 2i+1, x and y < 2.
type Pair struct{ To, A, B int32 }

// ChordSums is a workspace for additions. The zero value is ready.
type ChordSums struct{ d, x, s, inverse Vec }

// Add does additions of points with different x, none of which is the identity in the form of zero
// cells, and reports true; or it reports false and has changed nothing: always where points are not
// so, and rarely where they are. The sums go into to, which may be from: then a sum may overwrite
// operands of its own pair and of earlier ones. No pairs are fine. It takes about six
// multiplications an addition, and panics if there is no such point.
func (w *ChordSums) Add(f Field, to, from []Cell, pairs []Pair) bool {
	if len(pairs) == 0 {
		return true
	}
	checkPairs(len(to)/2, len(from)/2, pairs)
	blocks := (len(pairs) + Lanes - 1) / Lanes
	if cap(w.d) < blocks {
		w.d, w.x = make(Vec, blocks), make(Vec, blocks)
		w.s, w.inverse = make(Vec, blocks), make(Vec, blocks)
	}
	w.d, w.x, w.s, w.inverse = w.d[:blocks], w.x[:blocks], w.s[:blocks], w.inverse[:blocks]
	if !f.chords(w.d, w.x, w.s, from, pairs) || !Invertible(f, w.inverse, w.d) {
		return false
	}
	f.sums(to, from, pairs, w.inverse, w.x, w.s)
	return true
}

// ChordSums2 is ChordSums for points over the extension. Point i stands in cells 4i to 4i+3: both
// coordinates of x, then of y.
type ChordSums2 struct {
	c             [][6]Block
	norm, inverse Vec
}

// Add is ChordSums.Add. It takes about fifteen multiplications an addition.
func (w *ChordSums2) Add(f Field, to, from []Cell, pairs []Pair) bool {
	if len(pairs) == 0 {
		return true
	}
	checkPairs(len(to)/4, len(from)/4, pairs)
	blocks := (len(pairs) + Lanes - 1) / Lanes
	if cap(w.c) < blocks {
		w.c, w.norm, w.inverse = make([][6]Block, blocks), make(Vec, blocks), make(Vec, blocks)
	}
	w.c, w.norm, w.inverse = w.c[:blocks], w.norm[:blocks], w.inverse[:blocks]
	if !f.chords2(w.c, w.norm, from, pairs) || !Invertible(f, w.inverse, w.norm) {
		return false
	}
	f.sums2(to, from, pairs, w.c, w.inverse)
	return true
}

// checkPairs panics unless there are all points of the pairs.
func checkPairs(to, from int, pairs []Pair) {
	for _, p := range pairs {
		if uint(p.To) >= uint(to) || uint(p.A) >= uint(from) || uint(p.B) >= uint(from) {
			panic("fp381: no such point")
		}
	}
}

// lastPairs are the pairs of the last block, filled with the first of them.
func lastPairs(pairs []Pair) (last [Lanes]Pair) {
	tail := pairs[len(pairs)/Lanes*Lanes:]
	for l := range last {
		last[l] = tail[0]
	}
	copy(last[:], tail)
	return last
}

func (generic) chords(d, x, s Vec, points []Cell, pairs []Pair) bool {
	for i := range d {
		for l := range Lanes {
			p := pairs[min(i*Lanes+l, len(pairs)-1)]
			x1, x2 := points[2*p.A].element(), points[2*p.B].element()
			if x1.IsZero() || x2.IsZero() {
				return false
			}
			d[i].lane(l).Sub(x2, x1)
			s[i].lane(l).Add(x2, x1)
			*x[i].lane(l) = *x1
		}
	}
	return true
}

func (generic) sums(to, from []Cell, pairs []Pair, d, x, s Vec) {
	for i, p := range pairs {
		y1, y2 := from[2*p.A+1].element(), from[2*p.B+1].element()
		var slope, x3, y3 fp.Element
		slope.Sub(y2, y1).Mul(&slope, d[i/Lanes].lane(i%Lanes))
		x3.Square(&slope).Sub(&x3, s[i/Lanes].lane(i%Lanes))
		y3.Sub(x[i/Lanes].lane(i%Lanes), &x3).Mul(&y3, &slope).Sub(&y3, y1)
		*to[2*p.To].element(), *to[2*p.To+1].element() = x3, y3
	}
}

func (generic) chords2(c [][6]Block, norm Vec, points []Cell, pairs []Pair) bool {
	for i := range c {
		for l := range Lanes {
			p := pairs[min(i*Lanes+l, len(pairs)-1)]
			a, b := extended(points, 4*p.A), extended(points, 4*p.B)
			if a.IsZero() || b.IsZero() {
				return false
			}
			var d, s bls12381.E2
			d.Sub(&b, &a).Conjugate(&d)
			s.Add(&b, &a)
			for j, e := range []fp.Element{d.A0, d.A1, a.A0, a.A1, s.A0, s.A1} {
				*c[i][j].lane(l) = e
			}
			*norm[i].lane(l) = *d.A0.Square(&d.A0).Add(&d.A0, d.A1.Square(&d.A1))
		}
	}
	return true
}

func (generic) sums2(to, from []Cell, pairs []Pair, c [][6]Block, inverse Vec) {
	for i, p := range pairs {
		at := func(j int) bls12381.E2 {
			return bls12381.E2{A0: *c[i/Lanes][j].lane(i % Lanes), A1: *c[i/Lanes][j+1].lane(i % Lanes)}
		}
		d, x1, s := at(0), at(2), at(4)
		y1, y2 := extended(from, 4*p.A+2), extended(from, 4*p.B+2)
		var slope, x3, y3 bls12381.E2
		d.MulByElement(&d, inverse[i/Lanes].lane(i%Lanes))
		slope.Sub(&y2, &y1).Mul(&slope, &d)
		x3.Square(&slope).Sub(&x3, &s)
		y3.Sub(&x1, &x3).Mul(&y3, &slope).Sub(&y3, &y1)
		for j, e := range []fp.Element{x3.A0, x3.A1, y3.A0, y3.A1} {
			*to[4*int(p.To)+j].element() = e
		}
	}
}

// extended is two cells in generic form.
func extended(cells []Cell, at int32) bls12381.E2 {
	return bls12381.E2{A0: *cells[at].element(), A1: *cells[at+1].element()}
}

// element is a cell in generic form.
func (r *Cell) element() *fp.Element { return (*fp.Element)(r[:6]) }
