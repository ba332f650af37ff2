package ledger

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

func apply(t *testing.T, s *State, tx []byte) {
	t.Helper()
	if r := s.Apply(tx); !r.OK() {
		t.Fatal(r.Err)
	}
}

// historyOf is the history of blocks.
func historyOf(blocks ...[]Replaced) History {
	return func(tree RegistryTree, page registry.PageID) (list []Replaced, err error) {
		known := map[uint64]bool{}
		for _, r := range slices.Concat(blocks...) {
			if r.Tree == tree && r.Page() == page && !known[r.Index] {
				known[r.Index] = true
				list = append(list, r)
			}
		}
		return list, nil
	}
}

// TestRegistryHistory proves clients as earlier blocks had them, after grants and revocations, and
// holds the proofs to the heads that those blocks gave.
func TestRegistryHistory(t *testing.T) {
	g := testGenesis(1, 1)
	g.Params.GraceSeconds, g.Params.GraceBlocks = 70, 3
	signGenesis(g)
	s := newState(t, g)
	rng := rand.New(rand.NewPCG(4, 4))
	net, alice, nonce := g.Network(), accountKey("alice"), uint64(1)
	type past struct {
		heads  registry.Heads
		leaves [][]byte // of clients
	}
	var blocks []past
	var replaced [][]Replaced
	for height := int64(1); height <= 60; height++ {
		s.Begin(height, genesisTime.Add(time.Duration(height)*10*time.Second))
		if height == 1 {
			apply(t, s, NewDeposit(net, accountKey("treasury"), 0, accountOf("alice"), 1000))
			apply(t, s, NewRegisterService(net, alice, 0,
				&ServiceRegistration{Price: 1, UnitCap: 9, Unit: "x"}))
		}
		payer, _ := s.accountByKey(accountOf("alice"))
		for range rng.IntN(4) {
			name := fmt.Sprint("client", s.clients.size())
			apply(t, s, NewGrants(net, []Grant{newGrant(g, "alice", payer, name)}))
		}
		if n := s.clients.size(); rng.IntN(2) == 0 && n > 0 {
			apply(t, s, NewRevoke(net, alice, nonce, []uint64{rng.Uint64N(n)}))
			nonce++
		}
		b := s.End()
		p := past{heads: b.Heads}
		for i := range s.clients.size() {
			p.leaves = append(p.leaves, s.appendLeaf(nil, TreeClients, i))
		}
		blocks, replaced = append(blocks, p), append(replaced, b.Replaced)
		if b.Record != nil && b.Record.Record.RegistryRoot != rollup.Hash(b.Heads.Root()) {
			t.Fatalf("block %d: the record has another registry root", height)
		}
	}
	revoked := 0
	for at, p := range blocks {
		for _, later := range replaced[at+1:] {
			revoked += len(later)
		}
		var indices []uint64
		for i := range p.leaves {
			if rng.IntN(3) > 0 {
				indices = append(indices, uint64(i))
			}
		}
		if indices == nil {
			continue
		}
		entries, proof, err := s.Prove(TreeClients, &p.heads, historyOf(replaced[at+1:]...), indices)
		if err != nil {
			t.Fatalf("block %d: %v", at+1, err)
		}
		var want []byte
		for _, i := range indices {
			want = append(want, p.leaves[i]...)
		}
		if !bytes.Equal(entries, want) {
			t.Fatalf("block %d: other entries", at+1)
		}
		if err := registry.Clients.Verify(p.heads.Clients, indices, entries, proof); err != nil {
			t.Fatalf("block %d: %v", at+1, err)
		}
	}
	if revoked == 0 {
		t.Fatal("no client was revoked")
	}
	nodes, proof, err := s.Prove(TreeNodes, &s.heads, historyOf(), []uint64{1})
	if err == nil {
		err = registry.Nodes.Verify(s.heads.Nodes, []uint64{1}, nodes, proof)
	}
	if node, perr := registry.ParseNode(nodes); err != nil || perr != nil ||
		node.Status != registry.Standing {
		t.Fatalf("node 1: %+v, %v, %v", node, err, perr)
	}
	if _, _, err := s.Prove(TreeServices, new(registry.Heads), historyOf(), []uint64{0}); err == nil {
		t.Fatal("a service is proven of a registry without services")
	}
}
