package rollup

import (
	"bytes"
	"fmt"
	"testing"
)

func numbered(n, width int) (flat []byte, entries [][]byte) {
	for i := range n {
		e := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, width/2)
		flat = append(flat, e...)
		entries = append(entries, e)
	}
	return flat, entries
}

// TestTreeShape compares with the recursive definition of RFC 9162.
func TestTreeShape(t *testing.T) {
	for _, k := range []struct {
		name  string
		kind  *TreeKind
		width int
	}{{"ack", AckTreeKind, LeafSize}, {"settlement", SettlementTreeKind, SettlementRowSize},
		{"payer", PayerTreeKind, PayerRowSize},
		{"committee", CommitteeTreeKind, memberSize}} {
		for _, n := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127,
			129, 255, 257, 1000} {
			flat, entries := numbered(n, k.width)
			want := mth(k.name, entries)
			if got := RootOf(k.kind, flat, k.width); got != want {
				t.Fatalf("%s tree of %d: RootOf %s, want %s", k.name, n, got, want)
			}
			tree := NewTree(k.kind, flat, k.width)
			if tree.Root() != want || tree.Len() != n {
				t.Fatalf("%s tree of %d: root %s of %d, want %s", k.name, n, tree.Root(), tree.Len(), want)
			}
		}
	}
}

func TestTreeBeyondOneGoroutine(t *testing.T) {
	for _, n := range []int{4095, 8193, 20001} {
		flat, entries := numbered(n, LeafSize)
		want := mth("ack", entries)
		if NewTree(AckTreeKind, flat, LeafSize).Root() != want ||
			RootOf(AckTreeKind, flat, LeafSize) != want {
			t.Fatalf("tree of %d has another root", n)
		}
	}
}

// TestPaths takes every leaf of every tree of up to 70 to its root, and nothing else there.
func TestPaths(t *testing.T) {
	for n := 1; n <= 70; n++ {
		flat, _ := numbered(n, LeafSize)
		tree := NewTree(AckTreeKind, flat, LeafSize)
		root, size := tree.Root(), uint64(n)
		verify := func(leaf Hash, index, size uint64, path []Hash) error {
			return VerifyPath(AckTreeKind, root, leaf, index, size, path)
		}
		for i := range n {
			path, leaf := tree.Path(i), tree.Leaf(i)
			if leaf != AckTreeKind.LeafHash(flat[i*LeafSize:(i+1)*LeafSize]) {
				t.Fatalf("leaf %d of %d has another hash", i, n)
			}
			if err := verify(leaf, uint64(i), size, path); err != nil {
				t.Fatalf("path %d of %d: %v", i, n, err)
			}
			refuse := func(what string, err error) {
				t.Helper()
				if err == nil {
					t.Fatalf("path %d of %d holds for %s", i, n, what)
				}
				wantError(t, err, ErrPath)
			}
			for j := range n + 2 {
				if j != i {
					refuse(fmt.Sprint("index ", j), verify(leaf, uint64(j), size, path))
				}
			}
			refuse("a huge index", verify(leaf, uint64(i)+1<<32, size, path))
			refuse("another leaf", verify(AckTreeKind.LeafHash(nil), uint64(i), size, path))
			refuse("a longer path", verify(leaf, uint64(i), size,
				append(path[:len(path):len(path)], Hash{})))
			if len(path) > 0 {
				refuse("a shorter path", verify(leaf, uint64(i), size, path[:len(path)-1]))
				refuse("a path without its start", verify(leaf, uint64(i), size, path[1:]))
			}
			for k := range path {
				refuse(fmt.Sprint("another node ", k), verify(leaf, uint64(i), size, mutated(path, k)))
			}
			refuse("another root", VerifyPath(AckTreeKind, Hash{}, leaf, uint64(i), size, path))
			refuse("another kind", VerifyPath(SettlementTreeKind, root,
				SettlementTreeKind.LeafHash(flat[i*LeafSize:(i+1)*LeafSize]), uint64(i), size, path))
		}
	}
	wantError(t, VerifyPath(AckTreeKind, Hash{}, Hash{}, 0, 0, nil), ErrPath)
}

// TestInnerNodeIsNoLeaf is the second-preimage attack that separate keys for leaves and nodes
// prevent.
func TestInnerNodeIsNoLeaf(t *testing.T) {
	flat, _ := numbered(4, LeafSize)
	tree := NewTree(AckTreeKind, flat, LeafSize)
	l, r := tree.Leaf(0), tree.Leaf(1)
	entry := append(l[:], r[:]...) // 64 bytes, as an ack's entry has
	if err := VerifyPath(AckTreeKind, tree.Root(), AckTreeKind.LeafHash(entry), 0, 2,
		tree.Path(0)[1:]); err == nil {
		t.Fatal("an inner node passes as an ack")
	}
}

func mutated(path []Hash, k int) []Hash {
	p := append([]Hash(nil), path...)
	p[k][k%32] ^= 1 << (k % 8)
	return p
}

func FuzzVerifyPath(f *testing.F) {
	flat, _ := numbered(13, LeafSize)
	tree := NewTree(AckTreeKind, flat, LeafSize)
	for i := range 13 {
		var path []byte
		for _, h := range tree.Path(i) {
			path = append(path, h[:]...)
		}
		f.Add(uint64(i), uint64(13), path)
	}
	f.Add(uint64(1)<<63, ^uint64(0), []byte{})
	// In a tree of 13, each leaf has one index and one path.
	f.Fuzz(func(t *testing.T, index, size uint64, b []byte) {
		var path []Hash
		for ; len(b) >= 32; b = b[32:] {
			path = append(path, Hash(b[:32]))
		}
		for i := range 13 {
			err := VerifyPath(AckTreeKind, tree.Root(), tree.Leaf(i), index, size, path)
			honest := index == uint64(i) && fmt.Sprint(path) == fmt.Sprint(tree.Path(i))
			if err == nil && size == 13 && !honest {
				t.Fatalf("leaf %d at index %d with path %x", i, index, path)
			}
			if honest && size == 13 && err != nil {
				t.Fatal(err)
			}
		}
	})
}
