package ledger

import (
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// market is a network with a payer, an honest node 0, and nodes 1 to 9 that are the payer's own, as
// is service 1. All that is paid goes to nodes.
func market(t *testing.T, reserve, allowance uint64) (*Genesis, *State, uint32) {
	t.Helper()
	g := testGenesis(4)
	g.Params.Shares = rollup.Shares{Node: 10000}
	g.Params.Allowance, g.Params.GraceSeconds = allowance, 120
	signGenesis(g)
	s := newState(t, g)
	net, payer := g.Network(), accountKey("payer")
	block(t, s, 1, time.Second,
		NewDeposit(net, accountKey("treasury"), 0, accountOf("payer"), 10_000),
		NewRegisterService(net, payer, 0, &ServiceRegistration{Price: 1 << 20, UnitCap: 1 << 20,
			Unit: "bytes"}),
		NewRegisterService(net, payer, 1, &ServiceRegistration{Price: 1 << 20, UnitCap: 1 << 20,
			Unit: "nothing"}),
		NewReserve(net, payer, 2, reserve))
	for i := range 9 {
		name := string(rune('a' + i))
		block(t, s, int64(2+i), time.Second, NewRegisterNode(net, payer, uint64(3+i),
			newNode(g, "payer", name, 1)))
	}
	index, _ := s.accountByKey(accountOf("payer"))
	return g, s, index
}

// bill executes a ticket of a node for one row of the payer, and returns what it took.
func bill(s *State, g *Genesis, key rollup.WindowKey, payer, service uint32, units uint64) Charge {
	h := rollup.NewHeader(g.Network(), key)
	h.Rows = []rollup.Row{{Payer: payer, Service: service, Acks: 1, Units: units}}
	(&Ticket{&rollup.Certificate{Header: *h}}).execute(s, 0, nil)
	e := s.events[len(s.events)-1].(Ordered)
	return e.Charges[0]
}

// TestDilution: a payer with a reserve of 1,000 is served for 1,000 by an honest node, and then
// bills itself by nodes of its own as much as it likes, in the last block before the settlement,
// after it took back all that it could. The honest node has its 1,000.
func TestDilution(t *testing.T) {
	for _, own := range []uint32{1, 3, 9} {
		g, s, payer := market(t, 1000, 1<<40)
		s.Begin(20, genesisTime.Add(2*time.Second))
		if c := bill(s, g, rollup.WindowKey{}, payer, 0, 1000); c != (Charge{1000, 1000, 1000}) {
			t.Fatalf("the honest node's row took %+v", c)
		}
		s.End()
		s.Begin(21, genesisTime.Add(100*time.Second))
		for node := range own {
			c := bill(s, g, rollup.WindowKey{Node: 1 + node}, payer, 1, 1_000_000)
			if c != (Charge{1_000_000, 1_000_000, 0}) {
				t.Errorf("the payer's own node %d took %+v", 1+node, c)
			}
		}
		s.End()
		block(t, s, 22, 300*time.Second)
		owner, _ := s.View().AccountByKey(accountOf("owner0"))
		if owner.Balance != 1000 {
			t.Errorf("with %d nodes of the payer's own, the honest one has %d", own, owner.Balance)
		}
	}
}

// TestEmptiedAtTheEnd: what a payer moves away in the last block before a settlement is not what
// was earned.
func TestEmptiedAtTheEnd(t *testing.T) {
	g, s, payer := market(t, 1000, 1<<40)
	net, key := g.Network(), accountKey("payer")
	s.Begin(20, genesisTime.Add(2*time.Second))
	bill(s, g, rollup.WindowKey{}, payer, 0, 600)
	s.End()
	nonce := s.accounts.at(payer).nonce
	block(t, s, 21, 50*time.Second, NewThaw(net, key, nonce, 400))
	s.Begin(22, genesisTime.Add(51*time.Second))
	if r := s.Apply(NewTransfer(net, key, nonce+1, accountOf("carol"), 9_000)); r.OK() {
		t.Error("thawed and committed money was moved")
	}
	// A window of this epoch that was on its way takes what thaws.
	if c := bill(s, g, rollup.WindowKey{Window: 1}, payer, 0, 300); c.Paid != 300 {
		t.Errorf("a window on its way took %+v", c)
	}
	s.End()
	block(t, s, 23, 61*time.Second)
	block(t, s, 24, 300*time.Second)
	owner, _ := s.View().AccountByKey(accountOf("owner0"))
	now, _ := s.View().Account(payer)
	if owner.Balance != 900 || now.Reserve != 0 || now.Thawing != 0 || now.Committed != 0 {
		t.Errorf("the node has %d of 900, the payer %+v", owner.Balance, now)
	}
}

// TestThief: with a stolen client key, a node and a service of his own, a thief rolls up as much as
// he likes, for every epoch that is not settled. He gets one allowance an epoch and node, and no
// ticket is executed for an epoch that is settled or has not begun. What his windows name is what
// members admit: no ack dated after the revocation, since the client is over then.
func TestThief(t *testing.T) {
	const allowance = 50
	g, s, payer := market(t, 9_000, allowance)
	net, key := g.Network(), accountKey("payer")
	nonce := s.accounts.at(payer).nonce
	grant := newGrant(g, "payer", payer, "stolen")
	block(t, s, 20, 2*time.Second, NewGrants(net, []Grant{grant}))
	var taken uint64
	window := uint32(0)
	steal := func(height int64, after time.Duration, epochs ...uint32) {
		s.Begin(height, genesisTime.Add(after))
		for _, epoch := range epochs {
			for range 3 { // any number of windows, in any order
				window++
				key := rollup.WindowKey{Node: 1, Epoch: epoch, Window: window}
				taken += bill(s, g, key, payer, 1, 40).Paid
			}
		}
		s.End()
	}
	steal(21, 10*time.Second, 0)
	if taken != allowance {
		t.Fatalf("one epoch brought %d, the allowance is %d", taken, allowance)
	}
	block(t, s, 22, 60*time.Second)
	block(t, s, 23, 61*time.Second, NewRevoke(net, key, nonce, []uint64{0}))
	client, _ := s.View().Client(0)
	if client.Until != 2 {
		t.Fatalf("revoked in epoch 1, valid until %d", client.Until)
	}
	// After the revocation: epochs 0 and 1, in which the client was valid, and no others.
	steal(24, 130*time.Second, 1, 0)
	steal(25, 150*time.Second, 0, 1)
	if want := uint64(2 * allowance); taken != want {
		t.Errorf("two epochs brought %d, not %d", taken, want)
	}
	now, _ := s.View().Account(payer)
	if now.Reserve != 9_000-2*allowance {
		t.Errorf("the reserve is %d", now.Reserve)
	}
	// A second node brings him as much again, and no more.
	s.Begin(26, genesisTime.Add(151*time.Second))
	for i := range uint32(3) {
		taken += bill(s, g, rollup.WindowKey{Node: 2, Epoch: 1, Window: i}, payer, 1, 1000).Paid
	}
	s.End()
	if want := uint64(3 * allowance); taken != want {
		t.Errorf("with a second node in one epoch he has %d, not %d", taken, want)
	}
}
