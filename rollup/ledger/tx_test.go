package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// scene is a network in epoch 4 with an account, a service and a client, of which epochs 0 to 2 are
// settled, 0 with a certificate, and a node 0 that ordered window 0 of epoch 4. Of node 3's stake
// 5 left and came back, and 5 more left.
func scene(t testing.TB) (*Genesis, *State) {
	g := testGenesis(4, 4, 4, 4)
	g.Params.ServeStake, g.Params.GrantFee = 1, 1
	g.Members[3].Stake += 20
	signGenesis(g)
	s := newState(t, g)
	net := g.Network()
	block(t, s, 1, time.Second,
		NewDeposit(net, accountKey("treasury"), 0, accountOf("alice"), 1000),
		NewRegisterService(net, accountKey("alice"), 0,
			&ServiceRegistration{Price: 1 << 20, UnitCap: 100, Unit: "bytes"}),
		NewReserve(net, accountKey("alice"), 1, 300),
		NewGrants(net, []Grant{newGrant(g, "alice", 5, "one")}),
		NewUnstake(net, accountKey("owner3"), 0, 3, 5))
	var height int64 = 2
	for i := range 4 {
		after, txs := time.Duration(i+1)*70*time.Second, [][]byte(nil)
		if i == 2 {
			txs = [][]byte{NewWithdraw(net, accountKey("owner3"), 1, 3),
				NewUnstake(net, accountKey("owner3"), 2, 3, 5)}
		}
		block(t, s, height, after, txs...)
		block(t, s, height+1, after+10*time.Second)
		height += 2
	}
	block(t, s, height, 300*time.Second,
		NewRecordCertificate(net, recordCertificate(g, settledIn(&s.world, 0), 0, 1, 2)),
		NewTicket(net, certificate(g, rollup.WindowKey{Epoch: 4}, goodRows, 0, 1, 2)),
		NewDeposit(net, accountKey("treasury"), 1, accountOf("carol"), 5))
	if s.epoch() != 4 || s.unsettled != 4 {
		t.Fatalf("the scene is in epoch %d, unsettled %d", s.epoch(), s.unsettled)
	}
	return g, s
}

// alice comes after protocol and four owners
var goodRows = []rollup.Row{{Payer: 5, Service: 0, Acks: 1, Units: 2}}

// goodTxs are transactions that the scene executes, of every kind.
func goodTxs(g *Genesis, s *State) [][]byte {
	net, alice := g.Network(), accountKey("alice")
	return [][]byte{
		NewDeposit(net, accountKey("treasury"), 2, accountOf("bob"), 7),
		NewTransfer(net, alice, 2, accountOf("bob"), 7),
		NewRegisterNode(net, alice, 2, newNode(g, "alice", "edge", 5)),
		NewRegisterService(net, alice, 2,
			&ServiceRegistration{Price: 3, UnitCap: 9, Unit: "requests"}),
		NewGrants(net, []Grant{newGrant(g, "alice", 5, "two")}),
		NewRevoke(net, alice, 2, []uint64{0}),
		NewTicket(net,
			certificate(g, rollup.WindowKey{Node: 1, Epoch: 4, Window: 9}, goodRows, 1, 2, 3)),
		NewRecordCertificate(net, recordCertificate(g, settledIn(&s.world, 1), 0, 2, 3)),
		NewEvidence(net, twoRollups(g, rollup.WindowKey{Node: 2, Epoch: 4, Window: 9})),
		NewUnstake(net, accountKey("owner3"), 3, 3, 5),
		NewWithdraw(net, accountKey("owner3"), 3, 3),
		NewAddStake(net, accountKey("owner3"), 3, 3, 5),
		NewReserve(net, alice, 2, 400),
		NewThaw(net, alice, 2, 100),
		NewAllowance(net, alice, 2, 77),
		NewLowerPrice(net, alice, 2, 0, 1<<19),
		NewProofKey(net, proofKey(g, ProofKeyTerm{256, rollup.Hash{1}, 28, 99}, 0, 1, 2)),
		NewPlan(net, plan(g, 0, Upgrade{3, 28, "two point one"}, 0, 1, 2)),
	}
}

func TestGoodTransactions(t *testing.T) {
	g, s := scene(t)
	for _, tx := range goodTxs(g, s) {
		_, s = scene(t)
		kind := KindOf(tx)
		if r := s.Check(tx); !r.OK() || r.Kind != kind {
			t.Errorf("%s: checked: %+v", kind, r)
		}
		s.Begin(100, genesisTime.Add(301*time.Second))
		r := s.Apply(tx)
		if !r.OK() || r.Kind != kind {
			t.Errorf("%s: applied: %+v", kind, r)
		}
		if r := s.Apply(tx); r.OK() {
			t.Errorf("%s: replayed", kind)
		}
		s.End()
	}
}

// ofRotations are the codes that only a committee that rotates has: testdata/rotation.txt.
var ofRotations = map[TxCode]bool{CodeNotNow: true, CodeNoMember: true, CodeSaidBefore: true,
	CodeBadAudit: true}

// TestBadTransactions gives each code what it is for. Nothing that fails changes anything, or
// leaves something behind that would let it pass the next time.
func TestBadTransactions(t *testing.T) {
	g, s := scene(t)
	net, alice, bob := g.Network(), accountKey("alice"), accountOf("bob")
	treasury := accountKey("treasury")
	granted := func(changes ...func(*Grant)) []byte {
		return NewGrants(net, []Grant{newGrant(g, "alice", 5, "two", changes...)})
	}
	node := func(change func(*NodeRegistration)) []byte {
		n := newNode(g, "alice", "edge", 1)
		change(n)
		return NewRegisterNode(net, alice, 2, n)
	}
	window := rollup.WindowKey{Node: 1, Epoch: 4, Window: 1}
	cert := func(mutate func(*rollup.Certificate)) []byte {
		c := certificate(g, window, goodRows, 0, 1, 2)
		mutate(c)
		return NewTicket(net, c)
	}
	record := func(epoch uint32, mutate func(*rollup.RecordCertificate)) []byte {
		c := recordCertificate(g, settledIn(&s.world, epoch), 0, 1, 2)
		mutate(c)
		return NewRecordCertificate(net, c)
	}
	key := func(change func(*ProofKeyChange)) []byte {
		k := proofKey(g, ProofKeyTerm{256, rollup.Hash{1}, 28, 99}, 0, 1, 2)
		change(k)
		return NewProofKey(net, k)
	}
	planned := func(change func(*Plan)) []byte {
		p := plan(g, 0, Upgrade{3, 28, "v"}, 0, 1, 2)
		change(p)
		return NewPlan(net, p)
	}
	convicted := NewEvidence(net, twoRollups(g, rollup.WindowKey{Node: 3}))
	owner := accountKey("owner3")
	block(t, s, 50, 300*time.Second, convicted,
		NewRegisterNode(net, owner, 3, newNode(g, "owner3", "brief", 5)),
		NewUnstake(net, owner, 4, 4, 5))
	changed := *settledIn(&s.world, 1)
	changed.SettlementRoot = rollup.Hash{1}
	other := rollup.NetworkOf([]byte("another"))
	flip := func(tx []byte, at int) []byte {
		tx = bytes.Clone(tx)
		if at < 0 {
			at += len(tx)
		}
		tx[at] ^= 1
		return tx
	}
	transfer := NewTransfer(net, alice, 2, bob, 7)
	zeroKey := bytes.Clone(transfer)
	copy(zeroKey[txHead:], make([]byte, 32))
	tests := []struct {
		name string
		code TxCode
		tx   []byte
	}{
		{"nothing", CodeMalformed, nil},
		{"another tag", CodeMalformed, flip(transfer, 0)},
		{"kind 0", CodeMalformed, head(net, 0)},
		{"kind 21", CodeMalformed, append(head(net, 21), transfer[txHead:]...)},
		{"a byte left over", CodeMalformed, append(bytes.Clone(transfer), 0)},
		{"oversized", CodeMalformed, make([]byte, MaxTxSize+1)},
		{"no grants", CodeMalformed, NewGrants(net, nil)},
		{"no clients", CodeMalformed, NewRevoke(net, alice, 2, nil)},
		{"a client named twice", CodeMalformed, NewRevoke(net, alice, 2, []uint64{0, 0})},
		{"unprintable name", CodeMalformed, NewRegisterService(net, alice, 2,
			&ServiceRegistration{UnitCap: 1, Unit: "a\n"})},
		{"no address", CodeMalformed, NewRegisterNode(net, alice, 2, &NodeRegistration{})},
		{"rows of other acks", CodeMalformed, cert(func(
			c *rollup.Certificate) {
			c.Header.AckCount = 2
		})},
		{"rows unsorted", CodeMalformed, cert(func(c *rollup.Certificate) {
			c.Header.Rows = append(
				c.Header.Rows, goodRows[0])
		})},
		{"no rows", CodeMalformed, cert(func(c *rollup.Certificate) { c.Header.Rows = nil })},
		{"a statements part", CodeMalformed, cert(func(
			c *rollup.Certificate) {
			c.Header.StatementCount = 1
		})},
		{"no bitmap", CodeMalformed, cert(func(c *rollup.Certificate) { c.Signers = nil })},

		{"another network", CodeWrongNetwork, NewTransfer(other, alice, 2, bob, 7)},
		{"a header of another network", CodeWrongNetwork,
			cert(func(c *rollup.Certificate) { c.Header.Network = other })},

		{"amount changed", CodeBadSignature, flip(transfer, -72)},
		{"signature changed", CodeBadSignature, flip(transfer, -1)},
		{"a deposit by alice", CodeBadSignature, NewDeposit(net, alice, 2, bob, 7)},
		{"a deposit made a transfer", CodeUnknownAccount,
			append(head(net, KindTransfer), NewDeposit(net, treasury, 2, bob, 7)[txHead:]...)},
		{"the zero key", CodeUnknownAccount, zeroKey},
		{"a stranger", CodeUnknownAccount, NewTransfer(net, accountKey("stranger"), 0, bob, 7)},
		{"nonce below", CodeBadNonce, NewTransfer(net, alice, 1, bob, 7)},
		{"nonce far ahead", CodeBadNonce, NewTransfer(net, alice, 2+PendingNonces+1, bob, 7)},
		{"deposit replayed", CodeBadNonce, NewDeposit(net, treasury, 0, accountOf("alice"), 1000)},

		{"more than there is", CodeInsufficientBalance, NewTransfer(net, alice, 2, bob, 1001)},
		{"more stake than there is", CodeInsufficientBalance,
			node(func(n *NodeRegistration) { n.Stake = 1001 })},
		{"less stake than serves", CodeInsufficientStake,
			node(func(n *NodeRegistration) { n.Stake = 0 })},
		{"more than there is to reserve", CodeInsufficientBalance, NewReserve(net, alice, 2, 1000)},
		{"more than is reserved", CodeInsufficientReserve, NewThaw(net, alice, 2, 300)},
		{"stake of another's node", CodeNotOwner, NewAddStake(net, alice, 2, 3, 1)},
		{"another's stake", CodeNotOwner, NewUnstake(net, alice, 2, 3, 1)},
		{"what left another's node", CodeNotOwner, NewWithdraw(net, alice, 2, 3)},
		{"the stake of no node", CodeUnknownNode, NewUnstake(net, alice, 2, 9, 1)},
		{"more stake than is free", CodeInsufficientBalance,
			NewAddStake(net, owner, 5, 3, 6)},
		{"stake of a node that left", CodeNodeLeft, NewAddStake(net, owner, 5, 4, 1)},
		{"no stake", CodeOutOfRange, NewUnstake(net, owner, 5, 3, 0)},
		{"a vote's stake", CodeInsufficientStake, NewUnstake(net, owner, 5, 3, 11)},
		{"more than is at stake", CodeInsufficientStake,
			NewUnstake(net, owner, 5, 3, 1<<40)},
		{"what does not leave", CodeInsufficientStake, NewWithdraw(net, accountKey("owner2"), 0, 2)},
		{"a seat where there are none", CodeNoRotation, standTx(g, "owner3", 5, 3)},
		{"a report where nobody rotates", CodeNoRotation, (&Report{}).append(head(net, KindReport))},
		{"a hand-over of the genesis", CodeNoRotation, NewHandOver(net, &HandOver{Term: 1})},
		{"nothing to reserve", CodeOutOfRange, NewReserve(net, alice, 2, 0)},
		{"nothing to thaw", CodeOutOfRange, NewThaw(net, alice, 2, 0)},
		{"another's service", CodeNotOwner, NewLowerPrice(net, accountKey("carol"), 0, 0, 1)},
		{"a price as it is", CodeOutOfRange, NewLowerPrice(net, alice, 2, 0, 1<<20)},
		{"the price of no service", CodeUnknownService, NewLowerPrice(net, alice, 2, 1, 1)},
		{"to the zero key", CodeOutOfRange, NewTransfer(net, alice, 2, Key{}, 7)},
		{"to a key of small order", CodeOutOfRange, NewDeposit(net, treasury, 2, Key{1}, 7)},
		{"no amount", CodeOutOfRange, NewTransfer(net, alice, 2, bob, 0)},
		{"no transport key", CodeOutOfRange,
			node(func(n *NodeRegistration) { n.TransportKey = Key{} })},
		{"a transport key of mixed order", CodeOutOfRange, node(func(n *NodeRegistration) {
			n.TransportKey = plus(t, n.TransportKey, order8)
		})},
		{"price times cap", CodeOutOfRange, NewRegisterService(net, alice, 2,
			&ServiceRegistration{Price: 1 << 33, UnitCap: 1 << 32, Unit: "x"})},
		{"no cap", CodeOutOfRange, NewRegisterService(net, alice, 2,
			&ServiceRegistration{Price: 1, Unit: "x"})},
		{"supply", CodeOverflow, NewDeposit(net, treasury, 2, bob, 1<<64-1)},

		{"a client that is there", CodeKeyTaken,
			NewGrants(net, []Grant{newGrant(g, "alice", 5, "one")})},
		{"a client that is a node", CodeKeyTaken,
			NewGrants(net, []Grant{newGrant(g, "alice", 5, "node3")})},
		{"a node that is a client", CodeKeyTaken,
			NewRegisterNode(net, alice, 2, newNode(g, "alice", "one", 1))},
		{"a transport key that is there", CodeKeyTaken,
			node(func(n *NodeRegistration) { n.TransportKey = accountOf("node0 transport") })},
		{"another's proof", CodeBadProof, granted(func(g *Grant) {
			g.Proof = prove(net, "three", rollup.RoleClient, KeyOf(alice))
		})},
		{"a proof for another payer", CodeBadProof, granted(func(g *Grant) {
			g.Proof = prove(net, "two", rollup.RoleClient, bob)
		})},
		{"a proof as a node", CodeBadProof, granted(func(g *Grant) {
			g.Proof = prove(net, "two", rollup.RoleNode, KeyOf(alice))
		})},
		{"a proof for another network", CodeBadProof, granted(func(g *Grant) {
			g.Proof = prove(other, "two", rollup.RoleClient, KeyOf(alice))
		})},
		{"an identity proof", CodeBadProof,
			granted(func(g *Grant) { g.Proof = bls.IdentitySignature })},
		{"an identity key", CodeBadProof, granted(func(g *Grant) { g.Key = BLSKey{0: 0xc0} })},
		{"a key off the curve", CodeBadProof, granted(func(g *Grant) { g.Key[95] ^= 1 })},
		{"a grant for another network", CodeBadSignature, NewGrants(net,
			[]Grant{NewGrant(other, alice, newGrant(g, "alice", 5, "two"))})},
		{"a grant in another's name", CodeBadSignature, granted(func(g *Grant) { g.Payer = 6 })},
		{"a grant of nobody", CodeUnknownPayer, granted(func(g *Grant) { g.Payer = 7 })},
		{"a grant of the protocol", CodeUnknownPayer, granted(func(g *Grant) { g.Payer = 0 })},
		{"a grant of a service that is none", CodeUnknownService,
			granted(func(g *Grant) { g.Services = Services(0, 1) })},
		{"a grant of no service", CodeOutOfRange,
			granted(func(g *Grant) { g.Services = Services() })},
		{"a grant of a service twice", CodeOutOfRange, granted(func(g *Grant) {
			g.Services = [3]uint32{0, 0, rollup.NoService}
		})},
		{"a grant with a service behind none", CodeOutOfRange, granted(func(g *Grant) {
			g.Services = [3]uint32{0, rollup.NoService, 0}
		})},
		{"a grant to come", CodeTooEarly, granted(func(g *Grant) { g.From = 5 })},
		{"a grant that is over", CodeExpired, granted(func(g *Grant) { g.Until = 4 })},
		{"no such client", CodeUnknownClient, NewRevoke(net, alice, 2, []uint64{0, 1})},
		{"another's client", CodeNotPayer, NewRevoke(net, accountKey("carol"), 0, []uint64{0})},
		{"a node's proof", CodeBadProof, node(func(n *NodeRegistration) {
			n.Proof = prove(net, "two", rollup.RoleNode, KeyOf(alice))
		})},
		{"a node's proof for another owner", CodeBadProof, node(func(n *NodeRegistration) {
			n.Proof = prove(net, "edge", rollup.RoleNode, bob)
		})},
		{"a transport key that did not agree", CodeBadProof, node(func(n *NodeRegistration) {
			n.TransportKey = accountOf("another transport")
		})},
		{"a transport key that agreed to another", CodeBadProof, node(func(n *NodeRegistration) {
			n.NodeSignature = newNode(g, "carol", "edge", 1).NodeSignature
		})},

		{"no such node", CodeUnknownNode, NewTicket(net,
			certificate(g, rollup.WindowKey{Node: 9, Epoch: 4}, goodRows, 0, 1, 2))},
		{"no such payer", CodeUnknownPayer, NewTicket(net,
			certificate(g, window, []rollup.Row{{Payer: 7, Acks: 1, Units: 1}}, 0, 1, 2))},
		{"no such service", CodeUnknownService, NewTicket(net,
			certificate(g, window, []rollup.Row{{Payer: 5, Service: 1, Acks: 1, Units: 1}}, 0, 1, 2))},
		{"the next epoch", CodeEpochAhead, NewTicket(net,
			certificate(g, rollup.WindowKey{Epoch: 5}, goodRows, 0, 1, 2))},
		{"settled", CodeSettled, NewTicket(net,
			certificate(g, rollup.WindowKey{Epoch: 3}, goodRows, 0, 1, 2))},
		{"ordered before", CodeAlreadyOrdered, NewTicket(net,
			certificate(g, rollup.WindowKey{Epoch: 4}, goodRows, 0, 1, 3))},
		{"another node's word", CodeBadWord, cert(func(c *rollup.Certificate) {
			own(c, "node0 transport")
		})},
		{"the node's word for another rollup", CodeBadWord, cert(func(c *rollup.Certificate) {
			c.Own = certificate(g, rollup.WindowKey{Node: 1, Epoch: 4}, goodRows).Own
		})},
		{"another term", CodeWrongTerm, cert(func(c *rollup.Certificate) { c.Term = 1 })},
		{"half the power", CodeNoQuorum, NewTicket(net, certificate(g, window, goodRows, 0, 1))},
		{"nobody", CodeNoQuorum, cert(func(c *rollup.Certificate) { c.Signers[0] = 0 })},
		{"a bit too many", CodeNoQuorum, cert(func(c *rollup.Certificate) { c.Signers[0] = 1 })},
		{"a bit beyond the committee", CodeBadBitmap,
			cert(func(c *rollup.Certificate) { c.Signers[0] |= 16 })},
		{"a byte too long", CodeBadBitmap, cert(func(c *rollup.Certificate) {
			c.Signers = append(
				c.Signers, 0)
		})},
		{"a member who did not sign", CodeBadCertificate,
			cert(func(c *rollup.Certificate) { c.Signers[0] = 15 })},
		{"another three members", CodeBadCertificate,
			cert(func(c *rollup.Certificate) { c.Signers[0] = 14 })},
		{"another committee", CodeBadCertificate, NewTicket(net, foreign(g, window))},
		{"rows changed", CodeBadCertificate, cert(func(
			c *rollup.Certificate) {
			c.Header.Rows = []rollup.Row{{Payer: 5, Acks: 1, Units: 3}}
			own(c, "node1 transport")
		})},
		{"an identity signature", CodeBadCertificate,
			cert(func(c *rollup.Certificate) { c.Signature = bls.IdentitySignature })},

		{"a proof key too soon", CodeTooEarly, key(func(k *ProofKeyChange) { k.From = 27 })},
		{"a proof key that is over", CodeExpired, NewProofKey(net, proofKey(g,
			ProofKeyTerm{256, rollup.Hash{1}, 3, 4}, 0, 1, 2))},
		{"a proof key for no epoch", CodeOutOfRange, key(func(k *ProofKeyChange) { k.Until = 28 })},
		{"a proof key of no circuit", CodeOutOfRange,
			key(func(k *ProofKeyChange) { k.Statements = 257 })},
		{"another proof key than was signed", CodeBadCertificate,
			key(func(k *ProofKeyChange) { k.Key[0] ^= 1 })},
		{"a proof key of another term", CodeWrongTerm, key(func(k *ProofKeyChange) { k.Term = 1 })},
		{"a proof key without quorum", CodeNoQuorum,
			key(func(k *ProofKeyChange) { k.Signers[0] = 3 })},
		{"a plan too soon", CodeTooEarly, NewPlan(net, plan(g, 0, Upgrade{3, 27, "v"}, 0, 1, 2))},
		{"a plan for the past", CodeTooEarly, NewPlan(net, plan(g, 0, Upgrade{3, 1, "v"}, 0, 1, 2))},
		{"a plan of another number", CodeBadNonce,
			NewPlan(net, plan(g, 1, Upgrade{3, 28, "v"}, 0, 1, 2))},
		{"a plan for the version that there is", CodeOutOfRange,
			NewPlan(net, plan(g, 0, Upgrade{GenesisVersion, 28, "v"}, 0, 1, 2))},
		{"a plan that cancels none", CodeOutOfRange,
			NewPlan(net, plan(g, 0, Upgrade{Name: "v"}, 0, 1, 2))},
		{"a plan without quorum", CodeNoQuorum,
			NewPlan(net, plan(g, 0, Upgrade{3, 28, "v"}, 0, 1))},
		{"a plan of another term", CodeWrongTerm, planned(func(p *Plan) { p.Term = 1 })},
		{"another plan than was signed", CodeBadCertificate,
			planned(func(p *Plan) { p.Epoch++ })},
		{"another name than was signed", CodeBadCertificate,
			planned(func(p *Plan) { p.Name = "w" })},
		{"a plan without a name", CodeMalformed, planned(func(p *Plan) { p.Name = "" })},
		{"a plan with a bell", CodeMalformed, planned(func(p *Plan) { p.Name = "v\a" })},
		{"tickets that nobody signed both", CodeNoLie, NewEvidence(net,
			twoTickets(g, window, []int{0, 1}, []int{2, 3}))},
		{"convicted before", CodeAlreadyConvicted, convicted},
		{"no such record", CodeNoRecord, record(4, func(*rollup.RecordCertificate) {})},
		{"certified before", CodeAlreadyCertified, record(0, func(*rollup.RecordCertificate) {})},
		{"a record without quorum", CodeNoQuorum, record(1,
			func(c *rollup.RecordCertificate) { c.Signers[0] = 6 })},
		{"a record's bitmap", CodeBadBitmap, record(1,
			func(c *rollup.RecordCertificate) { c.Signers[0] = 0x17 })},
		{"a record's signers", CodeBadCertificate,
			record(1, func(c *rollup.RecordCertificate) { c.Signers[0] = 13 })},
		{"another block's record", CodeBadCertificate, record(1, func(c *rollup.RecordCertificate) {
			c.Height = settledIn(&s.world, 2).Height
		})},
		{"another record", CodeBadCertificate, NewRecordCertificate(net,
			recordCertificate(g, &changed, 0, 1, 2))},
	}
	seen := map[TxCode]bool{CodeOK: true, CodeNotProposer: true} // the latter is the engine's to give
	before := dump(s)
	check := func(name, when string, code TxCode, r Result) {
		var refusal *Refusal
		if r.Code != code || !errors.Is(r.Err, code) || !errors.As(r.Err, &refusal) {
			t.Errorf("%s, %s: %s (%v), not %s", name, when, r.Code, r.Err, code)
		}
		seen[code] = true
	}
	view := s.View()
	for _, tt := range tests {
		check(tt.name, "checked", tt.code, s.Check(tt.tx))
		check(tt.name, "checked by a view", tt.code, view.Check(tt.tx))
	}
	if d := diff(before, dump(s)); d != "" {
		t.Fatalf("checking changed the state:\n%s", d)
	}
	s.Begin(1000, genesisTime.Add(time.Duration(s.time-genesisTime.UnixNano())))
	before = dump(s)
	for _, tt := range tests {
		check(tt.name, "applied", tt.code, s.Apply(tt.tx))
		if d := diff(before, dump(s)); d != "" {
			t.Fatalf("%s changed the state:\n%s", tt.name, d)
		}
	}
	if b := s.End(); len(b.Records) != 2 { // the block's own, and the hash
		t.Errorf("%d records changed", len(b.Records))
	}
	for _, code := range TxCodes() {
		if !seen[code] && !ofRotations[code] {
			t.Errorf("nothing is refused as %s", code)
		}
	}
}

// foreign returns a certificate that strangers signed.
func foreign(g *Genesis, key rollup.WindowKey) *rollup.Certificate {
	c := certificate(g, key, goodRows, 0, 1, 2)
	id, net := c.Header.ID(), g.Network()
	var sum bls.Sum
	for _, name := range []string{"one", "two", "three"} {
		sig := bls.Default.Sign(identity(name).secret, rollup.CertificateMessage(&net, 0, key, id))
		sum.Add(&sig)
	}
	aggregate := sum.Signature()
	c.Signature = aggregate.Bytes()
	return c
}

// TestEveryByteCounts changes and cuts good transactions everywhere.
func TestEveryByteCounts(t *testing.T) {
	g, s := scene(t)
	s.Begin(100, genesisTime.Add(301*time.Second))
	before := dump(s)
	for _, tx := range goodTxs(g, s) {
		kind := KindOf(tx)
		for i := range tx {
			if r := s.Apply(tx[:i]); r.Code != CodeMalformed {
				t.Errorf("%s cut to %d bytes: %s", kind, i, r.Code)
			}
			bad := bytes.Clone(tx)
			bad[i] ^= 1 << (i % 8)
			if r := s.Apply(bad); r.OK() {
				t.Errorf("%s passed with byte %d changed", kind, i)
			}
		}
	}
	if d := diff(before, dump(s)); d != "" {
		t.Fatalf("the state changed:\n%s", d)
	}
}

// TestPendingNonces lets a sender have transactions wait for a block, which are then executed in
// order only.
func TestPendingNonces(t *testing.T) {
	g := testGenesis(1)
	s := newState(t, g)
	net, alice := g.Network(), accountKey("alice")
	block(t, s, 1, time.Second, NewDeposit(net, accountKey("treasury"), 0, KeyOf(alice), 1000))
	var txs [][]byte
	for nonce := range uint64(PendingNonces + 2) {
		txs = append(txs, NewTransfer(net, alice, nonce, accountOf("bob"), 1))
		want := CodeOK
		if nonce > PendingNonces {
			want = CodeBadNonce
		}
		if r := s.Check(txs[nonce]); r.Code != want {
			t.Fatalf("nonce %d: %s", nonce, r.Code)
		}
	}
	s.Begin(2, genesisTime.Add(2*time.Second))
	if r := s.Apply(txs[1]); r.Code != CodeBadNonce {
		t.Errorf("out of order: %s", r.Code)
	}
	for i, tx := range txs {
		if r := s.Apply(tx); !r.OK() {
			t.Errorf("nonce %d: %v", i, r.Err)
		}
	}
	s.End()
}

// TestRemembered checks that the memory of verified transactions changes no answer.
func TestRemembered(t *testing.T) {
	g, s := scene(t)
	for _, tx := range goodTxs(g, s) {
		if KindOf(tx) == KindGrants {
			continue // remembered one by one
		}
		digest := rollup.Hash(digestOf(tx))
		if s.proven.has(&digest) {
			t.Fatalf("%s: known before", KindOf(tx))
		}
		s.Check(tx)
		if !s.proven.has(&digest) {
			t.Errorf("%s: not remembered", KindOf(tx))
		}
		bad := bytes.Clone(tx)
		bad[len(bad)-1] ^= 1
		s.Check(bad)
		if digest = digestOf(bad); s.proven.has(&digest) {
			t.Errorf("%s: remembered without being valid", KindOf(tx))
		}
	}
	// A remembered transaction is refused when it does not fit the state any more.
	deposit := goodTxs(g, s)[0]
	s.Begin(100, genesisTime.Add(301*time.Second))
	if r := s.Apply(deposit); !r.OK() {
		t.Error(r.Err)
	}
	if r := s.Apply(deposit); r.Code != CodeBadNonce {
		t.Errorf("remembered and replayed: %s", r.Code)
	}
}

func TestParseTx(t *testing.T) {
	g, s := scene(t)
	for _, raw := range goodTxs(g, s) {
		tx, err := ParseTx(raw)
		if err != nil {
			t.Fatal(err)
		}
		if tx.Kind != KindOf(raw) || tx.Network != g.Network() {
			t.Errorf("kind %s, network %s", tx.Kind, tx.Network)
		}
		if again := encodeTx(tx); !bytes.Equal(again, raw) {
			t.Errorf("%s: encoded again it is\n%x, not\n%x", tx.Kind, again, raw)
		}
		text, err := json.Marshal(tx)
		if err != nil || !strings.Contains(string(text), `"kind":"`+tx.Kind.String()+`"`) {
			t.Errorf("%s: %s, %v", tx.Kind, text, err)
		}
	}
	text, _ := json.Marshal(must(ParseTx(goodTxs(g, s)[1])))
	want := fmt.Sprintf(`{"network":"%s","kind":"transfer","signed":{"sender":"%s",`+
		`"nonce":"2","signature":"`,
		g.Network(), accountOf("alice"))
	if !strings.HasPrefix(string(text), want) || !strings.HasSuffix(string(text),
		fmt.Sprintf(`"},"body":{"to":"%s","amount":"7"}}`, accountOf("bob"))) {
		t.Errorf("a transfer as JSON: %s", text)
	}
}

// encodeTx is the inverse of ParseTx.
func encodeTx(tx *Tx) []byte {
	b := head(tx.Network, tx.Kind)
	if tx.Signed == nil {
		return tx.Body.append(b)
	}
	b = append(b, tx.Signed.Sender[:]...)
	b = le.AppendUint64(b, tx.Signed.Nonce)
	return append(tx.Body.append(b), tx.Signed.Signature[:]...)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestLayout spells out one transaction byte by byte, so that the document, not the code, says what
// it is.
func TestLayout(t *testing.T) {
	net, key := rollup.NetworkOf([]byte("layout")), accountKey("alice")
	tx := NewRegisterService(net, key, 3, &ServiceRegistration{Price: 0x0102, UnitCap: 5, Unit: "MB"})
	want := slices.Concat([]byte("wb-txn/2"), net[:], []byte{4}, key.Public().(ed25519.PublicKey),
		[]byte{3, 0, 0, 0, 0, 0, 0, 0}, []byte{2, 1, 0, 0, 0, 0, 0, 0}, []byte{5, 0, 0, 0, 0, 0, 0, 0},
		[]byte{2, 'M', 'B'})
	want = append(want, ed25519.Sign(key, want)...)
	if !bytes.Equal(tx, want) {
		t.Errorf("%x, not\n%x", tx, want)
	}
	full := NewGrants(net, make([]Grant, MaxGrants))
	if len(full) != MaxTxSize {
		t.Errorf("the largest transaction has %d bytes, not %d", len(full), MaxTxSize)
	}
	for _, code := range TxCodes() {
		name, _ := code.MarshalText()
		if got, err := ParseTxCode(string(name)); err != nil || got != code {
			t.Errorf("code %d comes back as %d: %v", code, got, err)
		}
		if code.Error() != "ledger: "+string(name) {
			t.Errorf("code %d reads %q as an error", code, code.Error())
		}
	}
	if _, err := ParseTxCode("TxCode(200)"); err == nil || Kind(21).String() != "unknown" {
		t.Error("a number beyond the set has a name")
	}
}
