package circuit

import (
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"
	"github.com/consensys/gnark/frontend"
)

// The permutation of kernels/poseidon2, whose constants are gnark-crypto's too.
const (
	width          = 16
	externalRounds = 8
	internalRounds = 57
)

// affine is a map from the variables of a stage to one element.
type affine struct {
	coefficients []*big.Int
	constant     *big.Int
}

// permutation holds, worked out once, the affine maps between the S-boxes. In the internal rounds
// only one element passes an S-box, so all others stay affine in the sixteen elements with which
// these rounds began and in the outputs of their S-boxes: gnark's own gadget adds sixteen such long
// expressions up in every round, which takes some twenty times as long to compile.
type permutation struct {
	first [width]affine // inputs of the first S-boxes, of the sixteen inputs
	// inputs of external round i+1, of the outputs of round i; unused where they enter internal rounds
	external [externalRounds - 1][width]affine
	internal [internalRounds]affine // input of S-box i, of the 16 outputs before and the i since
	middle   [width]affine          // inputs of the external round after the internal ones
	last     affine                 // element 0, of the outputs of the last round
}

var thePermutation = sync.OnceValue(newPermutation)

func newPermutation() *permutation {
	const half = externalRounds / 2
	p := poseidon2.NewParameters(width, externalRounds, internalRounds)
	out := new(permutation)

	s := newSymbolic()
	s.external()
	s.add(p.RoundKeys[0])
	out.first = s.affine()
	for i := range externalRounds - 1 {
		if i == half-1 {
			continue
		}
		key := p.RoundKeys[i+1]
		if i >= half {
			key = p.RoundKeys[internalRounds+i+1]
		}
		s = newSymbolic()
		s.external()
		s.add(key)
		out.external[i] = s.affine()
	}

	s = newSymbolic()
	s.external()
	for i := range internalRounds {
		s.add(p.RoundKeys[half+i][:1])
		out.internal[i] = s.affine()[0]
		s.replaceFirst()
		s.internal(p.DiagM1)
	}
	s.add(p.RoundKeys[half+internalRounds])
	out.middle = s.affine()

	s = newSymbolic()
	s.external()
	out.last = s.affine()[0]
	return out
}

// symbolic is a state whose elements are affine in variables; the last coefficient is the constant.
type symbolic [width][]fr.Element

// newSymbolic returns the state of sixteen variables.
func newSymbolic() *symbolic {
	s := new(symbolic)
	for i := range s {
		s[i] = make([]fr.Element, width+1)
		s[i][i].SetOne()
	}
	return s
}

func (s *symbolic) external() {
	m4 := [4][4]int64{{5, 7, 1, 3}, {4, 6, 1, 1}, {1, 3, 5, 7}, {1, 1, 4, 6}}
	var next symbolic
	for i := range next {
		next[i] = make([]fr.Element, len(s[0]))
		for j := range s {
			m := m4[i%4][j%4]
			if i/4 == j/4 {
				m *= 2
			}
			var c fr.Element
			c.SetInt64(m)
			addScaled(next[i], s[j], &c)
		}
	}
	*s = next
}

func (s *symbolic) internal(diagonal []fr.Element) {
	sum := make([]fr.Element, len(s[0]))
	one := fr.One()
	for i := range s {
		addScaled(sum, s[i], &one)
	}
	for i := range s {
		for k := range s[i] {
			s[i][k].Mul(&s[i][k], &diagonal[i])
			s[i][k].Add(&s[i][k], &sum[k])
		}
	}
}

func (s *symbolic) add(keys []fr.Element) {
	for i := range keys {
		c := &s[i][len(s[i])-1]
		c.Add(c, &keys[i])
	}
}

// replaceFirst makes element 0 a new variable.
func (s *symbolic) replaceFirst() {
	for i := range s {
		constant := s[i][len(s[i])-1]
		s[i] = append(s[i], constant)
		s[i][len(s[i])-2].SetZero()
	}
	clear(s[0])
	s[0][len(s[0])-2].SetOne()
}

func (s *symbolic) affine() (out [width]affine) {
	for i := range s {
		n := len(s[i]) - 1
		out[i].constant = s[i][n].BigInt(new(big.Int))
		for k := range n {
			out[i].coefficients = append(out[i].coefficients, s[i][k].BigInt(new(big.Int)))
		}
	}
	return out
}

func addScaled(dst, src []fr.Element, c *fr.Element) {
	var t fr.Element
	for k := range dst {
		t.Mul(&src[k], c)
		dst[k].Add(&dst[k], &t)
	}
}

// compress returns P(x)[0] + x[0] at three constraints an S-box, 555 in all.
func (b *builder) compress(x [width]frontend.Variable) frontend.Variable {
	p := thePermutation()
	state := b.sboxes(p.first, x[:])
	for i := range externalRounds - 1 {
		if i != externalRounds/2-1 {
			state = b.sboxes(p.external[i], state)
			continue
		}
		for j := range p.internal {
			state = append(state, b.sbox(&p.internal[j], state))
		}
		state = b.sboxes(p.middle, state)
	}
	return b.Add(b.linear(p.last.coefficients, state, p.last.constant), x[0])
}

func (b *builder) sboxes(maps [width]affine, state []frontend.Variable) []frontend.Variable {
	out := make([]frontend.Variable, width, width+internalRounds)
	for i := range out {
		out[i] = b.sbox(&maps[i], state)
	}
	return out
}

// sbox raises to the fifth power. The expression stands on the right of the last product, which
// spares the fourth power a place among the points of G2.
func (b *builder) sbox(a *affine, state []frontend.Variable) frontend.Variable {
	x := b.linear(a.coefficients, state, a.constant)
	x2 := b.Mul(x, x)
	return b.Mul(b.Mul(x2, x2), x)
}
