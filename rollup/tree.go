package rollup

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// TreeKind is the pair of keys that separates one kind of tree from every other (section 5).
type TreeKind struct{ Leaf, Node blake3.Key }

// The trees of the protocol.
var (
	AckTreeKind        = NewTreeKind("ack")
	RowTreeKind        = NewTreeKind("row")
	SettlementTreeKind = NewTreeKind("settlement")
	PayerTreeKind      = NewTreeKind("payer")
	DutyTreeKind       = NewTreeKind("duty")
	CommitteeTreeKind  = NewTreeKind("committee")
)

// NewTreeKind returns the keys of the trees of a context.
func NewTreeKind(context string) *TreeKind {
	return &TreeKind{
		Leaf: blake3.ContextKey("waybill/" + context + "-leaf/2"),
		Node: blake3.ContextKey("waybill/" + context + "-node/2"),
	}
}

// LeafHash returns the hash of an entry.
func (k *TreeKind) LeafHash(entry []byte) Hash { return blake3.Keyed(&k.Leaf, entry) }

// NodeHash returns the hash of a node over its two children.
func (k *TreeKind) NodeHash(l, r *Hash) Hash {
	var b [64]byte
	copy(b[:32], l[:])
	copy(b[32:], r[:])
	return blake3.Keyed(&k.Node, b[:])
}

// leaves writes the hashes of the entries, of the given width and stride bytes apart, into level:
// 32 bytes for each.
func (k *TreeKind) leaves(level, entries []byte, stride, width int) {
	if width == blake3.MessageSize {
		blake3.HashStrided64(&k.Leaf, level, entries, stride)
		return
	}
	if width > blake3.MessageSize {
		for i := range len(level) / blake3.Size {
			digest := blake3.Keyed(&k.Leaf, entries[i*stride:i*stride+width])
			copy(level[i*blake3.Size:], digest[:])
		}
		return
	}
	blocks := make([]byte, min(leafChunk, len(level)/blake3.Size)*blake3.MessageSize)
	for len(level) > 0 {
		n := min(len(level)/blake3.Size, leafChunk)
		for i := range n {
			copy(blocks[i*blake3.MessageSize:], entries[i*stride:i*stride+width])
		}
		blake3.HashShort(&k.Leaf, level[:n*blake3.Size], blocks[:n*blake3.MessageSize], width)
		level, entries = level[n*blake3.Size:], entries[min(n*stride, len(entries)):]
	}
}

// RootOf returns the root of the tree over entries of the same width, which lie one after the
// other. That of no entries is zero.
func RootOf(kind *TreeKind, entries []byte, width int) Hash {
	level := make([]byte, len(entries)/width*blake3.Size)
	kind.leaves(level, entries, width, width)
	return blake3.Root(&kind.Node, level)
}

// Tree keeps every level, for inclusion paths: some 64 bytes per entry. It is immutable.
type Tree struct{ levels [][]byte } // from the leaves to the root, 32 bytes per node

// NewTree builds the tree over entries of the same width, which lie one after the other.
func NewTree(kind *TreeKind, entries []byte, width int) *Tree {
	level := make([]byte, len(entries)/width*blake3.Size)
	kind.leaves(level, entries, width, width)
	return newTree(kind, level)
}

// TreeOfLeaves builds the tree over entries whose hashes lie one after the other, of 32 bytes
// each. It keeps them.
func TreeOfLeaves(kind *TreeKind, leaves []byte) *Tree { return newTree(kind, leaves) }

// AckTree returns the tree over acks of a window.
func AckTree(acks Acks, key WindowKey) *Tree {
	return newTree(AckTreeKind, new(leafHasher).hash(acks, key))
}

// newTree builds the tree over the hashes of its entries.
func newTree(kind *TreeKind, level []byte) *Tree {
	t := &Tree{levels: [][]byte{level}}
	for len(level) > blake3.Size {
		level = blake3.ReduceLevel(&kind.Node, bytes.Clone(level))
		t.levels = append(t.levels, slices.Clip(level))
	}
	return t
}

// Len returns the number of entries.
func (t *Tree) Len() int { return len(t.levels[0]) / blake3.Size }

// Root returns the root; that of no entries is zero.
func (t *Tree) Root() Hash {
	if t.Len() == 0 {
		return Hash{}
	}
	return t.node(len(t.levels)-1, 0)
}

// Leaf returns the hash of entry i.
func (t *Tree) Leaf(i int) Hash { return t.node(0, i) }

func (t *Tree) node(level, i int) Hash {
	return Hash(t.levels[level][i*blake3.Size : (i+1)*blake3.Size])
}

// Path returns the audit path of entry i, from the leaf up (RFC 9162 section 2.1.3.1). It panics
// when there is no such entry.
func (t *Tree) Path(i int) []Hash {
	if i < 0 || i >= t.Len() {
		panic("rollup: no such leaf")
	}
	path := make([]Hash, 0, len(t.levels)-1)
	for level := range len(t.levels) - 1 {
		if sibling := i ^ 1; sibling < len(t.levels[level])/blake3.Size {
			path = append(path, t.node(level, sibling))
		}
		i >>= 1
	}
	return path
}

// VerifyPath checks that the path leads from the hash of entry index, of size entries, to the root
// (RFC 9162 section 2.1.3.2). For one root and size, one index and one path fit a leaf at most,
// unless a hash collides. The error is ErrPath.
func VerifyPath(kind *TreeKind, root, leaf Hash, index, size uint64, path []Hash) error {
	led, err := RootOfPath(kind, leaf, index, size, path)
	if err == nil && led != root {
		err = ErrPath
	}
	return err
}

// RootOfPath returns the root to which a path leads. The error, of a path with another shape, is
// ErrPath.
func RootOfPath(kind *TreeKind, leaf Hash, index, size uint64, path []Hash) (root Hash, err error) {
	if index >= size {
		return root, fmt.Errorf("%w: there is no entry %d of %d", ErrPath, index, size)
	}
	fn, sn, r := index, size-1, leaf
	for i := range path {
		if sn == 0 {
			return root, fmt.Errorf("%w: it is too long", ErrPath)
		}
		if fn&1 == 1 || fn == sn {
			r = kind.NodeHash(&path[i], &r)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			r = kind.NodeHash(&r, &path[i])
		}
		fn, sn = fn>>1, sn>>1
	}
	if sn != 0 {
		return root, fmt.Errorf("%w: it is too short", ErrPath)
	}
	return r, nil
}

// leafHasher hashes the entries of ack trees. Its memory is reused.
type leafHasher struct {
	entries []byte // of one chunk
	level   []byte
}

// leafChunk is the number of entries that are laid out at a time: 512 KiB, which stay in the second
// cache and are enough for the hash function to spread over cores.
const leafChunk = 8192

// hash returns the leaf hashes of acks of a window, 32 bytes each, valid until the next call.
func (l *leafHasher) hash(acks Acks, key WindowKey) []byte {
	n := acks.Len()
	if cap(l.level) < n*blake3.Size {
		l.level = make([]byte, n*blake3.Size)
	}
	l.level = l.level[:n*blake3.Size]
	if chunk := min(n, leafChunk); cap(l.entries) < chunk*LeafSize {
		l.entries = make([]byte, 0, chunk*LeafSize)
	}
	l.entries = l.entries[:0]
	done, bodies := 0, acks.bodies()
	for from, run := range acks.Runs() {
		for i := range run.Count {
			l.entries = appendLeaf(l.entries, key, run, i, bodies[(from+int(i))*BodySize:])
			if len(l.entries) == leafChunk*LeafSize {
				done = l.chunk(done)
			}
		}
	}
	l.chunk(done)
	return l.level
}

// chunk hashes the entries that are laid out, the first of which is entry done, and returns how
// many are done then.
func (l *leafHasher) chunk(done int) int {
	n := len(l.entries) / LeafSize
	AckTreeKind.leaves(l.level[done*blake3.Size:(done+n)*blake3.Size], l.entries, LeafSize, LeafSize)
	l.entries = l.entries[:0]
	return done + n
}

// appendLeaf appends the entry of ack i of a run, whose body begins the given bytes.
func appendLeaf(dst []byte, key WindowKey, run Run, i uint32, body []byte) []byte {
	dst = le.AppendUint32(dst, key.Epoch)
	dst = le.AppendUint32(dst, key.Node)
	dst = le.AppendUint64(dst, run.Client)
	dst = le.AppendUint32(dst, run.Service)
	dst = le.AppendUint32(dst, run.First+i)
	return append(dst, body[:BodySize]...)
}
