package ledger

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// stranded returns a chain that stands for good in the middle of an epoch, with charges of epochs
// that have not settled.
func stranded(t *testing.T, rotates bool) *chain {
	t.Helper()
	g := rotatingGenesis()
	if !rotates {
		g.Params.Rotation = nil
		signGenesis(g)
		c := &chain{t: t, g: g, s: newState(t, g), stored: storage{}, plain: true}
		c.fixed()
		return c
	}
	c := newChain(t, g)
	c.plain = true
	joined(c, 3, 100*StakePerPower)
	c.market()
	for range 5 {
		c.epoch(nobody)
		c.order(c.s.epoch(), 1<<20, 0xffff)
	}
	c.block(time.Second)
	return c
}

// fixed runs a network whose committee stays.
func (c *chain) fixed() {
	do := func(after time.Duration, change func(*State)) {
		c.s.Begin(c.s.height+1, at(c.s.time).Add(after))
		change(c.s)
		b := c.s.End()
		c.stored.write(b.Records)
	}
	do(time.Second, func(s *State) {
		payer, sum := s.addAccount(accountOf("payer")), uint64(1<<50)
		s.supply += sum
		s.pay(payer, sum)
		s.move(payer, func(m *money) { m.balance, m.reserve = 0, sum })
		s.addService(Service{Owner: payer, Price: 1 << 20, NextPrice: 1 << 20, UnitCap: 1 << 40,
			Unit: "bytes"})
	})
	for i := range uint32(8) {
		do(30*time.Second, func(s *State) {
			payer, _ := s.accountByKey(accountOf("payer"))
			h := rollup.NewHeader(c.g.Network(), rollup.WindowKey{Node: 1, Epoch: s.epoch(), Window: i})
			h.Rows = []rollup.Row{{Payer: payer, Acks: 1, Units: 1 << 20}}
			(&Ticket{&rollup.Certificate{Header: *h, Signers: rollup.NewBitmap(4)}}).execute(s, 0, nil)
		})
	}
}

// TestRecover: a network goes on as another one from the state in which it stood still. All that
// anybody has is there, what was ordered and had not settled settles exactly, committees go on to
// rotate, and a restart restores the same.
func TestRecover(t *testing.T) {
	for name, rotates := range map[string]bool{"fixed": false, "rotating": true} {
		t.Run(name, func(t *testing.T) { testRecover(t, stranded(t, rotates)) })
	}
}

func testRecover(t *testing.T, c *chain) {
	before := dump(c.s)
	owed := len(c.s.View().Credits(c.s.epoch()))
	if owed == 0 {
		t.Fatal("nothing was ordered of the last epoch")
	}
	nodes := []uint32{1, 3, 2}
	if c.s.rotation != nil {
		nodes = []uint32{5, 1, 4, 2}
	}
	begins := at(c.s.begin().time).Add(72 * time.Hour)
	g, err := c.s.Recovery(c.g, "recovered", begins, nodes)
	if err != nil {
		t.Fatal(err)
	}
	signGenesis(g)
	if again, err := ParseGenesis(g.Encode()); err != nil ||
		!bytes.Equal(again.Encode(), g.Encode()) || again.Network() != g.Network() ||
		g.Network() == c.g.Network() {
		t.Fatalf("the file: %v", err)
	}
	if c.s.rotation != nil {
		c.golden("recovered.json", g.Encode())
	}
	height, hash, records, consent, err := Recover(c.g, g, c.stored.all())
	if err != nil {
		t.Fatal(err)
	}
	if height != c.s.height || hash == c.s.appHash || consent.Enough() != (c.s.rotation == nil) {
		t.Errorf("height %d, hash %s, consent %v", height, hash, consent)
	}
	stored := storage{}
	stored.write(records)
	s, err := Restore(g, stored.all())
	if err != nil {
		t.Fatal(err)
	}
	if s.appHash != hash || s.height != height || s.View().Network() != g.Network() {
		t.Errorf("restored: height %d, hash %s", s.height, s.appHash)
	}
	if got := nodesOf(s.View().Committee()); len(got) == 0 ||
		slices.ContainsFunc(got, func(n uint32) bool { return !slices.Contains(nodes, n) }) {
		t.Errorf("committee %v of %v", got, nodes)
	}
	// What does not belong to the network is the same, record by record.
	after := dump(s)
	for _, k := range []byte{prefixAccount, prefixClient, prefixEpoch, prefixNode, prefixService,
		prefixProofKey, prefixConvictions, prefixSettlement, prefixWindows, prefixCredit,
		prefixConsensusKey, prefixCandidacy} {
		only := func(all map[string]string) map[string]string {
			some := map[string]string{}
			for name, v := range all {
				if name[0] == k {
					some[name] = v
				}
			}
			return some
		}
		if d := diff(only(before), only(after)); d != "" {
			t.Errorf("changed: %s", d)
		}
	}
	continues(t, c, g, s, stored)
}

// continues runs a recovered network until all of the one before has settled, and a while longer.
func continues(t *testing.T, c *chain, g *Genesis, s *State, stored storage) {
	unsettled, last := s.unsettled, s.epoch()
	owed := make(map[uint32]uint64)
	for epoch := unsettled; epoch <= last; epoch++ {
		for _, row := range c.s.View().Credits(epoch) {
			owed[epoch] += row.Paid
		}
	}
	next := &chain{t: t, g: g, s: s, stored: stored, plain: true,
		validators: map[uint32]uint64{}, coming: map[int64][]Validator{}, moved: map[uint32]int{},
		made: map[uint32]BLSSignature{}, duties: map[uint32]map[uint32]*rollup.DutyRow{}}
	check := func(b Block) {
		for _, e := range b.Events {
			if e, ok := e.(Settled); ok {
				_, _, paid := e.Settlement.Totals()
				if want, ours := owed[e.Settlement.Epoch]; ours && paid != want {
					t.Errorf("epoch %d pays %d, where %d were owed", e.Settlement.Epoch, paid, want)
				}
				delete(owed, e.Settlement.Epoch)
			}
		}
		stored.write(b.Records)
	}
	s.Begin(s.height+1, g.GenesisTime)
	check(s.End())
	if s.epoch() != last+1 {
		t.Fatalf("epoch %d runs after epoch %d", s.epoch(), last)
	}
	for range 12 {
		s.Begin(s.height+1, at(s.time).Add(10*time.Second))
		check(s.End())
		again, err := Restore(g, stored.all())
		if err != nil {
			t.Fatal(err)
		}
		if d := diff(dump(s), dump(again)); d != "" {
			t.Fatalf("block %d, restored:\n%s", s.height, d)
		}
	}
	if len(owed) > 0 {
		t.Errorf("epochs that never settled: %v", owed)
	}
	if s.rotation == nil {
		return
	}
	for _, m := range s.elected().Members {
		next.validators[m.Node] = m.Power
	}
	next.before = s.rotation.seats
	next.events = nil
	for range 6 {
		next.epoch(nobody)
	}
	if s.elected().Term < 4 {
		t.Errorf("term %d after six epochs: %v", s.elected().Term, next.skips())
	}
}

// TestRecoverRefuses: a genesis that does not follow from the state, in one thing each.
func TestRecoverRefuses(t *testing.T) {
	c := stranded(t, true)
	begins := at(c.s.begin().time).Add(time.Hour)
	for what, change := range map[string]func(*Genesis){
		"it is of network":                func(g *Genesis) { g.Checkpoint.Network[0] ^= 1 },
		"it is of height":                 func(g *Genesis) { g.Checkpoint.Height++ },
		"with the application hash":       func(g *Genesis) { g.Checkpoint.AppHash[0] ^= 1 },
		"as before":                       func(g *Genesis) { g.ChainID = c.g.ChainID },
		"treasury and params":             func(g *Genesis) { g.Params.Allowance++ },
		"genesis_time must not be before": func(g *Genesis) { g.GenesisTime = at(c.s.begin().time) },
		"other keys, stake":               func(g *Genesis) { g.Members[0].Stake++ },
		"there is no node":                func(g *Genesis) { g.Checkpoint.Nodes[2] = 77 },
		"it names none":                   func(g *Genesis) { g.Checkpoint = nil },
		"where the committee has":         func(g *Genesis) { g.Checkpoint.Nodes = []uint32{1} },
		"they do not ascend":              func(g *Genesis) { g.Checkpoint.Nodes = []uint32{1, 1, 2} },
	} {
		g, err := c.s.Recovery(c.g, "recovered", begins, []uint32{1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		change(g)
		if len(g.Members) == 3 && (g.Checkpoint == nil || len(g.Checkpoint.Nodes) == 3) {
			resign(g)
		}
		_, _, _, _, err = Recover(c.g, g, c.stored.all())
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if genesis := new(GenesisError); !errors.As(err, &genesis) && !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := c.s.Recovery(c.g, "recovered", begins, []uint32{99}); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("a node that there is not: %v", err)
	}
}

// resign signs as the nodes 1 to 3, whoever the genesis says that they are.
func resign(g *Genesis) {
	net := g.Network()
	for i := range g.Members {
		m, name := &g.Members[i], []string{"node1", "node2", "node3"}[i]
		m.Proof = prove(net, name, rollup.RoleNode, m.Owner)
		m.NodeSignature = SignNode(net, m.Owner, m.BLSKey, accountKey(name+" transport"))
	}
}
