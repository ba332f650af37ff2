package registry

import (
	"bytes"
	"errors"
	"testing"
)

var (
	testClient = Client{Key: [KeySize]byte{0: 0xa0, 95: 1}, Payer: 5, Since: 2, Until: None,
		Numbers: 1 << 20, Services: [MaxServices]uint32{0, 7, None}}
	testNode = Node{Key: [KeySize]byte{0: 0xb0, 95: 2}, NodeKey: [32]byte{31: 3}, Owner: 1,
		Since: 1, Until: None, Stake: 40_000_000, Status: Standing}
	testService  = Service{Owner: 4, Cap: 1 << 24, Price: 500, NextPrice: 400, From: 9}
	testProofKey = ProofKey{Size: 1024, Digest: Hash{5}, From: 24, Until: 720}
	testHeads    = Heads{Clients: Head{1 << 32, Hash{1}}, Nodes: Head{4, Hash{2}},
		ProofKeys: Hash{3}}
)

// leaves are the codecs, as bytes to bytes, with a leaf each.
var leaves = map[string]struct {
	again  func(b []byte) ([]byte, error)
	sample []byte
	// mutants are offsets, and what is written there must be refused
	mutants map[int][]byte
}{
	"client": {func(b []byte) ([]byte, error) {
		c, err := ParseClient(b)
		return c.Append(nil), err
	}, testClient.Append(nil), map[int][]byte{
		124: {1},                         // the rest
		127: {1},                         //
		104: {2, 0, 0, 0},                // until since
		100: {255, 255, 255, 255},        // since for ever
		112: {255, 255, 255, 255},        // no first service
		116: {0, 0, 0, 0},                // the first service twice
		120: {7, 0, 0, 0},                // the second one twice
		115: {0, 255, 255, 255, 255, 8},  // one behind one that is not named
		113: {1, 0, 0, 0, 0, 0, 0, 0, 0}, // descending
	}},
	"node": {func(b []byte) ([]byte, error) {
		n, err := ParseNode(b)
		return n.Append(nil), err
	}, testNode.Append(nil), map[int][]byte{
		148: {6}, 149: {1}, // status, rest
		136: {0, 0, 0, 0}, // until before since
	}},
	"service": {func(b []byte) ([]byte, error) {
		s, err := ParseService(b)
		return s.Append(nil), err
	}, testService.Append(nil), map[int][]byte{
		4:  make([]byte, 8),            // cap 0
		9:  {1},                        // cap above 2^40
		17: {1},                        // price above 2^40
		20: {245, 1},                   // next price above price
		12: {143, 1, 0, 0, 0, 0, 0, 0}, // price below next price
	}},
	"proof key": {func(b []byte) ([]byte, error) {
		p, err := ParseProofKey(b)
		return p.Append(nil), err
	}, testProofKey.Append(nil), map[int][]byte{0: {0, 0, 0, 0}}},
	"heads": {func(b []byte) ([]byte, error) {
		h, err := ParseHeads(b)
		return h.Append(nil), err
	}, testHeads.Append(nil), map[int][]byte{
		5:  {1},             // more than 2^40 clients
		0:  make([]byte, 8), // a root of nobody
		8:  make([]byte, 32),
		76: {1}, // a service without a root
		40: {0, 0, 0, 0},
		80: {1},
	}},
}

func TestLeaves(t *testing.T) {
	for name, size := range map[string]int{"client": ClientSize, "node": NodeSize,
		"service": ServiceSize, "proof key": ProofKeySize, "heads": HeadsSize} {
		c := leaves[name]
		if len(c.sample) != size {
			t.Errorf("%s: %d bytes, not %d", name, len(c.sample), size)
		}
		if b, err := c.again(c.sample); err != nil || !bytes.Equal(b, c.sample) {
			t.Errorf("%s: %x became %x: %v", name, c.sample, b, err)
		}
		for _, b := range [][]byte{nil, c.sample[1:], append(bytes.Clone(c.sample), 0)} {
			_, err := c.again(b)
			want(t, err, ReasonLength)
		}
		for at, with := range c.mutants {
			b := bytes.Clone(c.sample)
			copy(b[at:], with)
			if _, err := c.again(b); !errors.Is(err, ReasonField) {
				t.Errorf("%s with %x at %d: %v", name, with, at, err)
			}
		}
		// Every byte counts: what a flipped bit makes is refused, or another value.
		for i := range c.sample {
			b := bytes.Clone(c.sample)
			b[i] ^= 1
			if again, err := c.again(b); err == nil && !bytes.Equal(again, b) {
				t.Errorf("%s: byte %d is lost", name, i)
			}
		}
	}
}

func TestMeaning(t *testing.T) {
	c := testClient
	c.Until = 4
	for epoch, valid := range map[uint32]bool{1: false, 2: true, 3: true, 4: false, None: false} {
		if c.ValidIn(epoch) != valid {
			t.Errorf("client valid in epoch %d: %v", epoch, !valid)
		}
	}
	for service, used := range map[uint32]bool{0: true, 1: false, 7: true, None: false} {
		if c.Uses(service) != used {
			t.Errorf("service %d granted: %v", service, !used)
		}
	}
	for epoch, price := range map[uint32]uint64{0: 500, 8: 500, 9: 400, None: 400} {
		if got := testService.PriceIn(epoch); got != price {
			t.Errorf("the price of epoch %d is %d, not %d", epoch, got, price)
		}
	}
	for epoch, valid := range map[uint32]bool{23: false, 24: true, 719: true, 720: false} {
		if testProofKey.ValidIn(epoch) != valid {
			t.Errorf("proof key valid in epoch %d: %v", epoch, !valid)
		}
	}
}

func fuzz(f *testing.F, name string) {
	c := leaves[name]
	f.Add(c.sample)
	f.Add(c.sample[1:])
	for at, with := range c.mutants {
		b := bytes.Clone(c.sample)
		copy(b[at:], with)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		again, err := c.again(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input changed")
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

func FuzzParseClient(f *testing.F)   { fuzz(f, "client") }
func FuzzParseNode(f *testing.F)     { fuzz(f, "node") }
func FuzzParseService(f *testing.F)  { fuzz(f, "service") }
func FuzzParseProofKey(f *testing.F) { fuzz(f, "proof key") }
func FuzzParseHeads(f *testing.F)    { fuzz(f, "heads") }

// TestRoot: each byte of the heads is under the root, and empty trees have none.
func TestRoot(t *testing.T) {
	var empty Heads
	if b := empty.Append(nil); !bytes.Equal(b, make([]byte, HeadsSize)) {
		t.Errorf("heads of nobody are %x", b)
	}
	root, sample := testHeads.Root(), testHeads.Append(nil)
	for i := range sample {
		b := bytes.Clone(sample)
		b[i] ^= 1
		if h, err := ParseHeads(b); err == nil && h.Root() == root {
			t.Errorf("byte %d is not under the root", i)
		}
	}
}

func TestReasons(t *testing.T) {
	for r := ReasonLength; r <= ReasonCorrupt; r++ {
		if text := r.Error(); text == "" || bytes.Contains([]byte(text), []byte("Reason(")) {
			t.Errorf("reason %d has the text %q", r, text)
		}
	}
}
