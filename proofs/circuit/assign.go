package circuit

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark/backend/witness"

	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/rollup"
)

// Assign returns the values of all input wires, the public one first, for a segment and its statements. It checks cheaply that
// they fit each other, and leaves sums, tree and digests to the constraints. The order is that of [Circuit]'s fields. Errors:
// ErrSize, ErrSegment.
func Assign(segment *rollup.Segment, statements []rollup.Statement) (fr.Vector, error) {
	shape, err := ShapeOf(segment.Size)
	if err != nil {
		return nil, err
	}
	if err := check(shape, segment, statements); err != nil {
		return nil, err
	}
	return shape.assign(segment, statements), nil
}

func check(shape Shape, segment *rollup.Segment, statements []rollup.Statement) error {
	n := len(statements)
	if n == 0 || n > shape.Statements || n != len(segment.Clients) || n != len(segment.Payers) {
		return fmt.Errorf("%w: %d statements, %d clients, %d payers", ErrSegment, n, len(segment.Clients), len(segment.Payers))
	}
	if len(segment.Rows) > shape.Rows {
		return fmt.Errorf("%w: %d rows", ErrSegment, len(segment.Rows))
	}
	for i := 1; i < len(segment.Rows); i++ {
		if compareIDs(segment.Rows[i-1], segment.Rows[i]) >= 0 {
			return fmt.Errorf("%w: row %d is not in order", ErrSegment, i)
		}
	}
	for i := range statements {
		s := &statements[i]
		switch {
		case s.Client != segment.Clients[i].Client || s.Payer != segment.Payers[i]:
			return fmt.Errorf("%w: statement %d is of client %d and payer %d", ErrSegment, i, s.Client, s.Payer)
		case s.Acks == 0 || s.Acks > rollup.MaxStatementAcks || s.Units > rollup.MaxStatementUnits:
			return fmt.Errorf("%w: statement %d is about %d acks and %d units", ErrSegment, i, s.Acks, s.Units)
		}
		if _, found := findRow(segment.Rows, s); !found {
			return fmt.Errorf("%w: statement %d belongs to no row", ErrSegment, i)
		}
	}
	return nil
}

func compareIDs(a, b rollup.Row) int {
	return cmp.Or(cmp.Compare(a.Payer, b.Payer), cmp.Compare(a.Service, b.Service))
}

func findRow(rows []rollup.Row, s *rollup.Statement) (int, bool) {
	return slices.BinarySearchFunc(rows, rollup.Row{Payer: s.Payer, Service: s.Service}, compareIDs)
}

// assigner appends the values of wires in their order.
type assigner struct {
	shape  Shape
	values fr.Vector
	uses   []uint64 // of each entry of the lookup table
}

// assign gives every wire the value that an honest prover gives it, as far as there is one.
func (s Shape) assign(segment *rollup.Segment, statements []rollup.Statement) fr.Vector {
	a := &assigner{shape: s, uses: make([]uint64, 1<<s.Width)}
	a.element(fr.Element(segment.Public))
	a.element(fr.Element(segment.Challenge))
	counts := make([]uint64, s.Rows)
	previous := place{0, -1}
	for i := range s.Statements {
		at := place{maxClient, lastRow}
		if i < len(statements) {
			row, _ := findRow(segment.Rows, &statements[i])
			row = min(row, s.Rows-1)
			counts[row]++
			at = place{int64(statements[i].Client), int64(row)}
			a.statement(&statements[i], segment.Clients[i].Signed, row)
			a.step(previous, at, 1)
		} else {
			a.absent()
			a.step(previous, at, 0)
		}
		previous = at
	}
	a.atLeast(uint64(maxClient-previous.client), clientBits)
	a.rows(segment.Rows, counts)
	for _, n := range a.uses {
		a.number(n)
	}
	return a.values
}

// place is where a statement stands in the order.
type place struct{ client, row int64 }

// step appends how far two places are apart, where the row must grow by least unless the client does. What it appends for
// places that are not in order breaks a constraint.
func (a *assigner) step(from, to place, least int64) {
	carry, gap, rowGap := uint64(0), to.client-from.client, to.row-from.row-least
	if rowGap < 0 {
		carry, gap, rowGap = 1, gap-1, rowGap+1<<rowBits
	}
	a.number(carry)
	a.atLeast(uint64(gap), clientBits)
	a.atLeast(uint64(rowGap), rowBits)
}

func (a *assigner) statement(st *rollup.Statement, signed bool, row int) {
	a.number(1)
	a.flag(signed)
	a.number(uint64(st.Client))
	a.number(uint64(st.Payer))
	a.number(uint64(st.Service))
	a.number(uint64(row))
	a.exactly(uint64(st.Acks)-1, acksBits)
	a.exactly(st.Units, unitsBits)
	a.element(fr.Element(poseidon2.Truncate(st.Root)))
}

func (a *assigner) absent() {
	for range 6 { // present, signed, client, payer, service, row
		a.number(0)
	}
	a.exactly(0, acksBits)
	a.exactly(0, unitsBits)
	a.number(0) // root
}

func (a *assigner) rows(rows []rollup.Row, counts []uint64) {
	elements := make([]fr.Element, a.shape.Rows)
	for i, r := range rows {
		elements[i] = fr.Element(poseidon2.FromUint64s([3]uint64{uint64(r.Payer) | uint64(r.Service)<<32, r.Acks, r.Units}))
	}
	inverses := fr.BatchInvert(elements) // 0 of 0
	for i := range elements {
		var r rollup.Row
		if i < len(rows) {
			r = rows[i]
		}
		a.exactly(uint64(r.Payer), idBits)
		a.exactly(uint64(r.Service), idBits)
		a.element(elements[i])
		a.atLeast(counts[i], countBits)
		var ratio fr.Element
		if i > 0 {
			ratio.SetUint64(counts[i])
			ratio.Mul(&ratio, &inverses[i])
		}
		a.element(ratio)
	}
}

func (a *assigner) element(e fr.Element) { a.values = append(a.values, e) }

func (a *assigner) number(n uint64) {
	var e fr.Element
	e.SetUint64(n)
	a.element(e)
}

func (a *assigner) flag(set bool) {
	n := uint64(0)
	if set {
		n = 1
	}
	a.number(n)
}

func (a *assigner) exactly(n uint64, bits uint) {
	n = a.limbs(n, bits/a.shape.Width)
	for range bits % a.shape.Width {
		a.number(n & 1)
		n >>= 1
	}
}

func (a *assigner) atLeast(n uint64, bits uint) { a.limbs(n, (bits+a.shape.Width-1)/a.shape.Width) }

// limbs appends that many limbs of n and returns what is above them.
func (a *assigner) limbs(n uint64, count uint) uint64 {
	for range count {
		limb := n & (1<<a.shape.Width - 1)
		a.uses[limb]++
		a.number(limb)
		n >>= a.shape.Width
	}
	return n
}

// Witness wraps the values of all input wires, the first of them public, for gnark.
func Witness(values fr.Vector) (witness.Witness, error) {
	w, err := witness.New(ecc.BN254.ScalarField())
	if err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	in := make(chan any, 1024)
	go func() { // pure: Fill takes the values from a channel, in their order
		for i := range values {
			in <- &values[i]
		}
		close(in)
	}()
	if err := w.Fill(1, len(values)-1, in); err != nil {
		return nil, fmt.Errorf("circuit: %w", err)
	}
	return w, nil
}
