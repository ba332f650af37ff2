package node

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// fillRotation says how the seats of the committee are held and drawn, and how this node stands.
// What the ledger knows of the node comes first: see fillPlace.
func (n *Node) fillRotation(s *telemetry.Snapshot, view *ledger.View) {
	r, rotates := view.Rotation()
	if !rotates {
		return
	}
	out := &telemetry.Rotation{Term: view.Committee().Term, Epoch: r.Epoch,
		Phase: r.Phase.String(), Round: int(r.Round), Seats: len(r.Seats),
		Candidates: len(r.Candidates), TermEpochs: int(view.Params().Rotation.TermEpochs),
		Done: telemetry.Done{Members: len(view.Elected().Members), Reported: len(r.Reported),
			Announced: r.Announced.Len(), Revealed: len(r.Revealed), Asked: len(r.Asked),
			Ready: len(r.Ready)},
		Sits: sits(view, r)}
	if r.Phase == ledger.PhaseIdle { // it is about no epoch
		out.Epoch = view.Epoch()
	}
	saidOf := newSaid(view, r)
	out.Nodes = saidOf.nodes(s.Node.Registered, s.Node.Index)
	if s.Node.Registered {
		self := s.Node.Index
		out.Held = r.Seats.Held(self)
		if r.Next != nil {
			next := r.Next.Held(self)
			out.Next = &next
		}
		out.Conditions = n.conditions(view, r, self)
		out.Obstacle = obstacle(out.Conditions)
		out.Odds = odds(view, r, self)
		out.Said = n.said(view, self)
		out.Duties = duties(view, self)
		out.Needed = needed(view, self)
	}
	if n.prober != nil {
		if found, ok := n.prober.Found(); ok {
			for _, m := range found.Measured {
				out.Probed = append(out.Probed, telemetry.Probed{Node: m.Node, Asked: m.Asked,
					Answered: m.Answered, Median: m.Median, Healthy: m.Healthy, Why: m.Why,
					Visited: (*telemetry.Visited)(m.Visited)})
			}
		}
		n.fillVisits(out)
	}
	s.Rotation = out
}

// fillVisits says what this node did as a client of others.
func (n *Node) fillVisits(out *telemetry.Rotation) {
	if n.visitor == nil {
		out.NoVisits = "visits.payers names nobody who pays for them"
		return
	}
	v := n.visitor.Stats()
	if v.Why != nil {
		out.NoVisits = v.Why.Error()
	}
	out.Visits = telemetry.Visits{Served: v.Served, Refused: v.Refused, Failed: v.Failed,
		Bytes: v.Bytes, Charged: v.Charged, Fees: v.Fees}
}

// nextDraw returns the first epoch whose draw is still to be.
func nextDraw(view *ledger.View, r *ledger.RotationView) uint32 {
	switch r.Phase {
	case ledger.PhaseReports, ledger.PhaseReveals:
		return r.Epoch
	}
	return view.Epoch() + 1
}

// turn returns the first epoch from first on in which the turn of a seat comes.
func turn(seat, termEpochs int, first uint32) uint32 {
	wait := (seat - int((uint64(first)+1)%uint64(termEpochs)) + termEpochs) % termEpochs
	return first + uint32(wait%termEpochs)
}

var marks = map[rotation.Mark]string{rotation.MarkDue: "due", rotation.MarkStayed: "stayed"}

// sits tells of each seat who has it, and when that may change.
func sits(view *ledger.View, r *ledger.RotationView) []telemetry.Seat {
	holder := func(node uint32) *uint32 {
		if node == rotation.NoHolder {
			return nil
		}
		return &node
	}
	first, length := nextDraw(view, r), int(view.Params().Rotation.TermEpochs)
	list := make([]telemetry.Seat, len(r.Seats))
	for i, seat := range r.Seats {
		x := telemetry.Seat{Holder: holder(seat.Holder), Mark: marks[seat.Mark],
			Drawn: turn(i%length, length, first)}
		if seat.Mark != rotation.MarkNone {
			x.Drawn = first
		}
		if r.Next != nil && r.Next[i].Holder != seat.Holder {
			x.Moves, x.To = true, holder(r.Next[i].Holder)
		}
		list[i] = x
	}
	return list
}

// said finds what members said of nodes.
type said struct {
	view    *ledger.View
	r       *ledger.RotationView
	reports []ledger.ReportsView // those that were counted first, the newest of them before others
}

func newSaid(view *ledger.View, r *ledger.RotationView) *said {
	s := &said{view, r, view.Reports()}
	collected := r.Phase == ledger.PhaseReports
	slices.SortFunc(s.reports, func(a, b ledger.ReportsView) int {
		if collected && (a.Epoch == r.Epoch) != (b.Epoch == r.Epoch) {
			return cmp.Compare(a.Epoch, b.Epoch) // the one that is collected comes last
		}
		return cmp.Compare(b.Epoch, a.Epoch)
	})
	return s
}

// of returns what was said of a node.
func (s *said) of(node uint32) telemetry.NodeSaid {
	x := telemetry.NodeSaid{Node: node, Seats: s.r.Seats.Held(node),
		Standing: standing(s.view, node), Healthy: []uint32{}, Unhealthy: []uint32{}}
	x.Next = x.Seats
	if s.r.Next != nil {
		x.Next = s.r.Next.Held(node)
	}
	for i := range s.reports {
		words := s.reports[i].Of(node)
		if len(words) == 0 {
			continue
		}
		x.Epoch = s.reports[i].Epoch
		for _, w := range words {
			if w.Healthy {
				x.Healthy = append(x.Healthy, w.Member)
			} else {
				x.Unhealthy = append(x.Unhealthy, w.Member)
			}
		}
		break
	}
	return x
}

// nodes returns those that have seats or stand. When they are too many, this node comes first, then
// those with the most seats.
func (s *said) nodes(registered bool, self uint32) []telemetry.NodeSaid {
	var nodes []uint32
	for i := range s.view.Nodes() {
		node := uint32(i)
		if _, stands := s.view.Standing(node); stands || registered && node == self {
			nodes = append(nodes, node) // who has a seat stands
		}
	}
	if len(nodes) > telemetry.MaxSaid {
		held := make(map[uint32]int)
		for _, seat := range s.r.Seats {
			held[seat.Holder]++
		}
		if registered {
			held[self] = len(s.r.Seats) + 1
		}
		slices.SortStableFunc(nodes, func(a, b uint32) int { return cmp.Compare(held[b], held[a]) })
		nodes = nodes[:telemetry.MaxSaid]
		slices.Sort(nodes)
	}
	list := make([]telemetry.NodeSaid, len(nodes))
	for i, node := range nodes {
		list[i] = s.of(node)
	}
	return list
}

// standing is a word for how a node stands.
func standing(view *ledger.View, node uint32) string {
	how, stands := view.Standing(node)
	x, _ := view.Node(node)
	switch {
	case x.Until != ledger.Forever || len(view.Convictions(node)) > 0:
		return "gone"
	case !stands:
		return "none"
	case how.Jailed > 0:
		return "jailed"
	case x.Stake < view.Params().Rotation.MinStake:
		return "poor"
	case !named(view, node):
		return "new"
	}
	return "candidate"
}

// named reports whether the newest reports are about a node, or would be: there are none.
func named(view *ledger.View, node uint32) bool {
	all := view.Reports()
	if len(all) == 0 {
		return true
	}
	_, is := slices.BinarySearch(all[len(all)-1].Named, node)
	return is
}

// said returns what each member said of this node, by epoch and member.
func (n *Node) said(view *ledger.View, self uint32) []telemetry.Said {
	list := []telemetry.Said{}
	var answered map[uint32]int
	var epoch uint32
	if n.answerer != nil {
		epoch, answered = n.answerer.Answered()
	}
	for _, r := range view.Reports() {
		for _, w := range r.Of(self) {
			x := telemetry.Said{Epoch: r.Epoch, Member: w.Member, Seats: w.Seats,
				Healthy: w.Healthy, Height: w.Height}
			// Itself it asks without a probe.
			if answered != nil && epoch == r.Epoch && w.Member != self {
				count := answered[w.Member]
				x.Answered = &count
			}
			list = append(list, x)
		}
	}
	return list
}

// duties returns what a node did for its committee, and earned with that: in epochs that are not
// settled, and before those in as many as the ledger still has.
func duties(view *ledger.View, node uint32) []telemetry.DutyDone {
	list := []telemetry.DutyDone{}
	add := func(epoch uint32, settled bool, rows []rollup.DutyRow) {
		i := slices.IndexFunc(rows, func(d rollup.DutyRow) bool { return d.Node == node })
		if i < 0 || len(list) == telemetry.MaxDuties {
			return
		}
		d := &rows[i]
		list = append(list, telemetry.DutyDone{Epoch: epoch, Blocks: d.Blocks,
			Points: d.Points, Possible: d.Possible, Asked: d.Flags&rollup.DutyAsked != 0,
			Reported: d.Flags&rollup.DutyReported != 0, Withheld: d.Flags&rollup.DutyWithheld != 0,
			Counts: d.Counts(), Settled: settled, Reward: d.Reward})
	}
	for epoch := int64(view.Epoch()); epoch >= int64(view.NextToSettle()); epoch-- {
		add(uint32(epoch), false, view.Duties(uint32(epoch)))
	}
	for epoch := int64(view.NextToSettle()) - 1; epoch >= 0; epoch-- {
		settled, kept := view.Settlement(uint32(epoch))
		if !kept || len(list) == telemetry.MaxDuties {
			break
		}
		add(settled.Epoch, true, settled.Duties)
	}
	return list
}

// needed says why the network still needs a node to run; "" when it may be stopped for good: it has
// no seat, nothing waits for a committee that it was of, and what it served itself is settled.
func needed(view *ledger.View, node uint32) string {
	member := func(c *rollup.Committee) bool {
		_, is := c.Position(node)
		return is
	}
	x, _ := view.Node(node)
	if member(view.Committee()) || member(view.Elected()) {
		return "it has seats, until a hand-over gives them to others"
	}
	for epoch := view.NextToSettle(); epoch <= view.Epoch(); epoch++ {
		switch {
		case member(view.CommitteeOf(epoch)):
			return fmt.Sprintf("its committee judges the rollups of epoch %d until that is settled", epoch)
		case x.Until != ledger.Forever && epoch < x.Until:
			return fmt.Sprintf("what it served in epoch %d is not settled", epoch)
		}
	}
	for _, r := range view.PendingRecords() {
		if member(view.CommitteeVoting(int64(r.Record.Height) + 1)) {
			return fmt.Sprintf("its committee has not signed the record of block %d", r.Record.Height)
		}
	}
	if x.Until == ledger.Forever {
		return "it stays"
	}
	return ""
}

// maxOdds is for how many draws a node is told its odds.
const maxOdds = 8

// odds returns how likely each of the next draws gives a node a seat, with the candidates of now,
// until every seat's turn has come. It is empty for a node that is no candidate.
func odds(view *ledger.View, r *ledger.RotationView, node uint32) []telemetry.Odds {
	list := []telemetry.Odds{}
	var before, weight, total float64
	for _, c := range r.Candidates {
		switch {
		case c.Node < node:
			before += float64(c.Weight)
		case c.Node == node:
			weight = float64(c.Weight)
		}
		total += float64(c.Weight)
	}
	if weight == 0 {
		return list
	}
	first, length, k := nextDraw(view, r), int(view.Params().Rotation.TermEpochs), len(r.Seats)
	for epoch := first; epoch < first+uint32(min(length, maxOdds)); epoch++ {
		x := telemetry.Odds{Epoch: epoch}
		miss := 1.0
		for seat := range k {
			if turn(seat%length, length, epoch) != epoch {
				continue
			}
			lo, hi := total*float64(seat)/float64(k), total*float64(seat+1)/float64(k)
			miss *= 1 - max(0, min(hi, before+weight)-max(lo, before))/(hi-lo)
			x.Seats++
		}
		x.Chance = 1 - miss
		list = append(list, x)
	}
	return list
}

// conditions returns what a node needs to be drawn, in the order in which they come about.
func (n *Node) conditions(view *ledger.View, r *ledger.RotationView, node uint32,
) []telemetry.Condition {
	how, stands := view.Standing(node)
	x, _ := view.Node(node)
	least := view.Params().Rotation.MinStake
	var list []telemetry.Condition
	add := func(name string, ok bool, value, advice string) {
		if ok {
			advice = ""
		}
		list = append(list, telemetry.Condition{Name: name, OK: ok, Value: value, Advice: advice})
	}
	stays := "it stays"
	if x.Until != ledger.Forever {
		stays = fmt.Sprintf("it leaves: its stake was taken back, from epoch %d on it serves nothing",
			x.Until)
	}
	add("stays", x.Until == ledger.Forever, stays, "it does not come back; register another node")
	convictions := view.Convictions(node)
	honest := "it was never convicted"
	if len(convictions) > 0 {
		honest = "it was convicted by its own words, " + text.Plural(len(convictions), "time")
	}
	add("honest", len(convictions) == 0, honest, "it does not come back; register another node")
	add("stake", x.Stake >= least, fmt.Sprintf("%s, where a candidate has %s",
		text.Credits(x.Stake), text.Credits(least)), "its owner adds to it with waybill tx stake")
	value := "it does not stand"
	if stands {
		value = "it stands, at " + how.Address
	}
	add("stands", stands, value, "its owner has it stand with waybill node stand")
	jail, out := "it is not jailed", ""
	switch {
	case how.Jailed > view.Epoch():
		jail = fmt.Sprintf("it is jailed, until epoch %d at least: it withheld a reveal, or was absent",
			how.Jailed)
		out = fmt.Sprintf("its owner takes it out from epoch %d on, with waybill node unjail", how.Jailed)
	case how.Jailed > 0:
		jail, out = "it is jailed, and its time is over",
			"its owner takes it out now, with waybill node unjail"
	}
	add("jail", how.Jailed == 0, jail, out)
	if !stands || how.Jailed > 0 || x.Stake < least || x.Until != ledger.Forever ||
		len(convictions) > 0 {
		return list // the rest follows from that
	}
	n.addVerdict(add, view, r, node)
	able := n.engine != nil && n.engine.Able()
	add("follows", able, map[bool]string{true: "it follows the chain, and its consensus key may sign",
		false: "it catches up, or its consensus key keeps silent for now"}[able],
		"wait; the log says what its engine does")
	return list
}

// addVerdict adds whether a node that stands is a candidate, and what members found.
func (n *Node) addVerdict(add func(string, bool, string, string), view *ledger.View,
	r *ledger.RotationView, node uint32) {
	isNamed := named(view, node)
	value := fmt.Sprintf("it is one of %s", text.Plural(len(r.Candidates), "candidate"))
	switch {
	case !isNamed:
		value = fmt.Sprintf("it stands since epoch %d began, and is a candidate in epoch %d",
			view.Epoch(), view.Epoch()+1)
	case r.Phase == ledger.PhaseIdle:
		value = fmt.Sprintf("it is one from epoch %d on: nothing is drawn before", view.Epoch()+1)
	}
	add("candidate", isNamed, value, "wait for the next epoch")
	drawn := r.Phase == ledger.PhaseReveals || r.Phase == ledger.PhaseReady ||
		r.Phase == ledger.PhaseHandOver || r.Phase == ledger.PhaseCertified
	if !isNamed || !drawn {
		return
	}
	healthy := slices.ContainsFunc(r.Candidates,
		func(c rotation.Candidate) bool { return c.Node == node })
	add("healthy", healthy, map[bool]string{true: "members found it healthy",
		false: fmt.Sprintf("members did not find it healthy in epoch %d", r.Epoch)}[healthy],
		"see what they said: it has to answer at its peer port within a second or two, and be in "+
			"step with the chain; the next epoch's reports decide anew")
}

// obstacle says why a node cannot be drawn, and what ends that; "" when it can be.
func obstacle(conditions []telemetry.Condition) string {
	for _, c := range conditions {
		if !c.OK {
			return c.Value + ": " + c.Advice
		}
	}
	return ""
}
