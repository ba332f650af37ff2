package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// What members of a committee that rotates do, counted from blocks alone: what they earn by it, and
// what it costs to be absent.

// duties are those of the epochs that are not settled, ascending. The slice and what it holds are
// replaced when they change.
type duties []*epochDuties

type epochDuties struct {
	epoch uint32
	rows  []rollup.DutyRow // sorted, each node once; their rewards are 0
}

func (d duties) of(epoch uint32) []rollup.DutyRow {
	for _, x := range d {
		if x.epoch == epoch {
			return x.rows
		}
	}
	return nil
}

func compareDuty(d rollup.DutyRow, node uint32) int { return cmp.Compare(d.Node, node) }

// duty changes what the running epoch knows of some nodes, which ascend.
func (s *State) duty(nodes []uint32, change func(node uint32, d *rollup.DutyRow)) {
	epoch := s.epoch()
	next := &epochDuties{epoch: epoch, rows: slices.Clone(s.duties.of(epoch))}
	for _, node := range nodes {
		i, known := slices.BinarySearchFunc(next.rows, node, compareDuty)
		if !known {
			next.rows = slices.Insert(next.rows, i, rollup.DutyRow{Node: node})
		}
		change(node, &next.rows[i])
	}
	s.forgetDuties(epoch)
	s.duties = append(s.duties, next) // a clone: of the last epoch
}

func (s *State) forgetDuties(epoch uint32) {
	s.duties = slices.DeleteFunc(slices.Clone(s.duties),
		func(x *epochDuties) bool { return x.epoch == epoch })
	s.touch(key(prefixDuties, epoch))
}

// note adds flags of a member.
func (s *State) note(node uint32, flags rollup.DutyFlags) {
	s.duty([]uint32{node}, func(_ uint32, d *rollup.DutyRow) { d.Flags |= flags })
}

// countVotes counts the votes that a block carries for the one before it. A block without any asks
// nothing of anybody.
func (s *State) countVotes(voted []uint32) {
	if s.rotation == nil || len(voted) == 0 {
		return
	}
	members := s.terms.voting(s.height - 1).Members
	nodes := make([]uint32, len(members))
	seats := make(map[uint32]uint64, len(members))
	for i, m := range members {
		nodes[i], seats[m.Node] = m.Node, m.Power
	}
	said := make(map[uint32]bool, len(voted))
	for _, node := range voted {
		said[node] = true
	}
	s.duty(nodes, func(node uint32, d *rollup.DutyRow) {
		d.Blocks++
		d.Possible += seats[node]
		if said[node] {
			d.Points += seats[node]
		}
	})
}

// countHelp counts the signatures of a ticket of an earlier epoch, whose committee may have lost
// its seats since: who has none any more is paid for a block in which it helped as for a vote. By
// blocks and not by tickets, because a node can make as many of these as it likes.
func (s *State) countHelp(epoch uint32, signers rollup.Bitmap) {
	if s.rotation == nil || epoch == s.epoch() {
		return
	}
	votes := s.terms.voting(s.height - 1)
	members := s.terms.of(epoch).Members
	var nodes []uint32
	seats := make(map[uint32]uint64)
	for _, i := range signers.Positions() {
		m := &members[i]
		_, sits := votes.Position(m.Node)
		if _, counted := s.helped[m.Node]; sits || counted {
			continue
		}
		s.helped[m.Node] = struct{}{}
		nodes, seats[m.Node] = append(nodes, m.Node), m.Power
	}
	if len(nodes) > 0 {
		s.duty(nodes, func(node uint32, d *rollup.DutyRow) { d.Points += seats[node] })
	}
}

// reward divides among the committee what it gets of the protocol's part of a settlement, which
// account 0 has by now.
func (s *State) reward(epoch uint32, table *rollup.SettlementTable) {
	if s.rotation == nil {
		return
	}
	table.Duties = slices.Clone(s.duties.of(epoch))
	for i := range table.Duties {
		if d := &table.Duties[i]; len(s.nodes.at(d.Node).convictions) > 0 {
			d.Flags |= rollup.DutyConvicted
		}
	}
	given, err := rollup.Reward(table.Duties, table.DutyPool(s.params.Rotation.Reward))
	if err != nil {
		panic(fmt.Sprintf("ledger: block %d: %v", s.height, err)) // seats times blocks fit
	}
	s.move(0, func(m *money) { m.balance -= given })
	for i := range table.Duties {
		if d := &table.Duties[i]; d.Reward > 0 {
			s.pay(s.nodes.at(d.Node).owner, d.Reward)
		}
	}
	s.forgetDuties(epoch)
}

// jailAbsent jails who was absent in the epoch that is over. Who sits in jail already, or has left,
// gets no seat anyway.
func (s *State) jailAbsent() {
	if s.rotation == nil {
		return
	}
	epoch, p := s.epoch()-1, s.params.Rotation
	for _, d := range s.duties.of(epoch) {
		n := s.nodes.at(d.Node)
		if !d.Absent() || n.gone() || n.candidacy == nil || n.candidacy.jailed > 0 {
			continue
		}
		c := *n.candidacy
		c.absences = slices.DeleteFunc(slices.Clone(c.absences), func(e uint32) bool {
			return uint64(e)+uint64(p.EvidenceEpochs) < uint64(epoch)
		})
		jail := uint64(p.JailAbsent) << min(len(c.absences), 31)
		jail = min(jail, uint64(max(p.JailAbsent, p.EvidenceEpochs)))
		c.jailed = uint32(min(uint64(s.epoch())+jail, math.MaxUint32))
		c.absences = append(c.absences, epoch)
		s.replace(TreeNodes, uint64(d.Node))
		s.nodes.edit(s.gen, d.Node).candidacy = &c
		s.touch(indexKey(prefixNode, d.Node)) // its leaf
		s.touch(indexKey(prefixCandidacy, d.Node))
		s.events = append(s.events, Absent{Node: d.Node, Epoch: epoch, Jailed: c.jailed})
	}
}

// encode returns the record of an epoch's duties.
func (d duties) encode(epoch uint32) (b []byte) {
	for _, row := range d.of(epoch) {
		b = row.Append(b)
	}
	return b
}

var errDuties = errors.New("duties that cannot be")

func (s *restorer) loadDuties(epoch uint32, r *reader) error {
	x := &epochDuties{epoch: epoch}
	for len(r.B) > 0 {
		d, err := rollup.ParseDutyRow(r.Next(min(len(r.B), rollup.DutyRowSize)))
		if err != nil {
			return err
		}
		if last := len(x.rows) - 1; d.Reward != 0 || last >= 0 && x.rows[last].Node >= d.Node {
			return errDuties
		}
		x.rows = append(x.rows, d)
	}
	if len(x.rows) == 0 {
		return errDuties
	}
	s.duties = append(s.duties, x)
	return nil
}

// checkDuties checks what is known when all is loaded.
func (s *restorer) checkDuties() error {
	for _, x := range s.duties {
		last := x.rows[len(x.rows)-1].Node
		if x.epoch < s.unsettled || x.epoch > s.epoch() || !s.nodes.has(last) {
			return errDuties
		}
	}
	return nil
}

func ascend(list []uint32) bool {
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			return false
		}
	}
	return true
}

// Duties returns what members of the committee did in an epoch that is not settled, by node; in the
// one that runs, so far. Their rewards are 0: they come with the settlement. It is none where the
// committee does not rotate. What it returns must not be changed.
func (v *View) Duties(epoch uint32) []rollup.DutyRow { return v.duties.of(epoch) }
