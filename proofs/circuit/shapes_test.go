package circuit

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/proofs/internal/lying"
	"github.com/waybill-network/waybill/rollup"
)

// TestShapesOfWindows has windows that fill segments, and those beside them.
func TestShapesOfWindows(t *testing.T) {
	rng := seeded(t)
	for _, n := range []int{1, 2, 7, 8, 9, 127, 128, 129, 255, 256, 257, 512} {
		w := lying.Honest(rng, n)
		h, second := w.Show()
		if err := w.Verify(h, second, nil); err != nil {
			t.Fatalf("%d statements: rung 2: %v", n, err)
		}
		if err := third(t, w, h, second); err != nil {
			t.Fatalf("%d statements: rung 3: %v", n, err)
		}
	}
	// As many rows as there can be, the highest ids, the most units.
	full := &lying.Window{World: &lying.World{Clients: map[uint64]rollup.Client{},
		Caps: map[uint32]uint64{}}}
	for i := range uint32(256) {
		s := rollup.Statement{Client: rollup.MaxClients - 256 + uint64(i), Payer: math.MaxUint32,
			Service: math.MaxUint32 - 256 + i, First: math.MaxUint32 - 16 - i, Acks: 16,
			Units: rollup.MaxStatementUnits - uint64(i)}
		full.World.Clients[s.Client] = rollup.Client{Payer: s.Payer}
		full.World.Caps[s.Service] = rollup.MaxUnitCap
		full.Statements, full.Signed = append(full.Statements, s), append(full.Signed, i%3 != 0)
	}
	full.Total()
	h, second := full.Show()
	_, claims := full.Prove(h, second, lying.Cut, lying.Choice{})
	small, err := ShapeOf(lying.Cut)
	if err != nil {
		t.Fatal(err)
	}
	c := claimOf(small, full, claims[0])
	if err := satisfied(t, small, c.values()); err != nil {
		t.Error(err)
	}
}

// TestAssign holds what an honest prover does to what a liar with nothing to hide does, and what it
// refuses.
func TestAssign(t *testing.T) {
	w := lying.Plain(200)
	h, second := w.Show()
	segments, err := rollup.Segments(h, rollup.NewStatementTree(w.Statements), second.List, lying.Cut,
		w.World)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Assign(&segments[0], w.Statements)
	if err != nil {
		t.Fatal(err)
	}
	small, err := ShapeOf(lying.Cut)
	if err != nil {
		t.Fatal(err)
	}
	c := plain(small, 200)
	if want := c.values(); !slices.Equal(got, want) {
		t.Error("other values")
	}
	for what, spoil := range map[string]func(s *rollup.Segment, st []rollup.Statement){
		"no statements": func(s *rollup.Segment, _ []rollup.Statement) { s.List = nil },
		"no payers":     func(s *rollup.Segment, _ []rollup.Statement) { s.Payers = nil },
		"client":        func(_ *rollup.Segment, st []rollup.Statement) { st[0].Client++ },
		"payer":         func(_ *rollup.Segment, st []rollup.Statement) { st[0].Payer++ },
		"first":         func(_ *rollup.Segment, st []rollup.Statement) { st[0].First++ },
		"service":       func(_ *rollup.Segment, st []rollup.Statement) { st[0].Service = 99 },
		"acks":          func(_ *rollup.Segment, st []rollup.Statement) { st[0].Acks++ },
		"no units":      func(_ *rollup.Segment, st []rollup.Statement) { st[0].Units = 0 },
		"units":         func(_ *rollup.Segment, st []rollup.Statement) { st[0].Units = 100<<30 + 1 },
		"root":          func(_ *rollup.Segment, st []rollup.Statement) { st[0].Root[31] = 0xff },
		"no caps":       func(s *rollup.Segment, _ []rollup.Statement) { s.Caps = nil },
		"a cap":         func(s *rollup.Segment, _ []rollup.Statement) { clear(s.Caps) },
		"rows": func(s *rollup.Segment, _ []rollup.Statement) {
			s.Rows, s.Caps = append(s.Rows, rollup.Row{}), append(s.Caps, 0)
		},
	} {
		segment, statements := segments[0], slices.Clone(w.Statements)
		segment.Rows, segment.Caps = slices.Clone(segment.Rows), slices.Clone(segment.Caps)
		spoil(&segment, statements)
		if _, err := Assign(&segment, statements); !errors.Is(err, ErrSegment) {
			t.Errorf("%s: %v", what, err)
		}
	}
	segment := segments[0]
	segment.Size = 512
	if _, err := Assign(&segment, w.Statements); !errors.Is(err, ErrSize) {
		t.Errorf("size 512: %v", err)
	}
}
