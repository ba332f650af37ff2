package prooftest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/registry"
)

// sparse is one of the registry's trees, of which only some entries are known. What nothing known
// is below has any hash.
type sparse struct {
	kind    *registry.Kind
	count   uint64
	entries map[uint64][]byte
	levels  []map[uint64]registry.Hash // nodes above known entries, from the leaves up
}

func newSparse(kind *registry.Kind, count uint64, entries map[uint64][]byte) *sparse {
	s := &sparse{kind: kind, count: count, entries: entries}
	level := make(map[uint64]registry.Hash)
	for i, entry := range entries {
		level[i] = kind.LeafHash(entry)
	}
	key := blake3.ContextKey("waybill/" + kind.String() + "-node/2")
	for w := count; ; w = (w + 1) / 2 {
		s.levels = append(s.levels, level)
		if w == 1 {
			return s
		}
		above := make(map[uint64]registry.Hash)
		for at := range level {
			left, right := at&^1, at|1
			if right >= w {
				above[at/2] = level[at]
				continue
			}
			l, r := s.node(len(s.levels)-1, left), s.node(len(s.levels)-1, right)
			above[at/2] = blake3.Keyed(&key, append(l[:], r[:]...))
		}
		level = above
	}
}

func (s *sparse) node(level int, at uint64) registry.Hash {
	if h, ok := s.levels[level][at]; ok {
		return h
	}
	return blake3.Sum256(fmt.Appendf(nil, "somebody %d %d", level, at))
}

func (s *sparse) head() registry.Head {
	return registry.Head{Count: s.count, Root: s.node(len(s.levels)-1, 0)}
}

// prove returns entries and their multiproof.
func (s *sparse) prove(indices []uint64) (entries, proof []byte, err error) {
	if _, err := registry.ProofHashes(s.count, indices); err != nil {
		return nil, nil, err
	}
	for _, i := range indices {
		entry, ok := s.entries[i]
		if !ok {
			return nil, nil, fmt.Errorf("%w: %v %d", rollup.ErrNotFound, s.kind, i)
		}
		entries = append(entries, entry...)
	}
	known := slices.Clone(indices)
	level := 0
	for w := s.count; w > 1; w = (w + 1) / 2 {
		for _, x := range known {
			if _, has := slices.BinarySearch(known, x^1); !has && x^1 < w {
				h := s.node(level, x^1)
				proof = append(proof, h[:]...)
			}
		}
		for i := range known {
			known[i] /= 2
		}
		known = slices.Compact(known)
		level++
	}
	return entries, proof, nil
}

// registered is a registry with what a rollup's file asks for, as export.Prover.
type registered struct {
	clients, services, nodes *sparse
	keys                     []byte
}

// newProver returns the registry of the clients and services; keys are the entries of proof keys.
// The nodes are the test network's.
func newProver(clients map[uint64]rollup.Client, caps map[uint32]uint64, keys []byte) *registered {
	entries := make(map[uint64][]byte)
	most := uint64(0)
	for i, c := range clients {
		leaf := registry.Client{Key: c.Key.Bytes(), Payer: c.Payer, Since: c.Since, Until: c.Until,
			Numbers: c.Numbers, Services: c.Services}
		entries[i], most = leaf.Append(nil), max(most, i)
	}
	p := &registered{keys: keys, clients: newSparse(registry.Clients, most+1, entries)}
	entries, most = make(map[uint64][]byte), 0
	for i, limit := range caps {
		leaf := registry.Service{Owner: 9, Cap: limit, Price: 3000, NextPrice: 3000}
		entries[uint64(i)], most = leaf.Append(nil), max(most, uint64(i))
	}
	p.services = newSparse(registry.Services, most+1, entries)
	entries = make(map[uint64][]byte)
	for i, power := range []uint64{40, 30, 20, 10} {
		leaf := registry.Node{Key: blsKey("member", i).PublicKey().Bytes(),
			NodeKey: nodePublic(i), Owner: uint32(1 + i), Until: registry.None,
			Stake: power * 1_000_000, Status: registry.Standing}
		entries[uint64(i)] = leaf.Append(nil)
	}
	p.nodes = newSparse(registry.Nodes, 4, entries)
	return p
}

func (p *registered) Heads() (registry.Heads, error) {
	return registry.Heads{Clients: p.clients.head(), Nodes: p.nodes.head(),
		Services: p.services.head(), ProofKeys: registry.ProofKeys.RootOf(p.keys)}, nil
}

func (p *registered) Clients(indices []uint64) (entries, proof []byte, err error) {
	return p.clients.prove(indices)
}

func (p *registered) Services(indices []uint64) (entries, proof []byte, err error) {
	return p.services.prove(indices)
}

func (p *registered) Nodes(indices []uint64) (entries, proof []byte, err error) {
	return p.nodes.prove(indices)
}

func (p *registered) ProofKeys() ([]byte, error) { return p.keys, nil }

// anchored has some of the four members sign a record of block 77, which ordered the rollup, the
// second of three.
func (p *registered) anchored(t *testing.T, h *rollup.Header, members ...int) *export.Anchor {
	t.Helper()
	ids := []rollup.Hash{{1}, h.ID(), {3}}
	heads, _ := p.Heads()
	record := &rollup.Record{Network: h.Network, Height: 77, Time: 1767225720123, Epoch: h.Epoch + 1,
		RollupCount: 3, RollupsRoot: rollup.RollupsTree(ids).Root(), RegistryRoot: heads.Root(),
		SettledEpoch: h.Epoch}
	certificate := &rollup.RecordCertificate{Height: 77, Signers: rollup.NewBitmap(4)}
	var shares []bls.Signature
	for _, i := range members {
		certificate.Signers.Set(i)
		shares = append(shares, rollup.SignRecord(blsKey("member", i), record))
	}
	certificate.Signature = sum(shares)
	a, err := export.NewAnchor(export.Witness{Record: record, Certificate: certificate}, ids, h)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
