package rotation

import (
	"errors"
	"slices"
	"testing"
)

// nodes are two sets of nodes.
type nodes struct{ ready, gone map[uint32]bool }

func (n nodes) Ready(node uint32) bool { return n.ready[node] }
func (n nodes) Gone(node uint32) bool  { return n.gone[node] }

func set(members ...uint32) map[uint32]bool {
	s := map[uint32]bool{}
	for _, m := range members {
		s[m] = true
	}
	return s
}

func holders(s Seats) (h []uint32) {
	for _, seat := range s {
		h = append(h, seat.Holder)
	}
	return h
}

func seatsOf(holders ...uint32) Seats {
	s := make(Seats, len(holders))
	for i, h := range holders {
		s[i].Holder = h
	}
	return s
}

func TestNext(t *testing.T) {
	const none = NoHolder
	marked := func(s Seats, seat int, m Mark) Seats { s[seat].Mark = m; return s }
	eight := func() Seats { return seatsOf(0, 1, 2, 3, 4, 5, 6, 7) }
	for name, c := range map[string]struct {
		seats Seats
		drawn []Drawn
		nodes nodes
		want  Seats
		moved int
	}{
		"who is ready takes a seat": {eight(), []Drawn{{0, 9, true}}, nodes{ready: set(9)},
			seatsOf(9, 1, 2, 3, 4, 5, 6, 7), 1},
		"who sits needs not be ready": {eight(), []Drawn{{0, 5, true}}, nodes{},
			seatsOf(5, 1, 2, 3, 4, 5, 6, 7), 1},
		"the holder won": {marked(eight(), 0, MarkDue), []Drawn{{0, 0, true}}, nodes{}, eight(), 0},
		"who is not ready waits": {eight(), []Drawn{{0, 9, true}}, nodes{},
			marked(eight(), 0, MarkStayed), 0},
		"and gets it the next time": {marked(eight(), 0, MarkStayed), []Drawn{{0, 9, true}}, nodes{},
			seatsOf(9, 1, 2, 3, 4, 5, 6, 7), 1},
		"a holder that leaves does not stay": {eight(), []Drawn{{0, 9, false}}, nodes{gone: set(0)},
			marked(seatsOf(none, 1, 2, 3, 4, 5, 6, 7), 0, MarkStayed), 1},
		"an empty seat stays empty for one epoch": {seatsOf(none, 1, 2, 3, 4, 5, 6, 7),
			[]Drawn{{0, 9, false}}, nodes{},
			marked(seatsOf(none, 1, 2, 3, 4, 5, 6, 7), 0, MarkStayed), 0},
		"a winner that is gone gets nothing": {marked(eight(), 0, MarkStayed),
			[]Drawn{{0, 9, true}, {1, 1, true}}, nodes{ready: set(9), gone: set(9, 1)},
			marked(marked(seatsOf(0, none, 2, 3, 4, 5, 6, 7), 0, MarkStayed), 1, MarkStayed), 1},
		"a third is never reached; the due are due again, the vacated are vacated": {eight(),
			[]Drawn{{0, 9, true}, {4, 9, true}, {5, 9, true}, {1, 9, false}}, nodes{ready: set(9)},
			marked(seatsOf(9, 1, 2, 3, 9, 5, 6, 7), 5, MarkDue), 2},
		"a stay counts when no more can move": {eight(),
			[]Drawn{{0, 9, true}, {4, 9, true}, {5, 8, true}}, nodes{ready: set(9)},
			marked(seatsOf(9, 1, 2, 3, 9, 5, 6, 7), 5, MarkStayed), 2},
	} {
		before := slices.Clone(c.seats)
		next, moved, err := c.seats.Next(c.drawn, c.nodes)
		if err != nil || moved != c.moved || !slices.Equal(next, c.want) {
			t.Errorf("%s: %v, %d moved, %v; not %v, %d", name, next, moved, err, c.want, c.moved)
		}
		if !slices.Equal(before, c.seats) {
			t.Errorf("%s: the seats of before are changed", name)
		}
	}
}

func TestNextRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		seats Seats
		drawn []Drawn
		want  Reason
	}{
		"three members": {seatsOf(0, 0, 1, 1, 2, 2, 3), []Drawn{{6, 0, true}}, ReasonFewMembers},
		"a third":       {seatsOf(0, 1, 2, 3, 4, 5, 6, 0, 8), []Drawn{{1, 0, true}}, ReasonThird},
	} {
		if _, _, err := c.seats.Next(c.drawn, nodes{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
	// Who holds a third already is nothing new, and three members may become other three.
	if _, _, err := seatsOf(0, 0, 0, 1, 1, 2).Next([]Drawn{{5, 9, true}},
		nodes{ready: set(9)}); err != nil {
		t.Error(err)
	}
}

// TestNextExhaustive tries every pattern of five and six seats: each not drawn, or due or vacated
// with a winner that sits, is ready, is not, or is gone, with and without a mark, and every holder
// present or gone. Whatever happens, a third is not moved and who stays for the second time goes.
func TestNextExhaustive(t *testing.T) {
	const patterns = 8
	for _, k := range []int{5, 6} {
		all := 1
		for range k {
			all *= patterns
		}
		for p := range all {
			checkPattern(t, k, p)
		}
	}
}

func checkPattern(t *testing.T, k, p int) {
	t.Helper()
	seats, n := make(Seats, k), nodes{ready: set(100), gone: set(102)}
	var due, vacated []Drawn
	for i := range seats {
		seats[i].Holder = uint32(i)
		switch p % 8 {
		case 1:
			due = append(due, Drawn{i, 100, true})
		case 2:
			due = append(due, Drawn{i, 101, true})
		case 3:
			seats[i].Mark = MarkStayed
			due = append(due, Drawn{i, 101, true})
		case 4:
			vacated = append(vacated, Drawn{i, 101, false})
		case 5:
			seats[i].Holder = NoHolder
			vacated = append(vacated, Drawn{i, 100, false})
		case 6:
			n.gone[uint32(i)] = true
			vacated = append(vacated, Drawn{i, 101, false})
		case 7:
			due = append(due, Drawn{i, uint32((i + 1) % k), true})
		}
		p /= 8
	}
	drawn := append(due, vacated...)
	next, moved, err := seats.Next(drawn, n)
	if err != nil {
		return
	}
	changed := 0
	for i := range seats {
		if next[i].Holder != seats[i].Holder {
			changed++
		} else if seats[i].Mark == MarkStayed && moved < seats.MaxMoves() {
			t.Fatalf("%v, %v: seat %d stayed twice", seats, drawn, i)
		}
	}
	if changed != moved || moved > seats.MaxMoves() || 3*moved >= k {
		t.Fatalf("%v, %v: %d changed, %d moved", seats, drawn, changed, moved)
	}
}

func TestDrawAll(t *testing.T) {
	c := equal(t, 20, MinWeight)
	s := seatsOf(0, 1, 2, 3, 4, 5, 60, NoHolder, 8, 9, 10, 11)
	s[9].Mark = MarkDue
	s[7].Mark = MarkStayed
	drawn, err := s.DrawAll(c, seedOf(1), 1, 4)
	if err != nil {
		t.Fatal(err)
	}
	var due, vacated []int
	for _, d := range drawn {
		if d.Winner != c.Draw(seedOf(1), 1, d.Seat, len(s)) {
			t.Errorf("seat %d went to %d", d.Seat, d.Winner)
		}
		if d.Due {
			due = append(due, d.Seat)
		} else {
			vacated = append(vacated, d.Seat)
		}
	}
	// Epoch 1 gives seats 2, 6 and 10 their turn.
	if !slices.Equal(due, []int{2, 6, 7, 9, 10}) || len(vacated) != 0 {
		t.Errorf("due %v, vacated %v", due, vacated)
	}
	// Epoch 0 gives 1, 5 and 9; that of seat 6 is no candidate, and comes last.
	if drawn, _ = s.DrawAll(c, seedOf(1), 0, 4); len(drawn) != 5 || drawn[4].Seat != 6 ||
		drawn[4].Due {
		t.Errorf("drawn %v", drawn)
	}
	if asked := s.Asked([]Drawn{{0, 70, true}, {1, 3, true}, {2, 70, true}, {3, 71, true}}); !slices.
		Equal(asked, []uint32{70, 71}) {
		t.Errorf("asked %v", asked)
	}
}

func TestSeatsCode(t *testing.T) {
	s := seatsOf(4, NoHolder, 7, 4)
	s[1].Mark = MarkStayed
	b := s.Append(nil)
	back, err := ParseSeats(b)
	if err != nil || !slices.Equal(back, s) {
		t.Fatalf("%v, %v", back, err)
	}
	if s.Held(4) != 2 || !slices.Equal(s.Members(), []uint32{4, 7}) ||
		!slices.Equal(s.Powers(), []int{2, 1}) || !slices.Equal(holders(s), holders(back)) {
		t.Errorf("%v: %v %v", s, s.Members(), s.Powers())
	}
	b[4] = byte(MarkStayed) + 1
	if _, err := ParseSeats(b); !errors.Is(err, ReasonField) {
		t.Errorf("mark: %v", err)
	}
	for _, size := range []int{0, 15, 19, 21, SeatsSize(MaxSeats + 1)} {
		if _, err := ParseSeats(make([]byte, size)); !errors.Is(err, ReasonLength) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
