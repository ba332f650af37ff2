package bls

import (
	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// Miller loops of the optimal ate pairing, eight at a time where the CPU can. Every lane keeps one value f of the loop and
// multiplies the lines of all its pairs into it, so that the squarings of f are shared among them. The points of all
// pairs go through the loop together, in affine coordinates: one inversion serves them all in a step.
//
// Results differ from gnark-crypto's by factors from proper subfields of Fp12, which the final exponentiation takes to
// one; none of these is zero. Two kinds of such factors save work:
//
//   - Lines are scaled. Untwisted, the line of slope λ through T = (x, y) takes P = (xP, yP) to
//     yP − λ·xP·w⁻¹ + (λx − y)·w⁻³. First, the pair moves to another curve, by (x, y) to (s²x, s³y) with s = xP/yP, which
//     makes both coordinates of P equal, t = xP³/yP². The line times w³/t is then w³ − λ·w² + (λx − y)/t: one of its
//     coefficients costs nothing, the other two multiplications in Fp. That takes xP ≠ 0; the two points with xP = 0 have
//     order 3 and are left to scalar code. None has yP = 0, for the order of the curve is odd.
//   - Products with lines are doubled, see [fp381.Field].
//
// No step degenerates: Q has the prime order r, and where a multiple kQ is doubled, or Q is added to it, k is neither 0 nor
// ±1 modulo r. That the keys are in the subgroup was checked when they were decoded.

// loopParameter is |x|, BLS12-381's parameter; x is negative.
const loopParameter uint64 = 0xd201000000010000

const (
	// loopPairs is how many pairs go through the loop together. Their points and lines, about nine kilobytes for eight, stay
	// in the second cache; the inversion, the squarings and what else is done once in a step is little beside the rest.
	loopPairs = 512
	// loopsFrom is from how many pairs on lanes are worth it.
	loopsFrom = 5
)

// pairingFor returns l's workspace if n Miller loops are worth it on this CPU, and else nil.
func (l *lane) pairingFor(n int) *pairing {
	if n < loopsFrom || !fp381.Wide() {
		return nil
	}
	if l.pairing == nil {
		l.pairing = newPairing(fp381.Use())
	}
	return l.pairing
}

// millerLoop is the product of the Miller loops of all pairs, at most loopPairs, up to a factor that the final
// exponentiation takes to one.
func (l *lane) millerLoop(p []affine, q []bls12381.G2Affine) bls12381.GT {
	w := l.pairingFor(len(p))
	if w == nil {
		return millerLoop(p, q)
	}
	var f [fp381.Lanes]bls12381.GT
	w.loops(f[:], p, q)
	for i := range f[1:] {
		f[0].Mul(&f[0], &f[1+i])
	}
	return f[0]
}

// millerLoops sets out[i] to the product of the pairs j ≡ i modulo len(out), as millerLoop does.
func (l *lane) millerLoops(out []bls12381.GT, p []affine, q []bls12381.G2Affine) {
	if w := l.pairingFor(len(out)); w != nil {
		w.loops(out, p, q)
		return
	}
	var ps [2]affine
	var qs [2]bls12381.G2Affine
	for i := range out {
		pi, qi := ps[:0], qs[:0]
		for j := i; j < len(p); j += len(out) {
			pi, qi = append(pi, p[j]), append(qi, q[j])
		}
		out[i] = millerLoop(pi, qi)
	}
}

// pairing is a workspace for Miller loops.
type pairing struct {
	f        fp381.Field
	zero     fp381.Vec // a block
	elements []fp.Element
	special  []int // pairs for scalar code

	// By block of pairs: the point kQ, Q, 1/t, the line, and temporaries.
	x, y, qx, qy fp381.Vec2
	scale        fp381.Vec
	slope, free  fp381.Vec2 // λ and (λx − y)/t
	den, u       fp381.Vec2
	norm         fp381.Vec
	present      fp381.Mask      // pairs that are there
	values       []fp381.Block12 // f, by block of lanes
	holes        []bool          // blocks in which a pair is missing
}

func newPairing(f fp381.Field) *pairing {
	return &pairing{f: f, zero: make(fp381.Vec, 1)} // zero words are zero in any form
}

// loops sets out[i] to the product of the Miller loops of the pairs j ≡ i modulo len(out), up to factors that the final
// exponentiation takes to one. Pairs with an identity count as one.
func (w *pairing) loops(out []bls12381.GT, p []affine, q []bls12381.G2Affine) {
	if len(out) == 0 {
		return
	}
	rows, lanes := (len(p)+len(out)-1)/len(out), (len(out)+fp381.Lanes-1)/fp381.Lanes
	w.grow(rows*lanes, lanes)
	w.load(len(out), p, q)
	for i := range w.values {
		w.values[i].SetOne(w.f)
	}
	for bit := 62; bit >= 0; bit-- {
		if bit < 62 {
			for i := range w.values {
				fp381.Sqr12(w.f, &w.values[i])
			}
		}
		w.double()
		w.multiply()
		if loopParameter>>bit&1 != 0 {
			w.add()
			w.multiply()
		}
	}
	w.unload(out)
	for _, j := range w.special {
		f := millerLoop(p[j:j+1], q[j:j+1])
		out[j%len(out)].Mul(&out[j%len(out)], &f)
	}
}

// grow makes room for blocks of pairs and blocks of lanes.
func (w *pairing) grow(blocks, lanes int) {
	for _, v := range []*fp381.Vec2{&w.x, &w.y, &w.qx, &w.qy, &w.slope, &w.free, &w.den, &w.u} {
		v.A0, v.A1 = grow(v.A0, blocks), grow(v.A1, blocks)
	}
	w.scale, w.norm = grow(w.scale, blocks), grow(w.norm, blocks)
	w.present, w.holes = grow(w.present, blocks), grow(w.holes, blocks)
	w.elements = grow(w.elements, blocks*fp381.Lanes)
	w.values = grow(w.values, lanes)
}

// load lays pair j into lane j mod lanes of row j / lanes, and moves each pair to its own curve.
func (w *pairing) load(lanes int, p []affine, q []bls12381.G2Affine) {
	blocks := (lanes + fp381.Lanes - 1) / fp381.Lanes
	at := func(j int) int { return j/lanes*blocks*fp381.Lanes + j%lanes }
	clear(w.present)
	w.special = w.special[:0]
	for j := range p {
		switch {
		case p[j].IsInfinity() || q[j].IsInfinity():
		case p[j].X.IsZero():
			w.special = append(w.special, j)
		default:
			w.present[at(j)/fp381.Lanes] |= 1 << (at(j) % fp381.Lanes)
		}
	}
	pack := func(v fp381.Vec, missing *fp.Element, of func(j int) *fp.Element) {
		for i := range w.elements {
			w.elements[i] = *missing
		}
		for j := range p {
			if w.present.Has(at(j)) {
				w.elements[at(j)] = *of(j)
			}
		}
		w.f.Pack(v, w.elements)
	}
	xp, yp := w.slope.A0, w.slope.A1
	pack(xp, &g1Generator.X, func(j int) *fp.Element { return &p[j].X })
	pack(yp, &g1Generator.Y, func(j int) *fp.Element { return &p[j].Y })
	for row, v := range []fp381.Vec{w.qx.A0, w.qx.A1, w.qy.A0, w.qy.A1} {
		pack(v, coordinate(&minusG2, row), func(j int) *fp.Element { return coordinate(&q[j], row) })
	}
	w.move(xp, yp)
	for i, m := range w.present {
		w.holes[i] = m != 0xff
	}
}

// move takes P = (xp, yp) and Q to the curve on which both coordinates of P are t.
func (w *pairing) move(xp, yp fp381.Vec) {
	f, s, s2, both := w.f, w.u.A0, w.u.A1, w.norm
	f.Mul(both, xp, yp)
	fp381.Inverse(f, both, both)
	f.Sqr(s, xp)
	f.Mul(s, s, both) // xp/yp
	f.Sqr(s2, s)
	f.Mul(w.scale, yp, both) // 1/xp
	f.Sqr(w.den.A0, yp)      //
	f.Mul(w.den.A0, w.den.A0, w.scale)
	f.Sqr(w.scale, w.scale)
	f.Mul(w.scale, w.scale, w.den.A0) // yp²/xp³ = 1/t
	for _, v := range []fp381.Vec{w.qx.A0, w.qx.A1} {
		f.Mul(v, v, s2)
	}
	f.Mul(s2, s2, s)
	for _, v := range []fp381.Vec{w.qy.A0, w.qy.A1} {
		f.Mul(v, v, s2)
	}
	for _, c := range [][2]fp381.Vec{{w.x.A0, w.qx.A0}, {w.x.A1, w.qx.A1}, {w.y.A0, w.qy.A0}, {w.y.A1, w.qy.A1}} {
		copy(c[0], c[1])
	}
}

// double doubles the points, x and y < 2, and sets the lines to the tangents. den is the conjugate of the slope's
// denominator 2y.
func (w *pairing) double() {
	f := w.f
	f.Sqr2(w.u, w.x)                  // < 4
	f.Add(w.slope.A0, w.u.A0, w.u.A0) // < 8
	f.Add(w.slope.A1, w.u.A1, w.u.A1) //
	f.Add(w.u.A0, w.u.A0, w.slope.A0) // < 12
	f.Add(w.u.A1, w.u.A1, w.slope.A1) //
	f.Add(w.den.A0, w.y.A0, w.y.A0)   // < 4
	f.Add(w.den.A1, w.y.A1, w.y.A1)   //
	f.Sub(w.den.A1, w.den.A0, w.den.A1, 2)
	f.Sub(w.den.A1, w.den.A1, w.den.A0, 2)
	w.setSlope()
	f.Add(w.u.A0, w.x.A0, w.x.A0) // < 4
	f.Add(w.u.A1, w.x.A1, w.x.A1)
	w.advance()
}

// add adds Q to the points and sets the lines to those through both.
func (w *pairing) add() {
	f := w.f
	f.Sub(w.u.A0, w.y.A0, w.qy.A0, 1) // < 4
	f.Sub(w.u.A1, w.y.A1, w.qy.A1, 1)
	f.Sub(w.den.A0, w.x.A0, w.qx.A0, 1)
	f.Sub(w.den.A1, w.qx.A1, w.x.A1, 1)
	w.setSlope()
	f.Add(w.u.A0, w.x.A0, w.qx.A0) // < 4
	f.Add(w.u.A1, w.x.A1, w.qx.A1)
	w.advance()
}

// setSlope sets slope < 2 to the numerator u by the denominator, whose conjugate is den.
func (w *pairing) setSlope() {
	f := w.f
	f.Sqr(w.norm, w.den.A0)
	f.Sqr(w.slope.A0, w.den.A1)
	f.Add(w.norm, w.norm, w.slope.A0)
	fp381.Inverse(f, w.norm, w.norm)
	f.Mul2(w.slope, w.u, w.den)
	f.Mul(w.slope.A0, w.slope.A0, w.norm)
	f.Mul(w.slope.A1, w.slope.A1, w.norm)
}

// advance moves the points on along lines of the given slope, to x3 = slope² − u, where u < 4 is the sum of the x
// coordinates of the two points on it.
func (w *pairing) advance() {
	f, x3, t := w.f, w.den, w.u
	f.Sqr2(x3, w.slope)            // < 4
	f.Sub(x3.A0, x3.A0, w.u.A0, 2) // < 8
	f.Sub(x3.A1, x3.A1, w.u.A1, 2) //
	f.Tighten(x3.A0, x3.A0)        // < 2
	f.Tighten(x3.A1, x3.A1)        //
	f.Mul2(t, w.slope, w.x)        // < 4
	f.Sub(t.A0, t.A0, w.y.A0, 1)   // < 6
	f.Sub(t.A1, t.A1, w.y.A1, 1)   //
	f.Mul2(w.y, w.slope, x3)       // < 4
	f.Sub(w.y.A0, t.A0, w.y.A0, 2) // < 10
	f.Sub(w.y.A1, t.A1, w.y.A1, 2) //
	f.Tighten(w.y.A0, w.y.A0)      // < 2
	f.Tighten(w.y.A1, w.y.A1)      //
	f.Mul(w.free.A0, t.A0, w.scale)
	f.Mul(w.free.A1, t.A1, w.scale)
	w.x, w.den = x3, w.x
}

// multiply multiplies the lines into the values. Where a pair is missing the line is w³ alone, a factor from Fp4.
func (w *pairing) multiply() {
	for i, hole := range w.holes {
		if hole {
			for _, v := range []fp381.Vec{w.slope.A0, w.slope.A1, w.free.A0, w.free.A1} {
				w.f.Select(v[i:i+1], w.present[i:i+1], v[i:i+1], w.zero)
			}
		}
	}
	if len(w.values) == 1 {
		w.f.MulLines(&w.values[0], w.free, w.slope)
		return
	}
	for i := range w.holes {
		w.f.MulLines(&w.values[i%len(w.values)], blocks2(w.free, i, i+1), blocks2(w.slope, i, i+1))
	}
}

func blocks2(v fp381.Vec2, lo, hi int) fp381.Vec2 {
	return fp381.Vec2{A0: v.A0[lo:hi], A1: v.A1[lo:hi]}
}

// unload conjugates the values, as x is negative, and takes them out of the lanes.
func (w *pairing) unload(out []bls12381.GT) {
	var e [fp381.Lanes]fp.Element
	for i := range w.values {
		lanes := out[i*fp381.Lanes : min(len(out), (i+1)*fp381.Lanes)]
		for k := range 6 {
			for c, v := range []fp381.Vec{w.values[i].A0[:], w.values[i].A1[:]} {
				w.f.Unpack(e[:len(lanes)], v[k:k+1])
				for l := range lanes {
					*fp12Coordinate(&lanes[l], k, c) = e[l]
				}
			}
		}
		for l := range lanes {
			lanes[l].Conjugate(&lanes[l])
		}
	}
}

// fp12Coordinate is where gnark-crypto keeps coordinate c of the coefficient of wᵏ.
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

var g1Generator = func() affine {
	_, _, g, _ := bls12381.Generators()
	return g
}()
