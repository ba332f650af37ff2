package rollup

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
)

// The co-signed window that docs/protocol.md section 12 describes: clients 0, 2 and 3 co-signed.

var cosignKey = WindowKey{Node: 2, Epoch: 1, Window: 8}

var cosignAcks = sync.OnceValue(func() (acks []Ack) {
	for i := range uint32(15) {
		acks = append(acks, Ack{Net: testNet.Net(), Epoch: cosignKey.Epoch, Node: cosignKey.Node,
			Client: uint64(i % 5), Service: i / 10, Units: 1000 * uint64(i+1),
			Request: blake3.Sum256(fmt.Appendf(nil, "GET /%d", i))})
	}
	return signAll(acks)
})

func among(clients ...uint64) func(uint64) bool {
	return func(c uint64) bool { return slices.Contains(clients, c) }
}

var everyone = []uint64{0, 1, 2, 3, 4}

// cosign has clients sign a tree of statements and returns the sum.
func cosign(t testing.TB, key WindowKey, count uint32, root Hash,
	clients ...uint64) [SignatureSize]byte {
	t.Helper()
	m := CosignMessage(testNet, key, count, root)
	var sum bls.Sum
	for _, c := range clients {
		sig := bls.Default.Sign(registry().secrets[int(c)%len(registry().secrets)], m[:])
		sum.Add(&sig)
	}
	sig := sum.Signature()
	return sig.Bytes()
}

// cosigned is a window of which some clients were offered their statements, and some signed.
type cosigned struct {
	header   *Header
	evidence *Evidence
	tree     *StatementTree
	archive  Acks
}

func cosignedOf(t testing.TB, key WindowKey, acks []Ack, offered, signed []uint64) cosigned {
	t.Helper()
	var s Sealer
	archive, err := s.Archive(testNet, key, frames(acks), registry())
	if err != nil {
		t.Fatal(err)
	}
	archive = bytes.Clone(archive)
	statements, err := Statements(archive, key, registry(), among(offered...))
	if err != nil {
		t.Fatal(err)
	}
	tree := NewStatementTree(statements)
	rest := slices.DeleteFunc(slices.Clone(acks),
		func(a Ack) bool { return slices.Contains(signed, a.Client) })
	h, ev, err := s.SealCosigned(testNet, archive, key, tree,
		NewList(statements, among(signed...)),
		cosign(t, key, uint32(tree.Len()), tree.Root(), signed...), aggregate(t, rest), registry())
	if err != nil {
		t.Fatal(err)
	}
	return cosigned{h, ev, tree, archive}
}

func cosignedWindow(t testing.TB, offered, signed []uint64) cosigned {
	return cosignedOf(t, testKey, testAcks(), offered, signed)
}

// third returns evidence of rung 3 with proofs of zeros.
func (w cosigned) third(t testing.TB, size int, reg Registry) (*Evidence, []Segment) {
	t.Helper()
	segments, err := Segments(w.header, w.tree, w.evidence.List, size, reg)
	if err != nil {
		t.Fatal(err)
	}
	return ProofEvidence(w.evidence.Acks, w.evidence.List, segments,
		make([][ProofSize]byte, len(segments))), segments
}

func TestCosigned(t *testing.T) {
	for _, c := range []struct{ offered, signed []uint64 }{
		{everyone, everyone},
		{everyone, []uint64{3}},
		{[]uint64{1, 4}, []uint64{1, 4}},
		{[]uint64{0}, []uint64{0}},
	} {
		for _, w := range []cosigned{cosignedWindow(t, c.offered, c.signed),
			cosignedOf(t, cosignKey, cosignAcks(), c.offered, c.signed)} {
			ev, err := ParseEvidence(w.evidence.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			if err := Verify(w.header, ev, testNet, registry(), nil, 1); err != nil {
				t.Fatalf("offered %d, signed %d: %v", c.offered, c.signed, err)
			}
			wantError(t, ev.Match(w.header, registry()), nil)
			if h, err := ParseHeader(w.header.Append(nil)); err != nil || h.ID() != w.header.ID() {
				t.Fatal(err)
			}
			for _, size := range CircuitSizes {
				ev, _ := w.third(t, size, registry())
				third, err := ParseEvidence(ev.Append(nil))
				if err != nil {
					t.Fatal(err)
				}
				wantError(t, Verify(w.header, third, testNet, registry(), nil, 1), ErrNoProofs)
				wantError(t, Verify(w.header, third, testNet, registry(), refuseAll{}, 1), ErrProof)
				wantError(t, third.Match(w.header, registry()), nil)
			}
		}
	}
}

// TestRungOf reads the rung off encoded evidence, and off nothing else.
func TestRungOf(t *testing.T) {
	w := cosignedWindow(t, []uint64{0, 1, 2, 3, 4}, []uint64{3})
	segments, err := Segments(w.header, w.tree, w.evidence.List, 256, registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, acks := range []Acks{w.evidence.Acks, {0, 0, 0, 0}} {
		for rung, ev := range map[Rung]*Evidence{
			RungAcks: AcksEvidence(acks),
			RungStatements: {Acks: acks, Rung: RungStatements, List: w.evidence.List,
				Statements: w.evidence.Statements},
			RungProof: ProofEvidence(acks, w.evidence.List, segments,
				make([][ProofSize]byte, len(segments))),
		} {
			encoded := ev.Append(nil)
			if got, err := RungOf(encoded); got != rung || err != nil {
				t.Errorf("rung %d: %d, %v", rung, got, err)
			}
			for _, bad := range [][]byte{nil, encoded[:3], encoded[:len(acks)-1],
				append(bytes.Clone(acks), 4), append(bytes.Clone(acks), 1)} {
				_, err := RungOf(bad)
				wantError(t, err, ErrMalformed)
			}
		}
	}
}

type refuseAll struct{}

func (refuseAll) VerifyProof(int, [32]byte, *[ProofSize]byte) error { return errors.New("no") }

// TestStatementsOf compares the derivation with the plain definition.
func TestStatementsOf(t *testing.T) {
	acks := cosignAcks()
	archive, err := new(Sealer).Archive(testNet, cosignKey, frames(acks), registry())
	if err != nil {
		t.Fatal(err)
	}
	statements, err := Statements(archive, cosignKey, registry(), among(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	var want []Statement
	for _, client := range []uint64{1, 3} {
		for service := range uint32(2) {
			s := Statement{Client: client, Payer: 5 + uint32(client%2), Service: service,
				First: 3 * uint32(client)}
			var leaves [][]byte
			var bodies []byte
			for i := range acks {
				if a := &acks[i]; a.Client == client && a.Service == service {
					s.Acks++
					s.Units += a.Units
					leaves = append(leaves, a.Append(nil)[16:80])
					bodies = append(bodies, a.Append(nil)[40:80]...)
				}
			}
			s.Root = mth("ack", leaves)
			s.Root[31] &= 31
			list := append(appendRun(le.AppendUint32(nil, 1), s.Run()), bodies...)
			if got := StatementRoot(Acks(list), cosignKey); got != s.Root {
				t.Errorf("StatementRoot %s, not %s", got, s.Root)
			}
			want = append(want, s)
		}
	}
	if !slices.Equal(statements, want) {
		t.Fatalf("got  %+v\nwant %+v", statements, want)
	}
	_, err = Statements(archive, cosignKey, keylessPayers{registry()}, among(1))
	wantError(t, err, ErrUnknownClient)
	if none, err := Statements(archive, cosignKey, keylessPayers{registry()}, among(9)); err != nil ||
		len(none) != 0 {
		t.Fatal(none, err)
	}
}

type keylessPayers struct{ Registry }

func (keylessPayers) Client(uint64) (Client, bool) { return Client{}, false }

// archiveOf encodes acks in order of their clients and services, as they are.
func archiveOf(acks ...Ack) Acks {
	var runs, bodies []byte
	var run Run
	count := uint32(0)
	for i, a := range acks {
		if next := (Run{a.Client, a.Service, a.Number, 1}); i > 0 && compareRuns(run, next) == 0 {
			run.Count++
			runs = appendRun(runs[:len(runs)-runSize], run)
		} else {
			run = next
			runs = appendRun(runs, run)
			count++
		}
		bodies = append(bodies, a.Append(nil)[40:80]...)
	}
	return slices.Concat(le.AppendUint32(nil, count), runs, bodies)
}

// TestStatementLimits: a client with a service beyond the limits gets no statement at all.
func TestStatementLimits(t *testing.T) {
	const limit = MaxStatementUnits / 4
	for _, c := range []struct {
		units []uint64 // of acks of client 1 for service 0
		want  int
	}{
		{[]uint64{1}, 3},
		{[]uint64{limit}, 3},
		{[]uint64{limit, limit, limit, limit}, 3},
		{[]uint64{1, 1, 1, 1, 1}, 1}, // for the cap there could be too many units
		{[]uint64{limit + 1}, 1},
		{[]uint64{1<<64 - 1, 2}, 1},
		{[]uint64{0}, 1},
		{[]uint64{0, 2}, 3}, // the door sees to each ack
	} {
		var acks []Ack
		for i, u := range c.units {
			acks = append(acks, Ack{Client: 1, Number: 7 + uint32(i), Units: u})
		}
		acks = append(acks, Ack{Client: 1, Service: 1, Units: 1}, Ack{Client: 2, Units: 1})
		reg := capped{crowd{payers: 3}, limit}
		statements, err := Statements(archiveOf(acks...), cosignKey, reg,
			func(uint64) bool { return true })
		if err != nil || len(statements) != c.want {
			t.Errorf("units %d: %d statements, want %d: %v", c.units, len(statements), c.want, err)
		}
	}
	_, err := Statements(archiveOf(Ack{Units: 1}), cosignKey, capped{registry(), 0},
		func(uint64) bool { return true })
	wantError(t, err, ErrUnknownService)
}

// capped has one cap for all services, none of which exists when that is 0.
type capped struct {
	Registry
	limit uint64
}

func (c capped) UnitCap(uint32) (uint64, bool) { return c.limit, c.limit > 0 }

func TestParseStatement(t *testing.T) {
	last := encoded(new(big.Int).Sub(bigPoseidon().r, big.NewInt(1)))
	good := Statement{Client: 1, Service: 2, First: 3, Acks: MaxStatementAcks,
		Units: MaxStatementUnits, Root: last}
	parsed, err := ParseStatement(good.Append(nil))
	if err != nil || parsed != good {
		t.Fatal(parsed, err)
	}
	for name, c := range map[string]struct {
		lie  func(*Statement)
		want error
	}{
		"least":           {func(s *Statement) { s.Acks, s.Units = 1, 1 }, nil},
		"no acks":         {func(s *Statement) { s.Acks = 0 }, ErrStatement},
		"2^22 acks":       {func(s *Statement) { s.Acks++ }, ErrStatement},
		"2^44 + 1 units":  {func(s *Statement) { s.Units++ }, ErrStatement},
		"units below":     {func(s *Statement) { s.Units = uint64(s.Acks) - 1 }, ErrStatement},
		"units as many":   {func(s *Statement) { s.Units = uint64(s.Acks) }, nil},
		"the order":       {func(s *Statement) { s.Root[0]++ }, ErrStatement},
		"root far above":  {func(s *Statement) { s.Root[31] |= 0x80 }, ErrStatement},
		"largest indices": {func(s *Statement) { s.Client, s.Service = MaxClients-1, 1<<32-1 }, nil},
		"client 2^40":     {func(s *Statement) { s.Client = MaxClients }, ErrMalformed},
		"largest number":  {func(s *Statement) { s.First = 1<<32 - 1 }, nil},
	} {
		s := good
		c.lie(&s)
		_, err := ParseStatement(s.Append(nil))
		t.Run(name, func(t *testing.T) { wantError(t, err, c.want) })
	}
	_, err = ParseStatement(good.Append(nil)[1:])
	wantError(t, err, ErrMalformed)
	_, err = ParseStatement(append(good.Append(nil), 0))
	wantError(t, err, ErrMalformed)
}

// TestCaps holds the bounds that a service's cap sets.
func TestCaps(t *testing.T) {
	for _, c := range []struct {
		acks  uint32
		units uint64
		limit uint64
		want  error
	}{
		{1, 1, 1, nil},
		{1, 2, 1, ErrStatement},
		{7, 7000, 1000, nil},
		{7, 7001, 1000, ErrStatement},
		{7, 6, 1000, ErrStatement},
		{16, 1 << 44, 1 << 40, nil},
		{17, 17, 1 << 40, ErrStatement}, // there could be too many units
		{1 << 21, 1 << 44, 1 << 23, nil},
		{1<<22 - 1, 1 << 43, 1 << 22, nil},
		{1<<22 - 1, 1 << 43, 1<<22 + 2, ErrStatement},
		{1<<22 - 1, 1 << 43, 1 << 63, ErrStatement},
		{1 << 22, 1 << 22, 1, ErrStatement},
	} {
		s := Statement{Acks: c.acks, Units: c.units}
		if err := s.CheckCap(c.limit); !errors.Is(err, c.want) {
			t.Errorf("%d acks, %d units, cap %d: %v", c.acks, c.units, c.limit, err)
		}
	}
}

// TestDepth holds the limits between depths.
func TestDepth(t *testing.T) {
	for count, want := range map[int]int{1: 3, 8: 3, 2048: 3, 2049: 4, 32768: 4, 32769: 5, 65536: 5} {
		if got := depthOf(count); got != want {
			t.Errorf("%d statements: depth %d, want %d", count, got, want)
		}
	}
}

func TestSealCosignedRefuses(t *testing.T) {
	w := cosignedOf(t, cosignKey, cosignAcks(), everyone, []uint64{0})
	list := w.evidence.List
	flip := func(clients ...uint64) List {
		return NewList(w.tree.Statements(),
			among(clients...))
	}
	for name, c := range map[string]struct {
		list List
		reg  Registry
		want error
	}{
		"nobody signed": {flip(), registry(), ErrList},
		"shorter list":  {list[:9], registry(), ErrList},
		"another client": {slices.Concat(list[:9], List{{Run{Client: 9, Count: 1}, false}}), registry(),
			ErrList},
		"unknown client":  {list, keylessPayers{registry()}, ErrUnknownClient},
		"a smaller cap":   {list, capped{registry(), 2000}, ErrUnits},
		"everyone signed": {flip(everyone...), registry(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := new(Sealer).SealCosigned(testNet, w.archive, cosignKey, w.tree, c.list,
				bls.IdentitySignature, bls.IdentitySignature, c.reg)
			wantError(t, err, c.want)
		})
	}
}
