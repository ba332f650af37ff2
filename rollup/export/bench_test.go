package export_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/registry"
)

// BenchmarkVerify measures files as section 10 of docs/protocol.md lists their sizes: a million
// clients are registered, of whom each of the window's has one ack; 100 nodes, 16 services, 4
// payers; the block ordered 64 rollups. Proofs of rung 3 are not checked: what one costs is
// measured in package verifier. multiproof-ms is the least time that the clients' multiproof took:
// most of the rest is to decode their keys.
func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{4096, 65536} {
		for _, spread := range []bool{true, false} {
			where := "in a row"
			if spread {
				where = "anywhere"
			}
			w := newCrowd(n, spread)
			for _, kind := range []string{"ack", "statement ack", "rung 1", "rung 2", "rung 3"} {
				b.Run(fmt.Sprintf("%d clients %s, %s", n, where, kind), func(b *testing.B) {
					w.verify(b, w.file(b, kind))
				})
			}
		}
	}
}

const (
	registered = 1_000_000
	services   = 16
)

// crowd is a window of many clients, and the registry that they are in.
type crowd struct {
	genesis *export.Trust
	member  *bls.SecretKey
	key     rollup.WindowKey
	clients []uint64
	trees   [3]*registry.Tree // of clients, services, nodes
	entries [3][]byte
	cap     uint64
}

var crowdKeys = sync.OnceValues(func() (secrets []*bls.SecretKey, public []*bls.PublicKey) {
	for i := range 65536 {
		seed := blake3.Sum256(fmt.Appendf(nil, "crowd %d", i))
		secret, err := bls.KeyGen(seed[:])
		if err != nil {
			panic(err)
		}
		secrets, public = append(secrets, secret), append(public, secret.PublicKey())
	}
	return secrets, public
})

func newCrowd(n int, spread bool) *crowd {
	genesis, member := newGenesis()
	c := &crowd{genesis: export.TrustOf(genesis), member: member, cap: 1 << 30,
		key: rollup.WindowKey{Node: 0, Epoch: 3, Window: 5}}
	c.genesis.Proofs = func(int, []byte) (rollup.ProofVerifier, error) { return believer{}, nil }
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	if spread {
		for _, i := range rng.Perm(registered)[:n] {
			c.clients = append(c.clients, uint64(i))
		}
		slices.Sort(c.clients)
	} else {
		for i := range n {
			c.clients = append(c.clients, uint64(300_000+i))
		}
	}
	for i, kind := range []*registry.Kind{registry.Clients, registry.Services, registry.Nodes} {
		count := []int{registered, services, 100}[i]
		indices, leaves := make([]uint64, count), make([]byte, 0, count*kind.Width())
		for j := range count {
			indices[j], leaves = uint64(j), c.leaf(leaves, kind, uint64(j))
		}
		c.trees[i], c.entries[i] = registry.New(kind, new(registry.Memory)), leaves
		if err := c.trees[i].Set(indices, leaves); err != nil {
			panic(err)
		}
	}
	return c
}

func (c *crowd) leaf(dst []byte, kind *registry.Kind, i uint64) []byte {
	switch kind {
	case registry.Services:
		leaf := registry.Service{Cap: c.cap, Price: 3000, NextPrice: 3000}
		return leaf.Append(dst)
	case registry.Nodes:
		leaf := registry.Node{Until: registry.None}
		return leaf.Append(dst)
	}
	leaf := registry.Client{Until: registry.None, Numbers: registry.None, Payer: uint32(i % 4),
		Services: [3]uint32{uint32(i % services), registry.None, registry.None}}
	if at, ok := slices.BinarySearch(c.clients, i); ok {
		_, public := crowdKeys()
		leaf.Key = public[at].Bytes()
	}
	return leaf.Append(dst)
}

// Client implements rollup.Registry.
func (c *crowd) Client(i uint64) (rollup.Client, bool) {
	at, ok := slices.BinarySearch(c.clients, i)
	if !ok {
		return rollup.Client{}, false
	}
	_, public := crowdKeys()
	return rollup.Client{Key: public[at], Payer: uint32(i % 4), Until: registry.None,
		Numbers:  registry.None,
		Services: [3]uint32{uint32(i % services), registry.None, registry.None}}, true
}

func (c *crowd) UnitCap(uint32) (uint64, bool)       { return c.cap, true }
func (c *crowd) NodeKey(uint32) (k [32]byte, _ bool) { return k, true }

func (c *crowd) Heads() (registry.Heads, error) {
	return registry.Heads{Clients: c.trees[0].Head(), Services: c.trees[1].Head(),
		Nodes: c.trees[2].Head(), ProofKeys: registry.ProofKeys.RootOf(c.keys())}, nil
}

func (c *crowd) prove(tree int, indices []uint64) (entries, proof []byte, err error) {
	w := uint64(c.trees[tree].Kind().Width())
	for _, i := range indices {
		entries = append(entries, c.entries[tree][i*w:][:w]...)
	}
	proof, err = c.trees[tree].Prove(indices)
	return entries, proof, err
}

func (c *crowd) Clients(indices []uint64) ([]byte, []byte, error)  { return c.prove(0, indices) }
func (c *crowd) Services(indices []uint64) ([]byte, []byte, error) { return c.prove(1, indices) }
func (c *crowd) Nodes(indices []uint64) ([]byte, []byte, error)    { return c.prove(2, indices) }
func (c *crowd) ProofKeys() ([]byte, error)                        { return c.keys(), nil }

// verifyingKey has a verifying key's size, and is none.
var verifyingKey = make([]byte, rollup.VerifyingKeySize)

func (c *crowd) keys() (b []byte) {
	for _, size := range rollup.CircuitSizes {
		key := registry.ProofKey{Size: uint32(size), Digest: blake3.Sum256(verifyingKey),
			Until: registry.None}
		b = key.Append(b)
	}
	return b
}

// believer takes every proof.
type believer struct{}

func (believer) VerifyProof(int, [32]byte, *[rollup.ProofSize]byte) error { return nil }

// frames returns an ack of each client. With signed they are signed.
func (c *crowd) frames(signed bool) (frames []byte, sum [rollup.SignatureSize]byte) {
	secrets, _ := crowdKeys()
	var total bls.Sum
	for at, i := range c.clients {
		a := rollup.Ack{Net: c.genesis.Network.Net(), Epoch: c.key.Epoch, Node: c.key.Node, Client: i,
			Service: uint32(i % services), Units: 1000 + i%77,
			Request: blake3.Sum256(fmt.Appendf(nil, "GET /%d", i))}
		if signed {
			s := bls.Default.Sign(secrets[at], a.AppendMessage(nil, &c.genesis.Network))
			a.Signature = s.Bytes()
			total.Add(&s)
		}
		frames = a.Append(frames)
	}
	if signed {
		s := total.Signature()
		return frames, s.Bytes()
	}
	return frames, bls.IdentitySignature
}

// together is the signature of all clients under one message.
func (c *crowd) together(message []byte) [rollup.SignatureSize]byte {
	secrets, _ := crowdKeys()
	sum := new(big.Int)
	for _, s := range secrets[:len(c.clients)] {
		b := s.Bytes()
		sum.Add(sum, new(big.Int).SetBytes(b[:]))
	}
	order, _ := new(big.Int).SetString(
		"73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)
	key, err := bls.ParseSecretKey(sum.Mod(sum, order).FillBytes(make([]byte, bls.SecretKeySize)))
	if err != nil {
		panic(err)
	}
	s := bls.Default.Sign(key, message)
	return s.Bytes()
}

// file makes one of a kind.
func (c *crowd) file(b *testing.B, kind string) []byte {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	network := c.genesis.Network
	var sealer rollup.Sealer
	if kind == "ack" || kind == "rung 1" {
		frames, sum := c.frames(kind == "rung 1")
		h, acks, err := sealer.Seal(network, c.key, frames, sum, c)
		must(err)
		a := c.anchor(b, h)
		if kind == "ack" {
			return export.NewAck(a, acks, len(c.clients)/2).Append(nil)
		}
		e, err := export.NewRollup(a, rollup.AcksEvidence(acks), c, nil)
		must(err)
		return e.Append(nil)
	}
	frames, _ := c.frames(false)
	archive, err := sealer.Archive(network, c.key, frames, c)
	must(err)
	all := func(uint64) bool { return true }
	statements, err := rollup.Statements(archive, c.key, c, all)
	must(err)
	tree, list := rollup.NewStatementTree(statements), rollup.NewList(statements, all)
	message := rollup.CosignMessage(network, c.key, uint32(tree.Len()), tree.Root())
	h, ev, err := sealer.SealCosigned(network, archive, c.key, tree, list, c.together(message[:]),
		bls.IdentitySignature, c)
	must(err)
	a := c.anchor(b, h)
	switch kind {
	case "statement ack":
		e, err := export.NewStatementAck(a, archive, list, c, len(c.clients)/2)
		must(err)
		return e.Append(nil)
	case "rung 3":
		size := min(16384, len(c.clients))
		segments, err := rollup.Segments(h, tree, list, size, c)
		must(err)
		ev = rollup.ProofEvidence(ev.Acks, list, segments,
			make([][rollup.ProofSize]byte, len(segments)))
	}
	e, err := export.NewRollup(a, ev, c, verifyingKey)
	must(err)
	return e.Append(nil)
}

// anchor is under a record of 64 rollups.
func (c *crowd) anchor(b *testing.B, h *rollup.Header) *export.Anchor {
	b.Helper()
	ids := make([]rollup.Hash, 64)
	for i := range ids {
		ids[i][0] = byte(i + 1)
	}
	ids[20] = h.ID()
	heads, _ := c.Heads()
	record := &rollup.Record{Network: h.Network, Height: 9, RollupCount: 64,
		RollupsRoot: rollup.RollupsTree(ids).Root(), RegistryRoot: heads.Root(),
		SettledEpoch: rollup.NoEpoch}
	signature := rollup.SignRecord(c.member, record)
	a, err := export.NewAnchor(export.Witness{Record: record, Certificate: &rollup.RecordCertificate{
		Height: 9, Signers: rollup.Bitmap{1}, Signature: signature.Bytes()}}, ids, h)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// verify measures a file.
func (c *crowd) verify(b *testing.B, file []byte) {
	for b.Loop() {
		if _, err := export.Verify(file, c.genesis); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(file)), "B/file")
	parsed, err := export.Parse(file)
	if err != nil {
		b.Fatal(err)
	}
	e, ok := parsed.(*export.Rollup)
	if !ok {
		return
	}
	var leaves []byte
	for i := range e.Clients {
		leaves = e.Clients[i].Client.Append(leaves)
	}
	least := time.Hour
	for range 5 {
		begin := time.Now()
		if err := registry.Clients.Verify(e.Heads.Clients, c.clients, leaves,
			e.ClientsProof); err != nil {
			b.Fatal(err)
		}
		least = min(least, time.Since(begin))
	}
	b.ReportMetric(float64(least.Microseconds())/1000, "multiproof-ms")
}
