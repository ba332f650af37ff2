package ledger

import (
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

// inTerm returns a committee of some of the genesis' members, with other powers.
func inTerm(g *Genesis, number uint32, powers map[int]uint64) *rollup.Committee {
	c := &rollup.Committee{Term: number}
	for i, m := range g.Committee().Members {
		if power := powers[i]; power > 0 {
			m.Power = power
			c.Members = append(c.Members, m)
		}
	}
	return c
}

// TestTerms: each thing is judged by one committee, whoever is in office when it comes: a rollup by
// that of its epoch, a record by who votes for the block behind it, a proof key by who is in
// office.
func TestTerms(t *testing.T) {
	g, s := scene(t) // in epoch 4, after block 10
	next := inTerm(g, 1, map[int]uint64{1: 1, 2: 1, 3: 2})
	s.terms = append(s.terms, &term{committee: next, height: s.height + 3, epoch: 5})
	net := g.Network()
	// ticket and record of term 1: positions are those of its members, signers are nodes
	sign := func(message []byte, nodes ...int) (rollup.Bitmap, [48]byte) {
		_, sum := signAs(g, message, nodes...)
		bitmap := rollup.NewBitmap(len(next.Members))
		for _, node := range nodes {
			if i, ok := next.Position(uint32(node)); ok {
				bitmap.Set(i)
			}
		}
		return bitmap, sum
	}
	ticket := func(term uint32, key rollup.WindowKey, nodes ...int) []byte {
		c := certificate(g, key, goodRows, nodes...)
		if c.Term = term; term > 0 {
			c.Signers, c.Signature = sign(rollup.CertificateMessage(&net, term, key, c.Header.ID()),
				nodes...)
		}
		return NewTicket(net, c)
	}
	old, new := rollup.WindowKey{Epoch: 4, Window: 7}, rollup.WindowKey{Epoch: 5}
	want := func(name string, code TxCode, tx []byte) {
		t.Helper()
		if r := s.Check(tx); r.Code != code {
			t.Errorf("%s: %v, not %s", name, r.Err, code)
		}
	}
	after := 350 * time.Second
	s.Begin(s.height+1, genesisTime.Add(after)) // epoch 5 begins, and term 0 votes
	s.End()
	first := s.records[len(s.records)-1].Record
	if first.Term != 0 || s.View().Committee().Term != 0 {
		t.Errorf("the record is of term %d, in office is %d", first.Term, s.View().Committee().Term)
	}
	want("the epoch before", CodeOK, ticket(0, old, 0, 1, 2))
	want("the epoch before, by those who follow", CodeWrongTerm, ticket(1, old, 2, 3))
	want("the epoch, by those who follow", CodeOK, ticket(1, new, 2, 3))
	want("the epoch, by those before", CodeWrongTerm, ticket(0, new, 0, 1, 2))
	want("without a quorum", CodeNoQuorum, ticket(1, new, 1, 2))
	s.Begin(s.height+1, genesisTime.Add(after))
	s.Apply(ticket(1, new, 2, 3))
	s.End() // votes for the next block are those of term 1
	r := s.records[len(s.records)-1].Record
	if r.Term != 1 || s.View().Committee() != next {
		t.Errorf("the record is of term %d, in office is %d", r.Term, s.View().Committee().Term)
	}
	certified := &rollup.RecordCertificate{Height: r.Height}
	certified.Signers, certified.Signature = sign(r.Append(nil), 1, 3)
	want("its record", CodeOK, NewRecordCertificate(net, certified))
	want("the record before", CodeOK, NewRecordCertificate(net,
		recordCertificate(g, &first, 0, 1, 2)))
	key := ProofKeyTerm{Statements: 256, Key: rollup.Hash{1}, From: 40, Until: 99}
	want("a proof key of those before", CodeWrongTerm, NewProofKey(net, proofKey(g, key, 0, 1, 2)))
	v := s.View()
	if v.CommitteeOf(4).Term != 0 || v.CommitteeOf(5) != next || v.CommitteeOf(99) != next {
		t.Error("an epoch has another committee")
	}
	if c, known := v.CommitteeAt(0); !known || c.Term != 0 || !v.Judges(0) {
		t.Error("term 0 is forgotten")
	}
	if _, known := v.CommitteeAt(2); known || v.Judges(4) {
		t.Error("a term, or a member, that there is not")
	}
	for node, status := range []registry.Status{registry.Idle, registry.Standing} {
		if leaf, err := registry.ParseNode(v.appendLeaf(nil, TreeNodes, uint64(node))); err != nil ||
			leaf.Status != status {
			t.Errorf("node %d is %d, %v", node, leaf.Status, err)
		}
	}
	want("the stake of a lost seat", CodeOK, NewUnstake(net, accountKey("owner0"), 0, 0, 4_000_000))
	want("the stake of a seat", CodeInsufficientStake,
		NewUnstake(net, accountKey("owner1"), 0, 1, 4_000_000))
}
