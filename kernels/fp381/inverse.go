package fp381

import (
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// Inverse sets z = 1/x, and 0 where x is 0, with three multiplications an element and a single inversion: Montgomery's
// method, down the blocks in lanes and then across the lanes. It takes < 2^16·p and leaves < 2·p. scratch is a vector of
// the same length that is overwritten; no two of the three may be the same, except z and x.
func Inverse(f Field, z, x, scratch Vec) {
	sameLength(len(z), x, scratch)
	if len(x) == 0 || inverse(f, z, x, scratch) {
		return
	}
	// Some element is zero, which hardly happens: invert ones in their place.
	zero, filled, nothing := make(Mask, len(x)), make(Vec, len(x)), make(Vec, len(x)) // zero words are zero in any form
	var one fp.Element
	one.SetOne()
	f.Zero(zero, x)
	for i := range zero {
		zero[i] = ^zero[i]
	}
	f.Select(filled, zero, x, f.Broadcast(one))
	if !inverse(f, z, filled, scratch) {
		panic("fp381: a product of non-zero elements is zero")
	}
	f.Select(z, zero, z, nothing)
}

// inversion holds what one call of inverse needs: a block in lanes, and the same lane by lane.
type inversion struct {
	running     [1]Block
	e, products [Lanes]fp.Element
}

var inversions = sync.Pool{New: func() any { return new(inversion) }}

// inverse is Inverse for a vector without zeros. It reports false, and leaves z alone, if there are some.
func inverse(f Field, z, x, products Vec) bool {
	copy(products[:1], x)
	for i := 1; i < len(x); i++ {
		f.Mul(products[i:i+1], products[i-1:i], x[i:i+1])
	}
	w := inversions.Get().(*inversion)
	defer inversions.Put(w)
	f.Unpack(w.e[:], products[len(x)-1:])
	if !w.invertLanes() {
		return false
	}
	running := Vec(w.running[:])
	f.Pack(running, w.e[:])
	for i := len(x) - 1; i > 0; i-- {
		f.Mul(products[i:i+1], running, products[i-1:i]) // 1/x[i]
		f.Mul(running, running, x[i:i+1])
		z[i] = products[i]
	}
	z[0] = running[0]
	return true
}

// invertLanes replaces every element of e by its inverse; it reports false if one is zero.
func (w *inversion) invertLanes() bool {
	w.products[0] = w.e[0]
	for i := 1; i < Lanes; i++ {
		w.products[i].Mul(&w.products[i-1], &w.e[i])
	}
	if w.products[Lanes-1].IsZero() {
		return false
	}
	var running, e fp.Element
	running.Inverse(&w.products[Lanes-1])
	for i := Lanes - 1; i > 0; i-- {
		e = w.e[i]
		w.e[i].Mul(&running, &w.products[i-1])
		running.Mul(&running, &e)
	}
	w.e[0] = running
	return true
}
