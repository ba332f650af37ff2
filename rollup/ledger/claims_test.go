package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// voted is a network of 16 members with a payer and service 0 of its own, and tickets of its nodes
// that quorums of members signed, not always the same ones.
func voted(t testing.TB, n int) (*Genesis, *State, []*Ticket) {
	g := testGenesis(slices.Repeat([]uint64{1}, 16)...)
	s := newState(t, g)
	net := g.Network()
	block(t, s, 1, time.Second,
		NewDeposit(net, accountKey("treasury"), 0, accountOf("alice"), 1_000_000_000),
		NewRegisterService(net, accountKey("owner0"), 0,
			&ServiceRegistration{Unit: "bytes", Price: 3, UnitCap: 1 << 20}))
	payer, _ := s.accountByKey(accountOf("alice"))
	rows := []rollup.Row{{Payer: payer, Service: 0, Acks: 2, Units: 30}}
	r := rand.New(rand.NewPCG(1, 2))
	var tickets []*Ticket
	for i := range n {
		key := rollup.WindowKey{Node: uint32(i % 16), Window: uint32(i / 16)}
		tickets = append(tickets, &Ticket{certificate(g, key, rows, r.Perm(16)[:11]...)})
	}
	return g, s, tickets
}

func encodeTickets(g *Genesis, tickets []*Ticket) (txs [][]byte) {
	for _, p := range tickets {
		txs = append(txs, NewTicket(g.Network(), p.Certificate))
	}
	return txs
}

// TestVerifyTogether: transactions that are verified together get the answers that each gets alone,
// whichever of them are false, and none is verified twice.
func TestVerifyTogether(t *testing.T) {
	const n = 24
	g, s, tickets := voted(t, n)
	lies := []struct {
		code TxCode
		lie  func(p *Ticket)
	}{
		{CodeOK, func(*Ticket) {}},
		{CodeBadWord, func(p *Ticket) { p.Own[3] ^= 1 }},
		{CodeBadWord, func(p *Ticket) { own(p.Certificate, "alice") }},
		{CodeBadCertificate, func(p *Ticket) { p.Signature = tickets[0].Signature }},
		{CodeBadCertificate, func(p *Ticket) { p.Signature[20] ^= 1 }},
		{CodeBadCertificate, func(p *Ticket) { p.Signature = [48]byte{0: 0xc0} }},
		{CodeBadCertificate, func(p *Ticket) { p.Signers = tickets[0].Signers }},
		{CodeNoQuorum, func(p *Ticket) { p.Signers = rollup.NewBitmap(16) }},
		{CodeWrongTerm, func(p *Ticket) { p.Term++ }},
		{CodeUnknownNode, func(p *Ticket) { p.Header.Node = 99 }},
	}
	want := make([]TxCode, n)
	for i := range tickets {
		if lie := lies[i%len(lies)]; i > 0 && i < 20 {
			lie.lie(tickets[i])
			want[i] = lie.code
		}
	}
	payer, _ := s.accountByKey(accountOf("alice"))
	forged := newGrant(g, "alice", payer, "forged")
	forged.Proof = prove(g.Network(), "another", rollup.RoleClient, accountOf("alice"))
	txs := append(encodeTickets(g, tickets),
		NewTransfer(g.Network(), accountKey("alice"), 0, accountOf("bob"), 5),
		NewGrants(g.Network(), []Grant{newGrant(g, "alice", payer, "good")}),
		NewGrants(g.Network(), []Grant{NewGrant(g.Network(), accountKey("alice"), forged)}),
		[]byte("no transaction"))
	want = append(want, CodeOK, CodeOK, CodeBadProof, CodeMalformed)
	alone := newState(t, g)
	alone.world = s.world
	alone.network = &network{}
	*alone.network = *s.network
	alone.proven, alone.refuted = newMemory(provenSlots), newMemory(refutedSlots)
	alone.granted = newMemory(grantedSlots)

	s.Verify(txs)
	for i, tx := range txs {
		digest := rollup.Hash(digestOf(tx))
		checked := want[i] != CodeUnknownNode && want[i] != CodeMalformed
		if s.proven.has(&digest) != (want[i] == CodeOK) && checked {
			t.Errorf("transaction %d: verified: %v, expected %v", i, s.proven.has(&digest), want[i])
		}
		if refuted := s.refuted.of(&digest) != nil; want[i] == CodeOK && refuted {
			t.Errorf("transaction %d is refuted", i)
		}
		together, each := s.Check(tx), alone.Check(tx)
		if together.Code != want[i] || each.Code != want[i] {
			t.Errorf("transaction %d: %v together, %v alone, expected %v", i, together.Err, each.Err,
				want[i])
		}
	}
}

// TestRefutedIsRemembered: what did not verify is not verified again, and drives nothing out that
// did.
func TestRefutedIsRemembered(t *testing.T) {
	g, s, tickets := voted(t, 2)
	tickets[1].Signature = tickets[0].Signature
	txs := encodeTickets(g, tickets)
	s.Verify(txs)
	digest := rollup.Hash(digestOf(txs[1]))
	first := s.refuted.of(&digest)
	if first == nil || s.Check(txs[1]).Err != first {
		t.Errorf("%v, then %v", first, s.Check(txs[1]).Err)
	}
}

// TestCancellingMembers: members whose keys add up to zero sign nothing, whatever their bits say.
func TestCancellingMembers(t *testing.T) {
	g, s, tickets := voted(t, 1)
	message, err := tickets[0].Check(g.Network(), s.inOffice())
	if err != nil {
		t.Fatal(err)
	}
	member := s.inOffice().Members[0]
	opposite := member
	opposite.Node++
	encoded := member.Key.Bytes()
	encoded[0] ^= 0x20 // the other y
	if opposite.Key, err = bls.ParsePublicKey(encoded[:]); err != nil {
		t.Fatal(err)
	}
	committee := &rollup.Committee{Members: []rollup.Member{member, opposite}}
	var refusal error
	var c claims
	c.committee(&refusal, committee, committee.Signers(member.Node, opposite.Node), message,
		(*BLSSignature)(&tickets[0].Signature))
	c.verify()
	if !errors.Is(refusal, rollup.ErrSignature) || !errors.Is(refusal, bls.VerdictIdentity) {
		t.Errorf("%v", refusal)
	}
}

// BenchmarkTickets verifies tickets of a block: each by itself, and together. By kernel:
//
//	for k in avx512ifma avx2 generic; do WAYBILL_KERNELS=fp381=$k \
//		go test -run '^$' -cpu 1 -bench Tickets -count 6 ./rollup/ledger; done
func BenchmarkTickets(b *testing.B) {
	g, s, tickets := voted(b, 256)
	txs := encodeTickets(g, tickets)
	for _, n := range []int{1, 16, 256} {
		for _, way := range []string{"each", "together"} {
			b.Run(fmt.Sprintf("n=%d/way=%s", n, way), func(b *testing.B) {
				for b.Loop() {
					clear(s.proven)
					if way == "together" {
						s.Verify(txs[:n])
					}
					for _, tx := range txs[:n] {
						if r := s.Check(tx); !r.OK() {
							b.Fatal(r.Err)
						}
					}
				}
				b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "tickets/s")
			})
		}
	}
}

// TestMemoryIsFull: what was verified last is remembered, however much was before.
func TestMemoryIsFull(t *testing.T) {
	m, r := newMemory(provenSlots), rand.New(rand.NewPCG(3, 4))
	digest := func() (h rollup.Hash) {
		for i := range h {
			h[i] = byte(r.Uint32())
		}
		return h
	}
	for range 4 * provenSlots {
		h := digest()
		m.add(&h, nil)
	}
	const block = 1000
	var last [block]rollup.Hash
	for i := range last {
		last[i] = digest()
		m.add(&last[i], nil)
		m.add(&last[i], errors.New("another finding")) // changes nothing
	}
	for i := range last {
		if !m.has(&last[i]) || m.of(&last[i]) != nil {
			t.Fatalf("transaction %d of a block is forgotten", i)
		}
	}
	if h := digest(); m.has(&h) {
		t.Error("a digest is known that nobody added")
	}
}
