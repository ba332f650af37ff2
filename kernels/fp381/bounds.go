package fp381

import (
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// Bounds of lazy values: what stands in a lane is less than 2^k·p.
const (
	loose      = 16 // what any operation takes
	loose2     = 14 // what operations of the extension take: they add two of them
	tight      = 1  // what multiplications leave
	subtrahend = 3  // what operations of the extension subtract
	tight2     = 2  // what squares in the extension leave
)

const limbBits = 52

func modulus() *big.Int { return fp.Modulus() }

// limbsOf cuts v < 2^416 into limbs.
func limbsOf(v *big.Int) (l [8]uint64) {
	for i := range l {
		l[i] = new(big.Int).Rsh(v, uint(limbBits*i)).Uint64() & (1<<limbBits - 1)
	}
	return l
}

// multiples are the 2^k·p in limbs.
var multiples = func() (m [loose]([8]uint64)) {
	for k := range m {
		m[k] = limbsOf(new(big.Int).Lsh(modulus(), uint(k)))
	}
	return m
}()

// laneValue returns the integer in lane l of a block of limbs.
func laneValue(b *Block, l int) *big.Int {
	v := new(big.Int)
	for i := len(b) - 1; i >= 0; i-- {
		v.Add(v.Lsh(v, limbBits), new(big.Int).SetUint64(b[i][l]))
	}
	return v
}

// mustBeBelow panics unless every limb of v has 52 bits and every lane is less than 2^k·p. It is called in builds with
// the tag invariants.
func mustBeBelow(v Vec, k int) {
	limit := new(big.Int).Lsh(modulus(), uint(k))
	for i := range v {
		for l := range Lanes {
			for j := range v[i] {
				if v[i][j][l]>>limbBits != 0 {
					panic(fmt.Sprintf("fp381: block %d, lane %d: limb %d is %#x", i, l, j, v[i][j][l]))
				}
			}
			if x := laneValue(&v[i], l); x.Cmp(limit) >= 0 {
				panic(fmt.Sprintf("fp381: block %d, lane %d: %#x is not below 2^%d·p", i, l, x, k))
			}
		}
	}
}
