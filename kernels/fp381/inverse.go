package fp381

import (
	"math/bits"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// Inverse sets z = 1/x, and 0 where x is 0, with three multiplications an element and a single
// inversion: Montgomery's method, as a tree of products over the blocks, so that its
// multiplications are independent, and then across the lanes. It takes < 2^16·p and leaves < 2·p.
func Inverse(f Field, z, x Vec) {
	sameLength(len(z), x)
	if Invertible(f, z, x) {
		return
	}
	// Some element is zero, which hardly happens: invert ones in their place.
	zero, filled := make(Mask, len(x)), make(Vec, len(x))
	nothing := make(Vec, len(x)) // zero words are zero in any form
	var one fp.Element
	one.SetOne()
	f.Zero(zero, x)
	for i := range zero {
		zero[i] = ^zero[i]
	}
	f.Select(filled, zero, x, f.Broadcast(one))
	if !Invertible(f, z, filled) {
		panic("fp381: a product of non-zero elements is zero")
	}
	f.Select(z, zero, z, nothing)
}

// Invertible is Inverse for a vector without zeros. It reports false, and leaves z alone, if there
// are some.
func Invertible(f Field, z, x Vec) bool {
	w := inversions.Get().(*inversion)
	defer inversions.Put(w)
	return len(x) == 0 || w.invert(f, z, x)
}

// inversion is the workspace of an inversion: the levels of the tree above x, one level's half, and
// the lanes of the root.
type inversion struct {
	tree, half  Vec
	e, products [Lanes]fp.Element
}

var inversions = sync.Pool{New: func() any { return new(inversion) }}

func (w *inversion) invert(f Field, z, x Vec) bool {
	// Each level is half of the one below, rounded up.
	if size := len(x) + bits.Len(uint(len(x))); len(w.tree) < size {
		w.tree, w.half = make(Vec, size), make(Vec, size/2)
	}
	return w.level(f, z, x, w.tree)
}

// level inverts x into z, which may be x. The levels above take the tree.
func (w *inversion) level(f Field, z, x, tree Vec) bool {
	n := len(x)
	if n == 1 {
		return w.root(f, z, x)
	}
	h := n / 2
	up := tree[:n-h] // the products of both halves, and an odd last block
	f.Mul(up[:h], x[:h], x[h:2*h])
	copy(up[h:], x[2*h:])
	if !w.level(f, up, up, tree[n-h:]) {
		return false
	}
	f.Mul(w.half[:h], up[:h], x[h:2*h])
	f.Mul(z[h:2*h], up[:h], x[:h])
	copy(z, w.half[:h])
	copy(z[2*h:], up[h:])
	return true
}

// root inverts a single block.
func (w *inversion) root(f Field, z, x Vec) bool {
	f.Unpack(w.e[:], x)
	if !w.invertLanes() {
		return false
	}
	f.Pack(z, w.e[:])
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
