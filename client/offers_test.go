package client

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

// lies is a node that may lie, and the program of one client that it lies to. Clients 0 to 3 have
// acks in the window; the program is client 1's.
type lies struct {
	*testnet.Network
	t      *testing.T
	key    rollup.WindowKey
	acks   []rollup.Ack
	dir    string
	k      *cosigner
	signed [][]byte // messages that client 1 signed
}

const victim = 1

func newLies(t *testing.T, change func(*CosignConfig)) *lies {
	t.Helper()
	l := &lies{
		Network: testnet.New(t, []string{"127.0.0.1:1"}, 5),
		t:       t,
		key:     rollup.WindowKey{Epoch: 0, Window: 3},
		dir:     t.TempDir(),
	}
	for i := range uint32(12) { // 8 for service 0 and 4 for service 1
		a := l.Ack(l.key, uint64(i%4), i/4%2)
		a.Service = i / 8
		l.acks = append(l.acks, a)
	}
	cfg := CosignConfig{
		Evidence: filepath.Join(l.dir, "offers"),
		Payer:    func(uint64) (uint32, bool) { return l.payer(), true },
		Sign: func(clients []uint64, message []byte,
			signatures [][rollup.SignatureSize]byte) error {
			for i, c := range clients {
				l.signed = append(l.signed, slices.Clone(message))
				s := bls.Default.Sign(l.Clients[c], message)
				signatures[i] = s.Bytes()
			}
			return nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	pin := &Pin{Network: l.ID, Key: [32]byte(nodeSecret.Public().(ed25519.PublicKey))}
	l.k = newCosigner(cfg, pin, MemoryBook(), quiet())
	for _, a := range l.acks {
		if a.Client == victim {
			note(t, l.k.book, pin, a)
		}
	}
	return l
}

// note has a book give an ack its number.
func note(t *testing.T, b *Book, pin *Pin, a rollup.Ack) *entry {
	t.Helper()
	p, err := b.at(pin, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &item{Delivery: Delivery{Client: a.Client, Service: a.Service, Units: a.Units,
		Request: a.Request}}
	if err := b.give(p, a.Epoch, []*item{d}, nil); err != nil {
		t.Fatal(err)
	}
	if d.entry == nil || d.entry.number != a.Number {
		t.Fatalf("%+v is given %+v", a, d.entry)
	}
	return d.entry
}

func (l *lies) payer() uint32 {
	c, _ := l.View().Client(victim)
	return c.Payer
}

// offer is what a node offers that holds the given acks, after change has done something to its
// statements.
func (l *lies) offer(
	acks []rollup.Ack,
	change func([]rollup.Statement) []rollup.Statement,
) *api.CosignOffer {
	l.t.Helper()
	var frames []byte
	for i := range acks {
		frames = acks[i].Append(frames)
	}
	archive, err := new(rollup.Sealer).Archive(l.ID, l.key, frames, anything{l.View()})
	if err != nil {
		l.t.Fatal(err)
	}
	statements, err := rollup.Statements(
		archive,
		l.key,
		anything{l.View()},
		func(uint64) bool { return true },
	)
	if err != nil {
		l.t.Fatal(err)
	}
	if change != nil {
		statements = change(statements)
	}
	tree := rollup.NewStatementTree(statements)
	w := cosign.Window{Network: l.ID, Key: l.key, Tree: tree}
	c := cosign.Asked{Client: victim}
	c.FirstStatement = slices.IndexFunc(
		statements,
		func(s rollup.Statement) bool { return s.Client == victim },
	)
	for i := c.FirstStatement; i < len(statements) && statements[i].Client == victim; i++ {
		c.Statements++
	}
	for o := range w.Offers([]cosign.Asked{c}) {
		return l.said(o)
	}
	panic("no offer")
}

// nodeSecret is the key of the node that may lie.
var nodeSecret = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))

// said is an offer under the node's word.
func (l *lies) said(o *cosign.Offer) *api.CosignOffer {
	return api.NewCosignOffer(o, word.Sign(&o.Network, nodeSecret, offerWord(o)))
}

// anything is a registry in which every service exists, and clients may use three.
type anything struct{ rollup.Registry }

func (anything) UnitCap(uint32) (uint64, bool) { return 1 << 40, true }

func (a anything) Client(index uint64) (rollup.Client, bool) {
	c, ok := a.Registry.Client(index)
	c.Services = [3]uint32{0, 1, 5}
	return c, ok
}

// decide shows the program an offer and returns why it refuses, if it does.
func (l *lies) decide(m *api.CosignOffer) (cosign.Reason, bool) {
	l.t.Helper()
	before := len(l.signed)
	answer, err := l.k.answer(m)
	if err != nil {
		l.t.Fatal(err)
	}
	signed, refused := slices.Contains(answer.Clients, victim), false
	var why cosign.Reason
	for _, r := range answer.Refusals {
		if slices.Contains(r.Clients, victim) {
			refused = true
			why, _ = cosign.ParseReason(r.Reason)
		}
	}
	if signed == refused || signed != (len(l.signed) > before) ||
		len(answer.Signatures) != len(answer.Clients)*rollup.SignatureSize {
		l.t.Fatalf("%+v after %d signatures", answer, len(l.signed)-before)
	}
	if signed {
		message := rollup.CosignMessage(l.ID, l.key, m.Count, rollup.Hash(m.Root))
		s, err := bls.ParseSignature(answer.Signatures)
		if err != nil || !bls.Default.Verify(l.Clients[victim].PublicKey(), message[:], &s) {
			l.t.Errorf("the answer is no signature: %v", err)
		}
	}
	return why, refused
}

// TestHonestOffer: what is true is signed, again if it is asked again, in whatever window the acks
// are; and also when acks are left out, which is the node's own loss.
func TestHonestOffer(t *testing.T) {
	l := newLies(t, nil)
	for range 2 {
		if why, refused := l.decide(l.offer(l.acks, nil)); refused {
			t.Errorf("an honest offer is refused: %v", why)
		}
	}
	if len(l.signed) != 2 || !slices.Equal(l.signed[0], l.signed[1]) {
		t.Errorf("%d messages signed", len(l.signed))
	}
	for name, left := range map[string]func(a rollup.Ack) bool{
		"the last ack":    func(a rollup.Ack) bool { return a.Service == 0 && a.Number == 1 },
		"the first ack":   func(a rollup.Ack) bool { return a.Service == 0 && a.Number == 0 },
		"a whole service": func(a rollup.Ack) bool { return a.Service == 1 },
	} {
		l := newLies(t, nil)
		l.key.Window++
		rest := slices.DeleteFunc(slices.Clone(l.acks),
			func(a rollup.Ack) bool { return a.Client == victim && left(a) })
		if why, refused := l.decide(l.offer(rest, nil)); refused {
			t.Errorf("an offer without %s: %v", name, why)
		}
	}
	if files, err := os.ReadDir(filepath.Join(l.dir, "offers")); err == nil {
		t.Errorf("%d honest offers were kept", len(files))
	}
}

// TestLyingOffers: whatever a node says that is not true is refused for its reason, not signed, and
// kept.
func TestLyingOffers(t *testing.T) {
	edit := func(change func(s *rollup.Statement)) func(l *lies) *api.CosignOffer {
		return func(l *lies) *api.CosignOffer {
			return l.offer(l.acks, func(all []rollup.Statement) []rollup.Statement {
				i := slices.IndexFunc(
					all,
					func(s rollup.Statement) bool { return s.Client == victim },
				)
				change(&all[i])
				return all
			})
		}
	}
	message := func(change func(m *api.CosignOffer)) func(l *lies) *api.CosignOffer {
		return func(l *lies) *api.CosignOffer {
			m := l.offer(l.acks, nil)
			change(m)
			if o, err := m.Decode(); err == nil { // the node means it
				signature := word.Sign(&o.Network, nodeSecret, offerWord(o))
				m.Signature = signature[:]
			}
			return m
		}
	}
	unsigned := func(change func(m *api.CosignOffer)) func(l *lies) *api.CosignOffer {
		return func(l *lies) *api.CosignOffer {
			m := l.offer(l.acks, nil)
			change(m)
			return m
		}
	}
	insert := func(s rollup.Statement, at int) func(l *lies) *api.CosignOffer {
		return func(l *lies) *api.CosignOffer {
			return l.offer(l.acks, func(all []rollup.Statement) []rollup.Statement {
				s.Payer = l.payer()
				return slices.Insert(all, at, s)
			})
		}
	}
	// Each client has a statement about service 0 and one about service 1: those of client 1 are at
	// 2 and 3.
	for name, c := range map[string]struct {
		offer func(l *lies) *api.CosignOffer
		want  cosign.Reason
	}{
		"one unit more": {edit(func(s *rollup.Statement) { s.Units++ }),
			cosign.ReasonWrongUnits},
		"one unit less": {edit(func(s *rollup.Statement) { s.Units-- }),
			cosign.ReasonWrongUnits},
		"another root of acks": {edit(func(s *rollup.Statement) { s.Root[0] ^= 1 }),
			cosign.ReasonWrongRoot},
		"another payer": {edit(func(s *rollup.Statement) { s.Payer++ }),
			cosign.ReasonWrongPayer},
		"another service": {edit(func(s *rollup.Statement) { s.Service = 7 }),
			cosign.ReasonWrongAcks},
		"one ack more": {edit(func(s *rollup.Statement) { s.Acks++ }),
			cosign.ReasonWrongAcks},
		"one ack less": {edit(func(s *rollup.Statement) { s.Acks-- }),
			cosign.ReasonWrongUnits},
		"another first": {edit(func(s *rollup.Statement) { s.First++ }),
			cosign.ReasonWrongAcks},
		"the last first": {edit(func(s *rollup.Statement) { s.First = 1<<32 - 2 }),
			cosign.ReasonWrongAcks},
		"an extra service": {func(l *lies) *api.CosignOffer {
			return insert(rollup.Statement{Client: victim, Service: 2, Acks: 1, Units: 5}, 4)(l)
		}, cosign.ReasonWrongAcks},
		"an extra ack": {func(l *lies) *api.CosignOffer {
			forged := l.Ack(l.key, victim, 2)
			return l.offer(append(slices.Clone(l.acks), forged), nil)
		}, cosign.ReasonWrongAcks},
		"an ack of a service never used": {func(l *lies) *api.CosignOffer {
			forged := l.Ack(l.key, victim, 0)
			forged.Service = 5
			return l.offer(append(slices.Clone(l.acks), forged), nil)
		}, cosign.ReasonWrongAcks},
		"more units in an ack": {func(l *lies) *api.CosignOffer {
			acks := slices.Clone(l.acks)
			acks[victim].Units++
			return l.offer(acks, nil)
		}, cosign.ReasonWrongUnits},
		"another request in an ack": {func(l *lies) *api.CosignOffer {
			acks := slices.Clone(l.acks)
			acks[victim].Request[0]++
			return l.offer(acks, nil)
		}, cosign.ReasonWrongRoot},
		"a second statement elsewhere": {func(l *lies) *api.CosignOffer {
			return l.offer(l.acks, func(all []rollup.Statement) []rollup.Statement {
				extra := all[2]
				return append(all, extra) // out of order, and beside what is shown
			})
		}, cosign.Reason(255)}, // which members refuse: the tree is not in order
		"a statement after, out of order": {insert(rollup.Statement{Client: 0, Service: 3, Acks: 1,
			Units: 1}, 4), cosign.ReasonNeighbour},
		"a statement before, out of order": {insert(rollup.Statement{Client: 3, Service: 9, Acks: 1,
			Units: 1}, 2), cosign.ReasonNeighbour},
		"another root": {message(func(m *api.CosignOffer) { m.Root[0] ^= 1 }),
			cosign.ReasonWrongPath},
		"another count": {message(func(m *api.CosignOffer) { m.Count++ }),
			cosign.ReasonWrongPath},
		"another path": {message(
			func(m *api.CosignOffer) { m.Ranges[0].Siblings[3] ^= 1 }), cosign.ReasonWrongPath},
		"another place": {message(
			func(m *api.CosignOffer) { m.Ranges[0].First++ }), cosign.ReasonWrongPath},
		"another network": {message(
			func(m *api.CosignOffer) { m.Network = strings.Repeat("01", 32) }),
			cosign.ReasonWrongNetwork},
		"another epoch": {message(func(m *api.CosignOffer) { m.Epoch++ }),
			cosign.ReasonWrongWindow},
		"another node": {message(func(m *api.CosignOffer) { m.Node++ }),
			cosign.ReasonWrongWindow},
		"no statements": {message(func(m *api.CosignOffer) { m.Ranges = nil }),
			cosign.ReasonNoStatement},
		"no network": {message(func(m *api.CosignOffer) { m.Network = "" }),
			cosign.ReasonMalformed},
		"no root": {message(func(m *api.CosignOffer) { m.Root = nil }),
			cosign.ReasonMalformed},
		"a cut statement": {message(
			func(m *api.CosignOffer) { m.Ranges[0].Statements = m.Ranges[0].Statements[1:] }),
			cosign.ReasonMalformed},
		"payers missing": {message(
			func(m *api.CosignOffer) { m.Ranges[0].Payers = nil }), cosign.ReasonMalformed},
		"no acks": {edit(func(s *rollup.Statement) { s.Acks = 0 }),
			cosign.ReasonMalformed},
		"no signature": {unsigned(
			func(m *api.CosignOffer) { m.Signature = nil }), cosign.ReasonBadWord},
		"a cut signature": {unsigned(
			func(m *api.CosignOffer) { m.Signature = m.Signature[:63] }), cosign.ReasonBadWord},
		"signed for another window": {unsigned(func(m *api.CosignOffer) { m.Window++ }),
			cosign.ReasonBadWord},
		"signed for another epoch": {unsigned(func(m *api.CosignOffer) { m.Epoch++ }),
			cosign.ReasonBadWord},
		"signed for another node": {unsigned(func(m *api.CosignOffer) { m.Node++ }),
			cosign.ReasonBadWord},
		"signed for another network": {unsigned(func(m *api.CosignOffer) {
			m.Network = strings.Repeat("01", 32)
		}), cosign.ReasonBadWord},
		"signed for another root": {unsigned(func(m *api.CosignOffer) { m.Root[0] ^= 1 }),
			cosign.ReasonBadWord},
		"signed for another count": {unsigned(func(m *api.CosignOffer) { m.Count++ }),
			cosign.ReasonBadWord},
		"acks that were refused": {func(l *lies) *api.CosignOffer {
			p := l.k.book.places[*l.k.pin]
			e := p.series[seriesKey{0, victim, 0}].acks[0]
			l.k.book.answer(e, stateForgiven, rollup.CodePastEpoch)
			return l.offer(l.acks, nil)
		}, cosign.ReasonRefusedAcks},
		"neighbours hidden": {func(l *lies) *api.CosignOffer { return l.hidden() },
			cosign.ReasonNeighbour},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLies(t, nil)
			m := c.offer(l)
			why, refused := l.decide(m)
			if c.want == cosign.Reason(255) {
				if refused {
					t.Errorf("refused: %v", why)
				}
				return
			}
			if !refused || why != c.want {
				t.Fatalf("refused %v: %v, want %v", refused, why, c.want)
			}
			l.kept(m, c.want)
			if stats := l.k.stats; stats.Signed != 0 ||
				!maps.Equal(stats.Refused, map[cosign.Reason]uint64{c.want: 1}) {
				t.Errorf("%+v", stats)
			}
		})
	}
}

// hidden shows the client's own statements and not what stands beside them.
func (l *lies) hidden() *api.CosignOffer {
	m := l.offer(l.acks, nil)
	var tree *rollup.StatementTree
	l.offer(
		l.acks,
		func(all []rollup.Statement) []rollup.Statement {
			tree = rollup.NewStatementTree(
				all)
			return all
		},
	)
	o, err := m.Decode()
	if err != nil {
		l.t.Fatal(err)
	}
	o.Ranges = []cosign.Range{cosign.RangeOf(tree, 2, 4)}
	return l.said(o)
}

// kept requires that the offer is in the directory, with what the client signed.
func (l *lies) kept(m *api.CosignOffer, reason cosign.Reason) {
	l.t.Helper()
	files, err := filepath.Glob(filepath.Join(l.dir, "offers", "*.json"))
	if err != nil || len(files) != 1 {
		l.t.Fatalf("kept: %v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		l.t.Fatal(err)
	}
	var c evidence
	if err := json.Unmarshal(text, &c); err != nil {
		l.t.Fatal(err)
	}
	var offer api.CosignOffer
	if err := proto.Unmarshal(c.Offer, &offer); err != nil || !proto.Equal(&offer, m) {
		l.t.Errorf("another offer was kept: %v", err)
	}
	want := 3
	if m.Epoch != l.key.Epoch {
		want = 0
	}
	if c.Reason != reason.String() || !slices.Equal(c.Clients, []uint64{victim}) ||
		len(c.Signed) != want {
		l.t.Errorf("kept: %+v", c)
	}
}

// TestOneRoot: once a root is signed for a window, no other is, however true it may be.
func TestOneRoot(t *testing.T) {
	l := newLies(t, nil)
	if why, refused := l.decide(l.offer(l.acks, nil)); refused {
		t.Fatal(why)
	}
	other := slices.DeleteFunc(
		slices.Clone(l.acks),
		func(a rollup.Ack) bool { return a.Client == 3 },
	)
	if why, refused := l.decide(l.offer(other, nil)); !refused || why != cosign.ReasonRepeated {
		t.Errorf("a second root: %v, %v", refused, why)
	}
	if why, refused := l.decide(l.offer(l.acks, nil)); refused {
		t.Errorf("the first again: %v", why)
	}
	// A refused root binds nobody.
	l = newLies(t, nil)
	lie := l.offer(
		l.acks,
		func(all []rollup.Statement) []rollup.Statement { all[2].Units++; return all },
	)
	if _, refused := l.decide(lie); !refused {
		t.Fatal("a lie is signed")
	}
	if why, refused := l.decide(l.offer(l.acks, nil)); refused {
		t.Errorf("the truth after a lie: %v", why)
	}
}

// TestDeclined: who does not co-sign says so, whatever the offer, and keeps nothing.
func TestDeclined(t *testing.T) {
	l := newLies(
		t,
		func(c *CosignConfig) { c.Willing = func(client uint64) bool { return client != victim } },
	)
	for _, m := range []*api.CosignOffer{l.offer(l.acks, nil), {Clients: []uint64{victim}}} {
		if why, refused := l.decide(m); !refused || why != cosign.ReasonDeclined {
			t.Errorf("%v, %v", refused, why)
		}
	}
	if files, err := os.ReadDir(filepath.Join(l.dir, "offers")); err == nil {
		t.Errorf("%d offers were kept", len(files))
	}
}

// TestEvidenceBounds: a node that lies without end fills no disk, and a directory that can not be
// written changes nothing.
func TestEvidenceBounds(t *testing.T) {
	l := newLies(t, nil)
	for range maxEvidence + 5 {
		l.decide(
			l.offer(
				l.acks,
				func(all []rollup.Statement) []rollup.Statement { all[2].Units++; return all },
			),
		)
	}
	if files, err := os.ReadDir(filepath.Join(l.dir, "offers")); err != nil ||
		len(files) != maxEvidence {
		t.Errorf("%d files, %v", len(files), err)
	}
	l = newLies(t, func(c *CosignConfig) { c.Evidence = "/dev/null/offers" })
	if why, refused := l.decide(l.offer(l.acks,
		func(
			all []rollup.Statement) []rollup.Statement {
			all[2].Units++
			return all
		})); !refused ||
		why != cosign.ReasonWrongUnits {
		t.Errorf("%v, %v", refused, why)
	}
}

// TestSignFails: a program that can not sign does not answer.
func TestSignFails(t *testing.T) {
	broken := errors.New("no key")
	l := newLies(t, func(c *CosignConfig) {
		c.Sign = func([]uint64, []byte, [][rollup.SignatureSize]byte) error { return broken }
	})
	if _, err := l.k.answer(l.offer(l.acks, nil)); !errors.Is(err, broken) {
		t.Error(err)
	}
}
