package bls

import (
	"math/bits"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// Miller loops of the optimal ate pairing, eight at a time where the CPU can. Every lane keeps one
// value f of the loop and multiplies the lines of all its pairs into it, so that the squarings of f
// are shared among them. The points of all pairs go through the loop together, in affine
// coordinates: one inversion serves them all in a step.
//
// Results differ from gnark-crypto's by factors from proper subfields of Fp12, which the final
// exponentiation takes to one; none of these is zero. Two kinds of such factors save work:
//
//   - Lines are scaled. Untwisted, the line of slope λ through T = (x, y) takes P = (xP, yP) to
//     yP − λ·xP·w⁻¹ + (λx − y)·w⁻³. First, the pair moves to another curve, by (x, y) to
//     (s²x, s³y) with s = xP/yP, which makes both coordinates of P equal, t = xP³/yP². The line
//     times w³/t is then w³ − λ·w² + (λx − y)/t: one of its coefficients costs nothing, another
//     two multiplications in Fp. That takes xP ≠ 0; the two points with xP = 0 have order 3 and
//     are left to scalar code. None has yP = 0, for the order of the curve is odd.
//   - Products with lines are doubled, see [fp381.Field].
//
// No step degenerates: Q has the prime order r, and where a multiple kQ is doubled, or Q is added
// to it, k is neither 0 nor ±1 modulo r. That the keys are in the subgroup was checked when they
// were decoded.

// loopParameter is |x|, BLS12-381's parameter; x is negative.
const loopParameter uint64 = 0xd201000000010000

const (
	// loopPairs is how many pairs go through the loop together. Their points, six kilobytes for
	// eight, stay in the second cache; the inversion, the squarings and what else is done once in a
	// step is little beside the rest.
	loopPairs = 1024
)

// pairingFor returns l's workspace if n Miller loops are worth it on this CPU, and else nil.
func (l *workspace) pairingFor(n int) *pairing {
	if n < crossover().loops || !fp381.Wide() {
		return nil
	}
	if l.pairing == nil {
		l.pairing = newPairing(fp381.Use())
	}
	return l.pairing
}

// millerLoop is the product of the Miller loops of all pairs, at most loopPairs, up to a factor
// that the final exponentiation takes to one.
func (l *workspace) millerLoop(p []affine, q []bls12381.G2Affine) bls12381.GT {
	l.pairings.loops += len(p)
	w := l.pairingFor(len(p))
	if w == nil {
		return millerLoop(p, q)
	}
	var f [fp381.Lanes]bls12381.GT // one a lane
	w.loops(f[:], p, q)
	return product(f[:])
}

// millerLoops sets out[i] to the product of the pairs j ≡ i modulo len(out), as millerLoop does.
func (l *workspace) millerLoops(out []bls12381.GT, p []affine, q []bls12381.G2Affine) {
	l.pairings.loops += len(p)
	if w := l.pairingFor(len(p)); w != nil {
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

	// By block of pairs: T = kQ, Q, −1/t, and the norm of what the slope is divided by.
	x, y, qx, qy fp381.Vec2
	scale, norm  fp381.Vec
	present      fp381.Mask      // pairs that are there
	values       []fp381.Block12 // f, by block of lanes

	// For a stretch of blocks: the line, and temporaries.
	slope, free, u, v fp381.Vec2 // −λ, (λx − y)/t
}

// stretchBlocks is how many blocks of pairs are worked on at a time: what is needed for them stays
// in the first cache.
const stretchBlocks = 4

func newPairing(f fp381.Field) *pairing {
	room := func() fp381.Vec2 { return fp381.NewVec2(stretchBlocks * fp381.Lanes) }
	zero := make(fp381.Vec, 1) // zero words are zero in any form
	return &pairing{f: f, zero: zero, slope: room(), free: room(), u: room(), v: room()}
}

// loops sets out[i] to the product of the Miller loops of the pairs j ≡ i modulo len(out), up to
// factors that the final exponentiation takes to one. Pairs with an identity count as one.
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
	for bit := bits.Len64(loopParameter) - 2; bit >= 0; bit-- {
		for i := range w.values {
			fp381.Sqr12(w.f, &w.values[i])
		}
		w.step(false)
		if loopParameter>>bit&1 != 0 {
			w.step(true)
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
	for _, v := range []*fp381.Vec2{&w.x, &w.y, &w.qx, &w.qy} {
		v.A0, v.A1 = grow(v.A0, blocks), grow(v.A1, blocks)
	}
	w.scale, w.norm, w.present = grow(w.scale, blocks), grow(w.norm, blocks),
		grow(w.present, blocks)
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
	xp, yp := w.x.A0, w.x.A1
	pack(xp, &g1Generator.X, func(j int) *fp.Element { return &p[j].X })
	pack(yp, &g1Generator.Y, func(j int) *fp.Element { return &p[j].Y })
	for row, v := range []fp381.Vec{w.qx.A0, w.qx.A1, w.qy.A0, w.qy.A1} {
		pack(v, coordinate(&minusG2, row),
			func(j int) *fp.Element { return coordinate(&q[j], row) })
	}
	w.move(xp, yp)
}

// move takes P = (xp, yp) and Q to the curve on which both coordinates of P are t, and sets T to Q.
func (w *pairing) move(xp, yp fp381.Vec) {
	f, s, inverse, u := w.f, w.y.A0, w.y.A1, w.norm
	f.Mul(inverse, xp, yp)
	fp381.Inverse(f, inverse, inverse)
	f.Sqr(s, xp)
	f.Mul(s, s, inverse) // xp/yp
	f.Sqr(u, s)
	f.Mul(w.qx.A0, w.qx.A0, u)
	f.Mul(w.qx.A1, w.qx.A1, u)
	f.Mul(u, u, s)
	f.Mul(w.qy.A0, w.qy.A0, u)
	f.Mul(w.qy.A1, w.qy.A1, u)

	f.Mul(inverse, inverse, yp) // 1/xp
	f.Mul(u, inverse, yp)
	f.Sqr(u, u)
	f.Mul(u, u, inverse) // yp²/xp³
	clear(s)
	f.Sub(w.scale, s, u, 1)
	for _, c := range [][2]fp381.Vec{{w.x.A0, w.qx.A0}, {w.x.A1, w.qx.A1}, {w.y.A0, w.qy.A0},
		{w.y.A1, w.qy.A1}} {
		copy(c[0], c[1])
	}
}

// step doubles T, or adds Q to it, and multiplies the lines into the values.
func (w *pairing) step(add bool) {
	f, blocks := w.f, len(w.x.A0)
	for lo := 0; lo < blocks; lo += stretchBlocks {
		s := w.stretch(lo, min(blocks, lo+stretchBlocks))
		if add {
			s.sub(s.u, s.x, s.qx)
			f.Norm(s.norm, s.u)
		} else {
			f.Norm(s.norm, s.y)
			f.Add(s.norm, s.norm, s.norm)
		}
	}
	fp381.Inverse(f, w.norm, w.norm)
	for lo := 0; lo < blocks; lo += stretchBlocks {
		s := w.stretch(lo, min(blocks, lo+stretchBlocks))
		if add {
			s.chord()
		} else {
			s.tangent()
		}
		s.advance()
		w.multiply(lo, &s)
	}
}

// stretch is a part of the points, and room for their lines.
type stretch struct {
	f            fp381.Field
	x, y, qx, qy fp381.Vec2 // < 2
	scale, norm  fp381.Vec
	slope, free  fp381.Vec2
	u, v         fp381.Vec2
}

func (w *pairing) stretch(lo, hi int) stretch {
	n := hi - lo
	return stretch{
		f: w.f, x: blocks2(w.x, lo, hi), y: blocks2(w.y, lo, hi), qx: blocks2(w.qx, lo, hi),
		qy:    blocks2(w.qy, lo, hi),
		scale: w.scale[lo:hi], norm: w.norm[lo:hi],
		slope: blocks2(w.slope, 0, n), free: blocks2(w.free, 0, n), u: blocks2(w.u, 0, n),
		v: blocks2(w.v, 0, n),
	}
}

// tangent sets slope to −3x²/2y and u to 2x, given norm = 1/2N(y).
func (s *stretch) tangent() {
	f := s.f
	f.Add(s.u.A0, s.norm, s.norm)
	f.Add(s.norm, s.norm, s.u.A0) // < 6
	f.Sqr2(s.u, s.x)              // < 4
	s.divide(s.u, s.y)
	s.add(s.u, s.x, s.x)
}

// chord sets slope to (qy − y)/(x − qx) and u to x + qx, given norm = 1/N(x − qx).
func (s *stretch) chord() {
	s.sub(s.v, s.x, s.qx)
	s.sub(s.u, s.y, s.qy)
	s.divide(s.u, s.v)
	s.add(s.u, s.x, s.qx)
}

// divide sets slope < 2 to −u/v; norm is 1/N(v).
func (s *stretch) divide(u, v fp381.Vec2) {
	f, inverse := s.f, s.free // −1/v: minus the conjugate by the norm
	f.Mul(inverse.A1, v.A0, s.norm)
	clear(s.slope.A0)
	f.Sub(inverse.A0, s.slope.A0, inverse.A1, 1)
	f.Mul(inverse.A1, v.A1, s.norm)
	f.Mul2(s.slope, u, inverse)
}

// advance moves T to the third point of the line and to its opposite, x3 = λ² − u, and sets free to
// (λx − y)/t. slope is −λ and u < 4 the sum of the x of the two points.
func (s *stretch) advance() {
	f, x3, minus := s.f, s.v, s.u
	f.SqrSub2(x3, s.slope, s.u)         // < 2
	f.MulAdd2(minus, s.slope, s.x, s.y) // y − λx < 4
	f.MulSub2(s.y, s.slope, x3, minus)  // < 2
	f.Mul(s.free.A0, minus.A0, s.scale)
	f.Mul(s.free.A1, minus.A1, s.scale)
	copy(s.x.A0, x3.A0)
	copy(s.x.A1, x3.A1)
}

func (s *stretch) add(z, x, y fp381.Vec2) {
	s.f.Add(z.A0, x.A0, y.A0)
	s.f.Add(z.A1, x.A1, y.A1)
}

// sub subtracts y < 2.
func (s *stretch) sub(z, x, y fp381.Vec2) {
	s.f.Sub(z.A0, x.A0, y.A0, 1)
	s.f.Sub(z.A1, x.A1, y.A1, 1)
}

// multiply multiplies the lines of the blocks from lo on into the values. Where a pair is missing
// the line is w³ alone, a factor from Fp4.
func (w *pairing) multiply(lo int, s *stretch) {
	n := len(s.norm)
	for i, m := range w.present[lo : lo+n] {
		if m != 0xff {
			for _, v := range []fp381.Vec{s.slope.A0, s.slope.A1, s.free.A0, s.free.A1} {
				w.f.Select(v[i:i+1], w.present[lo+i:lo+i+1], v[i:i+1], w.zero)
			}
		}
	}
	if len(w.values) == 1 {
		w.f.MulLines(&w.values[0], s.free, s.slope)
		return
	}
	for i := range n {
		w.f.MulLines(&w.values[(lo+i)%len(w.values)], blocks2(s.free, i, i+1),
			blocks2(s.slope, i, i+1))
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
