package fp381

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

// Inverse sets z = 1/x, and 0 where x is 0, with three multiplications an element and a single inversion: Montgomery's
// method, down the blocks in lanes and then across the lanes. It takes < 2^16·p and leaves < 2·p.
func Inverse(f Field, z, x Vec) {
	sameLength(len(z), x)
	if len(x) == 0 {
		return
	}
	products := make(Vec, len(x))
	if inverse(f, z, x, products) {
		return
	}
	// Some element is zero: invert ones in their place.
	zero, filled := make(Mask, len(x)), make(Vec, len(x))
	var one fp.Element
	one.SetOne()
	f.Zero(zero, x)
	for i := range filled {
		copy(filled[i:i+1], f.Broadcast(one))
	}
	f.Select(filled, zero, filled, x)
	if !inverse(f, z, filled, products) {
		panic("fp381: a product of non-zero elements is zero")
	}
	for i := range filled {
		filled[i] = Block{} // zero in either form
	}
	f.Select(z, zero, filled, z)
}

// inverse is Inverse for a vector without zeros. It reports false, and leaves z alone, if there are some.
func inverse(f Field, z, x, products Vec) bool {
	products[0] = x[0]
	for i := 1; i < len(x); i++ {
		f.Mul(products[i:i+1], products[i-1:i], x[i:i+1])
	}
	last := products[len(x)-1:]
	var e [Lanes]fp.Element
	f.Unpack(e[:], last)
	for i := range e {
		if e[i].IsZero() {
			return false
		}
	}
	running := make(Vec, 1)
	f.Pack(running, fp.BatchInvert(e[:]))
	for i := len(x) - 1; i > 0; i-- {
		f.Mul(products[i:i+1], running, products[i-1:i]) // 1/x[i]
		f.Mul(running, running, x[i:i+1])
		z[i] = products[i]
	}
	z[0] = running[0]
	return true
}
