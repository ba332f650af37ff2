package fp381

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

// Pair is an addition of affine points of a curve over the field: point To is to be the sum of points A and B. Point i
// stands in rows 2i and 2i+1, x and y < 2.
type Pair struct{ To, A, B int32 }

// ChordSums is a workspace for additions. The zero value is ready.
type ChordSums struct{ d, x, s, inverse Vec }

// Add does additions of points with different x, none of which is the identity in the form of zero rows, and reports true;
// or it reports false and has changed nothing: always where points are not so, and rarely where they are. The sums go into to, which may be from: then a sum may overwrite operands
// of its own pair and of earlier ones. No pairs are fine. It takes about six multiplications an addition, and panics if
// there is no such point.
func (w *ChordSums) Add(f Field, to, from []Row, pairs []Pair) bool {
	if len(pairs) == 0 {
		return true
	}
	for _, p := range pairs {
		if uint(p.To) >= uint(len(to)/2) || uint(p.A) >= uint(len(from)/2) || uint(p.B) >= uint(len(from)/2) {
			panic("fp381: no such point")
		}
	}
	blocks := (len(pairs) + Lanes - 1) / Lanes
	if cap(w.d) < blocks {
		w.d, w.x, w.s, w.inverse = make(Vec, blocks), make(Vec, blocks), make(Vec, blocks), make(Vec, blocks)
	}
	w.d, w.x, w.s, w.inverse = w.d[:blocks], w.x[:blocks], w.s[:blocks], w.inverse[:blocks]
	if !f.chords(w.d, w.x, w.s, from, pairs) || !invertible(f, w.inverse, w.d) {
		return false
	}
	f.sums(to, from, pairs, w.inverse, w.x, w.s)
	return true
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

func (generic) chords(d, x, s Vec, points []Row, pairs []Pair) bool {
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

func (generic) sums(to, from []Row, pairs []Pair, d, x, s Vec) {
	for i, p := range pairs {
		y1, y2 := from[2*p.A+1].element(), from[2*p.B+1].element()
		var slope, x3, y3 fp.Element
		slope.Sub(y2, y1).Mul(&slope, d[i/Lanes].lane(i%Lanes))
		x3.Square(&slope).Sub(&x3, s[i/Lanes].lane(i%Lanes))
		y3.Sub(x[i/Lanes].lane(i%Lanes), &x3).Mul(&y3, &slope).Sub(&y3, y1)
		*to[2*p.To].element(), *to[2*p.To+1].element() = x3, y3
	}
}

// element is a row in generic form.
func (r *Row) element() *fp.Element { return (*fp.Element)(r[:6]) }
