package rollup

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
)

func trust() *Trust { return &Trust{Network: testNet, Committee: committee(), Shares: testShares} }

// testExports returns one honest file of each type, and one of a rollup on rung 2.
func testExports(t testing.TB) map[string][]byte {
	t.Helper()
	h, ev := forge(t, testKey, testAcks())
	cert := certify(h, 0, 1, 3)
	whole, err := NewRollupExport(cert, AcksEvidence(ev), registry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := goldenCosigned(t)
	cosigned := certify(w.header, 0, 1, 3)
	statements, err := NewRollupExport(cosigned, w.evidence, registry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	under, err := NewStatementAckExport(cosigned, w.archive, w.evidence.Clients, registry(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"statements":    statements.Append(nil),
		"statement-ack": under.Append(nil),
		"ack":           NewAckExport(cert, ev, 3).Append(nil),
		"rollup":        whole.Append(nil),
		"settlement":    settle(testRows, 0, 1, 3).Append(nil),
	}
}

func TestVerifyExport(t *testing.T) {
	sentence := regexp.MustCompile(`^[^.]+\.$`)
	for name, file := range testExports(t) {
		r, err := VerifyExport(file, trust())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kind := map[string]string{"statements": "rollup", "statement-ack": "statement ack"}[name]
		if kind == "" {
			kind = name
		}
		if r.Type.String() != kind || r.Network != testNet || !slices.Equal(r.Signers, []int{0, 1, 3}) || r.Power != 80 || r.Total != 100 || r.Members != 4 {
			t.Fatalf("report %+v", r)
		}
		wantBytes(t, name, r.Export.Append(nil), file)
		if !sentence.MatchString(r.Summary()) {
			t.Errorf("not one sentence: %s", r.Summary())
		}
		t.Log(r.Summary())
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"type":"` + kind + `"`, `"signers":[0,1,3]`, `"power":"80"`, `"network":"` + testNet.String()} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %s in %s", want, text)
			}
		}
	}
}

// TestEveryByteCounts changes every byte of every file, and cuts it off everywhere.
func TestEveryByteCounts(t *testing.T) {
	for name, file := range testExports(t) {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(len(file)), 3))
			step := 1
			if testing.Short() {
				step = 11
			}
			refuse := func(b []byte, i int) {
				t.Helper()
				_, err := VerifyExport(b, trust())
				if err == nil {
					t.Fatalf("passes with byte %d of %d changed from %#x to %#x", i, len(file), file[i], b[i])
				}
				if !slices.ContainsFunc(sentinels, func(s error) bool { return errors.Is(err, s) }) {
					t.Fatalf("byte %d: an error without a reason: %v", i, err)
				}
			}
			for i := 0; i < len(file); i += step {
				b := slices.Clone(file)
				b[i] ^= 1 << (i % 8)
				refuse(b, i)
				b[i] = file[i] ^ byte(1+rng.IntN(255))
				refuse(b, i)
			}
			for n := range len(file) {
				if _, err := ParseExport(file[:n]); err == nil {
					t.Fatalf("the first %d bytes parse", n)
				}
			}
			_, err := ParseExport(append(file[:len(file):len(file)], 0))
			wantError(t, err, ErrMalformed)
		})
	}
}

// TestBadExports puts honest parts together wrongly.
func TestBadExports(t *testing.T) {
	h, ev := forge(t, testKey, testAcks())
	cert := certify(h, 0, 1, 3)
	verify := func(e Export) error {
		_, err := VerifyExport(e.Append(nil), trust())
		return err
	}
	ack := func(f func(*AckExport)) error {
		e := NewAckExport(cert, ev, 3)
		f(e)
		return verify(e)
	}
	whole := func(f func(*RollupExport)) error {
		e, err := NewRollupExport(cert, AcksEvidence(ev), registry(), nil)
		if err != nil {
			t.Fatal(err)
		}
		f(e)
		return verify(e)
	}
	w := goldenCosigned(t)
	under := func(f func(*StatementAckExport)) error {
		e, err := NewStatementAckExport(certify(w.header, 0, 1, 3), w.archive, slices.Clone(w.evidence.Clients), registry(), 1)
		if err != nil {
			t.Fatal(err)
		}
		f(e)
		return verify(e)
	}
	// A rollup that the committee should never have certified.
	certified := func(acks []Ack, f func(*Header)) *RollupExport {
		h, ev := forge(t, testKey, acks)
		f(h)
		e, err := NewRollupExport(certify(h, 0, 1, 2, 3), AcksEvidence(ev), registry(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	excess := slices.Clone(testAcks())
	excess[0].Units = MaxUnitCap + 1
	excess[0] = signed(excess[0])
	above := slices.Clone(testAcks())
	above[0].Units = MaxUnitCap // above the service's own cap, which the file does not hold
	above[0] = signed(above[0])

	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"another index", ack(func(e *AckExport) { e.Index = 2 }), ErrPath},
		{"another ack's path", ack(func(e *AckExport) { e.Path = AckTree(ev, h.Key()).Path(2) }), ErrPath},
		{"no path", ack(func(e *AckExport) { e.Path = nil }), ErrPath},
		{"other units", ack(func(e *AckExport) { e.Ack.Units++ }), ErrPath},
		{"another window", ack(func(e *AckExport) { e.Ack.Window++ }), ErrWindow},
		{"no quorum", ack(func(e *AckExport) { e.Certificate = certify(h, 1, 2, 3) }), ErrQuorum},
		{"a client too many", whole(func(e *RollupExport) { e.Clients = append(e.Clients, RollupClient{Client: 9}) }), ErrClients},
		{"a client too few", whole(func(e *RollupExport) { e.Clients = e.Clients[:4] }), ErrClients},
		{"another client", whole(func(e *RollupExport) { e.Clients[4].Client++ }), ErrClients},
		{"unsorted clients", whole(func(e *RollupExport) { e.Clients[0], e.Clients[1] = e.Clients[1], e.Clients[0] }), ErrUnsorted},
		{"another payer", whole(func(e *RollupExport) { e.Clients[4].Payer = 6 }), ErrRows},
		{"another key", whole(func(e *RollupExport) { e.Clients[4].Key = e.Clients[3].Key }), ErrSignature},
		{"no key", whole(func(e *RollupExport) { clear(e.Clients[4].Key[:]) }), ErrMalformed},
		{"another rollup's certificate", whole(func(e *RollupExport) {
			e.Certificate = certify(func() *Header { h, _ := forge(t, testKey, testAcks()[:6]); return h }(), 0, 1)
		}), ErrCount},
		{"a certified lying root", verify(certified(testAcks(), func(h *Header) { h.AckRoot[0]++ })), ErrRoot},
		{"a certified lying row", verify(certified(testAcks(), func(h *Header) { h.Rows[0].Units++ })), ErrRows},
		{"a certified lying aggregate", verify(certified(testAcks(), func(h *Header) { h.AckSignature = bls.IdentitySignature })), ErrSignature},
		{"certified excess units", verify(certified(excess, func(*Header) {})), ErrUnits},
		{"units up to the largest cap", verify(certified(above, func(*Header) {})), nil},
		{"under a statement: nothing", under(func(*StatementAckExport) {}), nil},
		{"under a statement: another window", under(func(e *StatementAckExport) { e.Ack.Epoch++ }), ErrWindow},
		{"under a statement: another index", under(func(e *StatementAckExport) { e.Index = 0 }), ErrPath},
		{"under a statement: beyond the acks", under(func(e *StatementAckExport) { e.Index = 2 }), ErrPath},
		{"under a statement: more acks", under(func(e *StatementAckExport) { e.Acks++ }), ErrPath},
		{"under a statement: no path", under(func(e *StatementAckExport) { e.Path = nil }), ErrPath},
		{"under a statement: other units of the ack", under(func(e *StatementAckExport) { e.Ack.Units++ }), ErrPath},
		{"under a statement: another client", under(func(e *StatementAckExport) { e.Ack.Client = 2 }), ErrClientList},
		{"under a statement: another service", under(func(e *StatementAckExport) { e.Ack.Service = 1 }), ErrPath},
		{"under a statement: another payer", under(func(e *StatementAckExport) { e.Payer++ }), ErrPath},
		{"under a statement: other units", under(func(e *StatementAckExport) { e.Units++ }), ErrPath},
		{"under a statement: units out of bounds", under(func(e *StatementAckExport) { e.Units = 1 }), ErrStatement},
		{"under a statement: a neighbour of the client's", under(func(e *StatementAckExport) { e.Statement = 1 }), ErrPath},
		{"under a statement: one that did not sign", under(func(e *StatementAckExport) { e.Statement = 2 }), ErrClientList},
		{"under a statement: beyond the last", under(func(e *StatementAckExport) { e.Statement = 10 }), ErrClientList},
		{"under a statement: another list", under(func(e *StatementAckExport) { e.Clients = e.Clients[:9] }), ErrClientList},
		{"under a statement: a longer path", under(func(e *StatementAckExport) { e.Statements = append(e.Statements, Hash{}) }), ErrPath},
		{"under a statement: no quorum", under(func(e *StatementAckExport) { e.Certificate = certify(w.header, 1, 2, 3) }), ErrQuorum},
		{"under a statement: another root", under(func(e *StatementAckExport) {
			h := *w.header
			h.StatementRoot[0] ^= 1
			e.Certificate = certify(&h, 0, 1, 3)
		}), ErrPath},
	} {
		t.Run(c.name, func(t *testing.T) { wantError(t, c.err, c.want) })
	}

	for _, i := range []int{3, 14} { // of clients 1 and 4
		w := goldenCosigned(t)
		_, err := NewStatementAckExport(certify(w.header, 0, 1, 3), w.archive, w.evidence.Clients, registry(), i)
		wantError(t, err, ErrClientList)
	}
	file := NewAckExport(cert, ev, 0).Append(nil)
	_, err := VerifyExport(file, &Trust{Network: NetworkID("another"), Committee: committee(), Shares: testShares})
	wantError(t, err, ErrNetwork)
	copy(file[8:16], "another!")
	_, err = ParseExport(file)
	wantError(t, err, ErrNetwork)
	file[16] = 5
	_, err = ParseExport(file)
	wantError(t, err, ErrMalformed)
	_, err = NewRollupExport(cert, AcksEvidence(ev), keyless{registry()}, nil)
	wantError(t, err, ErrUnknownClient)
}

// TestProofExport checks a rollup on rung 3 against a prover that knows the co-signed window.
func TestProofExport(t *testing.T) {
	w := goldenCosigned(t)
	third, _ := w.third(t, 256)
	key := bytes.Repeat([]byte("key"), VerifyingKeySize/3)
	e, err := NewRollupExport(certify(w.header, 0, 1, 3), third, registry(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := e.Append(nil)
	var checked []string
	tr := trust()
	tr.Checked = func(name string) { checked = append(checked, name) }
	tr.Development = true
	_, err = VerifyExport(file, tr)
	wantError(t, err, ErrNoProofs)
	tr.ProofKey = func(size int) (Hash, bool) { return blake3.Sum256(key), size == 256 }
	_, err = VerifyExport(file, tr)
	wantError(t, err, ErrNoProofs)
	prover := w.prove(256)
	tr.Proofs = func(size int, got []byte) (ProofVerifier, error) {
		if size != 256 || !bytes.Equal(got, key) {
			t.Errorf("the key of %d: %q", size, got)
		}
		return prover, nil
	}
	checked = nil
	r, err := VerifyExport(file, tr)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"certificate", "keys", "rung 1", "rung 3", "rung 1"}; !slices.Equal(checked, want) {
		t.Errorf("checked %q, not %q", checked, want)
	}
	var names []string
	for _, c := range r.Checks {
		names = append(names, c.Name)
		if c.Bytes <= 0 || strings.Contains(c.What, ".") {
			t.Errorf("%+v", c)
		}
	}
	if want := []string{"certificate", "keys", "rung 1", "rung 3"}; !slices.Equal(names, want) || !strings.Contains(r.Checks[3].What, "development keys") {
		t.Errorf("checks %+v", r.Checks)
	}
	wantBytes(t, "encoded again", r.Export.Append(nil), file)
	if _, err := json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	tr.Checked = nil
	for i := 0; i < len(file); i += 5 {
		b := slices.Clone(file)
		b[i] ^= 1 << (i % 8)
		if _, err := VerifyExport(b, tr); err == nil {
			t.Fatalf("passes with byte %d of %d changed", i, len(file))
		}
	}
	tr.Proofs = func(int, []byte) (ProofVerifier, error) { return nil, errors.New("no key") }
	_, err = VerifyExport(file, tr)
	wantError(t, err, ErrProof)
	tr.ProofKey = func(int) (Hash, bool) { return Hash{}, true }
	_, err = VerifyExport(file, tr)
	wantError(t, err, ErrProof)
	tr.ProofKey = func(int) (Hash, bool) { return Hash{}, false }
	_, err = VerifyExport(file, tr)
	wantError(t, err, ErrNoProofs)
}
