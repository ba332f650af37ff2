package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// handed is what a network's blocks leave for light clients.
type handed struct {
	overs rotation.HandOvers
	draws rotation.Draws
}

// gather reads the events of blocks as a node does that serves light clients.
func (c *chain) gather() *handed {
	c.t.Helper()
	h := &handed{rotation.HandOvers{First: 1}, rotation.Draws{First: 1,
		Marks: make([]rotation.Mark, testRotation.Seats)}}
	shown := map[uint32]*rotation.Evidence{}
	var before rotation.Seats
	for _, e := range c.events {
		switch e := e.(type) {
		case SeatsDrawn:
			evidence := *e.Evidence
			shown[e.Epoch] = &evidence
		case SeatsFixed:
			shown[e.Epoch].Ready, shown[e.Epoch].Gone = e.Ready, e.Gone
		case HandedOver:
			if before == nil {
				before = e.Before
			}
			h.overs.Hops = append(h.overs.Hops, *e.Hop)
			h.draws.Terms = append(h.draws.Terms, *shown[e.Hop.Epoch])
		}
	}
	for _, node := range rotation.Newcomers(before, h.overs.Hops) {
		h.overs.Keys = append(h.overs.Keys, rotation.NodeKey{Node: node, Key: c.s.nodes.at(node).key})
	}
	return h
}

// follow has a light client follow the network from its genesis to the committee of now, and draws
// every seat on the way again.
func (c *chain) follow(h *handed) *rotation.Chain {
	c.t.Helper()
	chain := c.g.Terms()
	if err := chain.Extend(&h.overs, 1); err != nil {
		c.t.Fatal(err)
	}
	now, err := chain.Committee(chain.Last())
	if err != nil || now.Root() != c.s.elected().Root() || now.Term != c.s.elected().Term {
		c.t.Fatalf("it ends at another committee than term %d: %v", c.s.elected().Term, err)
	}
	seats, err := chain.Redraw(&h.draws, int(testRotation.TermEpochs))
	if err != nil {
		c.t.Fatal(err)
	}
	for i, seat := range seats {
		if seat != c.s.rotation.seats[i] {
			c.t.Fatalf("seat %d is drawn again as %v, not %v", i, seat, c.s.rotation.seats[i])
		}
	}
	return chain
}

// TestHandOvers: who has the genesis alone follows a network whose members come and go silent
// through every hand-over, and draws every seat again. The files stay as test values, with a
// settlement that a later committee signed.
func TestHandOvers(t *testing.T) {
	c := newChain(t, rotatingGenesis())
	joined(c, 3, 100*StakePerPower)
	c.market()
	for epoch := range 9 {
		silent := func(node uint32) bool { return node > 3 && (int(node)+epoch)%3 == 0 }
		c.votes = func(node uint32) bool { return node != 2 && !silent(node) }
		c.epoch(silent)
		c.order(c.s.epoch(), 1<<30+uint64(epoch), ^uint32(0))
	}
	h := c.gather()
	if len(h.overs.Hops) < 6 || len(h.overs.Keys) < 2 {
		t.Fatalf("%d hand-overs, %d new nodes", len(h.overs.Hops), len(h.overs.Keys))
	}
	chain := c.follow(h)
	settlement, record, certificate := c.signedSettlement()
	if err := chain.Verify(record, certificate); err != nil {
		t.Fatal(err)
	}
	if err := c.g.Terms().Verify(record, certificate); !errors.Is(err, rollup.ErrUnknownTerm) {
		t.Errorf("of term %d, with the genesis alone: %v", record.Term, err)
	}
	signed := append(record.Append(nil), certificate.Append(nil)[8:]...)
	c.golden("genesis.json", c.g.Encode())
	c.golden("hand-overs.wbx", c.file(5, h.overs.Append(nil)))
	c.golden("draws.wbx", c.file(6, h.draws.Append(nil)))
	c.golden("settlement.wbx", c.file(3, append(signed, settlement.Append(nil)...)))
}

// signedSettlement returns the last settlement, whose record a later committee signed.
func (c *chain) signedSettlement() (*rollup.SettlementTable, *rollup.Record,
	*rollup.RecordCertificate) {
	c.t.Helper()
	var table *rollup.SettlementTable
	var record *rollup.Record
	for _, e := range c.events {
		if e, settled := e.(Settled); settled {
			table = &e.Settlement.SettlementTable
		}
	}
	for _, r := range c.s.records {
		if r.Record.SettledEpoch != rollup.NoEpoch {
			record = &r.Record
		}
	}
	if err := table.Check(c.g.Params.Shares, c.g.Params.Rotation.Reward); err != nil {
		c.t.Fatal(err)
	}
	if table == nil || record == nil || record.Term == 0 {
		c.t.Fatalf("no settlement of a later term: %+v", record)
	}
	committee, _ := c.s.View().CommitteeAt(record.Term)
	nodes := nodesOf(committee)
	return table, record, &rollup.RecordCertificate{Height: record.Height,
		Signers: committee.Signers(nodes...), Signature: signNodes(record.Append(nil), nodes)}
}

func (c *chain) file(kind byte, body []byte) []byte {
	network := c.g.Network()
	return append(append(append([]byte("wb-exp/2"), network[:]...), kind), body...)
}

// golden holds a file of test values; -rewrite writes it.
func (c *chain) golden(name string, got []byte) {
	c.t.Helper()
	name = filepath.Join("../testdata/rotating", name)
	if *rewrite {
		if err := os.WriteFile(name, got, 0o666); err != nil {
			c.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		c.t.Errorf("%s is another file; -rewrite writes it", name)
	}
}

// TestHandOversThroughTrouble follows a network in which another node is silent in each epoch, and
// some epochs do not rotate.
func TestHandOversThroughTrouble(t *testing.T) {
	c := newChain(t, rotatingGenesis())
	joined(c, 3, 100*StakePerPower)
	for epoch := range uint32(7) {
		c.epoch(func(node uint32) bool { return node == epoch%7 || epoch%4 == 3 })
	}
	if h := c.gather(); len(h.overs.Hops) > 0 {
		c.follow(h)
	}
}
