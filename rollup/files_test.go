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
	"sync"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/rotation"
)

func init() {
	rollup.FixtureExports = testExports
	rollup.FixtureHeads = func() []byte {
		heads, _ := theProver().Heads()
		return heads.Append(nil)
	}
	rollup.FixtureProven = func(t testing.TB) []byte {
		w := rollup.FixtureCosigned(t)
		return newRollup(t, anchor(t, w.Header, 0, 1, 3), w.Third, provingKey).Append(nil)
	}
}

// provingKey stands in for a verifying key, which the registry knows.
var provingKey = bytes.Repeat([]byte("key"), rollup.VerifyingKeySize/3)

func trust() *export.Trust {
	return &export.Trust{Network: rollup.FixtureNet,
		Terms:  rotation.Fixed(rollup.FixtureNet, rollup.FixtureCommittee()),
		Shares: rollup.FixtureShares}
}

// prover proves entries of the test network's registry, as export.Prover.
type prover struct {
	clients, services, nodes *registry.Tree
	entries                  map[*registry.Tree][]byte
	keys                     []byte
}

var theProver = sync.OnceValue(func() *prover {
	return newProver(func(*registry.Client, *registry.Service) {})
})

// newProver makes one of a registry in which the first client and the first service are changed.
func newProver(change func(*registry.Client, *registry.Service)) *prover {
	p := &prover{entries: make(map[*registry.Tree][]byte)}
	reg := rollup.FixtureRegistry()
	tree := func(kind *registry.Kind, leaf func(dst []byte, i uint64) []byte,
		n uint64) *registry.Tree {
		t := registry.New(kind, new(registry.Memory))
		var indices []uint64
		var leaves []byte
		for i := range n {
			indices = append(indices, i)
			leaves = leaf(leaves, i)
		}
		if err := t.Set(indices, leaves); err != nil {
			panic(err)
		}
		p.entries[t] = leaves
		return t
	}
	p.clients = tree(registry.Clients, func(dst []byte, i uint64) []byte {
		c, _ := reg.Client(i)
		leaf := registry.Client{Key: c.Key.Bytes(), Payer: c.Payer, Since: c.Since, Until: c.Until,
			Numbers: c.Numbers, Services: c.Services}
		if i == 0 {
			change(&leaf, new(registry.Service))
		}
		return leaf.Append(dst)
	}, 5)
	p.services = tree(registry.Services, func(dst []byte, i uint64) []byte {
		limit, _ := reg.UnitCap(uint32(i))
		leaf := registry.Service{Owner: 9, Cap: limit, Price: 3000, NextPrice: 3000}
		if i == 0 {
			change(new(registry.Client), &leaf)
		}
		return leaf.Append(dst)
	}, 2)
	p.nodes = tree(registry.Nodes, func(dst []byte, i uint64) []byte {
		key, _ := reg.NodeKey(uint32(i))
		member := &rollup.FixtureCommittee().Members[i]
		leaf := registry.Node{Key: member.Key.Bytes(), NodeKey: key, Owner: uint32(1 + i),
			Until: registry.None, Stake: member.Power * 1_000_000, Status: registry.Standing}
		return leaf.Append(dst)
	}, 4)
	key := registry.ProofKey{Size: 256, Digest: blake3.Sum256(provingKey), Until: registry.None}
	p.keys = key.Append(nil)
	return p
}

func (p *prover) Heads() (registry.Heads, error) {
	return registry.Heads{Clients: p.clients.Head(), Nodes: p.nodes.Head(),
		Services: p.services.Head(), ProofKeys: registry.ProofKeys.RootOf(p.keys)}, nil
}

func (p *prover) prove(t *registry.Tree, indices []uint64) (entries, proof []byte, err error) {
	width := t.Kind().Width()
	for _, i := range indices {
		if i < t.Count() {
			entries = append(entries, p.entries[t][int(i)*width:int(i+1)*width]...)
		}
	}
	proof, err = t.Prove(indices)
	return entries, proof, err
}

func (p *prover) Clients(indices []uint64) ([]byte, []byte, error) {
	return p.prove(p.clients, indices)
}
func (p *prover) Services(indices []uint64) ([]byte, []byte, error) {
	return p.prove(p.services, indices)
}
func (p *prover) Nodes(indices []uint64) ([]byte, []byte, error) {
	return p.prove(p.nodes, indices)
}

func (p *prover) ProofKeys() ([]byte, error) { return p.keys, nil }

// witness returns a record of block 77 that ordered rollups and settled epoch 1, and the signature
// of the members.
func (p *prover) witness(ids []rollup.Hash, settlement rollup.Hash, members ...int) export.Witness {
	heads, _ := p.Heads()
	r := &rollup.Record{Network: rollup.FixtureNet, Height: 77, Time: 1767225720123, Epoch: 2,
		RollupCount: uint32(len(ids)), RegistryRoot: heads.Root(), SettledEpoch: 1,
		SettlementRoot: settlement}
	if len(ids) > 0 {
		r.RollupsRoot = rollup.RollupsTree(ids).Root()
	}
	return export.Witness{Record: r, Certificate: rollup.FixtureCertifyRecord(r, members...)}
}

func witness(ids []rollup.Hash, settlement rollup.Hash, members ...int) export.Witness {
	return theProver().witness(ids, settlement, members...)
}

// anchor returns that of a rollup, the second of three that block 77 ordered.
func anchor(t testing.TB, h *rollup.Header, members ...int) *export.Anchor {
	t.Helper()
	ids := []rollup.Hash{{1}, h.ID(), {3}}
	a, err := export.NewAnchor(witness(ids, rollup.Hash{}, members...), ids, h)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newRollup(t testing.TB, a *export.Anchor, ev *rollup.Evidence, key []byte) *export.Rollup {
	t.Helper()
	e, err := export.NewRollup(a, ev, theProver(), key)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// settle returns the file of a settlement of epoch 1 that the members signed.
func settle(table *rollup.SettlementTable, members ...int) *export.Settlement {
	return &export.Settlement{Witness: witness(nil, table.Root(), members...),
		SettlementTable: *table}
}

// testExports returns one honest file of each type, and one of a rollup on rung 2.
func testExports(t testing.TB) map[string][]byte {
	t.Helper()
	h, ev := rollup.FixtureForge(t, rollup.FixtureKey, rollup.FixtureAcks())
	a := anchor(t, h, 0, 1, 3)
	w := rollup.FixtureCosigned(t)
	cosigned := anchor(t, w.Header, 0, 1, 3)
	under, err := export.NewStatementAck(cosigned, w.Archive, w.Evidence.List,
		rollup.FixtureRegistry(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"statements":    newRollup(t, cosigned, w.Evidence, nil).Append(nil),
		"statement-ack": under.Append(nil),
		"ack":           export.NewAck(a, ev, 3).Append(nil),
		"rollup":        newRollup(t, a, rollup.AcksEvidence(ev), nil).Append(nil),
		"settlement":    settle(rollup.FixtureTable, 0, 1, 3).Append(nil),
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
			for i := 0; i < len(file); i += step {
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

// TestBadExports puts honest parts together wrongly.
func TestBadExports(t *testing.T) {
	h, ev := rollup.FixtureForge(t, rollup.FixtureKey, rollup.FixtureAcks())
	verify := func(e export.File) error {
		_, err := export.Verify(e.Append(nil), trust())
		return err
	}
	ack := func(f func(*export.Ack)) error {
		e := export.NewAck(anchor(t, h, 0, 1, 3), ev, 3)
		f(e)
		return verify(e)
	}
	whole := func(f func(*export.Rollup)) error {
		e := newRollup(t, anchor(t, h, 0, 1, 3), rollup.AcksEvidence(ev), nil)
		f(e)
		return verify(e)
	}
	w := rollup.FixtureCosigned(t)
	under := func(f func(*export.StatementAck)) error {
		e, err := export.NewStatementAck(anchor(t, w.Header, 0, 1, 3), w.Archive,
			w.Evidence.List, rollup.FixtureRegistry(), 1)
		if err != nil {
			t.Fatal(err)
		}
		f(e)
		return verify(e)
	}
	// A rollup that the committee should never have ordered.
	certified := func(acks []rollup.Ack, f func(*rollup.Header)) *export.Rollup {
		h, ev := rollup.FixtureForge(t, rollup.FixtureKey, acks)
		f(h)
		return newRollup(t, anchor(t, h, 0, 1, 2, 3), rollup.AcksEvidence(ev), nil)
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
		{"no quorum", ack(func(e *export.Ack) { e.Anchor = *anchor(t, h, 1, 2, 3) }), rollup.ErrQuorum},
		{"another position", ack(func(e *export.Ack) { e.Anchor.Index = 0 }), rollup.ErrPath},
		{"another path", ack(func(e *export.Ack) { e.Anchor.Path = e.Anchor.Path[:1] }), rollup.ErrPath},
		{"another rollup's anchor", ack(func(e *export.Ack) {
			other, _ := rollup.FixtureForge(t, rollup.FixtureKey, rollup.FixtureAcks()[:6])
			e.Witness = anchor(t, other, 0, 1, 3).Witness
		}), rollup.ErrPath},
		{"another block", ack(func(e *export.Ack) { e.Record.Height++ }), rollup.ErrSignature},
		{"another term", ack(func(e *export.Ack) { e.Record.Term++ }), rollup.ErrTerm},
		{"another time", ack(func(e *export.Ack) { e.Record.Time++ }), rollup.ErrSignature},

		{"a client too few", whole(func(e *export.Rollup) {
			e.Clients = e.Clients[:4]
			_, e.ClientsProof, _ = theProver().Clients([]uint64{0, 1, 2, 3})
		}), rollup.ErrClients},
		{"another client", whole(func(e *export.Rollup) { e.Clients[4].Index++ }), rollup.ErrMalformed},
		{"unsorted clients", whole(func(e *export.Rollup) {
			e.Clients[0], e.Clients[1] = e.Clients[1], e.Clients[0]
		}), rollup.ErrMalformed},
		{"exchanged clients", whole(func(e *export.Rollup) {
			e.Clients[0].Client, e.Clients[1].Client = e.Clients[1].Client, e.Clients[0].Client
		}), rollup.ErrRegistry},
		{"exchanged keys", whole(func(e *export.Rollup) {
			e.Clients[0].Key, e.Clients[1].Key = e.Clients[1].Key, e.Clients[0].Key
		}), rollup.ErrRegistry},
		{"another key", whole(func(e *export.Rollup) { e.Clients[4].Key = e.Clients[3].Key }),
			rollup.ErrRegistry},
		{"another payer", whole(func(e *export.Rollup) { e.Clients[4].Payer = 6 }), rollup.ErrRegistry},
		{"a client of no leaf", whole(func(e *export.Rollup) { e.Clients[4].Until = 0 }),
			rollup.ErrMalformed},
		{"another until", whole(func(e *export.Rollup) { e.Clients[4].Until = 9 }), rollup.ErrRegistry},
		{"another since", whole(func(e *export.Rollup) { e.Clients[4].Since = 1 }), rollup.ErrRegistry},
		{"another limit", whole(func(e *export.Rollup) { e.Clients[4].Numbers++ }), rollup.ErrRegistry},
		{"other services", whole(func(e *export.Rollup) { e.Clients[4].Services[1] = 2 }),
			rollup.ErrRegistry},
		{"a service too few", whole(func(e *export.Rollup) {
			e.Services = e.Services[:1]
			_, e.ServicesProof, _ = theProver().Services([]uint64{0})
		}), rollup.ErrClients},
		{"unsorted services", whole(func(e *export.Rollup) {
			e.Services[0], e.Services[1] = e.Services[1], e.Services[0]
		}), rollup.ErrMalformed},
		{"no cap", whole(func(e *export.Rollup) { e.Services[0].Cap = 0 }), rollup.ErrMalformed},
		{"another cap", whole(func(e *export.Rollup) { e.Services[0].Cap-- }), rollup.ErrRegistry},
		{"another price", whole(func(e *export.Rollup) { e.Services[0].NextPrice-- }),
			rollup.ErrRegistry},
		{"another node key", whole(func(e *export.Rollup) { e.Node.NodeKey[0]++ }), rollup.ErrRegistry},
		{"another stake", whole(func(e *export.Rollup) { e.Node.Stake++ }), rollup.ErrRegistry},
		{"another count of clients", whole(func(e *export.Rollup) { e.Heads.Clients.Count++ }),
			rollup.ErrMalformed},
		{"another root of clients", whole(func(e *export.Rollup) { e.Heads.Clients.Root[0]++ }),
			rollup.ErrRegistry},
		{"other proof keys", whole(func(e *export.Rollup) { e.Heads.ProofKeys[0]++ }),
			rollup.ErrRegistry},
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
			e.Anchor = *anchor(t, w.Header, 1, 2, 3)
		}), rollup.ErrQuorum},
		{"under a statement: another root", under(func(e *export.StatementAck) {
			h := *w.Header
			h.StatementRoot[0] ^= 1
			e.Anchor = *anchor(t, &h, 0, 1, 3)
		}), rollup.ErrPath},
	} {
		t.Run(c.name, func(t *testing.T) { rollup.FixtureWantError(t, c.err, c.want) })
	}

	for _, i := range []int{3, 14} { // of clients 1 and 4
		w := rollup.FixtureCosigned(t)
		_, err := export.NewStatementAck(anchor(t, w.Header, 0, 1, 3), w.Archive, w.Evidence.List,
			rollup.FixtureRegistry(), i)
		rollup.FixtureWantError(t, err, rollup.ErrList)
	}
	file := testExports(t)["ack"]
	_, err := export.Verify(file, &export.Trust{Network: rollup.NetworkOf([]byte("another")),
		Terms:  rotation.Fixed(rollup.NetworkOf([]byte("another")), rollup.FixtureCommittee()),
		Shares: rollup.FixtureShares})
	rollup.FixtureWantError(t, err, rollup.ErrNetwork)
	copy(file[8:40], "another!")
	_, err = export.Parse(file)
	rollup.FixtureWantError(t, err, rollup.ErrNetwork)
	file[40] = 5
	_, err = export.Parse(file)
	rollup.FixtureWantError(t, err, rollup.ErrMalformed)
	_, err = export.NewAnchor(witness([]rollup.Hash{{1}}, rollup.Hash{}, 0), []rollup.Hash{{1}}, h)
	if !errors.Is(err, rollup.ErrNotFound) {
		t.Errorf("a rollup that the block did not order: %v", err)
	}
}

// TestProofExport checks a rollup on rung 3 against a prover that knows the co-rollup.FixtureSigned
// window.
func TestProofExport(t *testing.T) {
	w := rollup.FixtureCosigned(t)
	third := w.Third
	key := provingKey
	file := newRollup(t, anchor(t, w.Header, 0, 1, 3), third, key).Append(nil)
	var checked []string
	tr := trust()
	tr.Checked = func(name string) { checked = append(checked, name) }
	tr.Development = true
	_, err := export.Verify(file, tr)
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
	want := []string{"order", "record", "registry", "rung 1", "rung 3", "rung 1"}
	if !slices.Equal(checked, want) {
		t.Errorf("checked %q, not %q", checked, want)
	}
	var names []string
	for _, c := range r.Checks {
		names = append(names, c.Name)
		if c.Bytes <= 0 || strings.Contains(c.What, ".") {
			t.Errorf("%+v", c)
		}
	}
	if !slices.Equal(names, want[:5]) ||
		!strings.Contains(r.Checks[4].What, "development keys") {
		t.Errorf("checks %+v", r.Checks)
	}
	rollup.FixtureWantBytes(t, "encoded again", r.File.Append(nil), file)
	if _, err := json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	tr.Checked = nil
	for i := 0; i < len(file); i += 5 {
		b := slices.Clone(file)
		b[i] ^= 1 << (i % 8)
		if _, err := export.Verify(b, tr); err == nil {
			t.Fatalf("passes with byte %d of %d changed", i, len(file))
		}
	}
	tr.Proofs = func(int, []byte) (rollup.ProofVerifier, error) { return nil, errors.New("no key") }
	_, err = export.Verify(file, tr)
	rollup.FixtureWantError(t, err, rollup.ErrProof)
	// The key of the file must be the registry's, for this circuit's size and the rollup's epoch.
	tr.Proofs = func(int, []byte) (rollup.ProofVerifier, error) { return w.Prover, nil }
	e := newRollup(t, anchor(t, w.Header, 0, 1, 3), third,
		bytes.Repeat([]byte("no!"), rollup.VerifyingKeySize/3))
	_, err = export.Verify(e.Append(nil), tr)
	rollup.FixtureWantError(t, err, rollup.ErrProof)
	e = newRollup(t, anchor(t, w.Header, 0, 1, 3), third, key)
	e.ProofKeys[0].From++
	_, err = export.Verify(e.Append(nil), tr)
	rollup.FixtureWantError(t, err, rollup.ErrRegistry)
}

// TestBadSettlements tells one lie at a time, certified by the whole rollup.FixtureCommittee.
func TestBadSettlements(t *testing.T) {
	type table = rollup.SettlementTable
	row := func(i int, f func(*rollup.SettlementRow)) func(*table) {
		return func(t *table) { f(&t.Rows[i]) }
	}
	payer := func(i int, f func(*rollup.PayerRow)) func(*table) {
		return func(t *table) { f(&t.Payers[i]) }
	}
	for _, c := range []struct {
		name   string
		change func(*table)
		want   error
	}{
		{"honest", func(*table) {}, nil},
		{"none", func(t *table) { *t = table{} }, nil},
		{"unsorted", row(0, func(r *rollup.SettlementRow) { r.Node = 3; r.Service = 9 }),
			rollup.ErrUnsorted},
		{"twice", row(1, func(r *rollup.SettlementRow) { r.Payer = 5 }), rollup.ErrUnsorted},
		{"no windows", row(1, func(r *rollup.SettlementRow) { r.Windows = 0 }), rollup.ErrSettlement},
		{"more windows than acks", row(1, func(r *rollup.SettlementRow) { r.Windows = 2 }),
			rollup.ErrSettlement},
		{"no acks", row(1, func(r *rollup.SettlementRow) { r.Acks = 0 }), rollup.ErrSettlement},
		{"fewer units than acks", row(1, func(r *rollup.SettlementRow) { r.Acks = r.Units + 1 }),
			rollup.ErrSettlement},
		{"charged too much", row(1, func(r *rollup.SettlementRow) { r.Charge++ }),
			rollup.ErrSettlement},
		{"charged too little", row(1, func(r *rollup.SettlementRow) { r.Charge-- }),
			rollup.ErrSettlement},
		{"rounded down in more windows than there are", row(0, func(r *rollup.SettlementRow) {
			r.Charge--
			r.Allowed = r.Charge
			rollup.FixturePay(r, r.Charge)
		}), rollup.ErrSettlement},
		{"another price", row(1, func(r *rollup.SettlementRow) { r.Price += 1000 }),
			rollup.ErrSettlement},
		{"allowed more than charged", row(2, func(r *rollup.SettlementRow) { r.Allowed++ }),
			rollup.ErrSettlement},
		{"paid more than allowed", row(1, func(r *rollup.SettlementRow) {
			rollup.FixturePay(r, r.Allowed+1)
		}), rollup.ErrSettlement},
		{"above the allowance", row(1, func(r *rollup.SettlementRow) { r.Allowed++ }),
			rollup.ErrSettlement},
		{"above the allowance together", payer(0, func(p *rollup.PayerRow) { p.Allowance = 34337 }),
			rollup.ErrSettlement},
		{"node's share", row(1, func(r *rollup.SettlementRow) { r.ToNode++ }), rollup.ErrSettlement},
		{"service's share", row(1, func(r *rollup.SettlementRow) { r.ToService-- }),
			rollup.ErrSettlement},
		{"acks overflow", row(3, func(r *rollup.SettlementRow) {
			r.Acks, r.Units = math.MaxUint64, math.MaxUint64
		}), rollup.ErrOverflow},
		{"paid overflows", func(t *table) {
			r := rollup.SettlementRow{Windows: 1, Price: 1 << 40, Acks: 1, Units: math.MaxUint64,
				Charge: math.MaxUint64, Allowed: math.MaxUint64}
			rollup.FixturePay(&r, math.MaxUint64)
			*t = table{Rows: []rollup.SettlementRow{r, r}, Payers: []rollup.PayerRow{
				{Payer: 1, Allowance: math.MaxUint64}, {Payer: 2, Allowance: math.MaxUint64}}}
			t.Rows[0].Payer, t.Rows[1].Payer = 1, 2
		}, rollup.ErrOverflow},
		{"a payer that paid something else", payer(0, func(p *rollup.PayerRow) { p.Paid++ }),
			rollup.ErrSettlement},
		{"a payer without rows", func(t *table) {
			t.Payers = append(t.Payers, rollup.PayerRow{Payer: 7})
		}, rollup.ErrSettlement},
		{"a row without its payer", func(t *table) { t.Payers = t.Payers[:1] },
			rollup.ErrSettlement},
		{"payers unsorted", func(t *table) { slices.Reverse(t.Payers) }, rollup.ErrUnsorted},
		{"a payer twice", payer(1, func(p *rollup.PayerRow) { p.Payer = 5 }), rollup.ErrUnsorted},
		{"no more paid than one had", row(3, func(r *rollup.SettlementRow) {
			rollup.FixturePay(r, 0)
		}), rollup.ErrSettlement},
		// A sum of units that stopped says nothing about charges.
		{"sums that stopped", func(t *table) {
			*t = table{Rows: []rollup.SettlementRow{{Windows: 2, Price: 1, Acks: 2,
				Units: math.MaxUint64, Charge: 1 << 45}}, Payers: []rollup.PayerRow{{}}}
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := table{Rows: slices.Clone(rollup.FixtureTable.Rows),
				Payers: slices.Clone(rollup.FixtureTable.Payers)}
			c.change(&changed)
			file := settle(&changed, 0, 1, 2, 3).Append(nil)
			_, err := export.Verify(file, trust())
			rollup.FixtureWantError(t, err, c.want)
		})
	}
	refused := func(e *export.Settlement, want error) {
		t.Helper()
		_, err := export.Verify(e.Append(nil), trust())
		rollup.FixtureWantError(t, err, want)
	}
	e := settle(rollup.FixtureTable, 0, 1, 3)
	e.Record.SettledEpoch++
	refused(e, rollup.ErrSignature)
	e = settle(rollup.FixtureTable, 0, 1, 3)
	e.Record.SettlementRoot[0]++
	refused(e, rollup.ErrSettlement)
	e = settle(new(rollup.SettlementTable), 0, 1, 3)
	e.Record.SettledEpoch, e.Record.SettlementRoot = rollup.NoEpoch, rollup.Hash{}
	e.Certificate = rollup.FixtureCertifyRecord(e.Record, 0, 1, 3)
	refused(e, rollup.ErrSettlement)
	refused(settle(rollup.FixtureTable, 1, 2), rollup.ErrQuorum)
}
