package rollup

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
)

// The test network that docs/protocol.md section 12 describes.

const testChain = "waybill-test"

var (
	testNet    = NetworkOf(testCanonical())
	testKey    = WindowKey{Node: 2, Epoch: 1, Window: 7}
	testShares = Shares{Node: 8000, Service: 1500, Protocol: 500}
	testPowers = []uint64{40, 30, 20, 10}
)

func testSecret(role string, i int) *bls.SecretKey {
	seed := blake3.Sum256(fmt.Appendf(nil, "waybill/test/%s/%d", role, i))
	sk, err := bls.KeyGen(seed[:])
	if err != nil {
		panic(err)
	}
	return sk
}

func testEd25519(role string, i int) ed25519.PrivateKey {
	seed := blake3.Sum256(fmt.Appendf(nil, "waybill/test/%s/%d", role, i))
	return ed25519.NewKeyFromSeed(seed[:])
}

// testRegistry is a registry of a few clients and services.
type testRegistry struct {
	secrets []*bls.SecretKey
	keys    []*bls.PublicKey
	caps    []uint64
}

func (r *testRegistry) Client(client uint64) (Client, bool) {
	if client >= uint64(len(r.keys)) {
		return Client{}, false
	}
	return Client{Key: r.keys[client], Payer: 5 + uint32(client%2), Until: math.MaxUint32,
		Numbers: math.MaxUint32, Services: [3]uint32{0, 1, NoService}}, true
}

func (r *testRegistry) NodeKey(node uint32) (key [32]byte, ok bool) {
	if int(node) >= len(testPowers) {
		return key, false
	}
	return [32]byte(testEd25519("transport", int(node)).Public().(ed25519.PublicKey)), true
}

func (r *testRegistry) UnitCap(service uint32) (uint64, bool) {
	if int(service) >= len(r.caps) {
		return 0, false
	}
	return r.caps[service], true
}

var registry = sync.OnceValue(func() *testRegistry {
	r := &testRegistry{caps: []uint64{1 << 20, 1 << 30}}
	for i := range 5 {
		sk := testSecret("client", i)
		r.secrets = append(r.secrets, sk)
		r.keys = append(r.keys, sk.PublicKey())
	}
	return r
})

var committeeSecrets = sync.OnceValue(func() (secrets []*bls.SecretKey) {
	for i := range testPowers {
		secrets = append(secrets, testSecret("member", i))
	}
	return secrets
})

var committee = sync.OnceValue(func() *Committee {
	c := new(Committee)
	for i, sk := range committeeSecrets() {
		c.Members = append(c.Members, Member{Node: uint32(i), Power: testPowers[i], Key: sk.PublicKey()})
	}
	return c
})

// testAcks are the acks of the test window, signed.
var testAcks = sync.OnceValue(func() (acks []Ack) {
	for i := range uint32(7) {
		acks = append(acks, Ack{Net: testNet.Net(), Epoch: testKey.Epoch, Node: testKey.Node,
			Client: uint64(2 * i % 5), Service: i % 2, Units: 1000 * uint64(i+1),
			Request: blake3.Sum256(fmt.Appendf(nil, "GET /%d", i))})
	}
	return signAll(acks)
})

// signAll numbers the acks, those of client c for each service from 3c on, and signs them.
func signAll(acks []Ack) []Ack {
	var used Numbers
	for i := range acks {
		a := &acks[i]
		a.Number = max(used.Next(a.Client, a.Service), 3*uint32(a.Client))
		used.Take(Run{a.Client, a.Service, a.Number, 1})
		*a = signed(*a)
	}
	return acks
}

// signed signs with the client's key; a client that is not registered signs with that of client 0.
func signed(a Ack) Ack {
	secrets := registry().secrets
	sk := secrets[0]
	if int(a.Client) < len(secrets) {
		sk = secrets[a.Client]
	}
	sig := bls.Default.Sign(sk, a.AppendMessage(nil, &testNet))
	a.Signature = sig.Bytes()
	return a
}

func frames(acks []Ack) (b []byte) {
	for i := range acks {
		b = acks[i].Append(b)
	}
	return b
}

func aggregate(t testing.TB, acks []Ack) [SignatureSize]byte {
	t.Helper()
	var sum bls.Sum
	for i := range acks {
		sig, err := bls.ParseSignature(acks[i].Signature[:])
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(&sig)
	}
	sig := sum.Signature()
	return sig.Bytes()
}

// forge puts a rollup together from acks as the document says, without the package's own sealing
// and without its refusals, so that a test can tell one lie at a time.
func forge(t testing.TB, key WindowKey, acks []Ack) (*Header, Acks) {
	t.Helper()
	acks = slices.Clone(acks)
	slices.SortStableFunc(acks, func(a, b Ack) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Number, b.Number))
	})
	h := NewHeader(testNet, key)
	h.AckCount = uint32(len(acks))
	h.AckSignature = aggregate(t, acks)
	var runs []Run
	var bodies []byte
	var leaves [][]byte
	for i := range acks {
		a, b := &acks[i], acks[i].Append(nil)
		if n := len(runs); n > 0 && runs[n-1].Client == a.Client && runs[n-1].Service == a.Service {
			runs[n-1].Count++
		} else {
			runs = append(runs, Run{a.Client, a.Service, a.Number, 1})
		}
		bodies = append(bodies, b[40:80]...)
		leaves = append(leaves, b[16:80])
		client, _ := registry().Client(acks[i].Client)
		j := slices.IndexFunc(h.Rows, func(r Row) bool {
			return r.Payer == client.Payer && r.Service == acks[i].Service
		})
		if j < 0 {
			h.Rows = append(h.Rows, Row{Payer: client.Payer, Service: acks[i].Service})
			j = len(h.Rows) - 1
		}
		h.Rows[j].Acks++
		h.Rows[j].Units += acks[i].Units
	}
	slices.SortFunc(h.Rows, compareRows)
	h.AckRoot = mth("ack", leaves)
	ev := le.AppendUint32(nil, uint32(len(runs)))
	for _, r := range runs {
		ev = le.AppendUint64(ev, r.Client)
		for _, v := range [...]uint32{r.Service, r.First, r.Count} {
			ev = le.AppendUint32(ev, v)
		}
	}
	return h, append(ev, bodies...)
}

// mth is the recursive definition of RFC 9162 section 2.1.1 over section 5's hashes.
func mth(name string, d [][]byte) Hash {
	switch len(d) {
	case 0:
		return Hash{}
	case 1:
		key := blake3.Key(blake3.Sum256([]byte("waybill/" + name + "-leaf/2")))
		return blake3.Keyed(&key, d[0])
	}
	k := 1 << (bits.Len(uint(len(d)-1)) - 1)
	l, r := mth(name, d[:k]), mth(name, d[k:])
	key := blake3.Key(blake3.Sum256([]byte("waybill/" + name + "-node/2")))
	return blake3.Keyed(&key, append(l[:], r[:]...))
}

// multiSign signs as the given members of the committee.
func multiSign(message []byte, members ...int) (Bitmap, [SignatureSize]byte) {
	signers := NewBitmap(len(testPowers))
	var sum bls.Sum
	for _, i := range members {
		signers.Set(i)
		sig := bls.Default.Sign(committeeSecrets()[i], message)
		sum.Add(&sig)
	}
	sig := sum.Signature()
	return signers, sig.Bytes()
}

func certify(h *Header, members ...int) *Certificate {
	c := &Certificate{Header: *h, Own: SignOwn(testEd25519("transport", int(h.Node)), h)}
	c.Signers, c.Signature = multiSign(CertificateMessage(&h.Network, 0, h.Key(), h.ID()), members...)
	return c
}

// testTable is a settlement in which payer 5 had 40,000 of the 45,782 that it owed, and payer 6
// allowed a node less than it charged.
var testTable = func() *SettlementTable {
	t := &SettlementTable{Rows: []SettlementRow{
		{Node: 2, Service: 0, Payer: 5, Windows: 2, Price: 3000000, Acks: 3, Units: 12000, Charge: 34331,
			Allowed: 34331, Paid: 34331},
		{Node: 2, Service: 0, Payer: 6, Windows: 1, Price: 3000000, Acks: 1, Units: 4000, Charge: 11444,
			Allowed: 11000, Paid: 11000},
		{Node: 2, Service: 1, Payer: 5, Windows: 1, Price: 1000, Acks: 2, Units: 8000, Charge: 7,
			Allowed: 7, Paid: 7},
		{Node: 3, Service: 0, Payer: 5, Windows: 1, Price: 3000000, Acks: 1, Units: 4000, Charge: 11444,
			Allowed: 11444, Paid: 5662},
	}, Payers: []PayerRow{
		{Payer: 5, Key: testAccount(5), Allowance: 50000, Paid: 40000},
		{Payer: 6, Key: testAccount(6), Reserve: 1000, Thawing: 20, Allowance: 11000, Paid: 11000},
	}}
	for i := range t.Rows {
		r := &t.Rows[i]
		r.ToNode, r.ToService = r.Paid*8000/10000, r.Paid*1500/10000
	}
	return t
}()

func testAccount(index int) AccountKey {
	return AccountKey(testEd25519("account", index).Public().(ed25519.PublicKey))
}

// sentinels are the package's reasons; an error wraps exactly one of them.
var sentinels = []error{ErrMalformed, ErrNetwork, ErrCount, ErrWindow, ErrUnsorted, ErrNumbers,
	ErrNotValid, ErrNotGranted,
	ErrWord, ErrUnknownNode, ErrTerm, ErrRecord, ErrRegistry,
	ErrUnknownClient, ErrUnknownService, ErrUnits, ErrOverflow, ErrRoot, ErrRows, ErrTooManyRows,
	ErrSignature,
	ErrBitmap, ErrQuorum, ErrPath, ErrClients, ErrSettlement, ErrParts, ErrStatement, ErrList,
	ErrBothParts, ErrNoProofs, ErrProof, ErrInvoice}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if want == nil {
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		return
	}
	for _, s := range sentinels {
		if is := errors.Is(err, s); is != (s == want) {
			t.Fatalf("error %v: wraps %q: %v", err, s, is)
		}
	}
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s:\n got %x\nwant %x", what, got, want)
	}
}
