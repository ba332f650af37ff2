package rollup

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
)

// twoParts is the archive of a window of which some clients have co-signed, as it was sealed.
func twoParts(t testing.TB) *Archive {
	t.Helper()
	var frames []byte
	key := WindowKey{Node: 1, Epoch: 2, Window: 3}
	network := NetworkOf([]byte("archive"))
	for i := range uint32(90) {
		a := Ack{Net: network.Net(), Epoch: key.Epoch, Node: key.Node, Client: uint64(i % 9),
			Service: i % 2, Number: i / 18, Units: 5}
		frames = a.Append(frames)
	}
	sealer := new(Sealer)
	acks, err := sealer.Archive(network, key, frames, anyone{})
	if err != nil {
		t.Fatal(err)
	}
	offered := func(client uint64) bool { return client != 4 }
	statements, err := Statements(acks, key, anyone{}, offered)
	if err != nil {
		t.Fatal(err)
	}
	list := NewList(statements, func(client uint64) bool { return client%3 != 0 })
	tree := NewStatementTree(statements)
	h, _, err := sealer.SealCosigned(network, acks, key, tree, list,
		[SignatureSize]byte{1}, [SignatureSize]byte{2}, anyone{})
	if err != nil {
		t.Fatal(err)
	}
	return NewArchive(h.Clone(), acks, tree, list)
}

// anyone is a registry that knows everybody.
type anyone struct{ Registry }

func (anyone) Client(client uint64) (Client, bool) {
	return Client{Payer: uint32(client / 4), Until: math.MaxUint32, Numbers: math.MaxUint32,
		Services: [3]uint32{0, 1, NoService}}, true
}
func (anyone) UnitCap(uint32) (uint64, bool) { return 100, true }

// readBack encodes an archive and parses it.
func readBack(t testing.TB, a *Archive) *Archive {
	t.Helper()
	b, err := ParseArchive(a.Header.Append(nil), a.Acks, a.List.Append(nil), a.Proof)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func evidence(t testing.TB, a *Archive, rung Rung) []byte {
	t.Helper()
	b, err := a.Evidence(rung)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestArchive: what is handed on and what is read back give the same evidence and the same
// segments.
func TestArchive(t *testing.T) {
	sealed := twoParts(t)
	kept := readBack(t, sealed)
	if kept.Tree != nil || kept.Header.ID() != sealed.Header.ID() || kept.Key() != sealed.Key() {
		t.Errorf("%+v", kept.Header)
	}
	statements := evidence(t, sealed, RungStatements)
	if !bytes.Equal(statements, evidence(t, kept, 0)) {
		t.Error("evidence read back is another")
	}
	grown, err := kept.WithTree(anyone{})
	if err != nil {
		t.Fatal(err)
	}
	if grown.Tree.Root() != sealed.Tree.Root() || kept.Tree != nil {
		t.Error("the tree is another, or the archive was changed")
	}
	size := CircuitSizes[0]
	segments, err := sealed.Segments(size, anyone{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := grown.Segments(size, anyone{})
	if err != nil || len(again) != len(segments) || again[0].Public != segments[0].Public {
		t.Errorf("segments read back are others: %v", err)
	}
	proofs := make([][ProofSize]byte, len(segments))
	proved := sealed.WithProof(segments, proofs)
	if sealed.Proof != nil {
		t.Error("the archive was changed")
	}
	want := ProofEvidence(sealed.Acks.Without(sealed.List.Signers()), sealed.List, segments, proofs)
	for _, a := range []*Archive{proved, readBack(t, proved)} {
		if !bytes.Equal(evidence(t, a, 0), want.Append(nil)) {
			t.Error("not the evidence of rung 3")
		}
		if !bytes.Equal(evidence(t, a, RungStatements), statements) {
			t.Error("a proof changes the evidence of rung 2")
		}
	}
}

// TestArchiveRungs: evidence of a rung that is not there is not found.
func TestArchiveRungs(t *testing.T) {
	a := twoParts(t)
	for _, rung := range []Rung{RungAcks, RungProof} {
		if _, err := a.Evidence(rung); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v: %v", rung, err)
		}
	}
	plain := NewArchive(a.Header, a.Acks, nil, nil)
	if plain.Stated() || !bytes.Equal(evidence(t, plain, 0), a.Acks) {
		t.Error("rung 1 is the acks")
	}
	if _, err := plain.Evidence(RungStatements); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestReceivedArchive: evidence of another node's rollup is given as it came, the best first.
func TestReceivedArchive(t *testing.T) {
	own := twoParts(t)
	header, statements := own.Header.Append(nil), evidence(t, own, RungStatements)
	segments, err := own.Segments(CircuitSizes[0], anyone{})
	if err != nil {
		t.Fatal(err)
	}
	proof := evidence(t, own.WithProof(segments, make([][ProofSize]byte, len(segments))), RungProof)
	for _, c := range []struct {
		evidence, proof []byte
		rungs           []Rung
	}{
		{nil, nil, nil},
		{statements, nil, []Rung{RungStatements}},
		{nil, proof, []Rung{RungProof}},
		{statements, proof, []Rung{RungProof, RungStatements}},
		{own.Acks, nil, []Rung{RungAcks}},
	} {
		a, err := ReceivedArchive(header, c.evidence, c.proof)
		if err != nil || !slices.Equal(a.Rungs(), c.rungs) || a.Stated() {
			t.Fatalf("%v, want %v, %v", a.Rungs(), c.rungs, err)
		}
		for rung, want := range map[Rung][]byte{RungProof: c.proof, RungStatements: statements,
			RungAcks: own.Acks} {
			got, err := a.Evidence(rung)
			switch {
			case !slices.Contains(c.rungs, rung):
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("%v of %v: %v", rung, c.rungs, err)
				}
			case err != nil || !bytes.Equal(got, want):
				t.Errorf("%v of %v: %d bytes, %v", rung, c.rungs, len(got), err)
			}
		}
		best, err := a.Evidence(0)
		if (err == nil) != (len(c.rungs) > 0) || err == nil &&
			!bytes.Equal(best, evidence(t, a, c.rungs[0])) {
			t.Errorf("the best of %v: %v", c.rungs, err)
		}
	}
	for name, parts := range map[string][3][]byte{
		"header":      {header[1:], statements, nil},
		"evidence":    {header, statements[1:], nil},
		"proof":       {header, nil, proof[:len(own.Acks.Without(own.List.Signers()))]},
		"wrong place": {header, proof, statements},
	} {
		if _, err := ReceivedArchive(parts[0], parts[1], parts[2]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestArchiveDamaged: what can not be read is an error, and not evidence.
func TestArchiveDamaged(t *testing.T) {
	a := twoParts(t)
	header, clients := a.Header.Append(nil), a.List.Append(nil)
	for name, parts := range map[string][4][]byte{
		"header":  {header[1:], a.Acks, clients, nil},
		"acks":    {header, a.Acks[1:], clients, nil},
		"clients": {header, a.Acks, {1}, nil},
		"proof":   {header, a.Acks, clients, {0, 0, 0, 0}},
	} {
		if _, err := ParseArchive(parts[0], parts[1], parts[2], parts[3]); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
	other := List{{Run{Client: 77, Count: 1}, true}}
	stranger, err := ParseArchive(header, a.Acks, other.Append(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Evidence(0); !errors.Is(err, ErrList) {
		t.Errorf("a list of other clients: %v", err)
	}
	if _, err := stranger.WithTree(anyone{}); !errors.Is(err, ErrList) {
		t.Errorf("a list of other clients: %v", err)
	}
}

// FuzzParseArchive: any bytes either do not parse, or give evidence or an error.
func FuzzParseArchive(f *testing.F) {
	a := twoParts(f)
	f.Add(a.Header.Append(nil), []byte(a.Acks), a.List.Append(nil), []byte(nil))
	f.Add([]byte(nil), []byte{255, 255, 255, 255}, []byte{255, 255, 255, 255}, []byte{1})
	f.Fuzz(func(t *testing.T, header, acks, clients, proof []byte) {
		for i := range 2 {
			a, err := ParseArchive(header, acks, clients, proof)
			if i > 0 {
				a, err = ReceivedArchive(header, acks, proof)
			}
			if err != nil {
				continue
			}
			for _, rung := range a.Rungs() {
				if b, err := a.Evidence(rung); err == nil && len(b) == 0 {
					t.Error("empty evidence")
				}
			}
		}
	})
}

// BenchmarkArchive compares a full window's archive that is handed on with one that is read back.
func BenchmarkArchive(b *testing.B) {
	sealed := fullWindow(b)
	kept := readBack(b, sealed)
	b.Run("evidence/handed-on", func(b *testing.B) {
		for b.Loop() {
			evidence(b, sealed, RungStatements)
		}
	})
	b.Run("evidence/read-back", func(b *testing.B) {
		for b.Loop() {
			evidence(b, kept, RungStatements)
		}
	})
	b.Run("segments/handed-on", func(b *testing.B) {
		for b.Loop() {
			if _, err := sealed.Segments(1024, everyPayer{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("segments/read-back", func(b *testing.B) {
		for b.Loop() {
			grown, err := kept.WithTree(everyPayer{})
			if err == nil {
				_, err = grown.Segments(1024, everyPayer{})
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// fullWindow is the archive of 65,536 acks of 8,192 clients, all of whom have co-signed.
func fullWindow(b *testing.B) *Archive {
	b.Helper()
	key, network := WindowKey{}, NetworkOf([]byte("archive"))
	frames := make([]byte, 0, MaxAcks*AckSize)
	for i := range uint32(MaxAcks) {
		a := Ack{Net: network.Net(), Client: uint64(i / 8), Number: i % 8, Units: 5}
		frames = a.Append(frames)
	}
	sealer := new(Sealer)
	acks, err := sealer.Archive(network, key, frames, everyPayer{})
	if err != nil {
		b.Fatal(err)
	}
	statements, err := Statements(acks, key, everyPayer{}, func(uint64) bool { return true })
	if err != nil {
		b.Fatal(err)
	}
	list := NewList(statements, func(uint64) bool { return true })
	tree := NewStatementTree(statements)
	h, _, err := sealer.SealCosigned(network, acks, key, tree, list,
		[SignatureSize]byte{1}, [SignatureSize]byte{2}, everyPayer{})
	if err != nil {
		b.Fatal(err)
	}
	return NewArchive(h.Clone(), acks, tree, list)
}

// everyPayer has one payer for all.
type everyPayer struct{ anyone }

func (p everyPayer) Client(client uint64) (Client, bool) { return p.anyone.Client(0) }
