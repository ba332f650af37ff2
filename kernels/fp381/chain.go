package fp381

import "math/big"

// window is the width of the exponentiations' sliding window in bits. With five, (p−3)/4 takes the
// least number of multiplications, the powers of the table included.
const window = 5

// powers are x, x³, x⁵, …: the factors of a chain, by half of their exponent.
type powers [1 << (window - 1)]Block

// chain is an exponentiation by a fixed exponent: begin with power first; for each step square and
// multiply by a power; square a last few times.
type chain struct {
	first int
	steps []chainStep
	last  int
}

type chainStep struct{ squarings, factor int }

var chainP34 = newChain(new(big.Int).Rsh(modulus(), 2)) // p ≡ 3 modulo 4

// newChain cuts the binary digits of e, from the left, into windows that begin and end with a one.
func newChain(e *big.Int) (c chain) {
	end := e.BitLen() // of what is done
	for at := end - 1; at >= 0; at-- {
		if e.Bit(at) == 0 {
			continue
		}
		low := max(0, at-window+1)
		for e.Bit(low) == 0 {
			low++
		}
		factor := 0
		for i := at; i > low; i-- {
			factor = factor<<1 | int(e.Bit(i))
		}
		if at == e.BitLen()-1 {
			c.first = factor
		} else {
			c.steps = append(c.steps, chainStep{end - low, factor})
		}
		end, at = low, low
	}
	c.last = end
	return c
}
