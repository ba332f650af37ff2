package circuit

import (
	"fmt"
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"

	"github.com/waybill-network/waybill/rollup"
)

// claim is what a segment says, in plain terms: the reference decides with big integers, and shares nothing with the
// circuit but the constants of the permutation.
type claim struct {
	shape      Shape
	statements []rollup.Statement
	signed     []bool
	rows       []rollup.Row
	gamma      *big.Int

	// What the public input says, when it is not what follows from the statements.
	listed []pair             // clients and payers of the list
	flags  []bool             // of the list
	count  int                // of the list
	tree   []rollup.Statement // under the nodes
}

type pair struct{ client, payer uint32 }

var order, _ = new(big.Int).SetString("21888242871839275222246405745257275088548364400416034343698204186575808495617", 10)

// honest fills in what the public input of an honest verifier says.
func (c claim) honest() claim {
	for _, s := range c.statements {
		c.listed = append(c.listed, pair{s.Client, s.Payer})
	}
	c.flags, c.count, c.tree = c.signed, len(c.statements), c.statements
	return c
}

// check says why the claim, with its public input as the list has it, does not hold.
func (c *claim) check() error {
	n := len(c.statements)
	switch {
	case n < 1 || n > c.shape.Statements || n != c.count || n != len(c.listed) || n != len(c.flags) || n != len(c.signed) || n != len(c.tree):
		return fmt.Errorf("%d statements, %d counted, %d listed", n, c.count, len(c.listed))
	case len(c.rows) > c.shape.Rows:
		return fmt.Errorf("%d rows", len(c.rows))
	}
	acks, units := make([]*big.Int, len(c.rows)), make([]*big.Int, len(c.rows))
	for i := range c.rows {
		acks[i], units[i] = new(big.Int), new(big.Int)
		if i > 0 && id(c.rows[i-1].Service, c.rows[i-1].Payer).Cmp(id(c.rows[i].Service, c.rows[i].Payer)) >= 0 {
			return fmt.Errorf("row %d is not in order", i)
		}
	}
	for i, s := range c.statements {
		if s.Acks < 1 || s.Acks > 65536 || s.Units >= 1<<56 {
			return fmt.Errorf("statement %d is out of bounds", i)
		}
		if i > 0 && id(c.statements[i-1].Service, c.statements[i-1].Client).Cmp(id(s.Service, s.Client)) >= 0 {
			return fmt.Errorf("statement %d is not in order", i)
		}
		if c.listed[i] != (pair{s.Client, s.Payer}) || c.flags[i] != c.signed[i] || c.tree[i] != s {
			return fmt.Errorf("statement %d is not as listed", i)
		}
		row := -1
		for j, r := range c.rows {
			if r.Payer == s.Payer && r.Service == s.Service {
				row = j
			}
		}
		if row < 0 {
			return fmt.Errorf("statement %d has no row", i)
		}
		if c.signed[i] {
			acks[row].Add(acks[row], big.NewInt(int64(s.Acks)))
			units[row].Add(units[row], new(big.Int).SetUint64(s.Units))
		}
	}
	for j, r := range c.rows {
		if acks[j].Cmp(new(big.Int).SetUint64(r.Acks)) != 0 || units[j].Cmp(new(big.Int).SetUint64(r.Units)) != 0 {
			return fmt.Errorf("row %d has other sums", j)
		}
	}
	return nil
}

// id is low + 2^32·high.
func id(low, high uint32) *big.Int {
	x := new(big.Int).Lsh(big.NewInt(int64(high)), 32)
	return x.Add(x, big.NewInt(int64(low)))
}

// components are what the public input is the digest of.
type components struct {
	nodes                                   []*big.Int
	count, table, flags, gamma, fingerprint *big.Int
}

func (c *claim) components() components {
	out := components{count: big.NewInt(int64(c.count)), gamma: c.gamma, fingerprint: new(big.Int)}

	var level []*big.Int
	for _, s := range c.tree {
		e0 := new(big.Int).SetUint64(s.Units)
		for _, field := range []uint32{s.Acks, s.Client, s.Service, s.Payer} {
			e0.Add(e0.Lsh(e0, 32), big.NewInt(int64(field)))
		}
		root := new(big.Int)
		for i := 31; i >= 0; i-- {
			root.Add(root.Lsh(root, 8), big.NewInt(int64(s.Root[i])))
		}
		root.Mod(root, new(big.Int).Lsh(big.NewInt(1), 253))
		level = append(level, e0, root)
	}
	for range c.shape.Level {
		level = parents(level)
	}
	out.nodes = level

	table := make([]*big.Int, 256)
	if c.shape.Rows < len(table) {
		table = table[:c.shape.Rows]
	}
	for i := range table {
		table[i] = new(big.Int)
		if i < len(c.rows) {
			r := c.rows[i]
			table[i].SetUint64(r.Units)
			table[i].Add(table[i].Lsh(table[i], 64), new(big.Int).SetUint64(r.Acks))
			table[i].Add(table[i].Lsh(table[i], 64), id(r.Payer, r.Service))
		}
	}
	out.table = single(table)

	words := make([]*big.Int, (c.shape.Statements+127)/128)
	for i := range words {
		words[i] = new(big.Int)
	}
	for i, signed := range c.flags {
		if signed {
			words[i/128].SetBit(words[i/128], i%128, 1)
		}
	}
	out.flags = single(words)

	for i, p := range c.listed {
		term := new(big.Int).Exp(c.gamma, big.NewInt(int64(i)), order)
		out.fingerprint.Add(out.fingerprint, term.Mul(term, id(p.client, p.payer)))
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
