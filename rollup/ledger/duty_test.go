package ledger

import (
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// working is a chain of four nodes and those that join, on which somebody pays. An epoch has blocks
// enough for an absence.
func working(t *testing.T, joining int) *chain {
	c := newChain(t, rotatingGenesis())
	c.plain, c.quiet = true, rollup.AbsentBlocks
	joined(c, joining, 100*StakePerPower)
	c.market()
	c.votes = func(uint32) bool { return true }
	return c
}

// settledDuties returns what settlements say of a node, by epoch, in their order.
func (c *chain) settledDuties(node uint32) (list []rollup.DutyRow) {
	for _, e := range c.events {
		if e, settled := e.(Settled); settled {
			for _, d := range e.Settlement.Duties {
				if d.Node == node {
					list = append(list, d)
				}
			}
		}
	}
	return list
}

// TestSilentEarnsNothing: a member that never votes earns nothing and is jailed, one that votes and
// does not report earns nothing and is not jailed, and the others have all but what is left over.
func TestSilentEarnsNothing(t *testing.T) {
	c := working(t, 2)
	c.votes = func(node uint32) bool { return node != 1 }
	for range 6 {
		c.epoch(func(node uint32) bool { return node == 2 })
		c.order(c.s.epoch(), 1<<30, 0)
	}
	var others uint64
	for _, node := range []uint32{0, 3, 4, 5} {
		for _, d := range c.settledDuties(node) {
			others += d.Reward
		}
	}
	if others == 0 {
		t.Fatal("nobody earned anything")
	}
	for node, why := range map[uint32]string{1: "votes", 2: "report"} {
		for _, d := range c.settledDuties(node) {
			if d.Reward != 0 && (why == "votes" || d.Flags&rollup.DutyAsked != 0) {
				t.Errorf("node %d has no %s, and earned: %+v", node, why, d)
			}
		}
	}
	if c.s.nodes.at(1).candidacy.jailed == 0 || c.s.nodes.at(2).candidacy.jailed != 0 {
		t.Errorf("jailed: %+v, %+v", c.s.nodes.at(1).candidacy, c.s.nodes.at(2).candidacy)
	}
	for _, e := range c.events {
		if e, absent := e.(Absent); absent && e.Node != 1 {
			t.Errorf("%+v", e)
		}
	}
}

// TestAbsenceDoubles: each absence that is remembered doubles the next time in jail, up to the
// epochs of evidence; jailed for it nobody is until its owner took it out.
func TestAbsenceDoubles(t *testing.T) {
	g := rotatingGenesis()
	rotation := testRotation
	rotation.EvidenceEpochs = 3
	g.Params.Rotation = &rotation
	signGenesis(g)
	c := newChain(t, g)
	absent := func(epoch, jailed uint32) uint32 {
		n := c.s.nodes.edit(c.s.gen, 0)
		candidacy := *n.candidacy
		candidacy.jailed = jailed
		n.candidacy = &candidacy
		c.s.unsettled, c.s.starts = epoch, []start{{}, {}}
		c.s.duties = duties{{epoch, []rollup.DutyRow{
			{Blocks: rollup.AbsentBlocks, Points: 9, Possible: 40}}}}
		c.s.jailAbsent()
		return c.s.nodes.at(0).candidacy.jailed
	}
	for i, want := range []struct{ epoch, jailed, until uint32 }{
		{10, 0, 12}, // one epoch, after the one that begins
		{11, 12, 12},
		{12, 0, 15}, // the second
		{13, 0, 17}, // the third: four, where three is the most
		{17, 0, 19}, // all are forgotten
		{18, 1, 1},  // it is jailed, though its time is over
		{20, 0, 23}, // of 17 is remembered
		{100, 0, 102},
	} {
		if got := absent(want.epoch, want.jailed); got != want.until {
			t.Errorf("%d: absent in epoch %d: jailed until %d, not %d", i, want.epoch, got, want.until)
		}
	}
}

// TestFrame: who proposes a third of the blocks, and leaves a member's votes out of all of them,
// neither has it jailed nor takes the reward from it.
func TestFrame(t *testing.T) {
	c := working(t, 2)
	c.votes = func(node uint32) bool { return node != 3 || c.s.height%3 != 0 }
	for range 5 {
		c.epoch(nobody)
		c.order(c.s.epoch(), 1<<30, 0)
	}
	for _, e := range c.events {
		if e, absent := e.(Absent); absent {
			t.Errorf("%+v", e)
		}
	}
	rows := c.settledDuties(3)
	if len(rows) == 0 {
		t.Fatal("it is no member")
	}
	for _, d := range rows {
		if d.Blocks > rollup.AbsentBlocks && !d.Counts() {
			t.Errorf("%+v does not count", d)
		}
	}
}

// TestHelpInTheGrace: members that lost their seats earn by tickets of what they judge, one that
// sits does not, and nobody more than once a block.
func TestHelpInTheGrace(t *testing.T) {
	c := working(t, 20)
	c.s.params.GraceSeconds = 240 // four epochs
	for range 9 {
		c.epoch(nobody)
	}
	for epoch := c.s.unsettled; epoch < c.s.epoch(); epoch++ {
		c.order(epoch, 1<<20, ^uint32(0))
	}
	helped := false
	votes := c.s.terms.voting(c.s.height)
	for _, d := range c.s.duties.of(c.s.epoch()) {
		if _, sits := votes.Position(d.Node); !sits && d.Possible == 0 {
			helped = helped || d.Points > 0
		}
		if want := c.row(d.Node); want.Points != d.Points || want.Possible != d.Possible {
			t.Errorf("%+v, not %+v", d, want)
		}
	}
	if !helped {
		t.Error("nobody lost all seats")
	}
}

// TestVotesOfFixedCommittee: where nothing rotates, votes change nothing.
func TestVotesOfFixedCommittee(t *testing.T) {
	run := func(voted ...uint32) (hashes []rollup.Hash) {
		s := newState(t, testGenesis(1, 1, 1))
		for height := range int64(20) {
			s.Begin(height+1, genesisTime.Add(time.Duration(height)*30*time.Second), voted...)
			b := s.End()
			hashes = append(hashes, b.AppHash)
		}
		return hashes
	}
	if !slices.Equal(run(), run(0, 1, 2)) {
		t.Error("another state")
	}
}

// TestUnknownVotes: votes of nodes that were not to vote, or twice of one, count nothing.
func TestUnknownVotes(t *testing.T) {
	c := working(t, 2)
	c.s.Begin(c.s.height+1, at(c.s.time), 0, 0, 77)
	for _, d := range c.s.duties.of(c.s.epoch()) {
		voted := d.Node == 0
		if d.Blocks == 0 || voted != (d.Points > 0) && d.Points*2 > d.Possible {
			t.Errorf("%+v", d)
		}
		if d.Points > d.Possible {
			t.Errorf("more than possible: %+v", d)
		}
	}
	c.s.End()
}
