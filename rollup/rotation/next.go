package rotation

import "github.com/waybill-network/waybill/rollup"

// Drawn is a seat, and who won it.
type Drawn struct {
	Seat   int
	Winner uint32
	Due    bool // its turn came, or it has a mark; else it is vacated
}

// DrawAll draws the seats that epoch gives anew for the next one, in the order in which they are
// handed over: first those that are due, because their turn of every termEpochs has come or they
// have a mark, then those that are vacated, because they are empty or their holder is no candidate;
// each ascending. The error is ReasonWeight.
func (s Seats) DrawAll(c *Candidates, seed rollup.Hash, epoch uint32,
	termEpochs int) ([]Drawn, error) {
	if c.Weight() < MinWeight {
		return nil, refuse(ReasonWeight, "%d of %d", c.Weight(), uint64(MinWeight))
	}
	var due, vacated []Drawn
	turn := int((uint64(epoch) + 1) % uint64(termEpochs))
	for i, seat := range s {
		switch {
		case i%termEpochs == turn || seat.Mark != MarkNone:
			due = append(due, Drawn{i, c.Draw(seed, epoch, i, len(s)), true})
		case seat.Holder == NoHolder || !c.Has(seat.Holder):
			vacated = append(vacated, Drawn{i, c.Draw(seed, epoch, i, len(s)), false})
		}
	}
	return append(due, vacated...), nil
}

// Asked returns the winners that hold no seat, in the order of their draws: they have to say that
// they are ready. A winner of several seats is there once.
func (s Seats) Asked(drawn []Drawn) (asked []uint32) {
	seen := s.sitting()
	for _, d := range drawn {
		if !seen[d.Winner] {
			asked = append(asked, d.Winner)
		}
		seen[d.Winner] = true
	}
	return asked
}

func (s Seats) sitting() map[uint32]bool {
	sitting := make(map[uint32]bool, len(s))
	for _, seat := range s {
		if seat.Holder != NoHolder {
			sitting[seat.Holder] = true
		}
	}
	return sitting
}

// Nodes is what Next has to know of nodes at the moment when the seats are fixed.
type Nodes interface {
	Ready(node uint32) bool // it said so for this draw
	Gone(node uint32) bool  // it is leaving, or was convicted: it gets and keeps no seat
}

// Next returns the seats of the next term, and how many moved or fell empty. At most MaxMoves do;
// a due seat that is not reached is due again. A winner without a seat that is not ready leaves the
// seat to its holder, for one epoch; to nobody when the holder is gone.
//
// The error says why there is no next term, and the seats stay as they are: ReasonFewMembers for
// fewer than four members, and fewer than there are; ReasonThird for a node that would come to hold
// a third of the seats.
func (s Seats) Next(drawn []Drawn, nodes Nodes) (next Seats, moved int, err error) {
	next, sitting := append(Seats(nil), s...), s.sitting()
	for _, d := range drawn {
		seat := next[d.Seat]
		switch {
		case nodes.Gone(d.Winner):
			seat = seat.kept(nodes)
		case d.Winner == seat.Holder:
			seat.Mark = MarkNone
		case sitting[d.Winner] || nodes.Ready(d.Winner) || seat.Mark == MarkStayed:
			seat = Seat{Holder: d.Winner}
		default:
			seat = seat.kept(nodes)
		}
		switch {
		case seat.Holder == next[d.Seat].Holder:
			next[d.Seat] = seat
		case moved < s.MaxMoves():
			next[d.Seat] = seat
			moved++
		case d.Due:
			next[d.Seat].Mark = max(next[d.Seat].Mark, MarkDue)
		}
	}
	if err := s.check(next); err != nil {
		return nil, 0, err
	}
	return next, moved, nil
}

// kept returns a seat whose winner cannot take it: its holder has it for one more epoch.
func (s Seat) kept(nodes Nodes) Seat {
	if s.Holder != NoHolder && nodes.Gone(s.Holder) {
		s.Holder = NoHolder
	}
	s.Mark = MarkStayed
	return s
}

// fewMembers is the number of members below which a committee does not shrink.
const fewMembers = 4

func (s Seats) check(next Seats) error {
	before, after := s.Members(), next.Members()
	if len(after) < min(fewMembers, len(before)) {
		return refuse(ReasonFewMembers, "%d of now %d", len(after), len(before))
	}
	for i, power := range next.Powers() {
		if 3*power >= len(s) && 3*s.Held(after[i]) < len(s) {
			return refuse(ReasonThird, "node %d: %d of %d", after[i], power, len(s))
		}
	}
	return nil
}
