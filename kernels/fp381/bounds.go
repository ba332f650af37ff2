package fp381

import (
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// Bounds of lazy values, in multiples of p, that all implementations share.
const (
	tight      = 2 // what multiplications leave
	subtrahend = 8 // what MulSub and its like subtract
	tight2     = 4 // what squares in the extension leave, and coefficients of lines
)

// bounds are those that differ. The package's head states the least of them.
type bounds struct {
	any     int64 // what may stand in a lane
	factor  int64 // what multiplications take
	factor2 int64 // what multiplications in the extension take
}

// format is how an implementation writes down integers in a block.
type format struct {
	bits  uint // of a limb; R is 2^(8·bits)
	limbs func(v *big.Int) [8]uint64
	value func(b *Block, l int) (v *big.Int, ok bool) // in lane l; not ok if a limb is too long
}

func modulus() *big.Int { return fp.Modulus() }

// all is a block of eight times v.
func (f *format) all(v *big.Int) (b Block) {
	for i, limb := range f.limbs(v) {
		for l := range Lanes {
			b[i][l] = limb
		}
	}
	return b
}

// mustBeBelow panics unless the limbs of v have their width and every lane is less than limit·p,
// and more than −limit·p. It is called in builds with the tag invariants.
func (f *format) mustBeBelow(v Vec, limit int64) {
	bound := new(big.Int).Mul(modulus(), big.NewInt(limit))
	for i := range v {
		for l := range Lanes {
			x, ok := f.value(&v[i], l)
			if !ok {
				panic(fmt.Sprintf("fp381: block %d, lane %d has a limb that is too long", i, l))
			}
			if x.CmpAbs(bound) >= 0 {
				panic(fmt.Sprintf("fp381: block %d, lane %d: %#x is not below %d·p", i, l, x, limit))
			}
		}
	}
}
