package rotation

import (
	"errors"
	"reflect"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// committee returns n members of power 1, and their keys.
func committee(t testing.TB, term uint32, n int) (*rollup.Committee, []*bls.SecretKey) {
	t.Helper()
	c := &rollup.Committee{Term: term}
	var keys []*bls.SecretKey
	for i := range n {
		seed := seedOf(uint64(term)<<32 | uint64(i))
		key, err := bls.KeyGen(seed[:])
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
		c.Members = append(c.Members, rollup.Member{Node: uint32(2 * i), Power: 1,
			Key: key.PublicKey()})
	}
	return c, keys
}

func sum(message []byte, keys ...*bls.SecretKey) (s [rollup.SignatureSize]byte) {
	var signatures []bls.Signature
	for _, key := range keys {
		signatures = append(signatures, bls.Default.Sign(key, message))
	}
	aggregate := bls.AggregateSignatures(signatures)
	return aggregate.Bytes()
}

func TestBeacon(t *testing.T) {
	c, keys := committee(t, 3, 4)
	b := &Beacon{Network: rollup.Network{1}, Epoch: 8, Round: 1, Previous: seedOf(1),
		Candidates: seedOf(2), Announced: rollup.Bitmap{0b1011}}
	if n := len(b.Message(nil)); n != 8+32+4+1+3*32 {
		t.Errorf("a message of %d bytes", n)
	}
	s := sum(b.Message(nil), keys[0], keys[1], keys[3])
	if err := b.Verify(c, &s); err != nil {
		t.Fatal(err)
	}
	// The order of reveals is nobody's choice: the sum and its seed are the same.
	if again := sum(b.Message(nil), keys[3], keys[0], keys[1]); Seed(&again) != Seed(&s) {
		t.Error("the seed depends on an order")
	}
	partial := sum(b.Message(nil), keys[0], keys[1])
	if err := b.Verify(c, &partial); !errors.Is(err, rollup.ErrSignature) {
		t.Errorf("one reveal is missing: %v", err)
	}
	for name, change := range map[string]func(b *Beacon){
		"network":    func(b *Beacon) { b.Network[31]++ },
		"epoch":      func(b *Beacon) { b.Epoch++ },
		"round":      func(b *Beacon) { b.Round++ },
		"previous":   func(b *Beacon) { b.Previous[0]++ },
		"candidates": func(b *Beacon) { b.Candidates[0]++ },
		"announced":  func(b *Beacon) { b.Announced = rollup.Bitmap{0b0111} },
	} {
		other := *b
		change(&other)
		if err := other.Verify(c, &s); !errors.Is(err, rollup.ErrSignature) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if FirstSeed(b.Network, c) == FirstSeed(rollup.Network{2}, c) {
		t.Error("two networks begin with one seed")
	}
}

func TestHandOver(t *testing.T) {
	before, keys := committee(t, 6, 4)
	h := &HandOver{Network: rollup.Network{1}, Term: 7, Epoch: 9, Committee: seedOf(1),
		Seats: seedOf(2), Seed: seedOf(3), Terms: seedOf(4), SnapshotHeight: 100, SnapshotBytes: 1e9,
		SnapshotRoot: seedOf(5)}
	b := h.Append(nil)
	if len(b) != HandOverSize {
		t.Fatalf("%d bytes", len(b))
	}
	if back, err := ParseHandOver(b); err != nil || !reflect.DeepEqual(back, h) {
		t.Fatalf("%+v, %v", back, err)
	}
	quorum, signature := before.Signers(0, 2, 6), sum(b, keys[0], keys[1], keys[3])
	if err := h.Verify(h.Network, before, quorum, &signature); err != nil {
		t.Fatal(err)
	}
	two := sum(b, keys[0], keys[1])
	later, _ := committee(t, 7, 4)
	for name, c := range map[string]struct {
		got, want error
	}{
		"no quorum": {h.Verify(h.Network, before, before.Signers(0, 2), &two), rollup.ErrQuorum},
		"others": {h.Verify(h.Network, before, before.Signers(0, 2, 4), &signature),
			rollup.ErrSignature},
		"network": {h.Verify(rollup.Network{2}, before, quorum, &signature), rollup.ErrNetwork},
		"term":    {h.Verify(h.Network, later, quorum, &signature), rollup.ErrTerm},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, not %v", name, c.got, c.want)
		}
	}
	for i := range b {
		b[i]++
		if back, err := ParseHandOver(b); err == nil {
			if err = back.Verify(h.Network, before, quorum, &signature); err == nil {
				t.Errorf("byte %d changed, and it verifies", i)
			}
		}
		b[i]--
	}
	for _, bad := range [][]byte{nil, b[:len(b)-1], append(b[:len(b):len(b)], 0),
		(&HandOver{}).Append(nil)} {
		if _, err := ParseHandOver(bad); !errors.Is(err, rollup.ErrMalformed) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

// TestTerms holds the peaks against the whole tree, and a path against the root.
func TestTerms(t *testing.T) {
	var terms Terms
	var entries []byte
	size := len(TermEntry(0, rollup.Hash{}))
	for n := range uint32(70) {
		if want := rollup.RootOf(TermTreeKind, entries, size); terms.Root() != want {
			t.Fatalf("%d terms: root %s, not %s", n, terms.Root(), want)
		}
		if terms.Count() != n || len(terms.Append(nil)) > 4+7*32 {
			t.Fatalf("%d terms: %d bytes", terms.Count(), len(terms.Append(nil)))
		}
		back, err := ParseTerms(terms.Append(nil))
		if err != nil || back.Root() != terms.Root() {
			t.Fatalf("%d terms back: %v", n, err)
		}
		entries = append(entries, TermEntry(n, seedOf(uint64(n)))...)
		terms.Add(seedOf(uint64(n)))
	}
	for _, bad := range [][]byte{nil, {1, 0, 0, 0}, terms.Append(nil)[1:]} {
		if _, err := ParseTerms(bad); !errors.Is(err, rollup.ErrMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}
