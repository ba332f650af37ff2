package ledger

import "testing"

// TestStakeStaysWhileWordsConvict: what a member unstaked is withdrawn no earlier than its words
// stop to convict it, and its unbonding time begins with the end of its last seat.
func TestStakeStaysWhileWordsConvict(t *testing.T) {
	g, r := rotatingGenesis(), testRotation
	r.EvidenceEpochs = 3
	g.Params.Rotation, g.Params.UnbondSeconds = &r, r.EvidenceSeconds
	signGenesis(g)
	c := newChain(t, g)
	c.plain = true
	joined(c, 4, 100*StakePerPower)
	drawn := func() uint32 {
		members := c.s.elected().Members
		return members[len(members)-1].Node
	}
	for range 20 {
		if c.epoch(nobody); drawn() > 3 {
			break
		}
	}
	node := drawn()
	if node <= 3 {
		t.Fatal("no node that joined was drawn")
	}
	withdraw := func() Result {
		nonce := c.s.accounts.at(c.s.nodes.at(node).owner).nonce
		return c.s.Check(NewWithdraw(g.Network(), accountKey("alice"), nonce, node))
	}
	c.block(0, func() []byte {
		n := c.s.nodes.at(node)
		return NewUnstake(g.Network(), accountKey("alice"), c.s.accounts.at(n.owner).nonce, node, n.stake)
	})
	unstaked := c.s.nodes.at(node).leaving.time
	var ended uint32 // the first epoch that a committee without it judges
	for range 20 {
		sat := c.s.sits(node)
		c.epoch(nobody)
		switch {
		case sat && !c.s.sits(node):
			ended = c.s.terms[len(c.s.terms)-1].epoch
			if l := c.s.nodes.at(node).leaving; l.time <= unstaked || l.epoch != ended {
				t.Fatalf("unbonding began at %d in epoch %d, at the unstaking", l.time, l.epoch)
			}
		case withdraw().OK():
			if ended == 0 || uint64(c.s.unsettled) <= uint64(ended)+3 {
				t.Fatalf("withdrawn with epoch %d unsettled, when words of epoch %d convict",
					c.s.unsettled, ended)
			}
			before := c.s.accounts.at(c.s.nodes.at(node).owner).balance
			c.block(0, func() []byte {
				nonce := c.s.accounts.at(c.s.nodes.at(node).owner).nonce
				return NewWithdraw(g.Network(), accountKey("alice"), nonce, node)
			})
			if got := c.s.accounts.at(c.s.nodes.at(node).owner).balance; got <= before {
				t.Fatalf("balance %d, was %d", got, before)
			}
			return
		case withdraw().Code != CodeTooEarly:
			t.Fatalf("withdraw: %v", withdraw())
		}
	}
	t.Fatalf("never withdrawn: %v", withdraw().Err)
}
