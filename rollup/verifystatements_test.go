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
func (w cosigned) prove(size int) *relation {
	flags := make([]bool, len(w.evidence.Clients))
	for i, c := range w.evidence.Clients {
		flags[i] = c.Signed
	}
	return &relation{size, bigSegments(w.header, w.tree.Statements(), flags, size)}
}

// resign computes what follows from list and statements again, so that a lie is told consistently:
// list digest, root and multi-signature.
func (w *cosigned) resign(t testing.TB) {
	t.Helper()
	statements := slices.Clone(w.evidence.Statements)
	for i := range statements {
		statements[i].Payer, _ = registry().Payer(statements[i].Client, 1)
	}
	w.tree = NewStatementTree(statements)
	w.header.StatementCount = uint32(len(statements))
	w.header.StatementRoot = w.tree.Root()
	w.header.ClientListDigest = w.evidence.Clients.Digest()
	w.header.StatementSignature = cosign(t, w.header.Key(), w.header.StatementCount,
		w.header.StatementRoot, w.evidence.Clients.Signers()...)
}

func goldenCosigned(t testing.TB) cosigned {
	return cosignedOf(t, cosignKey, cosignAcks(), everyone, []uint32{0, 2, 3})
}

// TestBadStatements tells one lie at a time on rung 2: about statements 0 and 1 of client 0, who
// signed, 2 and 3 of client 1, who did not, 4 to 7 of clients 2 and 3, who did, and 8 and 9 of
// client 4, who did not.
func TestBadStatements(t *testing.T) {
	for _, c := range []struct {
		name string
		lie  func(t *testing.T, w *cosigned)
		reg  Registry
		want error
	}{
		{"nothing", func(*testing.T, *cosigned) {}, nil, nil},
		{"resigned", func(t *testing.T, w *cosigned) { w.resign(t) }, nil, nil},

		{"a statement's client", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[9].Client++
			w.evidence.Clients[9].Client++
		}, nil,
			ErrClientList},
		{"a statement's client, not the list's", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[9].Client++
		}, nil, ErrClientList},
		{"an unknown client that did not sign", func(t *testing.T, w *cosigned) {
			w.evidence.Statements[9].Client, w.evidence.Clients[9] = 5, ListedClient{Client: 5}
			w.resign(t)
		}, nil, ErrUnknownClient},
		{"an unknown client that signed", func(t *testing.T, w *cosigned) {
			w.evidence.Statements[9].Client, w.evidence.Clients[9] = 5, ListedClient{5, true}
			w.resign(t)
		}, nil, ErrUnknownClient},
		{"a signed statement's service", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[1].Service = 2
		}, nil, ErrRows},
		{"an unsigned statement's service", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[3].Service = 2
		}, nil, ErrRows},
		{"an unsigned statement's service, resigned",
			func(t *testing.T, w *cosigned) { w.evidence.Statements[3].Service = 2; w.resign(t) }, nil,
			ErrRows},
		{"a signed statement's acks", func(_ *testing.T, w *cosigned) { w.evidence.Statements[0].Acks-- },
			nil, ErrRows},
		{"an unsigned statement's acks", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[2].Acks--
		}, nil, ErrRoot},
		{"a signed statement's units", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[0].Units++
		}, nil, ErrRows},
		{"an unsigned statement's units", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[2].Units++
		}, nil, ErrRoot},
		{"units moved between statements", func(_ *testing.T, w *cosigned) {
			w.evidence.Statements[4].Units++
			w.evidence.Statements[0].Units--
		}, nil, ErrRoot},
		{"a signed statement's root", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[0].Root[0] ^= 1
		}, nil, ErrRoot},
		{"an unsigned statement's root", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[9].Root[31] ^= 1
		}, nil, ErrRoot},
		{"the top bit of a root", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Statements[0].Root[31] |= 0x80
		}, nil, ErrStatement},
		{"no acks", func(_ *testing.T, w *cosigned) { w.evidence.Statements[0].Acks = 0 }, nil,
			ErrStatement},
		{"fewer units than acks", func(_ *testing.T, w *cosigned) { w.evidence.Statements[0].Units = 1 },
			nil, ErrStatement},
		{"2^56 units", func(t *testing.T,
			w *cosigned) {
			w.evidence.Statements[2].Units = 1 << 56
			w.resign(t)
		}, nil, ErrStatement},
		{"statements swapped", func(_ *testing.T, w *cosigned) {
			s := w.evidence.Statements
			s[4], s[5] = s[5], s[4]
		}, nil, ErrUnsorted},
		{"clients swapped", func(t *testing.T, w *cosigned) {
			s, l := w.evidence.Statements, w.evidence.Clients
			s[5], s[6] = s[6], s[5]
			l[5], l[6] = l[6], l[5]
			w.resign(t)
		}, nil, ErrUnsorted},
		{"a statement twice", func(t *testing.T, w *cosigned) {
			w.evidence.Statements = slices.Insert(w.evidence.Statements, 1, w.evidence.Statements[0])
			w.evidence.Clients = slices.Insert(w.evidence.Clients, 1, w.evidence.Clients[0])
			w.resign(t)
		}, nil, ErrUnsorted},
		{"a statement left out", func(t *testing.T, w *cosigned) {
			w.evidence.Statements, w.evidence.Clients = w.evidence.Statements[1:], w.evidence.Clients[1:]
			w.resign(t)
		}, nil, ErrRows},
		{"one statement more in the header", func(_ *testing.T,
			w *cosigned) {
			w.header.StatementCount++
		}, nil, ErrCount},
		{"one statement fewer in the header", func(_ *testing.T,
			w *cosigned) {
			w.header.StatementCount--
		}, nil, ErrCount},
		{"no statements", func(_ *testing.T, w *cosigned) {
			w.evidence.Statements,
				w.evidence.Clients = nil, nil
		}, nil, ErrCount},
		{"statements without a list", func(_ *testing.T, w *cosigned) { w.evidence.Clients = nil }, nil,
			ErrCount},
		{"a list without statements", func(_ *testing.T, w *cosigned) { w.evidence.Statements = nil },
			nil, ErrCount},

		{"a bit set", func(_ *testing.T, w *cosigned) {
			w.evidence.Clients[2].Signed, w.evidence.Clients[3].Signed = true, true
		}, nil, ErrClientList},
		{"a bit cleared", func(_ *testing.T, w *cosigned) {
			w.evidence.Clients[0].Signed, w.evidence.Clients[1].Signed = false, false
		}, nil, ErrClientList},
		{"one of a client's bits", func(_ *testing.T,
			w *cosigned) {
			w.evidence.Clients[0].Signed = false
		}, nil, ErrClientList},
		{"one of a client's bits, resigned", func(t *testing.T,
			w *cosigned) {
			w.evidence.Clients[0].Signed = false
			w.resign(t)
		}, nil, ErrClientList},
		{"a signer more, who is in the acks part", func(t *testing.T, w *cosigned) {
			w.evidence.Clients[2].Signed, w.evidence.Clients[3].Signed = true, true
			w.resign(t)
		}, nil, ErrBothParts},
		{"a signer fewer, who is not in the acks part", func(t *testing.T, w *cosigned) {
			w.evidence.Clients[0].Signed, w.evidence.Clients[1].Signed = false, false
			w.resign(t)
		}, nil, ErrClientList},
		{"nobody signed", func(t *testing.T, w *cosigned) {
			for i := range w.evidence.Clients {
				w.evidence.Clients[i].Signed = false
			}
			w.header.ClientListDigest = w.evidence.Clients.Digest()
		}, nil, ErrClientList},
		{"list digest", func(_ *testing.T, w *cosigned) { w.header.ClientListDigest[0] ^= 1 }, nil,
			ErrClientList},

		{"statement root", func(_ *testing.T, w *cosigned) { w.header.StatementRoot[0] ^= 1 }, nil,
			ErrRoot},
		{"a signature fewer", func(t *testing.T, w *cosigned) { w.signedBy(t, 0, 2) }, nil, ErrSignature},
		{"a signature more", func(t *testing.T, w *cosigned) { w.signedBy(t, 0, 1, 2, 3) }, nil,
			ErrSignature},
		{"another signer", func(t *testing.T, w *cosigned) { w.signedBy(t, 0, 2, 4) }, nil, ErrSignature},
		{"a signature for each statement", func(t *testing.T,
			w *cosigned) {
			w.signedBy(t, 0, 0, 2, 2, 3, 3)
		}, nil, ErrSignature},
		{"no signature", func(_ *testing.T,
			w *cosigned) {
			w.header.StatementSignature = bls.IdentitySignature
		}, nil, ErrSignature},
		{"no point", func(_ *testing.T, w *cosigned) { clear(w.header.StatementSignature[:]) }, nil,
			ErrSignature},
		{"the acks' signature", func(_ *testing.T,
			w *cosigned) {
			w.header.StatementSignature = w.header.AckSignature
		}, nil, ErrSignature},
		{"a signature of another window", func(t *testing.T, w *cosigned) {
			w.header.StatementSignature = cosign(t, testKey, w.header.StatementCount, w.header.StatementRoot,
				0, 2, 3)
		}, nil, ErrSignature},
		{"a signature of another count", func(t *testing.T, w *cosigned) {
			w.header.StatementSignature = cosign(t, cosignKey, 11, w.header.StatementRoot, 0, 2, 3)
		}, nil, ErrSignature},
		{"root and statements of another window", func(t *testing.T, w *cosigned) {
			o := cosignedOf(t, testKey, testAcks(), everyone, []uint32{0, 2, 3})
			w.evidence.Statements, w.evidence.Clients = o.evidence.Statements, o.evidence.Clients
			w.resign(t)
		}, nil, ErrRows},

		{"row units", func(_ *testing.T, w *cosigned) { w.header.Rows[0].Units++ }, nil, ErrRows},
		{"row acks", func(_ *testing.T, w *cosigned) { w.header.Rows[0].Acks-- }, nil, ErrRows},
		{"a row less than the acks part", func(_ *testing.T, w *cosigned) { w.header.Rows[0].Units = 3 },
			nil, ErrRows},
		{"a row of nothing", func(_ *testing.T, w *cosigned) {
			w.header.Rows = append(w.header.Rows, Row{Payer: 9, Acks: 1, Units: 1})
		}, nil, ErrRows},
		{"a row missing", func(_ *testing.T, w *cosigned) { w.header.Rows = w.header.Rows[1:] }, nil,
			ErrRows},
		{"an ack count that the rows do not reach", func(_ *testing.T,
			w *cosigned) {
			w.header.AckCount = 16
		}, nil, ErrRows},
		{"no acks for the statements", func(_ *testing.T, w *cosigned) { w.header.AckCount = 15 }, nil,
			ErrRows},
		{"acks that overflow", func(_ *testing.T, w *cosigned) {
			w.header.Rows[0] = Row{Payer: 5, Acks: math.MaxUint64, Units: math.MaxUint64}
		}, nil, ErrOverflow},
		{"another payer", func(*testing.T, *cosigned) {}, otherPayers{registry()}, ErrRows},
		{"payers exchanged", func(*testing.T, *cosigned) {}, swappedPayers{registry()}, ErrRows},
		{"a smaller cap", func(*testing.T, *cosigned) {}, capOf{registry(), 5000}, ErrUnits},
		{"a service that is gone", func(*testing.T, *cosigned) {}, capOf{registry(), 0},
			ErrUnknownService},
		{"clients without keys", func(*testing.T, *cosigned) {}, keyless{registry()}, ErrUnknownClient},
		{"clients without payers", func(*testing.T, *cosigned) {}, keylessPayers{registry()},
			ErrUnknownClient},

		{"an ack of a signer", func(_ *testing.T, w *cosigned) {
			w.evidence.Acks = w.archive
			w.header.AckCount = 14
		}, nil, ErrCount},
		{"acks of signers", func(t *testing.T, w *cosigned) {
			acks := slices.DeleteFunc(slices.Clone(cosignAcks()),
				func(a Ack) bool { return a.Client == 2 || a.Client == 3 })
			h, ev := forge(t, cosignKey, acks)
			w.header.AckCount, w.header.AckRoot, w.header.AckSignature, w.evidence.Acks = h.AckCount,
				h.AckRoot, h.AckSignature, ev
		}, nil, ErrBothParts},
		{"acks missing", func(t *testing.T, w *cosigned) {
			h, ev := forge(t, cosignKey, slices.DeleteFunc(slices.Clone(cosignAcks()),
				func(a Ack) bool { return a.Client != 4 }))
			w.header.AckCount, w.header.AckRoot, w.header.AckSignature, w.evidence.Acks = h.AckCount,
				h.AckRoot, h.AckSignature, ev
		}, nil, ErrClientList},
		{"acks root", func(_ *testing.T, w *cosigned) { w.header.AckRoot[0] ^= 1 }, nil, ErrRoot},
		{"acks signature", func(_ *testing.T,
			w *cosigned) {
			w.header.AckSignature = w.header.StatementSignature
		}, nil, ErrSignature},
		{"the evidence of rung 1", func(_ *testing.T, w *cosigned) { w.evidence.Rung = RungAcks }, nil,
			ErrParts},
		{"a rung that is none", func(_ *testing.T, w *cosigned) { w.evidence.Rung = 4 }, nil, ErrParts},
		{"rung 3 without proofs", func(_ *testing.T, w *cosigned) { w.evidence.Rung = RungProof }, nil,
			ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := goldenCosigned(t)
			w.evidence.Statements, w.evidence.Clients = slices.Clone(w.evidence.Statements),
				slices.Clone(w.evidence.Clients)
			c.lie(t, &w)
			reg := c.reg
			if reg == nil {
				reg = registry()
			}
			wantError(t, Verify(w.header, w.evidence, testNet, reg, nil, 1), c.want)
		})
	}
}

func (w *cosigned) signedBy(t *testing.T, clients ...uint32) {
	w.header.StatementSignature = cosign(t, cosignKey, w.header.StatementCount, w.header.StatementRoot,
		clients...)
}

// swappedPayers lets clients 0 and 1 pay for each other.
type swappedPayers struct{ Registry }

func (s swappedPayers) Payer(client, epoch uint32) (uint32, bool) {
	if client < 2 {
		client = 1 - client
	}
	return s.Registry.Payer(client, epoch)
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
	w := assemble(statements, NewClientList(statements, func(uint32) bool { return true }))
	w.header.StatementSignature = cosign(t, cosignKey, w.header.StatementCount, w.header.StatementRoot,
		w.evidence.Clients.Signers()...)
	return w
}

// TestSumsOverflow: statements in bounds whose units are together beyond 64 bits, and just within.
func TestSumsOverflow(t *testing.T) {
	reg := crowd{payers: 1}
	for _, c := range []struct {
		name   string
		lifted uint64
		want   error
	}{{"2^64 − 1", 0, nil}, {"2^64", 1, ErrOverflow}} {
		t.Run(c.name, func(t *testing.T) {
			var statements []Statement
			for i := range uint32(256) { // of 2^56 − 1 units; 255 are missing
				statements = append(statements, Statement{Client: i, Payer: 100, Acks: MaxStatementAcks,
					Units: MaxStatementUnits})
			}
			statements = append(statements, Statement{Client: 256, Payer: 100, Acks: 1,
				Units: 255 + c.lifted})
			w := crowded(t, statements)
			w.header.Rows[0].Units = math.MaxUint64
			wantError(t, Verify(w.header, w.evidence, testNet, reg, nil, 1), c.want)
		})
	}
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
		third, _ := w.third(t, 256)
		wantError(t, Verify(w.header, third, testNet, reg, w.prove(256), 1), nil)
	}
}

// TestBadProofs tells one lie at a time on rung 3, against a prover that can prove what is true of
// the honest window of three segments and nothing else.
func TestBadProofs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1)) // rows that bear the lies
	reg := crowd{payers: 3}
	statements := randomStatements(rng, 600, reg)
	honest := crowded(t, statements)
	prover := honest.prove(256)
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
		}, nil, ErrProof},
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
		}, nil, ErrProof},
		{"a client missing from the list", func(_ *testing.T, w *cosigned,
			ev *Evidence) {
			w.list(ev, ev.Clients[1:])
		}, nil, ErrCount},
		{"another client", func(t *testing.T, w *cosigned, ev *Evidence) {
			w.list(ev, slices.Concat(ev.Clients[:599], ClientList{{ev.Clients[599].Client + 1, true}}))
			w.header.StatementSignature = cosign(t, cosignKey, 600, w.header.StatementRoot,
				ev.Clients.Signers()...)
		}, nil, ErrProof},
		{"a client listed twice", func(t *testing.T, w *cosigned, ev *Evidence) {
			i := slices.IndexFunc(ev.Clients, func(
				c ListedClient) bool {
				return c.Client != ev.Clients[0].Client
			})
			l := slices.Clone(ev.Clients)
			l[i] = l[i-1]
			w.list(ev, l)
		}, nil, ErrProof},
		{"clients exchanged", func(t *testing.T, w *cosigned, ev *Evidence) {
			l := slices.Clone(ev.Clients)
			i := slices.IndexFunc(l, func(c ListedClient) bool { return c.Client != l[0].Client })
			l[i-1].Client = l[i].Client
			w.list(ev, l)
		}, nil, ErrProof},
		{"a client's bit", func(t *testing.T, w *cosigned, ev *Evidence) {
			l := slices.Clone(ev.Clients)
			for i := range l {
				l[i].Signed = l[i].Client != l[0].Client
			}
			w.list(ev, l)
		}, nil, ErrClientList}, // without acks
		{"list digest", func(_ *testing.T, w *cosigned,
			_ *Evidence) {
			w.header.ClientListDigest[0] ^= 1
		}, nil, ErrClientList},
		{"one statement fewer", func(t *testing.T, w *cosigned, ev *Evidence) {
			w.list(ev, ev.Clients[:599])
			w.header.StatementCount = 599
		}, nil, ErrProof},
		{"row units", func(_ *testing.T, w *cosigned, _ *Evidence) { w.header.Rows[0].Units-- }, nil,
			ErrProof},
		{"row acks", func(_ *testing.T, w *cosigned, _ *Evidence) { w.header.Rows[0].Acks-- }, nil,
			ErrProof},
		{"a row of nothing", func(_ *testing.T, w *cosigned, _ *Evidence) {
			w.header.Rows = append(w.header.Rows, Row{Payer: 999, Acks: 1, Units: 1})
		}, nil, ErrProof},
		{"another payer", func(*testing.T, *cosigned, *Evidence) {}, otherPayers{reg}, ErrProof},
		{"payers exchanged", func(*testing.T, *cosigned, *Evidence) {}, payersOfTwo{reg, statements},
			ErrProof},
		{"another window", func(t *testing.T, w *cosigned, _ *Evidence) {
			w.header.Window++
			w.header.StatementSignature = cosign(t, w.header.Key(), 600, w.header.StatementRoot,
				w.evidence.Clients.Signers()...)
		}, nil, ErrProof},
		{"a signature fewer", func(t *testing.T, w *cosigned,
			ev *Evidence) {
			w.signedBy(t, ev.Clients.Signers()[1:]...)
		}, nil, ErrSignature},
		{"a signature more", func(t *testing.T, w *cosigned,
			ev *Evidence) {
			w.signedBy(t, append(ev.Clients.Signers(), 1)...)
		}, nil, ErrSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := honest
			header := *honest.header
			header.Rows = slices.Clone(header.Rows)
			w.header = &header
			ev, _ := honest.third(t, 256)
			c.lie(t, &w, ev)
			r := c.reg
			if r == nil {
				r = reg
			}
			wantError(t, Verify(w.header, ev, testNet, r, prover, 1), c.want)
		})
	}
}

// list puts another client list into evidence and header.
func (w *cosigned) list(ev *Evidence, l ClientList) {
	ev.Clients = l
	w.header.ClientListDigest = l.Digest()
}

// payersOfTwo exchanges the payers of the first client and of the first one that another account
// pays for.
type payersOfTwo struct {
	Registry
	statements []Statement
}

func (p payersOfTwo) Payer(client, epoch uint32) (uint32, bool) {
	first := p.statements[0]
	i := slices.IndexFunc(p.statements, func(s Statement) bool { return s.Payer != first.Payer })
	switch client {
	case first.Client:
		client = p.statements[i].Client
	case p.statements[i].Client:
		client = first.Client
	}
	return p.Registry.Payer(client, epoch)
}
