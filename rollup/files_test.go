package rollup_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
)

func init() {
	rollup.FixtureExports = testExports
	rollup.FixtureProven = func(t testing.TB) []byte {
		w := rollup.FixtureCosigned(t)
		e, err := export.NewRollup(rollup.FixtureCertify(w.Header, 0, 1, 3), w.Third,
			rollup.FixtureRegistry(), bytes.Repeat([]byte("key"), rollup.VerifyingKeySize/3))
		if err != nil {
			t.Fatal(err)
		}
		return e.Append(nil)
	}
}

func trust() *export.Trust {
	t := &export.Trust{Network: rollup.FixtureNet, Committee: rollup.FixtureCommittee(),
		Shares: rollup.FixtureShares}
	for node := range uint32(len(t.Committee.Members)) {
		key, _ := rollup.FixtureRegistry().NodeKey(node)
		t.NodeKeys = append(t.NodeKeys, key)
	}
	return t
}

// settle returns the file of a settlement of epoch 1 that the members certify.
func settle(rows []rollup.SettlementRow, members ...int) *export.Settlement {
	c, next := rollup.FixtureSettle(rows, members...)
	return &export.Settlement{Network: rollup.FixtureNet, Rows: rows, NextCommittee: next,
		Certificate: c}
}

// testExports returns one honest file of each type, and one of a rollup on rung 2.
func testExports(t testing.TB) map[string][]byte {
	t.Helper()
	h, ev := rollup.FixtureForge(t, rollup.FixtureKey, rollup.FixtureAcks())
	cert := rollup.FixtureCertify(h, 0, 1, 3)
	whole, err := export.NewRollup(cert, rollup.AcksEvidence(ev), rollup.FixtureRegistry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := rollup.FixtureCosigned(t)
	cosigned := rollup.FixtureCertify(w.Header, 0, 1, 3)
	statements, err := export.NewRollup(cosigned, w.Evidence, rollup.FixtureRegistry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := export.NewAck(cert, ev, rollup.FixtureRegistry(), 3)
	if err != nil {
		t.Fatal(err)
	}
	under, err := export.NewStatementAck(cosigned, w.Archive, w.Evidence.List,
		rollup.FixtureRegistry(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"statements":    statements.Append(nil),
		"statement-ack": under.Append(nil),
		"ack":           ack.Append(nil),
		"rollup":        whole.Append(nil),
		"settlement":    settle(rollup.FixtureRows, 0, 1, 3).Append(nil),
	}
}

func TestVerifyExport(t *testing.T) {
	sentence := regexp.MustCompile(`^[^.]+\.$`)
	for name, file := range testExports(t) {
		r, err := export.Verify(file, trust())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kind := map[string]string{"statements": "rollup", "statement-ack": "statement ack"}[name]
		if kind == "" {
			kind = name
		}
		if r.Type.String() != kind || r.Network != rollup.FixtureNet ||
			!slices.Equal(r.Signers, []int{0, 1, 3}) || r.Power != 80 || r.Total != 100 || r.Members != 4 {
			t.Fatalf("report %+v", r)
		}
		rollup.FixtureWantBytes(t, name, r.File.Append(nil), file)
		if !sentence.MatchString(r.Summary()) {
			t.Errorf("not one sentence: %s", r.Summary())
		}
		t.Log(r.Summary())
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"type":"` + kind + `"`, `"signers":[0,1,3]`, `"power":"80"`,
			`"network":"` + rollup.FixtureNet.String()} {
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
				_, err := export.Verify(b, trust())
				if err == nil {
					t.Fatalf("passes with byte %d of %d changed from %#x to %#x", i, len(file), file[i], b[i])
				}
				if !slices.ContainsFunc(rollup.FixtureSentinels,
					func(s error) bool { return errors.Is(err, s) }) {
					t.Fatalf("byte %d: an error without a reason: %v", i, err)
				}
			}
			free := exportersWord(t, file)
			for i := 0; i < len(file); i += step {
				if free(i) {
					continue
				}
				b := slices.Clone(file)
				b[i] ^= 1 << (i % 8)
				refuse(b, i)
				b[i] = file[i] ^ byte(1+rng.IntN(255))
				refuse(b, i)
			}
			for n := range len(file) {
				if _, err := export.Parse(file[:n]); err == nil {
					t.Fatalf("the first %d bytes parse", n)
				}
			}
			_, err := export.Parse(append(file[:len(file):len(file)], 0))
			rollup.FixtureWantError(t, err, rollup.ErrMalformed)
		})
	}
}

// exportersWord tells which bytes of a file may be any with which its rollup is valid: until a
// record binds the registry, dates, numbers and services of clients, and the services' caps.
func exportersWord(t *testing.T, file []byte) func(i int) bool {
	e, err := export.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	whole, ok := e.(*export.Rollup)
	if !ok {
		return func(int) bool { return false }
	}
	var free []int
	end := len(file) - len(whole.VerifyingKey)
	for i := range whole.Services {
		for j := range 8 {
			free = append(free, end-12*i-1-j)
		}
	}
	end -= 12*len(whole.Services) + 4
	for i := range whole.Clients {
		for j := range 24 { // from since to the last service
			free = append(free, end-136*i-5-j)
		}
	}
	return func(i int) bool { return slices.Contains(free, i) }
}

// TestBadExports puts honest parts together wrongly.
func TestBadExports(t *testing.T) {
	h, ev := rollup.FixtureForge(t, rollup.FixtureKey, rollup.FixtureAcks())
	cert := rollup.FixtureCertify(h, 0, 1, 3)
	verify := func(e export.File) error {
		_, err := export.Verify(e.Append(nil), trust())
		return err
	}
	ack := func(f func(*export.Ack)) error {
		e, err := export.NewAck(cert, ev, rollup.FixtureRegistry(), 3)
		if err != nil {
			t.Fatal(err)
		}
		f(e)
		return verify(e)
	}
	whole := func(f func(*export.Rollup)) error {
		e, err := export.NewRollup(cert, rollup.AcksEvidence(ev), rollup.FixtureRegistry(), nil)
		if err != nil {
			t.Fatal(err)
		}
		f(e)
		return verify(e)
	}
	w := rollup.FixtureCosigned(t)
	under := func(f func(*export.StatementAck)) error {
		e, err := export.NewStatementAck(rollup.FixtureCertify(w.Header, 0, 1, 3), w.Archive,
			w.Evidence.List, rollup.FixtureRegistry(), 1)
		if err != nil {
			t.Fatal(err)
		}
		f(e)
		return verify(e)
	}
	// A rollup that the rollup.FixtureCommittee should never have certified.
	certified := func(acks []rollup.Ack, f func(*rollup.Header)) *export.Rollup {
		h, ev := rollup.FixtureForge(t, rollup.FixtureKey, acks)
		f(h)
		e, err := export.NewRollup(rollup.FixtureCertify(h, 0, 1, 2, 3), rollup.AcksEvidence(ev),
			rollup.FixtureRegistry(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	excess := slices.Clone(rollup.FixtureAcks())
	excess[0].Units = rollup.MaxUnitCap + 1
	excess[0] = rollup.FixtureSigned(excess[0])
	above := slices.Clone(rollup.FixtureAcks())
	above[0].Units = 1<<20 + 1 // what the service's cap is, and one
	above[0] = rollup.FixtureSigned(above[0])

	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"another index", ack(func(e *export.Ack) { e.Index = 2 }), rollup.ErrPath},
		{"another ack's path", ack(func(e *export.Ack) { e.Path = rollup.AckTree(ev, h.Key()).Path(2) }),
			rollup.ErrPath},
		{"no path", ack(func(e *export.Ack) { e.Path = nil }), rollup.ErrPath},
		{"other units", ack(func(e *export.Ack) { e.Ack.Units++ }), rollup.ErrPath},
		{"another window", ack(func(e *export.Ack) { e.Ack.Node++ }), rollup.ErrWindow},
		{"no quorum", ack(func(e *export.Ack) { e.Certificate = rollup.FixtureCertify(h, 1, 2, 3) }),
			rollup.ErrQuorum},
		{"a client too many", whole(func(e *export.Rollup) {
			e.Clients = append(e.Clients,
				export.Client{Index: 9, Client: e.Clients[4].Client})
		}), rollup.ErrClients},
		{"a client too few", whole(func(e *export.Rollup) { e.Clients = e.Clients[:4] }),
			rollup.ErrClients},
		{"another client", whole(func(e *export.Rollup) { e.Clients[4].Index++ }), rollup.ErrClients},
		{"unsorted clients", whole(func(e *export.Rollup) {
			e.Clients[0], e.Clients[1] = e.Clients[1],
				e.Clients[0]
		}), rollup.ErrUnsorted},
		{"a client of no leaf", whole(func(e *export.Rollup) { e.Clients[4].Until = 0 }),
			rollup.ErrMalformed},
		{"a client that is not valid", whole(func(e *export.Rollup) { e.Clients[4].Until = 1 }),
			rollup.ErrNotValid},
		{"a client without the service", whole(func(e *export.Rollup) { e.Clients[4].Services[0] = 1 }),
			rollup.ErrMalformed},
		{"a client with another service", whole(func(e *export.Rollup) {
			e.Clients[4].Services = [3]uint32{1, 2, rollup.NoService}
		}), rollup.ErrNotGranted},
		{"a client's limit", whole(func(e *export.Rollup) { e.Clients[4].Numbers = 12 }),
			rollup.ErrNumbers},
		{"a service too many", whole(func(e *export.Rollup) {
			e.Services = append(e.Services, export.Service{Index: 2, Cap: 1})
		}), rollup.ErrClients},
		{"a service too few", whole(func(e *export.Rollup) { e.Services = e.Services[:1] }),
			rollup.ErrClients},
		{"unsorted services", whole(func(e *export.Rollup) {
			e.Services[0], e.Services[1] = e.Services[1], e.Services[0]
		}), rollup.ErrUnsorted},
		{"no cap", whole(func(e *export.Rollup) { e.Services[0].Cap = 0 }), rollup.ErrMalformed},
		{"a low cap", whole(func(e *export.Rollup) { e.Services[0].Cap = 100 }), rollup.ErrUnits},
		{"another node's key", whole(func(e *export.Rollup) { e.NodeKey[0]++ }), rollup.ErrWord},
		{"another node's word", whole(func(e *export.Rollup) {
			c := *cert
			c.Own[0]++
			e.Certificate = &c
		}), rollup.ErrWord},
		{"another term", ack(func(e *export.Ack) {
			c := *cert
			c.Term++
			e.Certificate = &c
		}), rollup.ErrTerm},
		{"another payer", whole(func(e *export.Rollup) { e.Clients[4].Payer = 6 }), rollup.ErrRows},
		{"another key", whole(func(e *export.Rollup) { e.Clients[4].Key = e.Clients[3].Key }),
			rollup.ErrSignature},
		{"no key", whole(func(e *export.Rollup) { clear(e.Clients[4].Key[:]) }), rollup.ErrMalformed},
		{"another rollup's certificate", whole(func(e *export.Rollup) {
			e.Certificate = rollup.FixtureCertify(func() *rollup.Header {
				h, _ := rollup.FixtureForge(t, rollup.FixtureKey, rollup.FixtureAcks()[:6])
				return h
			}(), 0, 1)
		}), rollup.ErrCount},
		{"a certified lying root", verify(certified(rollup.FixtureAcks(), func(
			h *rollup.Header) {
			h.AckRoot[0]++
		})), rollup.ErrRoot},
		{"a certified lying row", verify(certified(rollup.FixtureAcks(),
			func(h *rollup.Header) { h.Rows[0].Units++ })), rollup.ErrRows},
		{"a certified lying aggregate", verify(certified(rollup.FixtureAcks(), func(
			h *rollup.Header) {
			h.AckSignature = bls.IdentitySignature
		})), rollup.ErrSignature},
		{"certified excess units", verify(certified(excess, func(*rollup.Header) {})), rollup.ErrUnits},
		{"certified units above the service's cap", verify(certified(above, func(*rollup.Header) {})),
			rollup.ErrUnits},
		{"under a statement: nothing", under(func(*export.StatementAck) {}), nil},
		{"under a statement: another window", under(func(e *export.StatementAck) { e.Ack.Epoch++ }),
			rollup.ErrWindow},
		{"under a statement: another number", under(func(e *export.StatementAck) { e.Ack.Number ^= 1 }),
			rollup.ErrPath},
		{"under a statement: beyond the acks", under(func(e *export.StatementAck) {
			e.Ack.Number = e.First + e.Acks
		}), rollup.ErrNumbers},
		{"under a statement: before the acks", under(func(e *export.StatementAck) {
			e.First++
			e.Ack.Number = e.First - 1
		}), rollup.ErrNumbers},
		{"under a statement: another first", under(func(e *export.StatementAck) {
			e.First++
			e.Ack.Number++
		}), rollup.ErrPath},
		{"under a statement: no list path", under(func(e *export.StatementAck) { e.List = nil }),
			rollup.ErrPath},
		{"under a statement: more acks", under(func(e *export.StatementAck) { e.Acks++ }),
			rollup.ErrPath},
		{"under a statement: no path", under(func(e *export.StatementAck) { e.Path = nil }),
			rollup.ErrPath},
		{"under a statement: other units of the ack",
			under(func(e *export.StatementAck) { e.Ack.Units++ }), rollup.ErrPath},
		{"under a statement: another client", under(func(e *export.StatementAck) { e.Ack.Client = 2 }),
			rollup.ErrPath},
		{"under a statement: another service", under(func(e *export.StatementAck) { e.Ack.Service = 1 }),
			rollup.ErrPath},
		{"under a statement: another payer", under(func(e *export.StatementAck) { e.Payer++ }),
			rollup.ErrPath},
		{"under a statement: other units", under(func(e *export.StatementAck) { e.Units++ }),
			rollup.ErrPath},
		{"under a statement: units out of bounds", under(func(e *export.StatementAck) { e.Units = 1 }),
			rollup.ErrStatement},
		{"under a statement: a neighbour of the client's",
			under(func(e *export.StatementAck) { e.Statement = 1 }), rollup.ErrPath},
		{"under a statement: one that did not sign",
			under(func(e *export.StatementAck) { e.Statement = 2 }), rollup.ErrPath},
		{"under a statement: beyond the last", under(func(e *export.StatementAck) { e.Statement = 10 }),
			rollup.ErrPath},
		{"under a statement: a longer path", under(func(e *export.StatementAck) {
			e.Statements = append(
				e.Statements, rollup.Hash{})
		}), rollup.ErrPath},
		{"under a statement: no quorum", under(func(
			e *export.StatementAck) {
			e.Certificate = rollup.FixtureCertify(w.Header, 1, 2, 3)
		}),
			rollup.ErrQuorum},
		{"under a statement: another root", under(func(e *export.StatementAck) {
			h := *w.Header
			h.StatementRoot[0] ^= 1
			e.Certificate = rollup.FixtureCertify(&h, 0, 1, 3)
		}), rollup.ErrPath},
	} {
		t.Run(c.name, func(t *testing.T) { rollup.FixtureWantError(t, c.err, c.want) })
	}

	for _, i := range []int{3, 14} { // of clients 1 and 4
		w := rollup.FixtureCosigned(t)
		_, err := export.NewStatementAck(rollup.FixtureCertify(w.Header, 0, 1, 3), w.Archive,
			w.Evidence.List, rollup.FixtureRegistry(), i)
		rollup.FixtureWantError(t, err, rollup.ErrList)
	}
	file := testExports(t)["ack"]
	_, err := export.Verify(file, &export.Trust{Network: rollup.NetworkOf([]byte("another")),
		Committee: rollup.FixtureCommittee(), Shares: rollup.FixtureShares})
	rollup.FixtureWantError(t, err, rollup.ErrNetwork)
	copy(file[8:40], "another!")
	_, err = export.Parse(file)
	rollup.FixtureWantError(t, err, rollup.ErrNetwork)
	file[40] = 5
	_, err = export.Parse(file)
	rollup.FixtureWantError(t, err, rollup.ErrMalformed)
	_, err = export.NewRollup(cert, rollup.AcksEvidence(ev), rollup.FixtureKeyless(), nil)
	rollup.FixtureWantError(t, err, rollup.ErrUnknownClient)
}

// TestProofExport checks a rollup on rung 3 against a prover that knows the co-rollup.FixtureSigned
// window.
func TestProofExport(t *testing.T) {
	w := rollup.FixtureCosigned(t)
	third := w.Third
	key := bytes.Repeat([]byte("key"), rollup.VerifyingKeySize/3)
	e, err := export.NewRollup(rollup.FixtureCertify(w.Header, 0, 1, 3), third,
		rollup.FixtureRegistry(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := e.Append(nil)
	var checked []string
	tr := trust()
	tr.Checked = func(name string) { checked = append(checked, name) }
	tr.Development = true
	_, err = export.Verify(file, tr)
	rollup.FixtureWantError(t, err, rollup.ErrNoProofs)
	tr.ProofKey = func(size int) (rollup.Hash, bool) { return blake3.Sum256(key), size == 256 }
	_, err = export.Verify(file, tr)
	rollup.FixtureWantError(t, err, rollup.ErrNoProofs)
	prover := w.Prover
	tr.Proofs = func(size int, got []byte) (rollup.ProofVerifier, error) {
		if size != 256 || !bytes.Equal(got, key) {
			t.Errorf("the key of %d: %q", size, got)
		}
		return prover, nil
	}
	checked = nil
	r, err := export.Verify(file, tr)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"certificate", "keys", "rung 1", "rung 3", "rung 1"}; !slices.Equal(checked,
		want) {
		t.Errorf("checked %q, not %q", checked, want)
	}
	var names []string
	for _, c := range r.Checks {
		names = append(names, c.Name)
		if c.Bytes <= 0 || strings.Contains(c.What, ".") {
			t.Errorf("%+v", c)
		}
	}
	if want := []string{"certificate", "keys", "rung 1", "rung 3"}; !slices.Equal(names, want) ||
		!strings.Contains(r.Checks[3].What, "development keys") {
		t.Errorf("checks %+v", r.Checks)
	}
	rollup.FixtureWantBytes(t, "encoded again", r.File.Append(nil), file)
	if _, err := json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	tr.Checked = nil
	free := exportersWord(t, file)
	for i := 0; i < len(file); i += 5 {
		if free(i) {
			continue
		}
		b := slices.Clone(file)
		b[i] ^= 1 << (i % 8)
		if _, err := export.Verify(b, tr); err == nil {
			t.Fatalf("passes with byte %d of %d changed", i, len(file))
		}
	}
	tr.Proofs = func(int, []byte) (rollup.ProofVerifier, error) { return nil, errors.New("no key") }
	_, err = export.Verify(file, tr)
	rollup.FixtureWantError(t, err, rollup.ErrProof)
	tr.ProofKey = func(int) (rollup.Hash, bool) { return rollup.Hash{}, true }
	_, err = export.Verify(file, tr)
	rollup.FixtureWantError(t, err, rollup.ErrProof)
	tr.ProofKey = func(int) (rollup.Hash, bool) { return rollup.Hash{}, false }
	_, err = export.Verify(file, tr)
	rollup.FixtureWantError(t, err, rollup.ErrNoProofs)
}

// TestBadSettlements tells one lie at a time, certified by the whole rollup.FixtureCommittee.
func TestBadSettlements(t *testing.T) {
	change := func(i int, f func(*rollup.SettlementRow)) []rollup.SettlementRow {
		rows := slices.Clone(rollup.FixtureRows)
		f(&rows[i])
		return rows
	}
	for _, c := range []struct {
		name string
		rows []rollup.SettlementRow
		want error
	}{
		{"honest", rollup.FixtureRows, nil},
		{"none", nil, nil},
		{"unsorted", change(0, func(r *rollup.SettlementRow) { r.Node = 3; r.Service = 9 }),
			rollup.ErrUnsorted},
		{"twice", change(1, func(r *rollup.SettlementRow) { r.Payer = 5 }), rollup.ErrUnsorted},
		{"no acks", change(1, func(r *rollup.SettlementRow) { r.Acks = 0 }), rollup.ErrSettlement},
		{"fewer units than acks", change(1, func(r *rollup.SettlementRow) { r.Acks = r.Units + 1 }),
			rollup.ErrSettlement},
		{"paid more than charged", change(1, func(r *rollup.SettlementRow) { r.Charge = r.Paid - 1 }),
			rollup.ErrSettlement},
		{"node's share", change(1, func(r *rollup.SettlementRow) { r.ToNode++ }), rollup.ErrSettlement},
		{"service's share", change(1, func(r *rollup.SettlementRow) { r.ToService-- }),
			rollup.ErrSettlement},
		{"acks overflow", change(3, func(r *rollup.SettlementRow) {
			r.Acks, r.Units = math.MaxUint64,
				math.MaxUint64
		}), rollup.ErrOverflow},
		{"paid overflows", []rollup.SettlementRow{rollup.FixtureRich(1), rollup.FixtureRich(2)},
			rollup.ErrOverflow},
		{"the balance divided otherwise", change(0, func(r *rollup.SettlementRow) {
			rollup.FixturePay(r,
				r.Paid+100)
		}), rollup.ErrSettlement},
		{"the remainder to another", []rollup.SettlementRow{rollup.FixtureRows[0], rollup.FixtureRows[1],
			rollup.FixturePaying(rollup.FixtureRows[2], 7),
			rollup.FixturePaying(rollup.FixtureRows[3], 9998)}, rollup.ErrSettlement},
		// payers are apart
		{"one left short while another is paid", change(1,
			func(r *rollup.SettlementRow) { r.Payer = 7; rollup.FixturePay(r, 0) }), nil},
		{"charges that no balance could cover", rollup.FixtureUnpayable, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := settle(c.rows, 0, 1, 2, 3).Append(nil)
			_, err := export.Verify(file, trust())
			rollup.FixtureWantError(t, err, c.want)
		})
	}
	refused := func(e *export.Settlement, want error) {
		t.Helper()
		_, err := export.Verify(e.Append(nil), trust())
		rollup.FixtureWantError(t, err, want)
	}
	e := settle(rollup.FixtureRows, 0, 1, 3)
	e.Certificate.Epoch++
	refused(e, rollup.ErrSignature)
	e.NextCommittee[0]++
	refused(e, rollup.ErrSettlement)
	refused(settle(rollup.FixtureRows, 1, 2), rollup.ErrQuorum)
}
