package prooftest

import (
	"crypto/ed25519"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

// documented is the co-signed window that docs/protocol.md section 12 describes, in any network,
// and the registry of its clients.
type documented struct {
	header   *rollup.Header
	evidence *rollup.Evidence // of rung 2
	tree     *rollup.StatementTree
}

func testSeed(role string, i int) []byte {
	seed := blake3.Sum256(fmt.Appendf(nil, "waybill/test/%s/%d", role, i))
	return seed[:]
}

func blsKey(role string, i int) *bls.SecretKey {
	key, err := bls.KeyGen(testSeed(role, i))
	if err != nil {
		panic(err)
	}
	return key
}

func nodeKey(role string, i int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(testSeed(role, i))
}

func (*documented) Client(client uint64) (rollup.Client, bool) {
	return rollup.Client{Key: blsKey("client", int(client)).PublicKey(), Payer: 5 + uint32(client%2),
		Until: math.MaxUint32, Numbers: math.MaxUint32,
		Services: [3]uint32{0, 1, rollup.NoService}}, client < 5
}

func (*documented) UnitCap(service uint32) (uint64, bool) {
	return 1 << (20 + 10*service), service < 2
}

func (*documented) NodeKey(node uint32) ([32]byte, bool) { return nodePublic(int(node)), true }

func nodePublic(i int) [32]byte {
	return [32]byte(nodeKey("transport", i).Public().(ed25519.PublicKey))
}

// prover is the registry of the window, with one proof key.
func (d *documented) prover(size int, digest rollup.Hash) *registered {
	clients := make(map[uint64]rollup.Client)
	for i := range uint64(5) {
		clients[i], _ = d.Client(i)
	}
	key := registry.ProofKey{Size: uint32(size), Digest: digest, Until: registry.None}
	return newProver(clients, map[uint32]uint64{0: 1 << 20, 1: 1 << 30}, key.Append(nil))
}

// sum is the aggregate of signatures.
func sum(signatures []bls.Signature) [rollup.SignatureSize]byte {
	s := bls.AggregateSignatures(signatures)
	return s.Bytes()
}

func newDocumented(t *testing.T, network rollup.Network) *documented {
	d := new(documented)
	key := rollup.WindowKey{Node: 2, Epoch: 1, Window: 8}
	signers := []uint64{0, 2, 3}
	signed := func(client uint64) bool { return slices.Contains(signers, client) }
	var used rollup.Numbers
	var frames []byte
	var silent []bls.Signature
	for i := range uint32(15) {
		a := rollup.Ack{Net: network.Net(), Epoch: key.Epoch, Node: key.Node, Client: uint64(i % 5),
			Service: i / 10, Units: 1000 * uint64(i+1),
			Request: blake3.Sum256(fmt.Appendf(nil, "GET /%d", i))}
		a.Number = max(used.Next(a.Client, a.Service), 3*uint32(a.Client))
		used.Take(rollup.Run{Client: a.Client, Service: a.Service, First: a.Number, Count: 1})
		s := bls.Default.Sign(blsKey("client", int(a.Client)), a.AppendMessage(nil, &network))
		a.Signature = s.Bytes()
		if frames = a.Append(frames); !signed(a.Client) {
			silent = append(silent, s)
		}
	}
	var sealer rollup.Sealer
	archive, err := sealer.Archive(network, key, frames, d)
	if err != nil {
		t.Fatal(err)
	}
	statements, err := rollup.Statements(archive, key, d, func(uint64) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	d.tree = rollup.NewStatementTree(statements)
	message := rollup.CosignMessage(network, key, uint32(d.tree.Len()), d.tree.Root())
	var cosigned []bls.Signature
	for _, client := range signers {
		cosigned = append(cosigned, bls.Default.Sign(blsKey("client", int(client)), message[:]))
	}
	d.header, d.evidence, err = sealer.SealCosigned(network, archive, key, d.tree,
		rollup.NewList(statements, signed), sum(cosigned), sum(silent), d)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
