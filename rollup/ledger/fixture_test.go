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
)

// Keys of the tests are functions of their names.

func accountKey(name string) ed25519.PrivateKey {
	seed := digestOf([]byte("account " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func accountOf(name string) Key { return KeyOf(accountKey(name)) }

type blsIdentity struct {
	secret *bls.SecretKey
	ClientProof
}

var (
	identitiesMu sync.Mutex
	identities   = map[string]*blsIdentity{}
)

// identity returns the BLS key of a name, with its proof; they are computed once.
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
	proof := bls.Prove(secret)
	id := &blsIdentity{secret, ClientProof{Key: secret.PublicKey().Bytes(), Proof: proof.Bytes()}}
	identities[name] = id
	return id
}

var genesisTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// testGenesis is a network of members with the given stakes, in units of voting power.
func testGenesis(stakes ...uint64) *Genesis {
	g := &Genesis{Version: 1, ChainID: "ledger-test", GenesisTime: genesisTime,
		Treasury: accountOf("treasury"),
		Params: Params{EpochSeconds: 60, GraceSeconds: 10, LateEpochs: 2,
			Shares: rollup.Shares{Node: 7000, Service: 2000, Protocol: 1000}}}
	for i, stake := range stakes {
		name := fmt.Sprintf("node%d", i)
		id := identity(name)
		g.Members = append(g.Members, Member{
			Owner: accountOf(fmt.Sprintf("owner%d", i)), BLSKey: id.Key, Proof: id.Proof,
			TransportKey: accountOf(name + " transport"), ConsensusKey: accountOf(name + " consensus"),
			PeerAddress: fmt.Sprintf("%s.example:7000", name),
			P2PAddress:  fmt.Sprintf("%s.example:7001", name),
			Stake:       stake * StakePerPower,
		})
	}
	return g
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
	c.Signers, c.Signature = signAs(g, rollup.CertificateMessage(g.Network(), key.Epoch, h.ID()),
		members...)
	return c
}

func settlementCertificate(g *Genesis, epoch uint32, root rollup.Hash,
	members ...int) *rollup.SettlementCertificate {
	message := rollup.SettlementMessage(g.Network(), epoch, root, g.Committee().Root())
	c := &rollup.SettlementCertificate{Epoch: epoch}
	c.Signers, c.Signature = signAs(g, message, members...)
	return c
}

// dump encodes the whole state, record by record.
func dump(s *State) map[string]string {
	keys := []string{keyMeta}
	for prefix, n := range map[byte]int{prefixAccount: s.accounts.len(), prefixClient: s.clients.len(),
		prefixNode: s.nodes.len(), prefixService: s.services.len()} {
		for i := range n {
			keys = append(keys, indexKey(prefix, uint32(i)))
		}
	}
	for i := range s.starts {
		keys = append(keys, epochKey(s.unsettled+uint32(i)))
	}
	for _, t := range s.settlements {
		keys = append(keys, settlementKey(t.Epoch), certificateKey(t.Epoch))
	}
	for _, o := range s.ordered {
		for i := range o.nodes.len() {
			keys = append(keys, windowsKey(o.epoch, uint32(i)))
		}
	}
	for epoch, credits := range s.credits {
		for k := range credits {
			keys = append(keys, creditRecordKey(epoch, k))
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
