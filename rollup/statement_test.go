package rollup

import (
	"bytes"
	"errors"
	"fmt"
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
		acks = append(acks, signed(Ack{Network: testNet, Epoch: cosignKey.Epoch, Window: cosignKey.Window,
			Node:   cosignKey.Node,
			Client: i % 5, Service: i / 10, Seq: i, Units: 1000 * uint64(i+1),
			Request: blake3.Sum256(fmt.Appendf(nil, "GET /%d", i))}))
	}
	return acks
})

func among(clients ...uint32) func(uint32) bool {
	return func(c uint32) bool { return slices.Contains(clients, c) }
}

var everyone = []uint32{0, 1, 2, 3, 4}

// cosign has clients sign a tree of statements and returns the sum.
func cosign(t testing.TB, key WindowKey, count uint32, root Hash,
	clients ...uint32) [SignatureSize]byte {
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

func cosignedOf(t testing.TB, key WindowKey, acks []Ack, offered, signed []uint32) cosigned {
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
		NewClientList(statements, among(signed...)),
		cosign(t, key, uint32(tree.Len()), tree.Root(), signed...), aggregate(t, rest), registry())
	if err != nil {
		t.Fatal(err)
	}
	return cosigned{h, ev, tree, archive}
}

func cosignedWindow(t testing.TB, offered, signed []uint32) cosigned {
	return cosignedOf(t, testKey, testAcks(), offered, signed)
}

// third returns evidence of rung 3 with proofs of zeros.
func (w cosigned) third(t testing.TB, size int) (*Evidence, []Segment) {
	t.Helper()
	segments, err := Segments(w.header, w.tree, w.evidence.Clients, size)
	if err != nil {
		t.Fatal(err)
	}
	return ProofEvidence(w.evidence.Acks, w.evidence.Clients, segments,
		make([][ProofSize]byte, len(segments))), segments
}

func TestCosigned(t *testing.T) {
	for _, c := range []struct{ offered, signed []uint32 }{
		{everyone, everyone},
		{everyone, []uint32{3}},
		{[]uint32{1, 4}, []uint32{1, 4}},
		{[]uint32{0}, []uint32{0}},
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
				ev, _ := w.third(t, size)
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
	w := cosignedWindow(t, []uint32{0, 1, 2, 3, 4}, []uint32{3})
	segments, err := Segments(w.header, w.tree, w.evidence.Clients, 256)
	if err != nil {
		t.Fatal(err)
	}
	for _, acks := range []Acks{w.evidence.Acks, {0, 0, 0, 0}} {
		for rung, ev := range map[Rung]*Evidence{
			RungAcks: AcksEvidence(acks),
			RungStatements: {Acks: acks, Rung: RungStatements, Clients: w.evidence.Clients,
				Statements: w.evidence.Statements},
			RungProof: ProofEvidence(acks, w.evidence.Clients, segments,
				make([][ProofSize]byte, len(segments))),
		} {
			encoded := ev.Append(nil)
			if got, err := RungOf(encoded); got != rung || err != nil {
				t.Errorf("rung %d: %d, %v", rung, got, err)
			}
			for _, bad := range [][]byte{nil, encoded[:3], encoded[:len(acks)-1],
				append(bytes.Clone(acks), 4), append(bytes.Clone(acks), 1), {255, 255, 255, 255, 2}} {
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
	for _, client := range []uint32{1, 3} {
		for service := range uint32(2) {
			s := Statement{Client: client, Payer: 5 + client%2, Service: service}
			var leaves [][]byte
			list := le.AppendUint32(nil, 0)
			for i := range acks {
				if a := &acks[i]; a.Client == client && a.Service == service {
					s.Acks++
					s.Units += a.Units
					leaves = append(leaves, a.AppendLeaf(nil))
					list = append(list, a.Append(nil)[EntryOffset:MessageSize]...)
				}
			}
			s.Root = mth("ack", leaves)
			s.Root[31] &= 31
			le.PutUint32(list, s.Acks)
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

func (keylessPayers) Payer(uint32, uint32) (uint32, bool) { return 0, false }

// archiveOf encodes entries as they are.
func archiveOf(acks ...Ack) Acks {
	list := le.AppendUint32(nil, uint32(len(acks)))
	for i := range acks {
		list = append(list, acks[i].Append(nil)[EntryOffset:MessageSize]...)
	}
	return list
}

// TestStatementLimits: a client with a service beyond the limits gets no statement at all.
func TestStatementLimits(t *testing.T) {
	reg := openRegistry{payers: 3}
	for _, c := range []struct {
		units []uint64 // of acks of client 1 for service 0
		want  int
	}{
		{[]uint64{1}, 3},
		{[]uint64{MaxStatementUnits}, 3},
		{[]uint64{MaxStatementUnits - 1, 1}, 3},
		{[]uint64{MaxStatementUnits, 1}, 1},
		{[]uint64{MaxStatementUnits + 1}, 1},
		{[]uint64{1<<64 - 1, 2}, 1},
		{[]uint64{0}, 1},
	} {
		var acks []Ack
		for i, u := range c.units {
			acks = append(acks, Ack{Client: 1, Seq: uint32(i), Units: u})
		}
		acks = append(acks, Ack{Client: 1, Service: 1, Seq: 99, Units: 1}, Ack{Client: 2, Units: 1})
		statements, err := Statements(archiveOf(acks...), cosignKey, reg,
			func(uint32) bool { return true })
		if err != nil || len(statements) != c.want {
			t.Errorf("units %d: %d statements, want %d: %v", c.units, len(statements), c.want, err)
		}
	}
}

func TestParseStatement(t *testing.T) {
	good := Statement{Client: 1, Service: 2, Acks: MaxStatementAcks, Units: MaxStatementUnits,
		Root: TruncateRoot(Hash(bytes.Repeat([]byte{255}, 32)))}
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
		"65,537 acks":     {func(s *Statement) { s.Acks++ }, ErrStatement},
		"2^56 units":      {func(s *Statement) { s.Units++ }, ErrStatement},
		"units below":     {func(s *Statement) { s.Units = uint64(s.Acks) - 1 }, ErrStatement},
		"units as many":   {func(s *Statement) { s.Units = uint64(s.Acks) }, nil},
		"root above":      {func(s *Statement) { s.Root[31] |= 0x20 }, ErrStatement},
		"root far above":  {func(s *Statement) { s.Root[31] |= 0x80 }, ErrStatement},
		"largest indices": {func(s *Statement) { s.Client, s.Service = 1<<32-1, 1<<32-1 }, nil},
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

func TestClientList(t *testing.T) {
	for _, l := range []ClientList{
		{{0, true}},
		{{1<<32 - 1, true}},
		{{0, false}, {1<<32 - 1, true}, {1<<32 - 1, true}},
		{{5, true}, {5, true}, {6, false}, {69, true}, {70, false}, {70 + 8191, true},
			{70 + 8191 + 8192, false}},
	} {
		b := l.Append(nil)
		parsed, err := ParseClientList(b)
		if err != nil || !slices.Equal(parsed, l) {
			t.Errorf("%v: %v, %v", l, parsed, err)
		}
	}
	long := make(ClientList, MaxStatements)
	long[0].Signed = true
	for i := range long {
		long[i] = ListedClient{Client: uint32(i) * 65537, Signed: i%3 == 0}
	}
	if b := long.Append(nil); len(b) > MaxClientListSize {
		t.Errorf("%d bytes", len(b))
	} else if parsed, err := ParseClientList(b); err != nil || !slices.Equal(parsed, long) {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":              {nil, ErrMalformed},
		"half a count":         {[]byte{1, 0, 0}, ErrMalformed},
		"no entries":           {[]byte{0, 0, 0, 0}, ErrCount},
		"65,537 entries":       {append([]byte{1, 0, 1, 0}, make([]byte, 65537)...), ErrCount},
		"an entry missing":     {[]byte{2, 0, 0, 0, 1}, ErrMalformed},
		"an entry too many":    {[]byte{1, 0, 0, 0, 1, 1}, ErrMalformed},
		"cut in an entry":      {[]byte{1, 0, 0, 0, 0x81}, ErrMalformed},
		"longer than it needs": {[]byte{1, 0, 0, 0, 0x81, 0}, ErrMalformed},
		"six bytes":            {[]byte{1, 0, 0, 0, 0x81, 0x80, 0x80, 0x80, 0x80, 1}, ErrMalformed},
		"client 2^32":          {[]byte{1, 0, 0, 0, 0x81, 0x80, 0x80, 0x80, 0x20}, ErrMalformed},
		"client 2^32 in two":   {[]byte{2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x1f, 3}, ErrMalformed},
		"nobody signed":        {[]byte{2, 0, 0, 0, 4, 2}, ErrClientList},
		"signed and not":       {[]byte{2, 0, 0, 0, 5, 0}, ErrClientList},
		"not and signed":       {[]byte{2, 0, 0, 0, 4, 1}, ErrClientList},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseClientList(c.b)
			wantError(t, err, c.want)
		})
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
	w := cosignedOf(t, cosignKey, cosignAcks(), everyone, []uint32{0})
	list := w.evidence.Clients
	flip := func(clients ...uint32) ClientList {
		return NewClientList(w.tree.Statements(),
			among(clients...))
	}
	for name, c := range map[string]struct {
		list ClientList
		reg  Registry
		want error
	}{
		"nobody signed":   {flip(), registry(), ErrClientList},
		"shorter list":    {list[:9], registry(), ErrClientList},
		"another client":  {slices.Concat(list[:9], ClientList{{9, false}}), registry(), ErrClientList},
		"unknown client":  {list, keylessPayers{registry()}, ErrUnknownClient},
		"a smaller cap":   {list, small{registry()}, ErrUnits},
		"everyone signed": {flip(everyone...), registry(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := new(Sealer).SealCosigned(testNet, w.archive, cosignKey, w.tree, c.list,
				bls.IdentitySignature, bls.IdentitySignature, c.reg)
			wantError(t, err, c.want)
		})
	}
}

// small caps the units of an ack at 2000.
type small struct{ Registry }

func (small) UnitCap(uint32) (uint64, bool) { return 2000, true }
