package outsider

import (
	"math/big"
	"slices"
	"strings"
	"sync"
)

// poseidon2 is the permutation of section 13, with constants drawn as that section says.
type poseidon2 struct {
	r        *big.Int
	keys     [][]*big.Int // sixteen in an external round, one in an internal round
	diagonal []*big.Int   // of the internal matrix

	mu    sync.Mutex
	known map[string]element // compressions that were asked for before
}

// element is an integer below r, 32 bytes little-endian.
type element = hash

var theHash = sync.OnceValue(func() *poseidon2 {
	p := &poseidon2{known: map[string]element{}}
	p.r, _ = new(big.Int).SetString(
		"30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001", 16)
	draw := grain()
	for round := range 65 {
		width := 16
		if round >= 4 && round < 61 {
			width = 1
		}
		var keys []*big.Int
		for len(keys) < width {
			if k := draw(); k.Cmp(p.r) < 0 {
				keys = append(keys, k)
			}
		}
		p.keys = append(p.keys, keys)
	}
	for range 7 { // the seventh candidate
		p.diagonal = nil
		for range 16 {
			k := draw()
			p.diagonal = append(p.diagonal, k.Mod(k, p.r))
		}
	}
	return p
})

// grain draws numbers of 254 bits from the LFSR.
func grain() (draw func() *big.Int) {
	var state []byte
	for _, f := range []struct{ value, bits int }{{1, 2}, {0, 4}, {254, 12}, {16, 12}, {8, 10},
		{57, 10}, {1<<30 - 1, 30}} {
		for i := f.bits - 1; i >= 0; i-- {
			state = append(state, byte(f.value>>i&1))
		}
	}
	step := func() byte {
		b := state[62] ^ state[51] ^ state[38] ^ state[23] ^ state[13] ^ state[0]
		state = append(state[1:], b)
		return b
	}
	for range 160 {
		step()
	}
	bit := func() byte {
		for {
			taken, b := step(), step()
			if taken == 1 {
				return b
			}
		}
	}
	return func() *big.Int {
		var digits strings.Builder
		for range 254 {
			digits.WriteByte('0' + bit())
		}
		n, _ := new(big.Int).SetString(digits.String(), 2)
		return n
	}
}

// external multiplies by the matrix of blocks M4, doubled on the diagonal.
func (p *poseidon2) external(x []*big.Int) []*big.Int {
	m4 := [4][4]int64{{5, 7, 1, 3}, {4, 6, 1, 1}, {1, 3, 5, 7}, {1, 1, 4, 6}}
	out := make([]*big.Int, 16)
	for i := range out {
		sum := new(big.Int)
		for j := range x {
			m := m4[i%4][j%4]
			if i/4 == j/4 {
				m *= 2
			}
			sum.Add(sum, new(big.Int).Mul(big.NewInt(m), x[j]))
		}
		out[i] = sum.Mod(sum, p.r)
	}
	return out
}

// internal multiplies by the matrix of ones with another diagonal.
func (p *poseidon2) internal(x []*big.Int) []*big.Int {
	sum := new(big.Int)
	for _, e := range x {
		sum.Add(sum, e)
	}
	out := make([]*big.Int, 16)
	for i, e := range x {
		others := new(big.Int).Sub(sum, e)
		out[i] = others.Add(others, new(big.Int).Mul(p.diagonal[i], e))
		out[i].Mod(out[i], p.r)
	}
	return out
}

func (p *poseidon2) permute(x []*big.Int) []*big.Int {
	x = p.external(x)
	for _, keys := range p.keys {
		for i, k := range keys {
			y := new(big.Int).Add(x[i], k)
			x[i] = y.Exp(y, big.NewInt(5), p.r)
		}
		if len(keys) == 16 {
			x = p.external(x)
		} else {
			x = p.internal(x)
		}
	}
	return x
}

// compress takes up to sixteen elements, of which those at the end that are missing are zero.
func (p *poseidon2) compress(in []element) element {
	var name strings.Builder
	for _, e := range in {
		name.Write(e[:])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if out, ok := p.known[name.String()]; ok {
		return out
	}
	x := make([]*big.Int, 16)
	for i := range x {
		x[i] = new(big.Int)
		if i < len(in) {
			x[i] = integer(in[i])
		}
	}
	out := fromInteger(
		new(big.Int).Mod(new(big.Int).Add(p.permute(x)[0], integer(append(in, element{})[0])), p.r))
	if len(p.known) < 1<<18 {
		p.known[name.String()] = out
	}
	return out
}

// canonical says whether the bytes are an element.
func (p *poseidon2) canonical(e element) bool { return integer(e).Cmp(p.r) < 0 }

// parents are the nodes above a level.
func (p *poseidon2) parents(level []element) (out []element) {
	for sixteen := range slices.Chunk(level, 16) {
		out = append(out, p.compress(sixteen))
	}
	return out
}

func integer(e element) *big.Int {
	b := e
	slices.Reverse(b[:])
	return new(big.Int).SetBytes(b[:])
}

func fromInteger(x *big.Int) (e element) {
	x.FillBytes(e[:])
	slices.Reverse(e[:])
	return e
}
