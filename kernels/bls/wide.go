package bls

import (
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/fp381"
)

// The exponentiations of decoding and hashing, eight at a time where the CPU can. Both functions
// here do what their scalar counterparts, decodeG1 and mapToIso, do, with the same results for
// every input; those remain for other CPUs and for few points. Bounds of lazy values, in multiples
// of p as in package fp381, stand beside the steps.

// wide is a workspace for vectors.
type wide struct {
	f fp381.Field
	*wideConstants
	v       [6]fp381.Vec
	m, n, o fp381.Mask
	x, y    []fp.Element
	sums    wideSums

	jacobian wideJacobian
}

// wideConstants are blocks of eight equal elements.
type wideConstants struct {
	none, one, b                        fp381.Vec // 0, 1, and g1's coefficient
	isoA, isoB                          fp381.Vec
	swuZ, minusBByA, exception, swuSqrt fp381.Vec
	beta                                fp381.Vec // φ(x, y) = (βx, y)
	isogenyMap                          [4][]fp381.Vec
}

func newWideConstants(f fp381.Field) *wideConstants {
	var one fp.Element
	one.SetOne()
	return &wideConstants{
		none: make(fp381.Vec, 1), one: f.Broadcast(one), b: f.Broadcast(g1.b),
		isoA: f.Broadcast(iso.a), isoB: f.Broadcast(iso.b),
		swuZ: f.Broadcast(swuZ), minusBByA: f.Broadcast(swuMinusBByA),
		exception: f.Broadcast(swuException), swuSqrt: f.Broadcast(swuSqrt),
		beta: f.Broadcast(beta), isogenyMap: newIsogenyMap(f),
	}
}

var selectedConstants = sync.OnceValue(
	func() *wideConstants { return newWideConstants(fp381.Use()) })

// wideFor returns l's workspace if n exponentiations are worth it on this CPU, and else nil.
func (l *workspace) wideFor(n int) *wide {
	if l.wide == nil && n >= crossover().exponentiations && fp381.Wide() {
		l.wide = &wide{f: fp381.Use(), wideConstants: selectedConstants()}
	}
	if n < crossover().exponentiations {
		return nil
	}
	return l.wide
}

// grow makes room for n elements.
func (w *wide) grow(n int) {
	blocks := (n + fp381.Lanes - 1) / fp381.Lanes
	for i := range w.v {
		w.v[i] = grow(w.v[i], blocks)
	}
	w.m, w.n, w.o = grow(w.m, blocks), grow(w.n, blocks), grow(w.o, blocks)
	w.x, w.y = grow(w.x, n), grow(w.y, n)
}

// decode is decodeG1 for the encodings lo to hi of a column.
func (w *wide) decode(pts []Signature, verdicts []Verdict, encoded Column, lo, hi int) {
	n := hi - lo
	w.grow(n)
	clear(w.m) // whose y is to be the larger one
	for i := range n {
		b := encoded.At(lo + i)
		w.x[i], verdicts[lo+i] = decodeX(b)
		if b[0]&flagLargest != 0 {
			w.m[i/fp381.Lanes] |= 1 << (i % fp381.Lanes)
		}
	}
	f, x, y, y2, check := w.f, w.v[0], w.v[1], w.v[2], w.v[3]
	f.Pack(x, w.x)
	f.Sqr(y2, x)
	f.Mul(y2, y2, x)
	f.Add(y2, y2, w.b) // < 3
	f.PowP34(y, y2)
	f.Mul(y, y, y2) // y2^((p+1)/4) < 2: a square root of y2, or of -y2
	f.Sqr(check, y)
	f.Sub(check, check, y2, 2)
	f.Zero(w.n, check)
	f.Add(check, y, y)
	f.Odd(w.o, check) // 2y mod p is even, or, if y > (p-1)/2, the odd 2y - p
	w.negate(y, w.m, w.o, check)
	f.Unpack(w.y, y)
	for i := range n {
		switch {
		case verdicts[lo+i] != VerdictPending:
		case !w.n.Has(i):
			verdicts[lo+i] = VerdictNotOnCurve
		default:
			pts[lo+i].p = affine{X: w.x[i], Y: w.y[i]}
		}
	}
}

// negate changes the sign of the elements of y < 2 for which have differs from want. t is
// overwritten.
func (w *wide) negate(y fp381.Vec, want, have fp381.Mask, t fp381.Vec) {
	for i := range have {
		have[i] ^= want[i]
	}
	w.f.Add(t, y, y)
	w.f.Sub(t, y, t, 2) // -y + 4p < 6
	w.f.Select(y, have, t, y)
}

// hashToIso sets dst[i] to the sum of the points that u[2i] and u[2i+1] are mapped to on the
// isogenous curve.
func (w *wide) hashToIso(dst []affine, u []fp.Element) {
	n, blocks := len(dst), (len(dst)+fp381.Lanes-1)/fp381.Lanes
	padded := blocks * fp381.Lanes
	w.grow(2 * padded) // all first points, and then all second ones
	clear(w.x)
	for i := range n {
		w.x[i], w.x[padded+i] = u[2*i], u[2*i+1]
	}
	w.f.Pack(w.v[0], w.x)
	x, y := w.mapVector(w.v[0])
	w.f.Tighten(y, y)
	s := &w.sums
	s.grow(padded)
	copy(s.x1, x)
	copy(s.y1, y)
	copy(s.x2, x[blocks:])
	copy(s.y2, y[blocks:])
	w.add(&iso)
	w.x, w.y = w.x[:padded], w.y[:padded]
	w.f.Unpack(w.x, s.x1)
	w.f.Unpack(w.y, s.y1)
	for i := range dst {
		dst[i] = affine{X: w.x[i], Y: w.y[i]}
	}
}

// mapToIso is workspace.mapToIso.
func (w *wide) mapToIso(dst []affine, u []fp.Element) {
	w.grow(len(u))
	w.f.Pack(w.v[0], u)
	x, y := w.mapVector(w.v[0])
	w.f.Unpack(w.x, x)
	w.f.Unpack(w.y, y)
	for i := range dst {
		dst[i] = affine{X: w.x[i], Y: w.y[i]}
	}
}

// mapVector is mapToIso in vectors, for which there is room: x < 2, y < 6.
func (w *wide) mapVector(vu fp381.Vec) (x, y fp381.Vec) {
	f := w.f
	x, y = w.v[1], w.v[2]
	gx, zu2, t := w.v[3], w.v[4], w.v[5]
	f.Sqr(zu2, vu)
	f.Mul(zu2, zu2, w.swuZ)
	f.Sqr(t, zu2)
	f.Add(t, t, zu2) // Z²u⁴ + Zu² < 4
	f.Zero(w.m, t)
	fp381.Inverse(f, t, t)
	f.Add(t, t, w.one)
	f.Mul(x, t, w.minusBByA)
	for i := range w.m {
		w.m[i] = ^w.m[i]
	}
	f.Select(x, w.m, x, w.exception)
	f.Sqr(gx, x)
	f.Add(gx, gx, w.isoA)
	f.Mul(gx, gx, x)
	f.Add(gx, gx, w.isoB) // < 3
	f.PowP34(y, gx)
	f.Mul(y, y, gx)
	f.Sqr(t, y)
	f.Sub(t, t, gx, 2)
	f.Zero(w.n, t) // where g(x) is a square

	// Elsewhere y² = -gx, so (√(-Z³)·u³·y)² = Z³u⁶·gx, which is g(Zu²x).
	f.Mul(t, zu2, x)
	f.Select(x, w.n, x, t)
	f.Sqr(t, vu)
	f.Mul(t, t, vu)
	f.Mul(t, t, w.swuSqrt)
	f.Mul(t, t, y)
	f.Select(y, w.n, y, t)

	f.Odd(w.m, vu) // y takes the sign of u
	f.Odd(w.n, y)
	w.negate(y, w.m, w.n, t)
	return x, y
}
