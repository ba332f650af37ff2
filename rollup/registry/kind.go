package registry

import "github.com/waybill-network/waybill/kernels/blake3"

// Hash is a node of a tree. It is the same type as the hashes of other packages are made of.
type Hash = [blake3.Size]byte

// Kind is one kind of tree: the keys that separate it from every other, the width of its entries,
// and how many there may be.
type Kind struct {
	name       string
	leaf, node blake3.Key
	width      int
	most       uint64
}

// The trees of a registry.
var (
	Clients   = newKind("client", ClientSize, MaxClients)
	Nodes     = newKind("node", NodeSize, MaxIndex)
	Services  = newKind("service", ServiceSize, MaxIndex)
	ProofKeys = newKind("proof-key", ProofKeySize, MaxIndex)
)

// MaxClients is the number of clients there can be, MaxIndex that of nodes and of services.
const (
	MaxClients = 1 << 40
	MaxIndex   = 1<<32 - 1
)

func newKind(name string, width int, most uint64) *Kind {
	return &Kind{
		name:  name,
		leaf:  blake3.ContextKey("waybill/" + name + "-leaf/2"),
		node:  blake3.ContextKey("waybill/" + name + "-node/2"),
		width: width,
		most:  most,
	}
}

// String returns the tree's name, as in its keys.
func (k *Kind) String() string { return k.name }

// Width returns the size of an entry in bytes.
func (k *Kind) Width() int { return k.width }

// LeafHash returns the hash of an entry.
func (k *Kind) LeafHash(entry []byte) Hash { return blake3.Keyed(&k.leaf, entry) }

// leaves returns the hashes of entries that lie one after the other, 32 bytes each.
func (k *Kind) leaves(entries []byte) []byte {
	hashes := make([]byte, 0, len(entries)/k.width*blake3.Size)
	for ; len(entries) > 0; entries = entries[k.width:] {
		h := k.LeafHash(entries[:k.width])
		hashes = append(hashes, h[:]...)
	}
	return hashes
}

// RootOf returns the root of the tree over entries that lie one after the other, for trees that are
// not kept. It panics when they are not whole entries.
func (k *Kind) RootOf(entries []byte) Hash {
	if len(entries)%k.width != 0 {
		panic("registry: not whole entries")
	}
	return blake3.Root(&k.node, k.leaves(entries))
}
