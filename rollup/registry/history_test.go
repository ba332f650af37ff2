package registry

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHistory proves entries of earlier versions of a tree, among them every size about the bounds
// of pages, and holds roots and proofs to trees that were built anew.
func TestHistory(t *testing.T) {
	for _, n := range []uint64{1, 2, 63, 64, 65, 127, 128, 129, 1000, 4095, 4096, 4097, 9000} {
		rng := rand.New(rand.NewPCG(n, 9))
		indices, leaves := entries(Clients, n)
		tree := New(Clients, new(Memory))
		if err := tree.Set(indices, leaves); err != nil {
			t.Fatal(err)
		}
		// Some of it, and some beyond it, changes.
		past := Past{Count: n}
		var changed []uint64
		for i := range n {
			if rng.IntN(50) == 0 || i == n-1 && rng.IntN(2) == 0 {
				changed = append(changed, i)
				past.Changed = append(past.Changed, PastEntry{i, Clients.LeafHash(entry(Clients, i, 0))})
			}
		}
		old := Head{n, tree.Root()}
		var now []byte
		for _, i := range changed {
			now = append(now, entry(Clients, i, 1)...)
		}
		for i := range rng.Uint64N(300) {
			changed = append(changed, n+i)
			now = append(now, entry(Clients, n+i, 0)...)
		}
		if len(changed) > 0 {
			if err := tree.Set(changed, now); err != nil {
				t.Fatal(err)
			}
		}
		root, err := tree.RootAt(past)
		if err != nil || root != old.Root {
			t.Fatalf("%d: root %x, %v, not %x", n, root, err, old.Root)
		}
		for _, share := range []int{1, 3, 40} {
			var some []uint64
			var known []byte
			for i := range n {
				if rng.IntN(share) == 0 {
					some = append(some, i)
					known = append(known, entry(Clients, i, 0)...)
				}
			}
			if some == nil {
				continue
			}
			proof, err := tree.ProveAt(past, some)
			if err != nil {
				t.Fatal(err)
			}
			if err := Clients.Verify(old, some, known, proof); err != nil {
				t.Fatalf("%d of %d: %v", len(some), n, err)
			}
		}
		// Without the changes it is today's proof.
		today, err := tree.ProveAt(Past{Count: tree.Count()}, indices[:1])
		direct, _ := tree.Prove(indices[:1])
		if err != nil || !slices.Equal(today, direct) {
			t.Fatalf("%d: the proof of today is another: %v", n, err)
		}
		_, err = tree.ProveAt(Past{Count: tree.Count() + 1}, indices[:1])
		want(t, err, ReasonGap)
		_, err = tree.ProveAt(past, []uint64{n})
		want(t, err, ReasonGap)
	}
	root, err := New(Clients, new(Memory)).RootAt(Past{})
	if err != nil || root != (Hash{}) {
		t.Fatalf("the root of nothing is %x, %v", root, err)
	}
}
