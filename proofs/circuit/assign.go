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

// Assign returns the values of all input wires, the public one first, for a segment and its
// statements. It checks cheaply that they fit each other, and leaves sums, tree and digests to the
// constraints. The order is that of [Circuit]'s fields. Errors: ErrSize, ErrSegment.
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
	if n == 0 || n > shape.Statements || n != len(segment.List) || n != len(segment.Payers) {
		return fmt.Errorf("%w: %d statements, %d entries, %d payers", ErrSegment, n, len(segment.List),
			len(segment.Payers))
	}
	if len(segment.Rows) > shape.Rows || len(segment.Rows) != len(segment.Caps) {
		return fmt.Errorf("%w: %d rows, %d caps", ErrSegment, len(segment.Rows), len(segment.Caps))
	}
	for i := 1; i < len(segment.Rows); i++ {
		if compareIDs(segment.Rows[i-1], segment.Rows[i]) >= 0 {
			return fmt.Errorf("%w: row %d is not in order", ErrSegment, i)
		}
	}
	for i := range statements {
		s := &statements[i]
		if s.Run() != segment.List[i].Run || s.Payer != segment.Payers[i] {
			return fmt.Errorf("%w: statement %d is of client %d and payer %d", ErrSegment, i, s.Client,
				s.Payer)
		}
		row, found := findRow(segment.Rows, s)
		if !found {
			return fmt.Errorf("%w: statement %d belongs to no row", ErrSegment, i)
		}
		if err := s.CheckCap(segment.Caps[row]); err != nil {
			return fmt.Errorf("%w: statement %d: %w", ErrSegment, i, err)
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
	for i := range s.Statements {
		if i >= len(statements) {
			a.absent()
			continue
		}
		row, _ := findRow(segment.Rows, &statements[i])
		row = min(row, s.Rows-1)
		counts[row]++
		var unitCap uint64
		if row < len(segment.Caps) {
			unitCap = segment.Caps[row]
		}
		a.statement(&statements[i], segment.List[i].Signed, row, unitCap)
	}
	a.rows(segment.Rows, segment.Caps, counts)
	for _, n := range a.uses {
		a.number(n)
	}
	return a.values
}

func (a *assigner) statement(st *rollup.Statement, signed bool, row int, unitCap uint64) {
	a.number(1)
	a.flag(signed)
	a.number(uint64(st.Payer) | uint64(st.Service)<<32)
	a.number(unitCap)
	a.number(uint64(row))
	a.put(st.Client, a.shape.atLeast(clientBits))
	a.put(uint64(st.First), a.shape.atLeast(firstBits))
	a.put(uint64(st.Acks), a.shape.atMost(acksBits))
	a.put(st.Units-uint64(st.Acks), a.shape.atLeast(excessBits))
	a.put(uint64(st.Acks)*unitCap-st.Units, a.shape.atLeast(slackBits))
	root, _ := poseidon2.ParseElement(st.Root[:])
	a.element(fr.Element(root))
}

func (a *assigner) absent() {
	for range 5 { // present, signed, id, cap, row
		a.number(0)
	}
	a.put(0, a.shape.atLeast(clientBits))
	a.put(0, a.shape.atLeast(firstBits))
	a.put(0, a.shape.atMost(acksBits))
	a.put(0, a.shape.atLeast(excessBits))
	a.put(0, a.shape.atLeast(slackBits))
	a.number(0) // root
}

func (a *assigner) rows(rows []rollup.Row, caps, counts []uint64) {
	for i := range a.shape.Rows {
		var r rollup.Row
		var unitCap uint64
		var element poseidon2.Element
		if i < len(rows) {
			r, unitCap = rows[i], caps[i]
			element = rollup.RowElement(r, unitCap)
		}
		a.put(uint64(r.Payer)|uint64(r.Service)<<32, a.shape.exactly(2*idBits))
		a.put(unitCap, a.shape.within(capBits, capRoom))
		a.put(counts[i], a.shape.exactly(countBits))
		a.element(fr.Element(element))
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

// put appends the limbs and bits of n as they are laid out. What is above them is left out.
func (a *assigner) put(n uint64, as number) {
	for range as.Limbs {
		limb := n & (1<<a.shape.Width - 1)
		a.uses[limb]++
		a.number(limb)
		n >>= a.shape.Width
	}
	for range as.Bits {
		a.number(n & 1)
		n >>= 1
	}
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
