// Package circuit holds the relation that rung 3 proves of a segment of a window's statements, as a rank-1 constraint system
// over the scalar field of BN254, and the values of its wires for an honest prover.
//
// docs/protocol.md says what is proved; docs/adr/0012-statement-circuit.md why each constraint is there and what was rejected.
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

// ShapeOf returns the shape of a circuit of the protocol. A wider limb saves lookups and costs a longer table, so the limbs
// of larger circuits are wider. The error is ErrSize.
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

// Bits of the fields that are ranges, and how their wires are laid out.
const (
	clientBits = 32
	idBits     = 32 // of payers and services in the table
	acksBits   = 16 // of the acks less one
	unitsBits  = 56
	rowBits    = 8  // of an index into the table
	countBits  = 16 // of the statements of one row
	maxClient  = 1<<clientBits - 1
	lastRow    = 1<<rowBits - 1
	flagBits   = 128 // flags in one element of the signed digest
	maxNodes   = 8
)

// number is an integer in limbs of Shape.Width bits and single bits above them, from the least significant on.
type number struct {
	Limbs, Bits []frontend.Variable
}

// statement is one place of a segment. Every wire that an absent statement leaves free is ignored.
type statement struct {
	Present, Signed        frontend.Variable // flags
	Client, Payer, Service frontend.Variable
	Row                    frontend.Variable // index of (Payer, Service) in the table
	Acks                   number            // less one
	Units                  number
	Root                   frontend.Variable

	// The order: clients grow by Gap + Carry, and where Carry is 0, Row by 1 + RowGap.
	Carry       frontend.Variable
	Gap, RowGap number
}

// row is one row of the table. Its element in the table digest is Element.
type row struct {
	Payer, Service number
	Element        frontend.Variable
	Count          number            // of present statements
	Ratio          frontend.Variable // Count / Element: where Element is zero, so is Count
}

// Circuit has the wires of the relation. The order of the fields is the order of a witness.
type Circuit struct {
	Public frontend.Variable `gnark:",public"`

	Challenge  frontend.Variable // of the fingerprint, gamma
	Statements []statement
	Tail       number // maxClient less the last client
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
		Tail:       shape.atLeast(clientBits),
		shape:      shape,
	}
	for i := range c.Statements {
		s := &c.Statements[i]
		s.Acks, s.Units = shape.exactly(acksBits), shape.exactly(unitsBits)
		s.Gap, s.RowGap = shape.atLeast(clientBits), shape.atLeast(rowBits)
	}
	for i := range c.Rows {
		r := &c.Rows[i]
		r.Payer, r.Service, r.Count = shape.exactly(idBits), shape.exactly(idBits), shape.atLeast(countBits)
	}
	return c
}

// exactly lays out an integer below 2^bits, atLeast one whose bound may be higher, which saves wires.
func (s Shape) exactly(bits uint) number {
	return number{Limbs: make([]frontend.Variable, bits/s.Width), Bits: make([]frontend.Variable, bits%s.Width)}
}

func (s Shape) atLeast(bits uint) number {
	return number{Limbs: make([]frontend.Variable, (bits+s.Width-1)/s.Width)}
}

// Define is the relation; it implements [frontend.Circuit].
func (c *Circuit) Define(api frontend.API) error {
	b := &builder{API: api, shape: c.shape}
	rows := c.defineRows(b)
	statements := c.defineStatements(b)
	c.defineOrder(b, statements)

	elements := make([]frontend.Variable, len(c.Rows))
	for i := range c.Rows {
		elements[i] = c.Rows[i].Element
	}
	present := make([]frontend.Variable, len(c.Statements))
	pairs, leaves := slices.Clone(present), make([]frontend.Variable, 0, 2*len(c.Statements))
	for i := range statements {
		present[i], pairs[i] = c.Statements[i].Present, statements[i].pair
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
	x[12] = b.evaluate(pairs, c.Challenge)
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
	pair     frontend.Variable    // client + 2^32·payer; zero when absent
	key      [3]frontend.Variable // of its row: payer + 2^32·service, payer, index
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

		acks := b.Add(s.Present, b.value(s.Acks))
		units := b.value(s.Units)
		id := b.Add(s.Payer, b.Mul(s.Service, power(32)))
		fields := b.Add(id, b.Mul(s.Client, power(64)), b.Mul(acks, power(96)), b.Mul(units, power(128)))
		d.elements = [2]frontend.Variable{b.Mul(fields, s.Present), b.Mul(s.Root, s.Present)}
		d.pair = b.Mul(b.Add(s.Client, b.Mul(s.Payer, power(32))), s.Present)
		d.key = [3]frontend.Variable{id, s.Payer, s.Row}
		d.present = s.Present
		d.sums = b.Mul(b.Add(acks, b.Mul(units, power(64))), s.Signed)
		b.commit(s.Present, s.Signed, s.Payer, s.Service, s.Row)
	}
	return out
}

// defineOrder makes (client, row) grow strictly. Absent statements stand as (maxClient, lastRow), where nothing has to grow
// any more, so that all clients are integers between 0 and maxClient.
func (c *Circuit) defineOrder(b *builder, statements []defined) {
	var client, index frontend.Variable = 0, -1
	for i := range c.Statements {
		s := &c.Statements[i]
		absent := b.Sub(1, s.Present)
		nextClient := b.Add(s.Client, b.Mul(absent, maxClient))
		nextIndex := b.Add(s.Row, b.Mul(absent, lastRow))
		b.AssertIsBoolean(s.Carry)
		b.AssertIsEqual(b.Add(client, s.Carry, b.value(s.Gap)), nextClient)
		b.AssertIsEqual(b.Add(index, s.Present, b.value(s.RowGap)), b.Add(nextIndex, b.Mul(s.Carry, 1<<rowBits)))
		client, index = nextClient, nextIndex
	}
	b.AssertIsEqual(b.Add(client, b.value(c.Tail)), maxClient)
}

// definedRow is what the lookups need of a row.
type definedRow struct {
	id, payer frontend.Variable // payer + 2^32·service, payer
	sums      frontend.Variable // 2^64·(acks + 2^64·units)
	count     frontend.Variable
}

func (c *Circuit) defineRows(b *builder) []definedRow {
	out := make([]definedRow, len(c.Rows))
	for i := range c.Rows {
		r := &c.Rows[i]
		payer, count := b.value(r.Payer), b.value(r.Count)
		id := b.Add(payer, b.Mul(b.value(r.Service), power(32)))
		out[i] = definedRow{id: id, payer: payer, sums: b.Sub(r.Element, id), count: count}
		if i > 0 { // a row of zeros is the first or padding, and no statement belongs to padding
			b.AssertIsEqual(b.Mul(r.Element, r.Ratio), count)
		} else {
			b.AssertIsEqual(r.Ratio, 0)
		}
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
