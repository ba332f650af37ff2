package poseidon2

import (
	"math/bits"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"
)

// Rounds: the internal ones, in which only element 0 goes through the S-box, stand between the two
// halves of the external ones.
const (
	externalRounds = 8
	internalRounds = 57
)

type constants struct {
	external [externalRounds][Width]fr.Element // round keys
	internal [internalRounds]fr.Element        // round keys, for element 0
	// of the internal matrix less one: it has ones everywhere else
	diagonal [Width]fr.Element
}

// parameters are gnark-crypto's.
var parameters = sync.OnceValue(func() *constants {
	p := poseidon2.NewParameters(Width, externalRounds, internalRounds)
	c := &constants{diagonal: [Width]fr.Element(p.DiagM1)}
	for i, keys := range p.RoundKeys {
		switch j := i - externalRounds/2; {
		case j < 0:
			c.external[i] = [Width]fr.Element(keys)
		case j < internalRounds:
			c.internal[j] = keys[0]
		default:
			c.external[i-internalRounds] = [Width]fr.Element(keys)
		}
	}
	return c
})

// generic computes one state after another.
type generic struct{}

func (generic) permuteMany(states []Element) {
	for i := 0; i < len(states); i += Width {
		permute((*[Width]Element)(states[i:]))
	}
}

func (generic) compressMany(out, in []Element) {
	for i := range out {
		out[i] = compress((*[Width]Element)(in[i*Width:]))
	}
}

func compress(x *[Width]Element) Element {
	y := *x
	permute(&y)
	add(e(&y[0]), e(&y[0]), e(&x[0]))
	return y[0]
}

// permute is the permutation, section 6 of the paper.
func permute(x *[Width]Element) {
	c := parameters()
	timesExternal(x)
	for i := range externalRounds / 2 {
		externalRound(x, &c.external[i])
	}
	for i := range internalRounds {
		internalRound(x, &c.internal[i], &c.diagonal)
	}
	for i := externalRounds / 2; i < externalRounds; i++ {
		externalRound(x, &c.external[i])
	}
}

func externalRound(x *[Width]Element, keys *[Width]fr.Element) {
	for i := range x {
		add(e(&x[i]), e(&x[i]), &keys[i])
		sbox(e(&x[i]))
	}
	timesExternal(x)
}

func internalRound(x *[Width]Element, key *fr.Element, diagonal *[Width]fr.Element) {
	add(e(&x[0]), e(&x[0]), key)
	sbox(e(&x[0]))
	var sum fr.Element
	for i := range x {
		add(&sum, &sum, e(&x[i]))
	}
	for i := range x {
		z := e(&x[i])
		z.Mul(z, &diagonal[i])
		add(z, z, &sum)
	}
}

func sbox(x *fr.Element) {
	var y fr.Element
	y.Square(x)
	y.Square(&y)
	x.Mul(x, &y)
}

// timesExternal multiplies by the external matrix: M4 for each four elements, then to every element
// the sum of those at the same place in all fours.
func timesExternal(x *[Width]Element) {
	var sums [4]fr.Element
	for i := 0; i < Width; i += 4 {
		m4(e(&x[i]), e(&x[i+1]), e(&x[i+2]), e(&x[i+3]))
		for j := range sums {
			add(&sums[j], &sums[j], e(&x[i+j]))
		}
	}
	for i := range x {
		add(e(&x[i]), e(&x[i]), &sums[i%4])
	}
}

// m4 multiplies by the matrix with rows 5 7 1 3, 4 6 1 1, 1 3 5 7 and 1 1 4 6, as appendix B of the
// paper has it.
func m4(a, b, c, d *fr.Element) {
	var ab, cd, b2, d2 fr.Element
	add(&ab, a, b)
	add(&cd, c, d)
	add(&b2, b, b)
	add(&b2, &b2, &cd) // 2b + c + d
	add(&d2, d, d)
	add(&d2, &d2, &ab) // 2d + a + b
	add(d, &cd, &cd)
	add(d, d, d)
	add(d, d, &d2) // a + b + 4c + 6d
	add(b, &ab, &ab)
	add(b, b, b)
	add(b, b, &b2) // 4a + 6b + c + d
	add(a, &d2, b)
	add(c, &b2, d)
}

// The words of r.
const (
	r0 = 0x43e1f593f0000001
	r1 = 0x2833e84879b97091
	r2 = 0xb85045b68181585d
	r3 = 0x30644e72e131a029
)

func e(x *Element) *fr.Element { return (*fr.Element)(x) }

// add sets z = x + y. Unlike fr.Element.Add it does not branch on whether the sum exceeds r, which
// no processor can foresee.
func add(z, x, y *fr.Element) {
	s0, carry := bits.Add64(x[0], y[0], 0)
	s1, carry := bits.Add64(x[1], y[1], carry)
	s2, carry := bits.Add64(x[2], y[2], carry)
	s3, _ := bits.Add64(x[3], y[3], carry)
	d0, borrow := bits.Sub64(s0, r0, 0)
	d1, borrow := bits.Sub64(s1, r1, borrow)
	d2, borrow := bits.Sub64(s2, r2, borrow)
	d3, borrow := bits.Sub64(s3, r3, borrow)
	keep := -borrow // all ones when the sum is below r
	z[0] = d0 ^ (d0^s0)&keep
	z[1] = d1 ^ (d1^s1)&keep
	z[2] = d2 ^ (d2^s2)&keep
	z[3] = d3 ^ (d3^s3)&keep
}
