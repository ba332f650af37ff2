package ledger

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// chain drives a rotating ledger block by block, and holds its invariants after each.
type chain struct {
	t      testing.TB
	g      *Genesis
	s      *State
	stored storage
	hashes []rollup.Hash
	// the engine's validators, by node; and what becomes of them at a height
	validators map[uint32]uint64
	coming     map[int64][]Validator
	moved      map[uint32]int // seats that moved, by term
	before     rotation.Seats
	term       uint32
	events     []Event
	restore    bool
	plain      bool // transactions are executed without their signatures
	made       map[uint32]BLSSignature

	// votes says whose votes blocks carry; nil: they carry none
	votes  func(node uint32) bool
	quiet  int                                   // blocks of an epoch in which nothing happens
	duties map[uint32]map[uint32]*rollup.DutyRow // by epoch and node, as the chain gives them
	window uint32                                // the next
	helped map[uint32]bool                       // in this block
}

func newChain(t testing.TB, g *Genesis) *chain {
	c := &chain{t: t, g: g, s: newState(t, g), stored: storage{},
		validators: map[uint32]uint64{}, coming: map[int64][]Validator{}, moved: map[uint32]int{},
		made: map[uint32]BLSSignature{}, duties: map[uint32]map[uint32]*rollup.DutyRow{}}
	for _, m := range c.s.elected().Members {
		c.validators[m.Node] = m.Power
	}
	c.before = c.s.rotation.seats
	return c
}

// block runs a block so much later, of transactions that are asked for when it has begun.
func (c *chain) block(after time.Duration, txs ...func() []byte) []Event {
	c.t.Helper()
	voters := c.voters()
	c.s.Begin(c.s.height+1, at(c.s.time).Add(after), voters...)
	c.voted(voters)
	for i, tx := range txs {
		raw := tx()
		if raw == nil {
			continue
		}
		if c.plain {
			c.execute(raw)
		} else if r := c.s.Apply(raw); !r.OK() {
			c.t.Fatalf("block %d, transaction %d: %v", c.s.height, i, r.Err)
		}
	}
	b := c.s.End()
	c.check(&b)
	return b.Events
}

// execute is Apply without signatures, which cost milliseconds.
func (c *chain) execute(raw []byte) {
	c.t.Helper()
	tx, err := ParseTx(raw)
	if err == nil {
		var sender *account
		if tx.Signed != nil {
			i, _ := c.s.accountByKey(tx.Signed.Sender)
			sender = c.s.accounts.at(i)
		}
		err = tx.Body.judge(&c.s.world, tx, sender)
	}
	if err != nil {
		c.t.Fatalf("block %d: %v", c.s.height, err)
	}
	c.s.execute(tx, new(Result))
}

// check holds the invariants of docs/rotation.md that a ledger can break.
func (c *chain) check(b *Block) {
	c.t.Helper()
	s := c.s
	c.events = append(c.events, b.Events...)
	c.hashes = append(c.hashes, b.AppHash)
	c.stored.write(b.Records)
	// 1: the supply is all there (End panics otherwise; here the long way)
	if sum, ok := s.sum(); !ok || sum != s.supply {
		c.t.Fatalf("block %d: %d of %d", s.height, sum, s.supply)
	}
	// 2 and 3: terms count up, and less than a third of the seats moves
	if term := s.elected().Term; term != c.term {
		moved := 0
		for i, seat := range s.rotation.seats {
			if seat.Holder != c.before[i].Holder {
				moved++
			}
		}
		if c.moved[term] = moved; term != c.term+1 || moved > c.before.MaxMoves() {
			c.t.Fatalf("term %d after %d moves %d seats", term, c.term, moved)
		}
		c.term, c.before = term, s.rotation.seats
	}
	// 4: the engine's validators are the committee in office
	if len(b.Validators) > 0 {
		c.coming[b.Height+2] = b.Validators
	}
	for _, v := range c.coming[b.Height+1] {
		if c.validators[v.Node] = v.Power; v.Power == 0 {
			delete(c.validators, v.Node)
		}
	}
	delete(c.coming, b.Height+1)
	office := s.View().Committee()
	if len(office.Members) != len(c.validators) {
		c.t.Fatalf("block %d: %d members, %d validators", s.height, len(office.Members),
			len(c.validators))
	}
	for _, m := range office.Members {
		if c.validators[m.Node] != m.Power {
			c.t.Fatalf("block %d: node %d has %d seats, and a power of %d", s.height, m.Node, m.Power,
				c.validators[m.Node])
		}
	}
	// 6: the record names who votes for the next block
	if b.Record != nil && b.Record.Record.Term != office.Term {
		c.t.Fatalf("block %d: a record of term %d, in office is %d", s.height, b.Record.Record.Term,
			office.Term)
	}
	c.checkDuties(b)
	// 8: what is stored is all there is
	if c.restore {
		again, err := Restore(c.g, c.stored.carried())
		if err != nil {
			c.t.Fatalf("block %d: %v", s.height, err)
		}
		if d := diff(dump(s), dump(again)); d != "" {
			c.t.Fatalf("block %d, restored:\n%s", s.height, d)
		}
		c.s = again
	}
}

// epoch runs one epoch in which some nodes are silent, from its first block to its last.
func (c *chain) epoch(silent func(node uint32) bool) {
	c.t.Helper()
	length := time.Duration(c.g.Params.EpochSeconds) * time.Second
	speak := func(nodes []uint32, tx func(uint32) []byte) (txs []func() []byte) {
		for _, node := range nodes {
			if !silent(node) {
				txs = append(txs, func() []byte { return tx(node) })
			}
		}
		return txs
	}
	c.block(at(c.s.begin().time).Add(length).Sub(at(c.s.time)))
	for range c.quiet {
		c.block(0)
	}
	members := nodesOf(c.s.elected())
	if c.s.rotation.phase != PhaseReports {
		return
	}
	c.block(0, speak(members, c.reportTx)...)
	c.block(length / 2)
	if c.s.rotation.phase == PhaseReveals {
		c.block(0, speak(members, c.revealTx)...)
	}
	c.block(0, speak(c.s.rotation.asked, c.readyTx)...)
	c.block(length * 3 / 10)
	if c.s.rotation.phase == PhaseHandOver {
		c.block(0, func() []byte { return c.handOverTx(members) })
	}
}

// joined has nodes registered, and standing, by one owner.
func joined(c *chain, count int, stake uint64) {
	c.t.Helper()
	net := c.g.Network()
	first := uint32(c.s.nodes.len())
	c.block(time.Second, func() []byte {
		return NewDeposit(net, accountKey("treasury"), 0, accountOf("alice"), uint64(count)*stake)
	})
	for i := range count {
		name := fmt.Sprint("node", first+uint32(i))
		c.block(0, func() []byte {
			return NewRegisterNode(net, accountKey("alice"), uint64(2*i),
				newNode(c.g, "alice", name, stake))
		}, func() []byte { return standTx(c.g, "alice", uint64(2*i+1), first+uint32(i)) })
	}
}

func nobody(uint32) bool { return false }

// rotatingGenesis has four members of equal stake, enough to be drawn from.
func rotatingGenesis() *Genesis {
	g := testGenesis(100, 100, 100, 100)
	g.Params.EpochSeconds, g.Params.GraceSeconds, g.Params.GraceBlocks = 60, 30, 3
	g.Params.Rotation = &testRotation
	signGenesis(g)
	return g
}

// TestCommitteeRotates has two nodes join four members. Everything is signed, and the state is
// restored after each block. In ten epochs each node has sat, and no seat was given without leave.
func TestCommitteeRotates(t *testing.T) {
	c := newChain(t, rotatingGenesis())
	c.restore = true
	joined(c, 2, 100*StakePerPower)
	sat := map[uint32]bool{}
	for range 8 {
		c.epoch(nobody)
		for _, node := range nodesOf(c.s.elected()) {
			sat[node] = true
		}
	}
	if c.s.elected().Term < 6 || len(sat) != 6 {
		t.Errorf("term %d, %v have sat", c.s.elected().Term, sat)
	}
	for _, e := range c.events {
		if e, skipped := e.(RotationSkipped); skipped {
			t.Errorf("epoch %d: %s", e.Epoch, e.Why)
		}
	}
	// what each epoch is judged by stays the same while it is not settled
	v := c.s.View()
	for epoch := v.NextToSettle(); epoch < v.Epoch(); epoch++ {
		if a, b := v.CommitteeOf(epoch).Term, v.CommitteeOf(epoch+1).Term; b < a || b > a+1 {
			t.Errorf("epoch %d is judged by term %d, the next by %d", epoch, a, b)
		}
	}
}

// TestRotationIsSame: without and with restoring, the same blocks give the same hashes.
func TestRotationIsSame(t *testing.T) {
	run := func(restore bool) []rollup.Hash {
		c := newChain(t, rotatingGenesis())
		c.restore, c.plain = restore, true
		joined(c, 3, 50*StakePerPower)
		for range 5 {
			c.epoch(nobody)
		}
		return c.hashes
	}
	if !slices.Equal(run(false), run(true)) {
		t.Error("restoring changed what came after")
	}
}

// skips returns the epochs that were skipped, and why.
func (c *chain) skips() (why []Skip) {
	for _, e := range c.events {
		if e, skipped := e.(RotationSkipped); skipped {
			why = append(why, e.Why)
		}
	}
	return why
}

// TestWithheldReveal: who announces and withholds pays, is jailed, and the next round goes on
// without it; it sits again when its time is over and its owner asks.
func TestWithheldReveal(t *testing.T) {
	c := newChain(t, rotatingGenesis())
	joined(c, 2, 100*StakePerPower)
	c.epoch(nobody)
	c.block(at(c.s.begin().time).Add(60 * time.Second).Sub(at(c.s.time)))
	members := nodesOf(c.s.elected())
	for _, node := range members {
		c.block(0, func() []byte { return reportTx(c.g, c.s, node) })
	}
	c.block(30 * time.Second)
	bad := members[1]
	for _, node := range members {
		if node != bad {
			c.block(0, func() []byte { return revealTx(c.g, c.s, node) })
		}
	}
	first := c.s.beacon()
	for c.s.rotation.round == 0 && c.s.rotation.phase == PhaseReveals {
		c.block(time.Second)
	}
	stake := c.s.nodes.at(bad).stake
	if c.s.rotation.round != 1 || string(c.s.beacon()) == string(first) ||
		stake != 99*StakePerPower || c.s.nodes.at(bad).candidacy.jailed != c.s.epoch()+3 {
		t.Fatalf("round %d, stake %d, %+v", c.s.rotation.round, stake, c.s.nodes.at(bad).candidacy)
	}
	if r := c.s.Check(revealTx(c.g, c.s, bad)); r.Code != CodeNoMember {
		t.Errorf("late: %v", r.Err)
	}
	for _, node := range members {
		if node != bad && c.s.rotation.phase == PhaseReveals {
			c.block(0, func() []byte { return revealTx(c.g, c.s, node) })
		}
	}
	if c.s.rotation.phase != PhaseReady || c.s.rotation.candidates.Len() != 6 {
		t.Fatalf("%s, %d candidates", c.s.rotation.phase, c.s.rotation.candidates.Len())
	}
	owner := c.s.accounts.at(c.s.nodes.at(bad).owner)
	name := fmt.Sprint("owner", bad)
	if bad > 3 {
		name = "alice"
	}
	unjail := func() []byte { return NewUnjail(c.g.Network(), accountKey(name), owner.nonce, bad) }
	if r := c.s.Check(unjail()); r.Code != CodeTooEarly {
		t.Errorf("at once: %v", r.Err)
	}
	for range 4 {
		c.epoch(func(node uint32) bool { return node == bad })
		if c.s.rotation.candidates != nil && c.s.rotation.candidates.Has(bad) {
			t.Error("a jailed node can be drawn")
		}
	}
	c.block(0, unjail)
	if r := c.s.Check(NewUnjail(c.g.Network(), accountKey(name), owner.nonce+1,
		bad)); r.Code != CodeNotNow {
		t.Errorf("again: %v", r.Err)
	}
	if c.s.weight(bad) == 0 {
		t.Error("it cannot be drawn after that")
	}
}

// TestRotationFails: an epoch that cannot rotate leaves the seats as they are, says why, and the
// next one tries again.
func TestRotationFails(t *testing.T) {
	c := newChain(t, rotatingGenesis())
	joined(c, 2, 100*StakePerPower)
	c.epoch(func(uint32) bool { return true }) // nobody reports
	c.epoch(nobody)
	term := c.s.elected().Term
	// no reveal comes, until the epoch is over
	c.block(at(c.s.begin().time).Add(60 * time.Second).Sub(at(c.s.time)))
	members := nodesOf(c.s.elected())
	for _, node := range members {
		c.block(0, func() []byte { return reportTx(c.g, c.s, node) })
	}
	c.block(30 * time.Second)
	c.block(20 * time.Second)
	// a certificate that comes late hands over in its own block, for the epochs from the next one on
	c.epoch(nobody)
	want := []Skip{SkipFewReports, SkipLate}
	if got := c.skips(); !slices.Equal(got, want) {
		t.Errorf("skipped: %v, not %v", got, want)
	}
	if c.s.elected().Term != term+1 {
		t.Errorf("term %d, then %d", term, c.s.elected().Term)
	}
}

// untilHandOver begins an epoch, and goes on until its hand-over waits for the signatures of the
// members that it returns.
func (c *chain) untilHandOver() (members []uint32) {
	c.block(at(c.s.begin().time).Add(60 * time.Second).Sub(at(c.s.time)))
	members = nodesOf(c.s.elected())
	txs := func(tx func(uint32) []byte, nodes []uint32) (all []func() []byte) {
		for _, node := range nodes {
			all = append(all, func() []byte { return tx(node) })
		}
		return all
	}
	c.block(0, txs(c.reportTx, members)...)
	c.block(30 * time.Second)
	c.block(0, txs(c.revealTx, members)...)
	c.block(0, txs(c.readyTx, c.s.rotation.asked)...)
	c.block(18 * time.Second)
	return members
}

// TestLateHandOver: a certificate that is not there when the epoch ends hands over in the block
// that has it.
func TestLateHandOver(t *testing.T) {
	c := newChain(t, rotatingGenesis())
	c.restore = true
	joined(c, 2, 100*StakePerPower)
	c.epoch(nobody)
	members := c.untilHandOver()
	for _, few := range [][]uint32{nil, members[:1]} {
		if r := c.s.Check(handOverTx(c.g, c.s, few...)); r.Code != CodeNoQuorum {
			t.Errorf("by %v: %v", few, r.Err)
		}
	}
	term, epoch := c.s.elected().Term, c.s.epoch()
	began := c.s.snapshotHeight()
	for name, snapshot := range map[string]Snapshot{"none": {}, "of no bytes": {Height: began},
		"of another block": {Height: began + 1, Bytes: 1}, "of no block": {Bytes: 1},
		"of no block, with a root": {Root: rollup.Hash{1}}} {
		h := &HandOver{Term: term + 1, Snapshot: snapshot, Signers: c.s.elected().Signers(members...)}
		if r := c.s.Check(NewHandOver(c.g.Network(), h)); r.Code != CodeOutOfRange {
			t.Errorf("a snapshot %s: %v", name, r.Err)
		}
	}
	if next, height, ok := c.s.View().HandOver(); next != term+1 || height != began || !ok {
		t.Errorf("members sign the snapshot of block %d, of the hand-over to term %d", height, next)
	}
	c.block(12 * time.Second) // the epoch is over
	if _, height, ok := c.s.View().HandOver(); height != 0 || !ok {
		t.Errorf("members still sign the snapshot of block %d", height)
	}
	if c.s.epoch() != epoch+1 || c.s.elected().Term != term {
		t.Fatalf("epoch %d, term %d", c.s.epoch(), c.s.elected().Term)
	}
	c.block(time.Second, func() []byte { return handOverTx(c.g, c.s, members...) })
	v := c.s.View()
	if v.Elected().Term != term+1 || v.Committee().Term != term ||
		v.CommitteeOf(epoch+1).Term != term || v.CommitteeOf(epoch+2).Term != term+1 {
		t.Errorf("elected %d, in office %d; epochs are judged by %d and %d", v.Elected().Term,
			v.Committee().Term, v.CommitteeOf(epoch+1).Term, v.CommitteeOf(epoch+2).Term)
	}
	c.block(time.Second)
	if c.s.View().Committee().Term != term+1 {
		t.Error("it is not in office two blocks later")
	}
	if got := c.skips(); !slices.Equal(got, []Skip{SkipUncertified}) {
		t.Errorf("skipped: %v", got)
	}
	c.epoch(nobody)
	if c.s.elected().Term != term+1 { // it hands over when the epoch ends
		t.Errorf("term %d", c.s.elected().Term)
	}
}

var histories = flag.Int("histories", 1, "of rotating committees, 120 epochs each")

// TestManyEpochs lets nodes come, go, be silent, withhold and be convicted at random, for hundreds
// of epochs, with the invariants held after every block.
func TestManyEpochs(t *testing.T) {
	for seed := range uint64(*histories) {
		rng := rand.New(rand.NewPCG(seed, 5))
		c := newChain(t, rotatingGenesis())
		c.plain = true
		joined(c, 12, 50*StakePerPower)
		c.market()
		off := map[uint32]bool{}
		for epoch := range 120 {
			for node := range c.s.nodes.size() {
				if off[node] = off[node] && rng.IntN(3) > 0; rng.IntN(20) == 0 {
					off[node] = true
				}
			}
			c.restore, c.quiet = epoch%40 == 7, 0
			if epoch%4 == 0 { // long enough for absences
				c.quiet = rollup.AbsentBlocks
			}
			c.votes = func(node uint32) bool { return !off[node] }
			c.epoch(func(node uint32) bool { return off[node] })
			c.churn(rng)
			c.order(epochOf(c, rng), rng.Uint64N(1<<40), rng.Uint32())
		}
		if term := c.s.elected().Term; term < 60 {
			t.Errorf("seed %d: term %d after 120 epochs: %v", seed, term, c.skips())
		}
		c.checkAbsences(seed)
		if len(c.s.terms) > 122 || c.s.rotation.past.Count() != c.s.elected().Term+1 {
			t.Errorf("seed %d: %d terms are kept", seed, len(c.s.terms))
		}
	}
}

// churn has a node leave, come out of jail, or be convicted.
func (c *chain) churn(rng *rand.Rand) {
	net := c.g.Network()
	node := uint32(rng.IntN(c.s.nodes.len()))
	n := c.s.nodes.at(node)
	name := fmt.Sprint("owner", node)
	if node > 3 {
		name = "alice"
	}
	nonce := c.s.accounts.at(n.owner).nonce
	var tx []byte
	switch {
	case n.candidacy.jailed > 0 && c.s.epoch() >= n.candidacy.jailed:
		tx = NewUnjail(net, accountKey(name), nonce, node)
	case rng.IntN(40) == 0 && n.until == Forever && node > 8:
		tx = NewUnstake(net, accountKey(name), nonce, node, n.stake)
	case n.leaving.amount > 0:
		raw := NewWithdraw(net, accountKey(name), nonce, node)
		if c.s.Check(raw).OK() {
			if c.s.sits(node) {
				c.t.Fatal("a stake leaves that a vote stands on")
			}
			tx = raw
		}
	}
	c.block(0, func() []byte { return tx })
}
