package rollup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
)

func TestVerify(t *testing.T) {
	for n := range len(testAcks()) {
		h, ev := forge(t, testKey, testAcks()[:n+1])
		for _, workers := range []int{1, 2} {
			if err := Verify(h, AcksEvidence(ev), testNet, registry(), nil, workers); err != nil {
				t.Fatalf("%d acks: %v", n+1, err)
			}
		}
	}
}

// change returns what ack i of evidence has for itself, changeRun run i, for changing.
func (a Acks) change(i int) []byte    { return a.Body(i) }
func (a Acks) changeRun(i int) []byte { return a[4+i*runSize : 4+(i+1)*runSize] }

// TestBadRollups tells one lie at a time; whatever is not the lie is honest.
func TestBadRollups(t *testing.T) {
	honest := testAcks()
	resigned := func(i int, f func(*Ack)) []Ack {
		acks := slices.Clone(honest)
		f(&acks[i])
		acks[i] = signed(acks[i])
		return acks
	}
	header := func(f func(*Header)) func(*Header, *Acks) {
		return func(h *Header, _ *Acks) { f(h) }
	}
	otherNet := NetworkOf([]byte("another"))
	type lie = func(*Header, *Acks)
	for _, c := range []struct {
		name string
		acks []Ack // the honest ones when nil
		lie  lie
		reg  Registry
		want error
		at   int // index in a *VerifyError, or -1
	}{
		{"network", nil, header(func(h *Header) { h.Network = otherNet }), nil, ErrNetwork, -1},
		{"statement count", nil, header(func(h *Header) { h.StatementCount = 1 }), nil, ErrRows, -1},
		{"statement count and acks for it", nil, header(func(
			h *Header) {
			h.StatementCount = 1
			h.Rows[0].Acks++
		}), nil, ErrParts, -1},
		{"statement root", nil, header(func(h *Header) { h.StatementRoot[31] = 1 }), nil, ErrMalformed,
			-1},
		{"list root", nil, header(func(h *Header) { h.ListRoot[0] = 1 }), nil,
			ErrMalformed, -1},
		{"statement signature", nil, header(func(h *Header) { h.StatementSignature = h.AckSignature }),
			nil, ErrMalformed, -1},
		{"statement signature of zeros", nil, header(func(h *Header) { h.StatementSignature[0] = 0 }),
			nil, ErrMalformed, -1},
		{"no acks", nil, header(func(h *Header) { h.AckCount = 0 }), nil, ErrCount, -1},
		{"65,537 acks", nil, header(func(h *Header) { h.AckCount = MaxAcks + 1 }), nil, ErrCount, -1},
		{"one ack more", nil, header(func(h *Header) { h.AckCount++; h.Rows[0].Acks++ }), nil, ErrCount,
			-1},
		{"one ack fewer", nil, header(func(h *Header) { h.AckCount--; h.Rows[0].Acks-- }), nil, ErrCount,
			-1},
		{"one ack more than the rows have", nil, header(func(h *Header) { h.AckCount++ }), nil, ErrRows,
			-1},
		{"one ack fewer than the rows have", nil, header(func(h *Header) { h.AckCount-- }), nil, ErrRows,
			-1},
		{"acks of rows that wrap around", nil, header(func(h *Header) {
			h.Rows[1].Acks += math.MaxUint64 - 1
			h.Rows[1].Units, h.Rows[0].Acks = math.MaxUint64, h.Rows[0].Acks+2
		}), nil, ErrRows, 1},
		{"more acks than units", nil, header(func(h *Header) { h.Rows[1].Units = h.Rows[1].Acks - 1 }),
			nil, ErrRows, 1},
		{"an ack moved between rows", nil, header(func(h *Header) { h.Rows[0].Acks--; h.Rows[1].Acks++ }),
			nil, ErrRows, -1},
		{"no rows", nil, header(func(h *Header) { h.Rows = nil }), nil, ErrMalformed, -1},
		{"257 rows", nil, header(func(h *Header) {
			h.Rows = make([]Row, 257)
			for i := range h.Rows {
				h.Rows[i].Payer = uint32(i)
			}
		}), nil, ErrMalformed, -1},
		{"unsorted rows", nil, header(func(h *Header) { h.Rows[0], h.Rows[1] = h.Rows[1], h.Rows[0] }),
			nil, ErrUnsorted, 1},
		{"a row twice", nil, header(func(h *Header) {
			h.Rows[1].Payer,
				h.Rows[1].Service = h.Rows[0].Payer, h.Rows[0].Service
		}), nil, ErrUnsorted, 1},

		{"no evidence", nil, func(_ *Header, ev *Acks) { *ev = nil }, nil, ErrMalformed, -1},
		{"short evidence", nil, func(_ *Header, ev *Acks) { *ev = (*ev)[:len(*ev)-1] }, nil, ErrMalformed,
			-1},
		{"long evidence", nil, func(_ *Header, ev *Acks) { *ev = append(*ev, 0) }, nil, ErrMalformed, -1},
		{"evidence of none", nil, func(_ *Header, ev *Acks) { *ev = make(Acks, 4) }, nil, ErrCount, -1},
		{"evidence of too many", nil, func(_ *Header, ev *Acks) { le.PutUint32(*ev, MaxAcks+1) }, nil,
			ErrCount, -1},
		{"a run more than there are", nil, func(_ *Header, ev *Acks) { le.PutUint32(*ev, 8) }, nil,
			ErrCount, 7},
		{"runs out of order", nil, func(_ *Header, ev *Acks) {
			a, b := ev.changeRun(2), ev.changeRun(3)
			for i := range a {
				a[i], b[i] = b[i], a[i]
			}
		}, nil, ErrUnsorted, 3},
		{"a run twice", nil, func(_ *Header, ev *Acks) { copy(ev.changeRun(3), ev.changeRun(2)) }, nil,
			ErrUnsorted, 3},
		{"an empty run", nil, func(_ *Header, ev *Acks) { le.PutUint32(ev.changeRun(2)[16:], 0) }, nil,
			ErrCount, 2},
		{"a run of too many", nil, func(_ *Header, ev *Acks) {
			le.PutUint32(ev.changeRun(2)[16:], MaxAcks+1)
		}, nil, ErrCount, 2},
		{"a run beyond the last number", nil, func(_ *Header, ev *Acks) {
			le.PutUint32(ev.changeRun(2)[12:], math.MaxUint32)
		}, nil, ErrNumbers, 2},
		{"a client beyond 2^40", nil, func(_ *Header, ev *Acks) {
			le.PutUint64(ev.changeRun(5)[:], MaxClients)
		}, nil, ErrMalformed, 5},
		{"an ack twice", append(slices.Clone(honest), honest[3]), nil, nil, ErrRoot, -1},

		{"a number beyond the client's limit", nil, nil, clientsWith(func(c *Client) { c.Numbers = 12 }),
			ErrNumbers, 6},
		{"a client that is not valid yet", nil, nil, clientsWith(func(c *Client) { c.Since = 2 }),
			ErrNotValid, 0},
		{"a client that is valid no more", nil, nil, clientsWith(func(c *Client) { c.Until = 1 }),
			ErrNotValid, 0},
		{"a service that was not granted", resigned(4, func(a *Ack) { a.Service = 2 }), nil, nil,
			ErrNotGranted, 5},
		{"unknown client", resigned(6, func(a *Ack) { a.Client = 5 }), nil, nil, ErrUnknownClient, 6},
		{"a client without a key", nil, nil, keyless{registry()}, ErrUnknownClient, 0},
		{"unknown service", resigned(4, func(a *Ack) { a.Service = 2 }), nil,
			clientsWith(func(c *Client) { c.Services[2] = 2 }), ErrUnknownService, 5},
		{"no units", resigned(0, func(a *Ack) { a.Units = 0 }), nil, nil, ErrUnits, 0},
		{"excess units", resigned(4, func(a *Ack) { a.Units = 1<<20 + 1 }), nil, nil, ErrUnits, 5},
		{"overflow", resigned(0, func(a *Ack) { a.Units = math.MaxUint64 }), nil, capless{registry()},
			ErrOverflow, 3},

		{"root", nil, header(func(h *Header) { h.AckRoot[0] ^= 1 }), nil, ErrRoot, -1},
		{"epoch", nil, header(func(h *Header) { h.Epoch++ }), nil, ErrRoot, -1},
		{"node", nil, header(func(h *Header) { h.Node++ }), nil, ErrRoot, -1},
		{"a leaf's request", nil, func(_ *Header, ev *Acks) { ev.change(1)[39] ^= 1 }, nil, ErrRoot, -1},
		{"row units", nil, header(func(h *Header) { h.Rows[0].Units++ }), nil, ErrRows, -1},
		{"row acks", nil, header(func(h *Header) { h.Rows[0].Acks++ }), nil, ErrRows, -1},
		{"row payer", nil, header(func(h *Header) { h.Rows[len(h.Rows)-1].Payer++ }), nil, ErrRows, -1},
		{"a row missing", nil, header(func(h *Header) { h.Rows = h.Rows[1:] }), nil, ErrRows, -1},
		{"a row of nothing", nil, header(func(h *Header) { h.Rows = append(h.Rows, Row{Payer: 99}) }),
			nil, ErrRows, 4},
		{"another payer in the registry", nil, nil, otherPayers(), ErrRows, -1},

		{"aggregate of fewer", nil, header(func(h *Header) { h.AckSignature = aggregate(t, honest[1:]) }),
			nil, ErrSignature, -1},
		{"aggregate of more", nil, header(func(h *Header) {
			h.AckSignature = aggregate(t, append(
				slices.Clone(honest), honest[0]))
		}), nil, ErrSignature, -1},
		{"identity aggregate", nil, header(func(h *Header) { h.AckSignature = bls.IdentitySignature }),
			nil, ErrSignature, -1},
		{"negated aggregate", nil, header(func(h *Header) { h.AckSignature[0] ^= 0x20 }), nil,
			ErrSignature, -1},
		{"aggregate that is no point", nil, header(func(h *Header) { clear(h.AckSignature[:]) }), nil,
			ErrSignature, -1},
		{"a leaf that was not signed", nil, func(h *Header, ev *Acks) {
			ev.change(1)[39] ^= 1
			h.AckRoot = AckTree(*ev, h.Key()).Root()
		}, nil, ErrSignature, -1},
		{"a leaf signed by another", swappedSigner(honest), nil, nil, ErrSignature, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			acks, reg := c.acks, c.reg
			if acks == nil {
				acks = honest
			}
			if reg == nil {
				reg = registry()
			}
			h, ev := forge(t, testKey, acks)
			if c.lie != nil {
				c.lie(h, &ev)
			}
			err := Verify(h, AcksEvidence(ev), testNet, reg, nil, 1)
			wantError(t, err, c.want)
			index := -1
			if v := (*VerifyError)(nil); errors.As(err, &v) {
				index = v.Index
			}
			if index != c.at {
				t.Fatalf("%v: index %d, want %d", err, index, c.at)
			}
		})
	}
}

// swappedSigner has client 2's ack signed by client 4.
func swappedSigner(acks []Ack) []Ack {
	acks = slices.Clone(acks)
	sig := bls.Default.Sign(registry().secrets[4], acks[1].AppendMessage(nil, &testNet))
	acks[1].Signature = sig.Bytes()
	return acks
}

// keyless knows no clients.
type keyless struct{ Registry }

func (keyless) Client(uint64) (Client, bool) { return Client{}, false }

func otherPayers() Registry { return clientsWith(func(c *Client) { c.Payer = 9 }) }

func TestParseHeaderRefuses(t *testing.T) {
	h, _ := forge(t, testKey, testAcks())
	b := h.Append(nil)
	for n := range len(b) {
		if _, err := ParseHeader(b[:n]); err == nil {
			t.Fatalf("the first %d bytes pass", n)
		}
	}
	_, err := ParseHeader(append(b[:len(b):len(b)], 0))
	wantError(t, err, ErrMalformed)
	b[0]++
	_, err = ParseHeader(b)
	wantError(t, err, ErrMalformed)
	b[0]--
	b[HeaderSize]++ // of a row
	_, err = ParseHeader(b)
	wantError(t, err, ErrRows)
	le.PutUint16(b[HeaderSize-34:], MaxRows+1)
	_, err = ParseHeader(append(b, make([]byte, MaxRows*rowSize)...))
	wantError(t, err, ErrMalformed)
}

func TestCertificate(t *testing.T) {
	h, _ := forge(t, testKey, testAcks())
	good := certify(h, 0, 1, 3)
	wantError(t, good.Verify(testNet, committee()), nil)
	for _, c := range []struct {
		name string
		lie  func(*Certificate)
		want error
	}{
		{"network", func(c *Certificate) { c.Header.Network[31]++ }, ErrNetwork},
		{"term", func(c *Certificate) { c.Term++ }, ErrTerm},
		{"statements", func(c *Certificate) { c.Header.StatementRoot[0] = 1 }, ErrMalformed},
		{"no acks", func(c *Certificate) { c.Header.AckCount = 0 }, ErrCount},
		{"rows of other acks", func(c *Certificate) {
			c.Header.AckCount++
			*c = *certify(&c.Header, 0, 1,
				3)
		}, ErrRows},
		{"an aggregate that is no point, which it does not look at", func(c *Certificate) {
			clear(c.Header.AckSignature[:])
			*c = *certify(&c.Header, 0, 1, 3)
		}, nil},
		{"no bitmap", func(c *Certificate) { c.Signers = nil }, ErrBitmap},
		{"a longer bitmap", func(c *Certificate) { c.Signers = append(c.Signers, 0) }, ErrBitmap},
		{"a bit beyond the last member", func(c *Certificate) { c.Signers = Bitmap{c.Signers[0] | 16} },
			ErrBitmap},
		{"nobody", func(c *Certificate) { c.Signers = Bitmap{0} }, ErrQuorum},
		{"two of four, 60 of 100", func(c *Certificate) { *c = *certify(h, 1, 2, 3) }, ErrQuorum},
		{"another set", func(c *Certificate) { c.Signers = Bitmap{0b0111} }, ErrSignature},
		{"a member too many", func(c *Certificate) { c.Signers = Bitmap{0b1111} }, ErrSignature},
		{"another rollup", func(c *Certificate) { c.Header.AckRoot[0]++ }, ErrSignature},
		{"identity", func(c *Certificate) { c.Signature = bls.IdentitySignature }, ErrSignature},
		{"no point", func(c *Certificate) { c.Signature = [48]byte{} }, ErrSignature},
		{"a record's signature", func(c *Certificate) {
			_, c.Signature = multiSign(testRecord().Append(nil), 0, 1, 3)
		}, ErrSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert := *good
			cert.Signers = slices.Clone(good.Signers)
			c.lie(&cert)
			wantError(t, cert.Verify(testNet, committee()), c.want)
		})
	}
}

// TestOwn: the node's word is about one rollup, by its node key.
func TestOwn(t *testing.T) {
	h, _ := forge(t, testKey, testAcks())
	word := SignOwn(testEd25519("transport", 2), h)
	wantError(t, VerifyOwn(h, &word, registry()), nil)
	for i := range word {
		bad := word
		bad[i] ^= 1 << (i % 8)
		wantError(t, VerifyOwn(h, &bad, registry()), ErrWord)
	}
	other := SignOwn(testEd25519("transport", 1), h)
	wantError(t, VerifyOwn(h, &other, registry()), ErrWord)
	for name, change := range map[string]func(*Header){
		"window":  func(h *Header) { h.Window++ },
		"epoch":   func(h *Header) { h.Epoch++ },
		"network": func(h *Header) { h.Network[31]++ },
		"node":    func(h *Header) { h.Node-- },
		"acks":    func(h *Header) { h.AckRoot[0]++ },
	} {
		changed := *h
		change(&changed)
		if err := VerifyOwn(&changed, &word, registry()); !errors.Is(err, ErrWord) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	h.Node = 4
	wantError(t, VerifyOwn(h, &word, registry()), ErrUnknownNode)
}

// TestIdentityOfKeys: two keys that add up to the identity certify nothing, whatever the signature.
func TestIdentityOfKeys(t *testing.T) {
	h, _ := forge(t, testKey, testAcks())
	key := committee().Members[0].Key.Bytes()
	key[0] ^= 0x20 // the other y
	negated, err := bls.ParsePublicKey(key[:])
	if err != nil {
		t.Fatal(err)
	}
	com := &Committee{Members: []Member{{0, 1, committee().Members[0].Key}, {1, 1, negated}}}
	for _, signature := range [][SignatureSize]byte{bls.IdentitySignature, h.AckSignature} {
		c := &Certificate{Header: *h, Signers: Bitmap{3}, Signature: signature}
		wantError(t, c.Verify(testNet, com), ErrSignature)
	}
}

func TestQuorum(t *testing.T) {
	for _, c := range []struct {
		powers []uint64
		set    []int
		want   bool
	}{
		{[]uint64{1}, nil, false},
		{[]uint64{1}, []int{0}, true},
		{[]uint64{1, 1, 1}, []int{0, 1}, false}, // two thirds are not more than two thirds
		{[]uint64{1, 1, 1, 1}, []int{0, 1, 3}, true},
		{[]uint64{1, 1, 1, 1}, []int{0, 3}, false},
		{[]uint64{40, 30, 20, 10}, []int{0, 1}, true},
		{[]uint64{40, 30, 20, 10}, []int{1, 2, 3}, false},
		{[]uint64{1 << 63, 1 << 62}, []int{0}, false}, // three times the power exceeds 2^64
		{[]uint64{1 << 63, 1 << 61}, []int{0}, true},
		{[]uint64{0, 0}, []int{0, 1}, false},
	} {
		t.Run(fmt.Sprint(c.powers, c.set), func(t *testing.T) {
			com := new(Committee)
			for _, p := range c.powers {
				com.Members = append(com.Members, Member{Power: p})
			}
			b := NewBitmap(len(c.powers))
			for _, i := range c.set {
				b.Set(i)
			}
			if got := com.Quorum(b); got != c.want {
				t.Fatalf("quorum %v, want %v", got, c.want)
			}
			if err := b.Validate(len(c.powers)); err != nil || b.Len() != len(c.set) ||
				!slices.Equal(b.Positions(), append([]int{}, c.set...)) {
				t.Fatalf("bitmap %v of %v: %v", b, c.set, err)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	const n = 2048 // a full window takes long to sign; the cost per ack is the same
	acks := make([]Ack, n)
	for i := range acks {
		acks[i] = signed(Ack{Net: testNet.Net(), Epoch: 1, Node: 2, Client: uint64(i % 5),
			Number: uint32(i / 5), Units: 1})
	}
	h, ev, err := Seal(testNet, testKey, frames(acks), aggregate(b, acks), registry())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := Verify(h, AcksEvidence(ev), testNet, registry(), nil, 1); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/ack")
}

// TestCommitteeNodes checks the way between nodes and positions in a committee with gaps.
func TestCommitteeNodes(t *testing.T) {
	c := &Committee{Term: 7, Members: []Member{{Node: 2, Power: 1}, {Node: 5, Power: 3},
		{Node: 9, Power: 2}}}
	for position, node := range []uint32{2, 5, 9} {
		if i, ok := c.Position(node); !ok || i != position {
			t.Errorf("node %d is at %d, %v", node, i, ok)
		}
		if m, ok := c.Member(node); !ok || m.Node != node {
			t.Errorf("node %d is member %v, %v", node, m, ok)
		}
	}
	for _, node := range []uint32{0, 3, 10} {
		if _, ok := c.Position(node); ok {
			t.Errorf("node %d is a member", node)
		}
		if m, ok := c.Member(node); ok || m.Node != 0 {
			t.Errorf("node %d is member %v", node, m)
		}
	}
	signers := c.Signers(9, 2, 4)
	if !slices.Equal(signers.Positions(), []int{0, 2}) || c.Power(signers) != 3 {
		t.Errorf("signers %v", signers.Positions())
	}
	if nodes := c.Nodes(signers); !slices.Equal(nodes, []uint32{2, 9}) {
		t.Errorf("nodes %v", nodes)
	}
	signers.Set(7) // none of the committee
	if nodes := c.Nodes(signers); !slices.Equal(nodes, []uint32{2, 9}) {
		t.Errorf("a bit beyond the last member gives nodes %v", nodes)
	}
}
