package ledger

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// Keys of the tests are functions of their names.

func accountKey(name string) ed25519.PrivateKey {
	seed := digestOf([]byte("account " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func accountOf(name string) Key { return KeyOf(accountKey(name)) }

type blsIdentity struct {
	secret *bls.SecretKey
	Key    BLSKey
}

var (
	identitiesMu sync.Mutex
	identities   = map[string]*blsIdentity{}
	proofs       = map[string]BLSSignature{} // by the message that they prove
)

// identity returns the BLS key of a name; it is computed once.
func identity(name string) *blsIdentity {
	identitiesMu.Lock()
	defer identitiesMu.Unlock()
	if id := identities[name]; id != nil {
		return id
	}
	seed := digestOf([]byte("bls " + name))
	secret, err := bls.KeyGen(seed[:])
	if err != nil {
		panic(err)
	}
	id := &blsIdentity{secret, secret.PublicKey().Bytes()}
	identities[name] = id
	return id
}

// prove returns the name's proof of possession, computed once.
func prove(net rollup.Network, name string, role rollup.Role, owner Key) BLSSignature {
	id := identity(name)
	message := string(rollup.ProofMessage(&net, role, owner, id.Key))
	identitiesMu.Lock()
	defer identitiesMu.Unlock()
	proof, known := proofs[message]
	if !known {
		proof = ProvePossession(id.secret, net, role, owner)
		proofs[message] = proof
	}
	return proof
}

var genesisTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// testGenesis is a network of members with the given stakes, in units of voting power.
func testGenesis(stakes ...uint64) *Genesis {
	g := &Genesis{Version: GenesisVersion, ChainID: "ledger-test", GenesisTime: genesisTime,
		Treasury: accountOf("treasury"),
		Params: Params{EpochSeconds: 60, GraceSeconds: 10,
			Shares:      rollup.Shares{Node: 7000, Service: 2000, Protocol: 1000},
			GrantEpochs: Forever, Allowance: 1 << 53, SlashEquivocation: DefaultSlash,
			UnbondSeconds: 30}}
	for i, stake := range stakes {
		name := fmt.Sprintf("node%d", i)
		g.Members = append(g.Members, Member{
			Owner: accountOf(fmt.Sprintf("owner%d", i)), BLSKey: identity(name).Key,
			TransportKey: accountOf(name + " transport"), ConsensusKey: accountOf(name + " consensus"),
			PeerAddress: fmt.Sprintf("%s.example:7000", name),
			P2PAddress:  fmt.Sprintf("%s.example:7001", name),
			Stake:       stake * StakePerPower,
		})
	}
	signGenesis(g)
	return g
}

// signGenesis signs a genesis that was changed anew.
func signGenesis(g *Genesis) {
	net := g.Network()
	for i := range g.Members {
		m, name := &g.Members[i], fmt.Sprintf("node%d", g.MemberNode(i))
		m.Proof = prove(net, name, rollup.RoleNode, m.Owner)
		m.NodeSignature = SignNode(net, m.Owner, m.BLSKey, accountKey(name+" transport"))
	}
}

// newNode returns the registration of a node for an owner.
func newNode(g *Genesis, owner, name string, stake uint64) *NodeRegistration {
	net, key := g.Network(), identity(name).Key
	return &NodeRegistration{BLSKey: key,
		Proof:         prove(net, name, rollup.RoleNode, accountOf(owner)),
		TransportKey:  accountOf(name + " transport"),
		NodeSignature: SignNode(net, accountOf(owner), key, accountKey(name+" transport")),
		Stake:         stake, PeerAddress: name + ".example:7000"}
}

// newGrant returns a payer's grant of service 0 to a client, for ever. The index is that of the
// payer's account.
func newGrant(
	g *Genesis, payer string, index uint32, client string, changes ...func(*Grant),
) Grant {
	net := g.Network()
	grant := Grant{Payer: index, Key: identity(client).Key, Services: Services(0), Numbers: Forever,
		Until: Forever, Proof: prove(net, client, rollup.RoleClient, accountOf(payer))}
	for _, change := range changes {
		change(&grant)
	}
	return NewGrant(net, accountKey(payer), grant)
}

func newState(t testing.TB, g *Genesis) *State {
	t.Helper()
	s, err := New(g)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signAs returns bitmap and aggregate of the members' signatures on a message.
func signAs(g *Genesis, message []byte, members ...int) (rollup.Bitmap, [48]byte) {
	bitmap := rollup.NewBitmap(len(g.Members))
	var sum bls.Sum
	for _, m := range members {
		bitmap.Set(m)
		sig := bls.Default.Sign(identity(fmt.Sprintf("node%d", m)).secret, message)
		sum.Add(&sig)
	}
	aggregate := sum.Signature()
	return bitmap, aggregate.Bytes()
}

// certificate returns a rollup's certificate. Its roots are of no acks: the ledger never sees
// those.
func certificate(g *Genesis, key rollup.WindowKey, rows []rollup.Row,
	members ...int) *rollup.Certificate {
	h := rollup.NewHeader(g.Network(), key)
	h.Rows = rows
	for _, r := range rows {
		h.AckCount += uint32(r.Acks)
	}
	c := &rollup.Certificate{Header: *h}
	own(c, fmt.Sprintf("node%d transport", key.Node))
	net := g.Network()
	c.Signers, c.Signature = signAs(g, rollup.CertificateMessage(&net, 0, key, h.ID()), members...)
	return c
}

// own signs a certificate with a node key.
func own(c *rollup.Certificate, name string) {
	c.Own = rollup.SignOwn(accountKey(name), &c.Header)
}

func proofKey(g *Genesis, k ProofKeyTerm, members ...int) *ProofKeyChange {
	p := &ProofKeyChange{ProofKeyTerm: k}
	p.Signers, p.Signature = signAs(g, ProofKeyMessage(g.Network(), 0, &k), members...)
	return p
}

func plan(g *Genesis, number uint32, u Upgrade, members ...int) *Plan {
	p := &Plan{Upgrade: u, Number: number}
	p.Signers, p.Signature = signAs(g, PlanMessage(g.Network(), number, &u), members...)
	return p
}

// recordCertificate signs a record as members of the committee.
func recordCertificate(g *Genesis, r *rollup.Record, members ...int) *rollup.RecordCertificate {
	c := &rollup.RecordCertificate{Height: r.Height}
	c.Signers, c.Signature = signAs(g, r.Append(nil), members...)
	return c
}

// settledIn returns the record of the block that settled an epoch.
func settledIn(w *world, epoch uint32) *rollup.Record {
	if s, ok := w.settlement(epoch); ok {
		if r, ok := w.record(s.Height); ok {
			return &r.Record
		}
	}
	return &rollup.Record{Network: w.id, Height: 1 << 40}
}

// dump encodes the whole state, record by record.
func dump(s *State) map[string]string {
	keys := []string{keyMeta}
	for prefix, n := range map[byte]int{prefixAccount: s.accounts.len(),
		prefixNode: s.nodes.len(), prefixService: s.services.len()} {
		for i := range n {
			keys = append(keys, indexKey(prefix, uint32(i)))
		}
	}
	for i := range s.nodes.size() {
		keys = append(keys, indexKey(prefixConvictions, i))
	}
	for i := range s.clients.size() {
		keys = append(keys, clientRecordKey(i))
	}
	for _, k := range s.proofKeys {
		keys = append(keys, proofKeyKey(k.Statements, k.From))
	}
	if s.rules.plans > 0 {
		keys = append(keys, key(prefixRules))
	}
	for i := range s.starts {
		keys = append(keys, epochKey(s.unsettled+uint32(i)))
	}
	for _, t := range s.settlements {
		keys = append(keys, settlementKey(t.Epoch))
	}
	for _, r := range s.records {
		keys = append(keys, recordKey(prefixRecord, r.Record.Height),
			recordKey(prefixCertificate, r.Record.Height))
	}
	for _, o := range s.ordered {
		for i := range o.nodes.len() {
			keys = append(keys, windowsKey(o.epoch, uint32(i)))
		}
	}
	for i := range s.books {
		b := &s.books[i]
		for k := range b.credits.size() {
			keys = append(keys, creditRecordKey(b.epoch, b.credits.at(k).creditKey))
		}
	}
	if s.rotation != nil {
		keys = append(keys, key(prefixRotation), key(prefixCandidates))
		for _, x := range []*reports{s.rotation.reports, s.rotation.audited} {
			if x == nil {
				continue
			}
			keys = append(keys, key(prefixReports, x.epoch))
			for _, r := range x.list {
				keys = append(keys, key(prefixReport, x.epoch, r.node))
			}
		}
		for _, t := range s.terms {
			keys = append(keys, indexKey(prefixTerm, t.committee.Term))
		}
		for i := range s.consensusKeys.size() {
			keys = append(keys, indexKey(prefixConsensusKey, i))
		}
		for i := range s.nodes.size() {
			keys = append(keys, indexKey(prefixCandidacy, i))
		}
	}
	out := map[string]string{keyAppHash: string(s.appHash[:])}
	for _, k := range keys {
		if v := s.encode(k); v != nil {
			out[k] = string(v)
		}
	}
	return out
}

// diff describes how two dumps differ, empty when they do not.
func diff(a, b map[string]string) string {
	var out strings.Builder
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if v, ok := b[k]; !ok || v != a[k] {
			fmt.Fprintf(&out, "record %c%x: %x, then %x\n", k[0], k[1:], a[k], v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[k]; !ok {
			fmt.Fprintf(&out, "record %c%x: none, then %x\n", k[0], k[1:], b[k])
		}
	}
	return out.String()
}

// endless returns a dump without what a view may know of later blocks: until when clients are.
func endless(dump map[string]string) map[string]string {
	dump = maps.Clone(dump)
	for k, v := range dump {
		if k[0] == prefixClient {
			dump[k] = v[:104] + v[108:]
		}
	}
	return dump
}

// storage is what a store keeps: the last value of each record.
type storage map[string][]byte

func (st storage) write(records []Record) {
	for _, r := range records {
		if r.Value == nil {
			delete(st, string(r.Key))
		} else {
			st[string(r.Key)] = bytes.Clone(r.Value)
		}
	}
}

func (st storage) all() iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for _, k := range slices.Sorted(maps.Keys(st)) {
			if !yield([]byte(k), st[k]) {
				return
			}
		}
	}
}

// carried returns the records as they come out of a snapshot of them, whose chunks were checked.
func (st storage) carried() iter.Seq2[[]byte, []byte] {
	var stream bytes.Buffer
	w := snapshot.NewWriter(&stream)
	for _, k := range slices.Sorted(maps.Keys(st)) {
		if err := w.Put([]byte(k), st[k]); err != nil {
			panic(err)
		}
	}
	summary, leaves, err := w.End()
	if err != nil {
		panic(err)
	}
	for i := range summary.Chunks() {
		chunk := stream.Bytes()[i*snapshot.ChunkSize:][:summary.Size(i)]
		if err := summary.Check(i, chunk, snapshot.Tree(leaves).Path(int(i))); err != nil {
			panic(err)
		}
	}
	return func(yield func([]byte, []byte) bool) {
		for r, err := range snapshot.Records(&stream) {
			if err != nil {
				panic(err)
			}
			if !yield(r.Key, r.Value) {
				return
			}
		}
	}
}

// block runs one block of transactions that must all succeed.
func block(t testing.TB, s *State, height int64, after time.Duration, txs ...[]byte) Block {
	t.Helper()
	s.Begin(height, genesisTime.Add(after))
	for i, tx := range txs {
		if r := s.Apply(tx); !r.OK() {
			t.Fatalf("block %d, transaction %d: %v", height, i, r.Err)
		}
	}
	return s.End()
}
