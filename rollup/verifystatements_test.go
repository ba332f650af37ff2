package rollup

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
)

// relation stands in for proofs: it accepts a public input when the statements that it knows, and
// the flags, give it, on big integers. A prover can prove nothing else.
type relation struct {
	size     int
	segments []*bigSegment
}

func (r *relation) VerifyProof(size int, public [32]byte, proof *[ProofSize]byte) error {
	if size != r.size || *proof != [ProofSize]byte{} {
		return errors.New("another circuit, or another proof")
	}
	for _, s := range r.segments {
		if encoded(s.pub) == public {
			return nil
		}
	}
	return errors.New("another public input")
}

// prove returns the relation for a window as it is.
func (w cosigned) prove(size int, reg Registry) *relation {
	flags := make([]bool, len(w.evidence.List))
	for i, c := range w.evidence.List {
		flags[i] = c.Signed
	}
	return &relation{size, bigSegments(w.header, w.tree.Statements(), flags, size, reg)}
}

// resign computes what follows from list and statements again, so that a lie is told consistently:
// both roots and the multi-signature.
func (w *cosigned) resign(t testing.TB) {
	t.Helper()
	statements := slices.Clone(w.evidence.Statements)
	for i := range statements {
		client, _ := registry().Client(statements[i].Client)
		statements[i].Payer = client.Payer
	}
	w.tree = NewStatementTree(statements)
	w.header.StatementCount = uint32(len(statements))
	w.header.StatementRoot = w.tree.Root()
	w.header.ListRoot = w.evidence.List.Root()
	w.header.StatementSignature = cosign(t, w.header.Key(), w.header.StatementCount,
		w.header.StatementRoot, w.evidence.List.Signers()...)
}

func goldenCosigned(t testing.TB) cosigned {
	return cosignedOf(t, cosignKey, cosignAcks(), everyone, []uint64{0, 2, 3})
}

// set changes a statement, and its entry in the list with it.
func (w *cosigned) set(i int, change func(*Statement)) {
	change(&w.evidence.Statements[i])
	w.evidence.List[i].Run = w.evidence.Statements[i].Run()
}

// acksOf puts the acks of some clients into the acks part.
func (w *cosigned) acksOf(t *testing.T, clients ...uint64) {
	acks := slices.DeleteFunc(slices.Clone(cosignAcks()),
		func(a Ack) bool { return !slices.Contains(clients, a.Client) })
	h, ev := forge(t, cosignKey, acks)
	w.header.AckCount, w.header.AckRoot, w.header.AckSignature, w.evidence.Acks = h.AckCount,
		h.AckRoot, h.AckSignature, ev
}

// sign says that a client signed, or did not.
func (w *cosigned) sign(client uint64, signed bool) {
	for i := range w.evidence.List {
		if w.evidence.List[i].Client == client {
			w.evidence.List[i].Signed = signed
		}
	}
}

// TestBadStatements tells one lie at a time on rung 2: about statements 0 and 1 of client 0, who
// signed, 2 and 3 of client 1, who did not, 4 to 7 of clients 2 and 3, who did, and 8 and 9 of
// client 4, who did not.
func TestBadStatements(t *testing.T) {
	both := func(lie func(w *cosigned)) func(*testing.T, *cosigned) {
		return func(t *testing.T, w *cosigned) { lie(w); w.resign(t) }
	}
	one := func(lie func(w *cosigned)) func(*testing.T, *cosigned) {
		return func(_ *testing.T, w *cosigned) { lie(w) }
	}
	nothing := one(func(*cosigned) {})
	for _, c := range []struct {
		name string
		lie  func(t *testing.T, w *cosigned)
		reg  Registry
		want error
	}{
		{"nothing", nothing, nil, nil},
		{"resigned", both(func(*cosigned) {}), nil, nil},

		{"a statement's client, not the list's",
			one(func(w *cosigned) { w.evidence.Statements[9].Client++ }), nil, ErrList},
		{"a client, not the list's root",
			one(func(w *cosigned) { w.set(9, func(s *Statement) { s.Client++ }) }), nil, ErrList},
		{"a first number, not the list's root",
			one(func(w *cosigned) { w.set(9, func(s *Statement) { s.First++ }) }), nil, ErrList},
		{"an unknown client that did not sign",
			both(func(w *cosigned) { w.set(9, func(s *Statement) { s.Client = 5 }) }), nil,
			ErrUnknownClient},
		{"an unknown client that signed", both(func(w *cosigned) {
			w.set(9, func(s *Statement) { s.Client = 5 })
			w.evidence.List[9].Signed = true
		}), nil, ErrUnknownClient},
		{"a signed statement's service",
			both(func(w *cosigned) { w.set(1, func(s *Statement) { s.Service = 2 }) }), nil,
			ErrNotGranted},
		{"an unsigned statement's service",
			both(func(w *cosigned) { w.set(3, func(s *Statement) { s.Service = 2 }) }), nil, ErrRows},
		{"no service, signed",
			both(func(w *cosigned) { w.set(1, func(s *Statement) { s.Service = NoService }) }), nil,
			ErrNotGranted},
		{"a signed statement's acks",
			both(func(w *cosigned) { w.set(0, func(s *Statement) { s.Acks++ }) }), nil, ErrRows},
		{"an unsigned statement's acks",
			both(func(w *cosigned) { w.set(2, func(s *Statement) { s.Acks++ }) }), nil, nil},
		{"an unsigned statement's units, root and numbers", both(func(w *cosigned) {
			w.set(2, func(s *Statement) { s.Units, s.Root[0], s.First = 7, s.Root[0]+1, 1<<32-1 })
		}), nil, nil},
		{"no acks", both(func(w *cosigned) { w.set(2, func(s *Statement) { s.Acks = 0 }) }), nil,
			ErrList},
		{"2^22 acks", both(func(w *cosigned) { w.set(2, func(s *Statement) { s.Acks = 1 << 22 }) }), nil,
			ErrList},
		{"too many acks for the cap",
			both(func(w *cosigned) { w.set(3, func(s *Statement) { s.Acks = 1<<14 + 1 }) }), nil,
			ErrStatement},
		{"as many acks as the cap lets", both(func(w *cosigned) {
			w.set(3, func(s *Statement) { s.Acks, s.Units = 1<<14, 1<<14 })
		}), nil, nil},
		{"numbers up to the limit", both(func(w *cosigned) {
			w.set(0, func(s *Statement) { s.First = math.MaxUint32 - s.Acks })
		}), nil, nil},
		{"numbers beyond the limit", both(func(w *cosigned) {
			w.set(0, func(s *Statement) { s.First = math.MaxUint32 - s.Acks + 1 })
		}), nil, ErrNumbers},
		{"numbers that wrap", both(func(w *cosigned) {
			w.set(0, func(s *Statement) { s.First = 1<<32 - 1 })
		}), nil, ErrNumbers},

		{"a signed statement's units", one(func(w *cosigned) { w.evidence.Statements[0].Units++ }), nil,
			ErrRows},
		{"an unsigned statement's units, not the root's",
			one(func(w *cosigned) { w.evidence.Statements[2].Units++ }), nil, ErrRoot},
		{"units moved between statements", one(func(w *cosigned) {
			w.evidence.Statements[4].Units++
			w.evidence.Statements[0].Units--
		}), nil, ErrRoot},
		{"a signed statement's root", one(func(w *cosigned) { w.evidence.Statements[0].Root[0] ^= 1 }),
			nil, ErrRoot},
		{"an unsigned statement's root",
			one(func(w *cosigned) { w.evidence.Statements[9].Root[31] ^= 1 }), nil, ErrRoot},
		{"a root above 2^253", both(func(w *cosigned) { w.evidence.Statements[0].Root[31] = 0x2f }), nil,
			nil},
		{"a root that is no element",
			one(func(w *cosigned) { w.evidence.Statements[0].Root[31] |= 0x80 }), nil, ErrStatement},
		{"fewer units than acks", both(func(w *cosigned) { w.evidence.Statements[0].Units = 1 }), nil,
			ErrStatement},
		{"fewer units than acks, unsigned",
			both(func(w *cosigned) { w.evidence.Statements[2].Units = 1 }), nil, ErrStatement},
		{"units above the cap, unsigned",
			both(func(w *cosigned) { w.evidence.Statements[2].Units = 2<<20 + 1 }), nil, ErrStatement},
		{"as many units as the cap lets",
			both(func(w *cosigned) { w.evidence.Statements[2].Units = 2 << 20 }), nil, nil},
		{"statements swapped", both(func(w *cosigned) {
			a, b := w.evidence.Statements[4], w.evidence.Statements[5]
			w.set(4, func(s *Statement) { *s = b })
			w.set(5, func(s *Statement) { *s = a })
		}), nil, ErrUnsorted},
		{"unsigned statements swapped", both(func(w *cosigned) {
			a, b := w.evidence.Statements[8], w.evidence.Statements[9]
			w.set(8, func(s *Statement) { *s = b })
			w.set(9, func(s *Statement) { *s = a })
		}), nil, ErrUnsorted},
		{"a statement twice", both(func(w *cosigned) {
			w.evidence.Statements = slices.Insert(w.evidence.Statements, 1, w.evidence.Statements[0])
			w.evidence.List = slices.Insert(w.evidence.List, 1, w.evidence.List[0])
		}), nil, ErrUnsorted},
		{"a statement left out", both(func(w *cosigned) {
			w.evidence.Statements, w.evidence.List = w.evidence.Statements[1:], w.evidence.List[1:]
		}), nil, ErrRows},
		{"an unsigned statement left out", both(func(w *cosigned) {
			w.evidence.Statements, w.evidence.List = w.evidence.Statements[:9], w.evidence.List[:9]
		}), nil, nil},
		{"one statement more in the header", one(func(w *cosigned) { w.header.StatementCount++ }), nil,
			ErrCount},
		{"one statement fewer in the header", one(func(w *cosigned) { w.header.StatementCount-- }), nil,
			ErrCount},
		{"no statements", one(func(w *cosigned) { w.evidence.Statements, w.evidence.List = nil, nil }),
			nil, ErrCount},
		{"statements without a list", one(func(w *cosigned) { w.evidence.List = nil }), nil, ErrCount},
		{"a list without statements", one(func(w *cosigned) { w.evidence.Statements = nil }), nil,
			ErrList},

		{"a client more, not the list's root", one(func(w *cosigned) { w.sign(1, true) }), nil, ErrList},
		{"one entry of a client",
			both(func(w *cosigned) { w.evidence.List[0].Signed = false }), nil, ErrList},
		{"a signer more, who is in the acks part", both(func(w *cosigned) { w.sign(1, true) }), nil,
			ErrBothParts},
		{"a signer fewer, who is not in the acks part",
			both(func(w *cosigned) { w.sign(0, false) }), nil, ErrRows},
		{"nobody signed", one(func(w *cosigned) {
			for i := range w.evidence.List {
				w.evidence.List[i].Signed = false
			}
			w.header.ListRoot = w.evidence.List.Root()
		}), nil, ErrList},
		{"list root", one(func(w *cosigned) { w.header.ListRoot[0] ^= 1 }), nil, ErrList},

		{"statement root", one(func(w *cosigned) { w.header.StatementRoot[0] ^= 1 }), nil, ErrRoot},
		{"a signature fewer", func(t *testing.T, w *cosigned) { w.signedBy(t, 0, 2) }, nil, ErrSignature},
		{"a signature more", func(t *testing.T, w *cosigned) { w.signedBy(t, 0, 1, 2, 3) }, nil,
			ErrSignature},
		{"another signer", func(t *testing.T, w *cosigned) { w.signedBy(t, 0, 2, 4) }, nil, ErrSignature},
		{"a signature for each statement",
			func(t *testing.T, w *cosigned) { w.signedBy(t, 0, 0, 2, 2, 3, 3) }, nil, ErrSignature},
		{"no signature",
			one(func(w *cosigned) { w.header.StatementSignature = bls.IdentitySignature }), nil,
			ErrSignature},
		{"no point", one(func(w *cosigned) { clear(w.header.StatementSignature[:]) }), nil, ErrSignature},
		{"the acks' signature",
			one(func(w *cosigned) { w.header.StatementSignature = w.header.AckSignature }), nil,
			ErrSignature},
		{"a signature of another window", func(t *testing.T, w *cosigned) {
			w.header.StatementSignature = cosign(t, testKey, w.header.StatementCount, w.header.StatementRoot,
				0, 2, 3)
		}, nil, ErrSignature},
		{"a signature of another count", func(t *testing.T, w *cosigned) {
			w.header.StatementSignature = cosign(t, cosignKey, 11, w.header.StatementRoot, 0, 2, 3)
		}, nil, ErrSignature},
		{"list and statements of another window", func(t *testing.T, w *cosigned) {
			o := cosignedOf(t, testKey, testAcks(), everyone, []uint64{0, 2, 3})
			w.evidence.Statements, w.evidence.List = o.evidence.Statements, o.evidence.List
			w.resign(t)
		}, nil, ErrRows},

		{"row units", one(func(w *cosigned) { w.header.Rows[0].Units++ }), nil, ErrRows},
		{"row acks", one(func(w *cosigned) { w.header.Rows[0].Acks-- }), nil, ErrRows},
		{"acks moved between rows", one(func(w *cosigned) {
			w.header.Rows[0].Acks--
			w.header.Rows[1].Acks++
		}), nil, ErrRows},
		{"a row less than the acks part", one(func(w *cosigned) { w.header.Rows[0].Units = 3 }), nil,
			ErrRows},
		{"a row of one ack", one(func(w *cosigned) {
			w.header.Rows = append(w.header.Rows, Row{Payer: 9, Acks: 1, Units: 1})
		}), nil, ErrRows},
		{"a row of zeros",
			one(func(w *cosigned) { w.header.Rows = append(w.header.Rows, Row{Payer: 9}) }), nil, ErrRows},
		{"a row of units alone", one(func(w *cosigned) {
			w.header.Rows = append(w.header.Rows, Row{Payer: 9, Units: 1})
		}), nil, ErrRows},
		{"a row missing", one(func(w *cosigned) { w.header.Rows = w.header.Rows[1:] }), nil, ErrRows},
		{"an ack count that the rows do not reach",
			one(func(w *cosigned) { w.header.AckCount = 16 }), nil, ErrRows},
		{"no acks for the statements", one(func(w *cosigned) { w.header.AckCount = 15 }), nil, ErrRows},
		{"acks that overflow", one(func(w *cosigned) {
			w.header.Rows[0] = Row{Payer: 5, Acks: math.MaxUint64, Units: math.MaxUint64}
		}), nil, ErrOverflow},
		{"another payer", nothing, otherPayers(), ErrRows},
		{"payers exchanged", nothing, swappedPayers{registry()}, ErrRows},
		{"a smaller cap", nothing, capOf{registry(), 5000}, ErrUnits},
		{"a service that is gone", nothing, capOf{registry(), 0}, ErrUnknownService},
		{"unknown clients", nothing, keylessPayers{registry()}, ErrUnknownClient},
		{"a signer of another time", nothing, edited{registry(), 2,
			func(c *Client) { c.Until = 1 }}, ErrNotValid},
		{"a signer of a later time", nothing, edited{registry(), 2,
			func(c *Client) { c.Since = 2 }}, ErrNotValid},
		{"a signer whose service was not granted", nothing, edited{registry(), 2,
			func(c *Client) { c.Services = [3]uint32{1, NoService, NoService} }}, ErrNotGranted},
		{"a signer's limit", nothing, edited{registry(), 2, func(c *Client) { c.Numbers = 8 }}, nil},
		{"a signer beyond its limit", nothing, edited{registry(), 2,
			func(c *Client) { c.Numbers = 7 }}, ErrNumbers},

		{"an ack of a signer", one(func(w *cosigned) {
			w.evidence.Acks = w.archive
			w.header.AckCount = 14
		}), nil, ErrCount},
		{"acks of signers", func(t *testing.T, w *cosigned) { w.acksOf(t, 0, 1, 4) }, nil, ErrBothParts},
		{"acks missing", func(t *testing.T, w *cosigned) { w.acksOf(t, 4) }, nil, ErrRows},
		{"acks root", one(func(w *cosigned) { w.header.AckRoot[0] ^= 1 }), nil, ErrRoot},
		{"acks signature",
			one(func(w *cosigned) { w.header.AckSignature = w.header.StatementSignature }), nil,
			ErrSignature},
		{"the evidence of rung 1", one(func(w *cosigned) { w.evidence.Rung = RungAcks }), nil, ErrParts},
		{"a rung that is none", one(func(w *cosigned) { w.evidence.Rung = 4 }), nil, ErrParts},
		{"rung 3 without proofs", one(func(w *cosigned) { w.evidence.Rung = RungProof }), nil,
			ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := goldenCosigned(t)
			w.header = w.header.Clone()
			w.evidence.Statements, w.evidence.List = slices.Clone(w.evidence.Statements),
				slices.Clone(w.evidence.List)
			c.lie(t, &w)
			reg := c.reg
			if reg == nil {
				reg = registry()
			}
			wantError(t, Verify(w.header, w.evidence, testNet, reg, nil, 1), c.want)
		})
	}
}

// TestZeroRows has pairs that only clients have who did not sign, and whose acks are nowhere: their
// rows are of zeros, and only theirs.
func TestZeroRows(t *testing.T) {
	acks := slices.DeleteFunc(slices.Clone(cosignAcks()), func(a Ack) bool { return a.Client > 1 })
	window := func(t *testing.T) cosigned {
		w := cosignedOf(t, cosignKey, acks, everyone, []uint64{0}) // payer 6 has client 1 alone
		w.header = w.header.Clone()
		w.header.AckCount, w.header.AckRoot = 0, Hash{}
		w.header.AckSignature, w.evidence.Acks = bls.IdentitySignature, noAcks
		for i := range w.header.Rows {
			if r := &w.header.Rows[i]; r.Payer == 6 {
				r.Acks, r.Units = 0, 0
			}
		}
		return w
	}
	for _, c := range []struct {
		name string
		lie  func(h *Header)
		want error
	}{
		{"as it is", func(*Header) {}, nil},
		{"without the rows", func(h *Header) { h.Rows = h.Rows[:2] }, ErrRows},
		{"units in such a row", func(h *Header) { h.Rows[2].Units = 1 }, ErrRows},
		{"an ack in such a row", func(h *Header) { h.Rows[2].Acks, h.Rows[2].Units = 1, 1 }, ErrRows},
		{"zeros where somebody signed", func(h *Header) { h.Rows[0].Acks, h.Rows[0].Units = 0, 0 },
			ErrRows},
		{"another row of zeros",
			func(h *Header) { h.Rows = append(h.Rows, Row{Payer: 6, Service: 7}) }, ErrUnknownService},
		{"another payer's row of zeros",
			func(h *Header) { h.Rows = append(h.Rows, Row{Payer: 7}) }, ErrRows},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := window(t)
			third, _ := w.third(t, 256, registry())
			prover := w.prove(256, registry())
			c.lie(w.header)
			wantError(t, Verify(w.header, w.evidence, testNet, registry(), nil, 1), c.want)
			wantError(t, Verify(w.header, third, testNet, registry(), prover, 1), c.want)
			if h, err := ParseHeader(w.header.Append(nil)); c.want == nil && (err != nil ||
				h.ID() != w.header.ID()) {
				t.Error(err)
			}
		})
	}
	h, _ := forge(t, testKey, testAcks())
	h.Rows = append(h.Rows, Row{Payer: 9})
	_, err := ParseHeader(h.Append(nil)) // there is no statements part
	wantError(t, err, ErrRows)
}

func (w *cosigned) signedBy(t *testing.T, clients ...uint64) {
	w.header.StatementSignature = cosign(t, cosignKey, w.header.StatementCount, w.header.StatementRoot,
		clients...)
}

// edited changes what the registry says of a client.
type edited struct {
	Registry
	client uint64
	change func(*Client)
}

func (e edited) Client(client uint64) (Client, bool) {
	c, known := e.Registry.Client(client)
	if client == e.client {
		e.change(&c)
	}
	return c, known
}

// swappedPayers lets clients 0 and 1 pay for each other.
type swappedPayers struct{ Registry }

func (s swappedPayers) Client(client uint64) (Client, bool) {
	c, known := s.Registry.Client(client)
	if other, _ := s.Registry.Client(client ^ 1); client < 2 {
		c.Payer = other.Payer
	}
	return c, known
}

// capOf changes the cap of service 1, which is unknown when that is 0.
type capOf struct {
	Registry
	limit uint64
}

func (c capOf) UnitCap(service uint32) (uint64, bool) {
	if service == 1 {
		return c.limit, c.limit > 0
	}
	return c.Registry.UnitCap(service)
}

// crowded signs a window of the crowd's statements and has its header follow from them.
func crowded(t *testing.T, statements []Statement) cosigned {
	w := assemble(statements, NewList(statements, func(uint64) bool { return true }))
	w.header.StatementSignature = cosign(t, cosignKey, w.header.StatementCount, w.header.StatementRoot,
		w.evidence.List.Signers()...)
	return w
}

// TestRandomWindows verifies windows of many shapes on both rungs.
func TestRandomWindows(t *testing.T) {
	rng := newRand(t)
	for range 12 {
		reg := crowd{payers: 1 + rng.Uint32N(5)}
		w := crowded(t, randomStatements(rng, 1+rng.IntN(60), reg))
		wantError(t, Verify(w.header, w.evidence, testNet, reg, nil, 1), nil)
		ev, err := ParseEvidence(w.evidence.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, Verify(w.header, ev, testNet, reg, nil, 1), nil)
		third, _ := w.third(t, 256, reg)
		wantError(t, Verify(w.header, third, testNet, reg, w.prove(256, reg), 1), nil)
	}
}

// TestBadProofs tells one lie at a time on rung 3, against a prover that can prove what is true of
// the honest window of three segments and nothing else.
func TestBadProofs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1)) // rows that bear the lies
	reg := crowd{payers: 3}
	statements := randomStatements(rng, 600, reg)
	for i := range statements {
		statements[i].Client += 24 // of the same payer, with the same services
	}
	for i := range 2 { // two that could pay for each other, by what the list shows
		statements[i] = Statement{Client: uint64(4 + 4*i), Payer: uint32(101 + i), Acks: 5,
			Units: uint64(10 + i)}
	}
	honest := crowded(t, statements)
	prover := honest.prove(256, reg)
	for _, c := range []struct {
		name string
		lie  func(t *testing.T, w *cosigned, ev *Evidence)
		reg  Registry
		want error
	}{
		{"nothing", func(*testing.T, *cosigned, *Evidence) {}, nil, nil},
		{"proof", func(_ *testing.T, _ *cosigned, ev *Evidence) { ev.Segments[1].Proof[383] ^= 1 }, nil,
			ErrProof},
		{"a circuit that is none", func(_ *testing.T, _ *cosigned, ev *Evidence) { ev.Size = 512 }, nil,
			ErrMalformed},
		{"another circuit", func(_ *testing.T, _ *cosigned, ev *Evidence) { ev.Size = 1024 }, nil,
			ErrMalformed},
		{"a segment missing", func(_ *testing.T, _ *cosigned,
			ev *Evidence) {
			ev.Segments = ev.Segments[:2]
		}, nil, ErrMalformed},
		{"a segment too many", func(_ *testing.T, _ *cosigned,
			ev *Evidence) {
			ev.Segments = append(ev.Segments, ev.Segments[0])
		}, nil, ErrMalformed},
		{"a node", func(_ *testing.T, _ *cosigned, ev *Evidence) { ev.Segments[0].Nodes[1][0] ^= 1 }, nil,
			ErrRoot},
		{"nodes swapped", func(_ *testing.T, _ *cosigned, ev *Evidence) {
			n := ev.Segments[0].Nodes
			n[0], n[1] = n[1], n[0]
		}, nil, ErrRoot},
		{"a node beyond the statements", func(_ *testing.T, _ *cosigned,
			ev *Evidence) {
			ev.Segments[2].Nodes[1][0] = 1
		}, nil, ErrRoot},
		{"a node missing", func(_ *testing.T, _ *cosigned,
			ev *Evidence) {
			ev.Segments[1].Nodes = ev.Segments[1].Nodes[:1]
		}, nil, ErrMalformed},
		{"a node that is no element", func(_ *testing.T, _ *cosigned,
			ev *Evidence) {
			ev.Segments[1].Nodes[0][31] = 0xff
		}, nil, ErrMalformed},
		{"partial units", func(_ *testing.T, _ *cosigned,
			ev *Evidence) {
			ev.Segments[0].Rows[0].Units++
		}, nil, ErrProof},
		{"partial acks moved", func(_ *testing.T, _ *cosigned, ev *Evidence) {
			ev.Segments[0].Rows[0].Acks--
			ev.Segments[1].Rows[0].Acks++
		}, nil, ErrRows},
		{"partial units above the cap", func(_ *testing.T, _ *cosigned, ev *Evidence) {
			i := slices.IndexFunc(ev.Segments[0].Rows, func(r Row) bool { return r.Acks > 1 })
			r := &ev.Segments[0].Rows[i]
			r.Units = r.Acks<<22 + 1
		}, nil, ErrRows}, // or ErrUnits, where the header's row has as many
		{"partial rows above the header's", func(_ *testing.T, w *cosigned, ev *Evidence) {
			ev.Segments[0].Rows[0].Units = w.header.Rows[0].Units + 1
		}, nil, ErrRows},
		{"partial rows that are together above the header's",
			func(_ *testing.T, w *cosigned, ev *Evidence) {
				r := w.header.Rows[0]
				ev.Segments[0].Rows, ev.Segments[1].Rows = []Row{r}, []Row{{r.Payer, r.Service, 1, 1}}
			}, nil, ErrRows},
		{"a partial row that the header lacks", func(_ *testing.T, _ *cosigned, ev *Evidence) {
			ev.Segments[1].Rows = append(ev.Segments[1].Rows, Row{Payer: 999, Acks: 1, Units: 1})
		}, nil, ErrRows},
		{"a partial row of nothing", func(_ *testing.T, _ *cosigned,
			ev *Evidence) {
			ev.Segments[1].Rows[0].Acks = 0
		}, nil, ErrRows},
		{"partial rows not sorted", func(_ *testing.T, _ *cosigned, ev *Evidence) {
			r := ev.Segments[0].Rows
			r[0], r[1] = r[1], r[0]
		}, nil, ErrUnsorted},
		{"segments exchanged", func(_ *testing.T, _ *cosigned, ev *Evidence) {
			ev.Segments[0].Rows, ev.Segments[1].Rows = ev.Segments[1].Rows, ev.Segments[0].Rows
		}, nil, ErrRows},
		{"a client missing from the list", func(_ *testing.T, w *cosigned,
			ev *Evidence) {
			w.list(ev, ev.List[1:])
		}, nil, ErrCount},
		{"another client", func(t *testing.T, w *cosigned, ev *Evidence) {
			last := ev.List[599]
			last.Client += 12 // of the same payer, with the same services
			w.list(ev, append(slices.Clone(ev.List[:599]), last))
		}, nil, ErrProof},
		{"a client listed twice", func(t *testing.T, w *cosigned, ev *Evidence) {
			l := slices.Clone(ev.List)
			l[1] = l[0]
			w.list(ev, l)
		}, nil, ErrUnsorted},
		{"a first number", func(t *testing.T, w *cosigned, ev *Evidence) {
			l := slices.Clone(ev.List)
			l[9].First ^= 1
			w.list(ev, l)
		}, nil, ErrProof},
		{"acks exchanged", func(t *testing.T, w *cosigned, ev *Evidence) {
			l := slices.Clone(ev.List) // of two statements of one row and segment
			for i := range 255 {
				client, _ := reg.Client(l[i].Client)
				for j := range i {
					other, _ := reg.Client(l[j].Client)
					if client.Payer == other.Payer && l[i].Service == l[j].Service && l[i].Count != l[j].Count {
						l[i].Count, l[j].Count = l[j].Count, l[i].Count
						l[i].First, l[j].First = 0, 0
						w.list(ev, l)
						return
					}
				}
			}
			t.Fatal("there are none")
		}, nil, ErrProof},
		{"a client's bit", func(t *testing.T, w *cosigned, ev *Evidence) {
			l := slices.Clone(ev.List)
			for i := range l {
				l[i].Signed = l[i].Client != l[0].Client
			}
			w.list(ev, l)
		}, nil, ErrRows}, // its acks are nobody's
		{"list root", func(_ *testing.T, w *cosigned,
			_ *Evidence) {
			w.header.ListRoot[0] ^= 1
		}, nil, ErrList},
		{"one statement fewer", func(t *testing.T, w *cosigned, ev *Evidence) {
			w.list(ev, ev.List[:599])
			w.header.StatementCount = 599
		}, nil, ErrRows},
		{"row units", func(_ *testing.T, w *cosigned, _ *Evidence) { w.header.Rows[0].Units-- }, nil,
			ErrProof},
		{"row acks", func(_ *testing.T, w *cosigned, _ *Evidence) { w.header.Rows[0].Acks-- }, nil,
			ErrRows},
		{"a row of nothing", func(_ *testing.T, w *cosigned, _ *Evidence) {
			w.header.Rows = append(w.header.Rows, Row{Payer: 999, Acks: 1, Units: 1})
		}, nil, ErrRows},
		{"another payer", func(*testing.T, *cosigned, *Evidence) {}, edited{reg, statements[0].Client,
			func(c *Client) { c.Payer = 99 }}, ErrRows},
		{"payers exchanged", func(*testing.T, *cosigned, *Evidence) {}, payersOfTwo{reg, statements},
			ErrProof},
		{"another cap", func(*testing.T, *cosigned, *Evidence) {}, capped{reg, 1<<22 + 1}, ErrProof},
		{"another window", func(t *testing.T, w *cosigned, _ *Evidence) {
			w.header.Window++
			w.header.StatementSignature = cosign(t, w.header.Key(), 600, w.header.StatementRoot,
				w.evidence.List.Signers()...)
		}, nil, ErrProof},
		{"a signature fewer", func(t *testing.T, w *cosigned,
			ev *Evidence) {
			w.signedBy(t, ev.List.Signers()[1:]...)
		}, nil, ErrSignature},
		{"a signature more", func(t *testing.T, w *cosigned,
			ev *Evidence) {
			w.signedBy(t, append(ev.List.Signers(), 1)...)
		}, nil, ErrSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := honest
			header := *honest.header
			header.Rows = slices.Clone(header.Rows)
			w.header = &header
			ev, _ := honest.third(t, 256, reg)
			c.lie(t, &w, ev)
			r := c.reg
			if r == nil {
				r = reg
			}
			wantError(t, Verify(w.header, ev, testNet, r, prover, 1), c.want)
		})
	}
}

// list puts another list into evidence and header, and has its signers sign.
func (w *cosigned) list(ev *Evidence, l List) {
	ev.List = l
	w.header.ListRoot = l.Root()
}

// payersOfTwo exchanges the payers of two clients that another account pays for, whose statements
// are about the same acks.
type payersOfTwo struct {
	Registry
	statements []Statement
}

func (p payersOfTwo) Client(client uint64) (Client, bool) {
	c, known := p.Registry.Client(client)
	a, b := p.statements[0], p.statements[1]
	if client == a.Client {
		c.Payer = b.Payer
	} else if client == b.Client {
		c.Payer = a.Payer
	}
	return c, known
}
