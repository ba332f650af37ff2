package circuit

import (
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"

	"github.com/waybill-network/waybill/rollup"
)

var order = fr.Modulus()

// components are what the public input is the digest of.
type components struct {
	nodes                                   []*big.Int
	count, table, flags, gamma, fingerprint *big.Int
}

// packed is the sum of values, each shifted by the number of bits behind it.
func packed(pairs ...uint64) *big.Int {
	sum := new(big.Int)
	for i := 0; i < len(pairs); i += 2 {
		v := new(big.Int).SetUint64(pairs[i])
		sum.Add(sum, v.Lsh(v, uint(pairs[i+1])))
	}
	return sum
}

// public is the public part of a statement.
func public(s *rollup.Statement) *big.Int {
	return packed(uint64(s.Payer), 0, uint64(s.Service), 32, s.Client, 64, uint64(s.First), 108,
		uint64(s.Acks), 141)
}

// componentsOf computes what a verifier knows of a segment, with big integers: statements are those
// of list and registry, under those under the nodes. It shares nothing with the circuit but the
// constants of the permutation.
func componentsOf(shape Shape, s *rollup.Segment, statements, under []rollup.Statement) components {
	challenge := fr.Element(s.Challenge)
	out := components{count: big.NewInt(int64(len(statements))), fingerprint: new(big.Int),
		gamma: challenge.BigInt(new(big.Int))}
	var level []*big.Int
	for i := range under {
		root := new(big.Int)
		for j := 31; j >= 0; j-- {
			root.Add(root.Lsh(root, 8), big.NewInt(int64(under[i].Root[j])))
		}
		level = append(level, packed(under[i].Units, 165), root)
		level[2*i].Add(level[2*i], public(&under[i]))
	}
	for range shape.Level {
		level = parents(level)
	}
	out.nodes = level
	table := make([]*big.Int, shape.Rows)
	for i := range table {
		table[i] = new(big.Int)
		if i < len(s.Rows) {
			r := s.Rows[i]
			table[i] = packed(uint64(r.Payer), 0, uint64(r.Service), 32, r.Acks, 64, r.Units, 128,
				s.Caps[i], 192)
		}
	}
	out.table = single(table)
	words := make([]*big.Int, (shape.Statements+127)/128)
	for i := range words {
		words[i] = new(big.Int)
	}
	for i := range s.List {
		if s.List[i].Signed {
			words[i/128].SetBit(words[i/128], i%128, 1)
		}
	}
	out.flags = single(words)
	for i := range statements {
		term := new(big.Int).Exp(out.gamma, big.NewInt(int64(i)), order)
		out.fingerprint.Add(out.fingerprint, term.Mul(term, public(&statements[i])))
	}
	out.fingerprint.Mod(out.fingerprint, order)
	return out
}

func (x *components) public() *big.Int {
	in := make([]*big.Int, 16)
	copy(in, x.nodes)
	copy(in[8:], []*big.Int{x.count, x.table, x.flags, x.gamma, x.fingerprint})
	return compressed(in)
}

// single folds to one element.
func single(level []*big.Int) *big.Int {
	for {
		if level = parents(level); len(level) == 1 {
			return level[0]
		}
	}
}

func parents(level []*big.Int) (out []*big.Int) {
	for i := 0; i < len(level); i += 16 {
		in := make([]*big.Int, 16)
		copy(in, level[i:])
		out = append(out, compressed(in))
	}
	return out
}

// compressed is P(x)[0] + x[0], with P as the paper writes it. A missing element is zero.
func compressed(in []*big.Int) *big.Int {
	x := make([]*big.Int, 16)
	for i := range x {
		x[i] = new(big.Int)
		if in[i] != nil {
			x[i].Set(in[i])
		}
	}
	first := new(big.Int).Set(x[0])
	c := constants()
	x = external(x)
	for _, keys := range c.keys {
		for i, key := range keys {
			x[i] = new(big.Int).Exp(new(big.Int).Add(x[i], key), big.NewInt(5), order)
		}
		if len(keys) == 16 {
			x = external(x)
		} else {
			x = internal(c.diagonal, x)
		}
	}
	return first.Mod(first.Add(first, x[0]), order)
}

// external multiplies by the matrix of blocks M4 and, on the diagonal, 2·M4.
func external(x []*big.Int) []*big.Int {
	m4 := [4][4]int64{{5, 7, 1, 3}, {4, 6, 1, 1}, {1, 3, 5, 7}, {1, 1, 4, 6}}
	out := make([]*big.Int, 16)
	var t big.Int
	for i := range out {
		out[i] = new(big.Int)
		for j := range x {
			t.SetInt64(m4[i%4][j%4])
			if i/4 == j/4 {
				t.Lsh(&t, 1)
			}
			out[i].Add(out[i], t.Mul(&t, x[j]))
		}
		out[i].Mod(out[i], order)
	}
	return out
}

// internal multiplies by the matrix of ones, to which the diagonal is added.
func internal(diagonal, x []*big.Int) []*big.Int {
	sum := new(big.Int)
	for _, v := range x {
		sum.Add(sum, v)
	}
	out := make([]*big.Int, 16)
	for i := range out {
		out[i] = new(big.Int).Mul(diagonal[i], x[i])
		out[i].Mod(out[i].Add(out[i], sum), order)
	}
	return out
}

type parameters struct {
	diagonal []*big.Int
	keys     [][]*big.Int // sixteen in an external round, one in an internal one
}

var constants = sync.OnceValue(func() *parameters {
	p := poseidon2.NewParameters(16, 8, 57)
	c := new(parameters)
	for i := range p.DiagM1 {
		c.diagonal = append(c.diagonal, p.DiagM1[i].BigInt(new(big.Int)))
	}
	for i, keys := range p.RoundKeys {
		if i >= 4 && i < 4+57 {
			keys = keys[:1]
		}
		var round []*big.Int
		for i := range keys {
			round = append(round, keys[i].BigInt(new(big.Int)))
		}
		c.keys = append(c.keys, round)
	}
	return c
})
