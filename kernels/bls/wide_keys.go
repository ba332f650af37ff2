package bls

import (
	"math/big"
	"math/bits"
	"sync"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// Public keys decoded eight at a time where the CPU can: the same verdicts and points as decodeG2
// and gnark-crypto's IsInSubGroup. Bounds of lazy values, in multiples of p as in package fp381,
// stand beside the steps.
//
// A square root in Fp2 takes two exponentiations in Fp. For c = a + bu with a root, the norm a² +
// b² is a square δ², and one of t = (a + δ)/2 and −b²/4t = (a − δ)/2 is one. r = t^((p+1)/4) is a
// root of t or of −t. In the first case r + (b/2r)·u is a root of c, in the second b/2r + r·u; 1/r
// is t^((p−3)/4), or minus that. Whatever comes out is squared and held against c, so that nothing
// rests on c having a root.
//
// A point P of the twist is in the subgroup exactly if ψ(P) = xP for the parameter x, which is
// negative (Scott, eprint 2021/1130). |x|·P is computed in Jacobian coordinates, with formulas that
// leave Z = 0 for good where they do not hold, see wide_jacobian.go. Points of small order come to
// that; they are left to scalar code.

// keyChunk is how many keys go through the lanes together: their vectors stay in the first cache.
const keyChunk = 2 * fp381.Lanes

// keyConstants are blocks of eight equal elements.
type keyConstants struct {
	b, half    fp381.Vec
	one        fp381.Vec
	psiX, psiY fp381.Vec2 // ψ(x, y) = (psiX·x̄, psiY·ȳ)
}

// keyDecoder is a workspace for keyChunk keys.
type keyDecoder struct {
	f fp381.Field
	*keyConstants
	e [keyChunk]fp.Element
	q [keyChunk]bls12381.G2Affine

	px, py  fp381.Vec2 // the points, < 2
	x, y, z fp381.Vec2 // their multiples: < 10, < 2, < 4
	t       [5]fp381.Vec2
	s       [4]fp381.Vec

	largest, scalar fp381.Mask
	m, n, both      fp381.Mask
}

func newKeyConstants(f fp381.Field) *keyConstants {
	var one, half fp.Element
	one.SetOne()
	half.SetUint64(2)
	half.Inverse(&half)
	xi := bls12381.E2{A0: one, A1: one}
	power := func(divisor int64) fp381.Vec2 { // 1/ξ^((p−1)/divisor)
		e := new(big.Int).Sub(fp.Modulus(), big.NewInt(1))
		var c bls12381.E2
		c.Exp(xi, e.Div(e, big.NewInt(divisor)))
		c.Inverse(&c)
		return fp381.Vec2{A0: f.Broadcast(c.A0), A1: f.Broadcast(c.A1)}
	}
	return &keyConstants{b: f.Broadcast(g1.b), half: f.Broadcast(half), one: f.Broadcast(one),
		psiX: power(3), psiY: power(2)}
}

var selectedKeyConstants = sync.OnceValue(func() *keyConstants {
	return newKeyConstants(fp381.Use())
})

// keysFor returns l's workspace if decoding n keys in lanes is worth it on this CPU, and else nil.
func (l *workspace) keysFor(n int) *keyDecoder {
	if n < crossover().keys || !fp381.Wide() {
		return nil
	}
	if l.keys == nil {
		l.keys = &keyDecoder{f: fp381.Use(), keyConstants: selectedKeyConstants()}
	}
	return l.keys
}

// grow makes room for n keys.
func (w *keyDecoder) grow(n int) {
	blocks := (n + fp381.Lanes - 1) / fp381.Lanes
	pairs := []*fp381.Vec2{&w.px, &w.py, &w.x, &w.y, &w.z}
	for i := range w.t {
		pairs = append(pairs, &w.t[i])
	}
	for _, v := range pairs {
		v.A0, v.A1 = grow(v.A0, blocks), grow(v.A1, blocks)
	}
	for i := range w.s {
		w.s[i] = grow(w.s[i], blocks)
	}
	for _, m := range []*fp381.Mask{&w.largest, &w.scalar, &w.m, &w.n, &w.both} {
		*m = grow(*m, blocks)
	}
}

// decode sets the keys of encodings lo to hi of a column, keyChunk at most, and their verdicts:
// VerdictValid, or why there is no key.
func (w *keyDecoder) decode(keys []PublicKey, verdicts []Verdict, encoded Column, lo, hi int) {
	n := hi - lo
	w.grow(n)
	clear(w.largest)
	for i := range n {
		b := encoded.At(lo + i)
		w.q[i].X, verdicts[lo+i] = decodeX2(b)
		if b[0]&flagLargest != 0 {
			w.largest[i/fp381.Lanes] |= 1 << (i % fp381.Lanes)
		}
	}
	w.pack(w.px.A0, n, 0)
	w.pack(w.px.A1, n, 1)
	onCurve := w.root()
	for i := range n {
		if verdicts[lo+i] == VerdictPending && !onCurve.Has(i) {
			verdicts[lo+i] = VerdictNotOnCurve
		}
	}
	w.unpack(w.py.A0, n, 2)
	w.unpack(w.py.A1, n, 3)
	inside := w.inSubgroup()
	for i := range n {
		p, verdict := &w.q[i], &verdicts[lo+i]
		switch {
		case *verdict != VerdictPending:
		case w.scalar.Has(i) && !p.IsInSubGroup(), !w.scalar.Has(i) && !inside.Has(i):
			*verdict = VerdictNotInSubgroup
		default:
			keys[lo+i].p, *verdict = *p, VerdictValid
		}
	}
}

func (w *keyDecoder) pack(v fp381.Vec, n, row int) {
	for i := range n {
		w.e[i] = *coordinate(&w.q[i], row)
	}
	w.f.Pack(v, w.e[:n])
}

func (w *keyDecoder) unpack(v fp381.Vec, n, row int) {
	w.f.Unpack(w.e[:n], v)
	for i := range n {
		*coordinate(&w.q[i], row) = w.e[i]
	}
}

// root sets py to the root of px³ + 4(1 + u) that largest asks for, where the result says that
// there is one.
func (w *keyDecoder) root() (found fp381.Mask) {
	f, c, y := w.f, w.t[0], w.py
	delta, t, s, r := w.s[0], w.s[1], w.s[2], w.s[3]
	f.Sqr2(c, w.px) // < 4
	f.Mul2(c, c, w.px)
	f.Add(c.A0, c.A0, w.b) // < 3
	f.Add(c.A1, c.A1, w.b)
	f.Norm(t, c)
	f.PowP34(delta, t)
	f.Mul(delta, delta, t)
	f.Add(t, delta, c.A0)
	f.Mul(t, t, w.half)
	if f.Zero(w.m, t); some(w.m) { // then b = 0 and a = −δ
		f.Select(t, w.m, c.A0, t)
	}
	f.PowP34(s, t)
	f.Mul(r, s, t)
	f.Mul(s, s, c.A1)
	f.Mul(s, s, w.half) // b/2r, or −b/2r
	f.Sqr(delta, r)
	f.Sub(delta, delta, t, 2)
	f.Zero(w.m, delta)
	clear(delta)
	f.Select(y.A1, w.m, s, r)
	f.Sub(s, delta, s, 1)
	f.Select(y.A0, w.m, r, s)
	w.sign(delta, t)

	f.Sqr2(w.t[1], y) // < 4
	w.sub(w.t[1], w.t[1], c, 2)
	w.zero(w.n, w.t[1])
	return w.n
}

// sign negates py where it is not the root that largest asks for: the sign is that of the imaginary
// part, or of the real one if the former is zero. none is zero.
func (w *keyDecoder) sign(none, t fp381.Vec) {
	f, y, have := w.f, w.py, w.both
	f.Add(t, y.A1, y.A1)
	f.Odd(have, t) // 2y mod p is even, or, if y > (p−1)/2, the odd 2y − p
	if f.Zero(w.m, y.A1); some(w.m) {
		f.Add(t, y.A0, y.A0)
		f.Odd(w.n, t)
		for i := range have {
			have[i] = have[i]&^w.m[i] | w.n[i]&w.m[i]
		}
	}
	for i := range have {
		have[i] ^= w.largest[i]
	}
	for _, part := range []fp381.Vec{y.A0, y.A1} {
		f.Sub(t, none, part, 1)
		f.Select(part, have, t, part)
	}
}

// inSubgroup returns the points of the subgroup, and sets scalar to those that scalar code is to
// look at.
func (w *keyDecoder) inSubgroup() fp381.Mask {
	w.multiply()
	w.zero(w.scalar, w.z)
	f, zz, psi := w.f, w.t[0], w.t[1]
	f.Sqr2(zz, w.z) // < 4
	w.psi(psi, w.px, w.psiX)
	f.Mul2(psi, psi, zz)
	w.sub(psi, psi, w.x, 4)
	w.zero(w.m, psi)
	f.Mul2(zz, zz, w.z)
	w.psi(psi, w.py, w.psiY)
	f.Mul2(psi, psi, zz)
	w.add(psi, psi, w.y) // y of xP is −y of |x|P
	w.zero(w.n, psi)
	for i := range w.m {
		w.m[i] &= w.n[i]
	}
	return w.m
}

// psi sets z < 6 to a coordinate of ψ: the conjugate of c times k.
func (w *keyDecoder) psi(z, c, k fp381.Vec2) {
	f, t := w.f, w.s[0]
	f.Mul(z.A0, c.A0, k.A0)
	f.Mul(t, c.A1, k.A1)
	f.Add(z.A0, z.A0, t)
	f.Mul(z.A1, c.A0, k.A1)
	f.Mul(t, c.A1, k.A0)
	f.Sub(z.A1, z.A1, t, 1)
}

// multiply sets (x, y, z) to |x|·(px, py).
func (w *keyDecoder) multiply() {
	for _, c := range [][2]fp381.Vec2{{w.x, w.px}, {w.y, w.py}} {
		copy(c[0].A0, c[1].A0)
		copy(c[0].A1, c[1].A1)
	}
	clear(w.z.A1)
	for i := range w.z.A0 {
		w.z.A0[i] = w.one[0]
	}
	for bit := bits.Len64(loopParameter) - 2; bit >= 0; bit-- {
		if w.double(); loopParameter>>bit&1 == 1 {
			w.addMixed()
		}
	}
}

// double doubles the points, as curve.double does: with S = XY² and M = 3X² it leaves
// X' = M² − 8S, Y' = M(4S − X') − 8Y⁴, and Z' = 2YZ.
func (w *keyDecoder) double() {
	f, yy, s, m, u, t := w.f, w.t[0], w.t[1], w.t[2], w.t[3], w.t[4]
	f.Sqr2(yy, w.y) // < 4
	f.Mul2(s, w.x, yy)
	f.Sqr2(t, w.x) // < 4
	w.add(m, t, t)
	w.add(m, m, t) // < 12
	w.add(s, s, s)
	w.add(s, s, s)          // 4S < 8
	f.SqrSub2(u, m, s)      // M² − 4S < 2
	w.sub(w.x, u, s, 3)     // < 10
	w.add(s, s, s)          // < 16
	w.sub(s, s, u, 1)       // 4S − X' < 18
	w.add(yy, yy, yy)       // < 8
	f.Sqr2(t, yy)           // 4Y⁴ < 4
	w.add(t, t, t)          // < 8
	f.Mul2(w.z, w.z, w.y)   // < 2
	w.add(w.z, w.z, w.z)    // < 4
	f.MulSub2(w.y, s, m, t) // < 2
}

// addMixed adds (px, py) to points that differ from it in x, as curve.addMixed does.
func (w *keyDecoder) addMixed() {
	f, zz, h, r, hh, v := w.f, w.t[0], w.t[1], w.t[2], w.t[3], w.t[4]
	f.Sqr2(zz, w.z) // < 4
	f.Mul2(h, w.px, zz)
	w.sub(h, h, w.x, 4) // < 18
	f.Mul2(zz, zz, w.z)
	f.MulSub2(r, zz, w.py, w.y) // < 2
	f.Mul2(w.z, w.z, h)         // < 2
	f.Sqr2(hh, h)               // < 4
	f.Mul2(v, w.x, hh)          // < 2
	f.Mul2(hh, hh, h)           // h³ < 2
	f.SqrSub2(w.x, r, hh)
	w.add(zz, v, v)
	w.sub(w.x, w.x, zz, 2) // < 6
	w.sub(v, v, w.x, 3)    // < 10
	f.Mul2(hh, hh, w.y)
	f.MulSub2(w.y, v, r, hh) // < 2
}

func (w *keyDecoder) add(z, x, y fp381.Vec2) {
	w.f.Add(z.A0, x.A0, y.A0)
	w.f.Add(z.A1, x.A1, y.A1)
}

// sub subtracts y < 2^k.
func (w *keyDecoder) sub(z, x, y fp381.Vec2, k int) {
	w.f.Sub(z.A0, x.A0, y.A0, k)
	w.f.Sub(z.A1, x.A1, y.A1, k)
}

// zero sets m to the elements of the extension that are zero.
func (w *keyDecoder) zero(m fp381.Mask, x fp381.Vec2) {
	w.f.Zero(m, x.A0)
	w.f.Zero(w.both, x.A1)
	for i := range m {
		m[i] &= w.both[i]
	}
}
