// Package circuit holds the relation that rung 3 proves of a segment of a window's statements, as a
// rank-1 constraint system over the scalar field of BN254, and the values of its wires for an
// honest prover.
//
// docs/protocol.md says what is proved; docs/adr/0012-statement-circuit.md and
// 0022-the-second-statement-circuit.md why each constraint is there and what was rejected.
// The only public input is the digest that [rollup.Segment] calls Public.
package circuit

import (
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/consensys/gnark/frontend"

	"github.com/waybill-network/waybill/rollup"
)

// Errors; use errors.Is.
var (
	ErrSize    = errors.New("circuit: there is none of that size")
	ErrDigest  = errors.New("circuit: its constraints are not those that this program was made for")
	ErrSegment = errors.New("circuit: the segment is not about these statements")
)

// Shape is what makes circuits of different sizes different.
type Shape struct {
	Statements int  // most statements of a segment, a multiple of 128
	Rows       int  // of the table, at most 256
	Level      int  // of the statement tree, on which a segment's nodes stand
	Width      uint // bits of a limb: the lookup table has 2^Width entries; 8 to 16
}

// ShapeOf returns the shape of a circuit of the protocol. A wider limb saves lookups and costs a
// longer table, so the limbs of larger circuits are wider. The error is ErrSize.
func ShapeOf(size int) (Shape, error) {
	s := Shape{Statements: size, Rows: rollup.MaxRows, Level: 3, Width: 11}
	if !rollup.IsCircuitSize(size) {
		return Shape{}, fmt.Errorf("%w: %d statements", ErrSize, size)
	}
	if size <= 1024 {
		s.Level, s.Width = 2, 8
	}
	return s, nil
}

// Where the fields of a statement stand in its first element, and of how many bits they are ranges.
// The first five are its public part.
const (
	clientAt = 2 * idBits
	firstAt  = clientAt + 44
	acksAt   = firstAt + 33
	unitsAt  = acksAt + acksBits

	clientBits = 40
	firstBits  = 32
	acksBits   = 24
	excessBits = 44 // of the units above one for each ack
	slackBits  = 44 // of the units below the cap for each ack
)

// The same of a row in its element, and what else there is of it.
const (
	idBits    = 32 // of payer, and of service
	sumsAt    = 2 * idBits
	capAt     = sumsAt + 2*64
	capBits   = 41
	capRoom   = countAt - capAt
	countAt   = capAt + 44 // in the numerators of lookups, which stay below 2^252
	countBits = 16         // of the statements of one row

	flagBits = 128 // flags in one element of the signed digest
	maxNodes = 8
)

// number is an integer in limbs of Shape.Width bits and single bits above them, from the least
// significant on.
type number struct {
	Limbs, Bits []frontend.Variable
}

// statement is one place of a segment. Every wire that an absent statement leaves free is ignored.
type statement struct {
	Present, Signed     frontend.Variable // flags
	ID, Cap, Row        frontend.Variable // payer + 2^32·service, its row's cap and index in the table
	Client, First, Acks number
	Excess              number // units - acks
	Slack               number // acks·cap - units
	Root                frontend.Variable
}

// row is one row of the table. Its element in the table digest is Element.
type row struct {
	ID      number // payer + 2^32·service
	Cap     number
	Count   number // of present statements
	Element frontend.Variable
}

// Circuit has the wires of the relation. The order of the fields is the order of a witness.
type Circuit struct {
	Public frontend.Variable `gnark:",public"`

	Challenge  frontend.Variable // of the fingerprint, gamma
	Statements []statement
	Rows       []row
	Uses       []frontend.Variable // of each entry of the lookup table

	shape Shape
}

// New returns a circuit without values, to be compiled.
func New(shape Shape) *Circuit {
	c := &Circuit{
		Statements: make([]statement, shape.Statements),
		Rows:       make([]row, shape.Rows),
		Uses:       make([]frontend.Variable, 1<<shape.Width),
		shape:      shape,
	}
	for i := range c.Statements {
		s := &c.Statements[i]
		s.Client, s.First = shape.atLeast(clientBits), shape.atLeast(firstBits)
		s.Acks = shape.atMost(acksBits)
		s.Excess, s.Slack = shape.atLeast(excessBits), shape.atLeast(slackBits)
	}
	for i := range c.Rows {
		r := &c.Rows[i]
		r.ID, r.Count = shape.exactly(2*idBits), shape.exactly(countBits)
		r.Cap = shape.within(capBits, capRoom)
	}
	return c
}

// exactly lays out an integer below 2^bits. atLeast lays out one whose bound may be higher, atMost
// one whose bound may be lower, which saves wires.
func (s Shape) exactly(bits uint) number {
	return number{Limbs: make([]frontend.Variable, bits/s.Width),
		Bits: make([]frontend.Variable, bits%s.Width)}
}

func (s Shape) atLeast(bits uint) number {
	return number{Limbs: make([]frontend.Variable, (bits+s.Width-1)/s.Width)}
}

// within is atLeast where whole limbs have room, and otherwise exactly.
func (s Shape) within(bits, room uint) number {
	if n := s.atLeast(bits); uint(len(n.Limbs))*s.Width <= room {
		return n
	}
	return s.exactly(bits)
}

func (s Shape) atMost(bits uint) number {
	return number{Limbs: make([]frontend.Variable, bits/s.Width)}
}

// Define is the relation; it implements [frontend.Circuit].
func (c *Circuit) Define(api frontend.API) error {
	b := &builder{API: api, shape: c.shape}
	rows := c.defineRows(b)
	statements := c.defineStatements(b)

	elements := make([]frontend.Variable, len(c.Rows))
	for i := range c.Rows {
		elements[i] = c.Rows[i].Element
	}
	present := make([]frontend.Variable, len(c.Statements))
	public, leaves := slices.Clone(present), make([]frontend.Variable, 0, 2*len(c.Statements))
	for i := range statements {
		present[i], public[i] = c.Statements[i].Present, statements[i].public
		leaves = append(leaves, statements[i].elements[:]...)
	}
	var x [16]frontend.Variable
	for i := range x {
		x[i] = 0
	}
	copy(x[:maxNodes], b.nodes(leaves, present))
	x[8] = b.count(present)
	x[9] = b.fold(elements)
	x[10] = b.fold(c.flags(b))
	x[11] = c.Challenge
	x[12] = b.evaluate(public, c.Challenge)
	api.AssertIsEqual(c.Public, b.compress(x))

	b.commit(c.Public)
	for i := range c.Rows {
		b.commit(c.Rows[i].Element)
	}
	return b.lookups(c.Uses, statements, rows)
}

// defined is what the other constraints need of a statement.
type defined struct {
	elements [2]frontend.Variable // in the tree; zero when absent
	public   frontend.Variable    // its public part; zero when absent
	key      [3]frontend.Variable // of its row: id, cap, index
	present  frontend.Variable
	sums     frontend.Variable // acks + 2^64·units if signed, otherwise zero
}

func (c *Circuit) defineStatements(b *builder) []defined {
	out := make([]defined, len(c.Statements))
	for i := range c.Statements {
		s, d := &c.Statements[i], &out[i]
		b.AssertIsBoolean(s.Present)
		b.AssertIsBoolean(s.Signed)
		b.AssertIsBoolean(b.Sub(s.Present, s.Signed)) // no absent one is signed

		acks := b.value(s.Acks)
		units := b.Add(acks, b.value(s.Excess))
		b.AssertIsEqual(b.Mul(acks, s.Cap), b.Add(units, b.value(s.Slack)))
		public := b.Add(s.ID, b.Mul(b.value(s.Client), power(clientAt)),
			b.Mul(b.value(s.First), power(firstAt)), b.Mul(acks, power(acksAt)))
		fields := b.Add(public, b.Mul(units, power(unitsAt)))
		d.elements = [2]frontend.Variable{b.Mul(fields, s.Present), b.Mul(s.Root, s.Present)}
		d.public = b.Mul(public, s.Present)
		d.key = [3]frontend.Variable{s.ID, s.Cap, s.Row}
		d.present = s.Present
		d.sums = b.Mul(b.Add(acks, b.Mul(units, power(64))), s.Signed)
		b.commit(s.Present, s.Signed, s.ID, s.Cap, s.Row)
	}
	return out
}

// definedRow is what the lookups need of a row.
type definedRow struct {
	id, cap frontend.Variable
	sums    frontend.Variable // 2^64·(acks + 2^64·units)
	count   frontend.Variable
}

func (c *Circuit) defineRows(b *builder) []definedRow {
	out := make([]definedRow, len(c.Rows))
	for i := range c.Rows {
		r := &c.Rows[i]
		id, most := b.value(r.ID), b.value(r.Cap)
		sums := b.Sub(r.Element, id, b.Mul(most, power(capAt)))
		out[i] = definedRow{id: id, cap: most, sums: sums, count: b.value(r.Count)}
	}
	return out
}

// flags packs the signed flags.
func (c *Circuit) flags(b *builder) []frontend.Variable {
	words := make([]frontend.Variable, 0, len(c.Statements)/flagBits)
	for of := range slices.Chunk(c.Statements, flagBits) {
		terms := make([]frontend.Variable, len(of))
		for i := range of {
			terms[i] = b.Mul(of[i].Signed, power(uint(i)))
		}
		words = append(words, b.sum(terms))
	}
	return words
}

func power(bits uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), bits) }
