package bls

import (
	"slices"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// widePoint2 is an affine point of the twist, the cells of x and y, all < 2p. The identity has zero
// cells. No other point here has y = 0, for all are in the subgroup of odd order.
type widePoint2 = [4]fp381.Cell

const (
	// wideKeysFrom is from how many keys on a sum in lanes is worth the conversion. On other CPUs
	// it is the shared inversion alone that pays, from scalarSharedFrom keys on. wideKeys is how
	// many are added at a time: half a megabyte.
	wideKeysFrom = 48
	wideKeys     = 2048

	scalarSharedFrom = 256
)

// sharedFrom is from how many keys on additions share inversions on this CPU.
func sharedFrom() int {
	if fp381.Wide() {
		return wideKeysFrom
	}
	return scalarSharedFrom
}

// wideSums2 sums points of the twist.
type wideSums2 struct {
	sums[widePoint2]
	f              fp381.Field
	chords         fp381.ChordSums2
	one, none      fp381.Vec
	from, to       []int32 // cells
	x1, y1, x2, y2 fp381.Vec2
	den, dy, t, u  fp381.Vec2
	zero, same     fp381.Mask
	blank1, blank2 fp381.Mask
	half           fp381.Mask // of one coordinate
	e              []fp.Element
	converted      []widePoint2
	fresh          []int32 // keys that no sum met before
	rest           []widePoint2
	total          [1]segment
}

func newWideSums2(f fp381.Field) *wideSums2 {
	var one fp.Element
	one.SetOne()
	return &wideSums2{f: f, one: f.Broadcast(one), none: make(fp381.Vec, 1)}
}

// grow makes room for n additions.
func (s *wideSums2) grow(n int) {
	blocks := (n + fp381.Lanes - 1) / fp381.Lanes
	for _, v := range []*fp381.Vec2{&s.x1, &s.y1, &s.x2, &s.y2, &s.den, &s.dy, &s.t, &s.u} {
		v.A0, v.A1 = grow(v.A0, blocks), grow(v.A1, blocks)
	}
	for _, m := range []*fp381.Mask{&s.zero, &s.same, &s.blank1, &s.blank2, &s.half} {
		*m = grow(*m, blocks)
	}
	s.from, s.to = grow(s.from, n), grow(s.to, n)
}

// sumKeys adds the keys to sum.
func (s *wideSums2) sumKeys(sum *bls12381.G2Jac, pks []*PublicKey) {
	s.rest = s.rest[:0]
	for len(pks) > 0 {
		n := min(len(pks), wideKeys)
		s.converted = grow(s.converted, n)
		s.load(s.converted, pks[:n])
		s.total[0] = segment{0, n}
		s.shrink(s.converted)
		pks = pks[n:]
	}
	s.addRest(sum)
}

// shrink leaves the sum of the points of total in a few points of rest: the last rounds are done
// for all parts together.
func (s *wideSums2) shrink(pts []widePoint2) {
	const few = wideAddBlock2 / 8
	for s.total[0].n > few {
		s.halve(pts, s.total[:], wideAddBlock2, s.addPairs)
	}
	s.rest = append(s.rest, pts[s.total[0].start:][:s.total[0].n]...)
}

// addRest adds the points of rest to sum.
func (s *wideSums2) addRest(sum *bls12381.G2Jac) {
	s.total[0] = segment{0, len(s.rest)}
	s.sum(s.rest, s.total[:], wideAddBlock2, s.addPairs)
	if s.total[0].n == 1 {
		p := s.narrow(&s.rest[0])
		sum.AddMixed(&p)
	}
}

// load copies keys in the form of s.f. Keys remember the form of the field in use.
func (s *wideSums2) load(dst []widePoint2, pks []*PublicKey) {
	s.fresh = s.fresh[:0]
	remembered := s.f == fp381.Use()
	for i, pk := range pks {
		if p := pk.wide.Load(); p != nil && remembered {
			dst[i] = *p
		} else {
			s.fresh = append(s.fresh, int32(i))
		}
	}
	const part = 128
	cells := fp381.Cells(dst)
	for fresh := range slices.Chunk(s.fresh, part) {
		s.grow(len(fresh))
		s.e = grow(s.e, len(fresh))
		for row := range 4 {
			for j, i := range fresh {
				s.to[j] = 4*i + int32(row)
				s.e[j] = *coordinate(&pks[i].p, row)
			}
			s.f.Pack(s.t.A0, s.e)
			s.f.Scatter(cells, s.to, s.t.A0)
		}
		for _, i := range fresh {
			if remembered {
				pks[i].wide.Store(new(dst[i]))
			}
		}
	}
}

func (s *wideSums2) narrow(p *widePoint2) (q bls12381.G2Affine) {
	s.grow(4)
	s.e = grow(s.e, 4)
	s.f.Gather(s.t.A0, p[:], []int32{0, 1, 2, 3})
	s.f.Unpack(s.e, s.t.A0)
	for row := range s.e {
		*coordinate(&q, row) = s.e[row]
	}
	return q
}

func coordinate(p *bls12381.G2Affine, row int) *fp.Element {
	switch row {
	case 0:
		return &p.X.A0
	case 1:
		return &p.X.A1
	case 2:
		return &p.Y.A0
	default:
		return &p.Y.A1
	}
}

// addPairs is an adder.
func (s *wideSums2) addPairs(to, from []widePoint2, pairs []fp381.Pair) {
	if s.chords.Add(s.f, fp381.Cells(to), fp381.Cells(from), pairs) {
		return
	}
	s.grow(len(pairs))
	gather := func(x, y fp381.Vec2, point func(fp381.Pair) int32) {
		for i, p := range pairs {
			s.from[i] = 4 * point(p)
		}
		for _, v := range []fp381.Vec{x.A0, x.A1, y.A0, y.A1} {
			s.f.Gather(v, fp381.Cells(from), s.from)
			next(s.from)
		}
	}
	gather(s.x1, s.y1, func(p fp381.Pair) int32 { return p.A })
	gather(s.x2, s.y2, func(p fp381.Pair) int32 { return p.B })
	s.add()
	for i, p := range pairs {
		s.to[i] = 4 * p.To
	}
	for _, v := range []fp381.Vec{s.x1.A0, s.x1.A1, s.y1.A0, s.y1.A1} {
		s.f.Scatter(fp381.Cells(to), s.to, v)
		next(s.to)
	}
}

// add sets the points (x1, y1) to their sums with (x2, y2), all < 2p. den is the conjugate of the
// slope's denominator.
func (s *wideSums2) add() {
	f := s.f
	f.Sub(s.den.A0, s.x2.A0, s.x1.A0, 1) // < 4
	f.Sub(s.den.A1, s.x1.A1, s.x2.A1, 1)
	s.sub(s.dy, s.y2, s.y1, 1)
	s.both(s.blank1, f.Blank, s.y1)
	s.both(s.blank2, f.Blank, s.y2)
	s.both(s.zero, f.Zero, s.den)
	special := some(s.zero)
	if special {
		s.addSpecial()
	}
	norm := s.t.A0
	f.Sqr(norm, s.den.A0)
	f.Sqr(s.t.A1, s.den.A1)
	f.Add(norm, norm, s.t.A1)
	fp381.Inverse(f, norm, norm)
	f.Mul2(s.dy, s.dy, s.den) // < 4
	f.Mul(s.dy.A0, s.dy.A0, norm)
	f.Mul(s.dy.A1, s.dy.A1, norm) // the slope

	x3, y3 := s.t, s.den
	f.Sqr2(x3, s.dy) // < 4
	f.Add(y3.A0, s.x1.A0, s.x2.A0)
	f.Add(y3.A1, s.x1.A1, s.x2.A1)
	s.sub(x3, x3, y3, 2)
	s.tighten(x3)
	s.sub(y3, s.x1, x3, 1)
	f.Mul2(y3, y3, s.dy)
	s.sub(y3, y3, s.y1, 1)
	s.tighten(y3)

	if special { // what is still in zero are points that cancel
		complement(s.zero)
		none := fp381.Vec2{A0: s.none, A1: s.none}
		s.choose(x3, s.zero, x3, none)
		s.choose(y3, s.zero, y3, none)
	}
	if some(s.blank1) {
		s.choose(x3, s.blank1, s.x2, x3)
		s.choose(y3, s.blank1, s.y2, y3)
	}
	if some(s.blank2) {
		s.choose(x3, s.blank2, s.x1, x3)
		s.choose(y3, s.blank2, s.y1, y3)
	}
	s.x1, s.t, s.y1, s.den = x3, s.x1, y3, s.y1
}

// addSpecial is wide.addSpecial: the tangent's slope is 3x²/2y.
func (s *wideSums2) addSpecial() {
	f := s.f
	s.both(s.same, f.Zero, s.dy)
	for i := range s.same {
		s.same[i] &= s.zero[i] &^ s.blank1[i]
		s.zero[i] &^= s.same[i]
	}
	f.Add(s.t.A0, s.y1.A0, s.y1.A0) // < 4
	f.Add(s.t.A1, s.y1.A1, s.y1.A1)
	f.Add(s.u.A1, s.t.A1, s.t.A1)    // < 8
	f.Sub(s.t.A1, s.t.A1, s.u.A1, 3) // -2y < 12
	s.choose(s.den, s.same, s.t, s.den)
	complement(s.zero)
	s.choose(s.den, s.zero, s.den, fp381.Vec2{A0: s.one, A1: s.none})
	complement(s.zero)
	f.Sqr2(s.t, s.x1) // < 4
	f.Add(s.u.A0, s.t.A0, s.t.A0)
	f.Add(s.u.A1, s.t.A1, s.t.A1)
	f.Add(s.t.A0, s.t.A0, s.u.A0) // < 12
	f.Add(s.t.A1, s.t.A1, s.u.A1)
	s.choose(s.dy, s.same, s.t, s.dy)
}

func (s *wideSums2) sub(z, x, y fp381.Vec2, k int) {
	s.f.Sub(z.A0, x.A0, y.A0, k)
	s.f.Sub(z.A1, x.A1, y.A1, k)
}

func (s *wideSums2) tighten(z fp381.Vec2) {
	s.f.Tighten(z.A0, z.A0)
	s.f.Tighten(z.A1, z.A1)
}

func (s *wideSums2) choose(z fp381.Vec2, m fp381.Mask, x, y fp381.Vec2) {
	s.f.Select(z.A0, m, x.A0, y.A0)
	s.f.Select(z.A1, m, x.A1, y.A1)
}

// both sets m where a test holds for both coordinates.
func (s *wideSums2) both(m fp381.Mask, test func(fp381.Mask, fp381.Vec), x fp381.Vec2) {
	test(m, x.A0)
	test(s.half, x.A1)
	for i := range m {
		m[i] &= s.half[i]
	}
}
