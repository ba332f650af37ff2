package registry

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// version is what a tree was before a batch.
type version struct {
	head    Head
	undo    map[uint64][]byte
	entries []byte
}

// TestAt goes back to every earlier version of a tree, and proves there.
func TestAt(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	tree := New(Services, new(Memory))
	var flat []byte
	var versions []version
	for range 60 {
		v := version{tree.Head(), map[uint64][]byte{}, slices.Clone(flat)}
		var indices []uint64
		for range rng.IntN(20) {
			if count := tree.Count(); count > 0 {
				indices = append(indices, rng.Uint64N(count))
			}
		}
		slices.Sort(indices)
		indices = slices.Compact(indices)
		for range rng.IntN(1 << rng.IntN(10)) {
			indices = append(indices, uint64(len(flat)/ServiceSize))
			flat = append(flat, make([]byte, ServiceSize)...)
		}
		var b []byte
		for _, i := range indices {
			if i < v.head.Count {
				v.undo[i] = slices.Clone(flat[i*ServiceSize:][:ServiceSize])
			}
			e := entry(Services, i, rng.Uint64())
			copy(flat[i*ServiceSize:], e)
			b = append(b, e...)
		}
		if err := tree.Set(indices, b); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, v)
	}
	now := tree.Head()
	undo := map[uint64][]byte{}
	for i := len(versions) - 1; i >= 0; i-- {
		v := versions[i]
		for at, old := range v.undo {
			undo[at] = old
		}
		goBack(t, tree, v, undo)
	}
	if tree.Head() != now || Services.RootOf(flat) != now.Root {
		t.Error("the tree changed")
	}
}

func goBack(t *testing.T, tree *Tree, v version, undo map[uint64][]byte) {
	t.Helper()
	var indices []uint64
	for i := range undo {
		if i < v.head.Count {
			indices = append(indices, i)
		}
	}
	slices.Sort(indices)
	var b []byte
	for _, i := range indices {
		b = append(b, undo[i]...)
	}
	past, err := tree.At(v.head.Count, indices, b)
	if err != nil {
		t.Fatal(err)
	}
	if past.Head() != v.head {
		t.Fatalf("%d entries: %x, not %x", v.head.Count, past.Root(), v.head.Root)
	}
	if v.head.Count < 2 {
		return
	}
	shown := []uint64{v.head.Count / 2, v.head.Count - 1}
	proof, err := past.Prove(shown)
	if err != nil {
		t.Fatal(err)
	}
	if err := Services.Verify(v.head, shown, pick(Services, v.entries, shown), proof); err != nil {
		t.Fatal(err)
	}
}

// TestAtRefuses: what is no earlier version, or was forgotten.
func TestAtRefuses(t *testing.T) {
	tree, flat := built(t, Services, 64*70)
	e := flat[:ServiceSize]
	for _, c := range []struct {
		count   uint64
		indices []uint64
		n       int
		reason  Reason
	}{
		{64*70 + 1, nil, 0, ReasonGap},
		{100, []uint64{100}, 1, ReasonGap},
		{100, []uint64{2, 1}, 2, ReasonOrder},
		{100, []uint64{2}, 0, ReasonLength},
	} {
		_, err := tree.At(c.count, c.indices, slices.Repeat(e, c.n))
		want(t, err, c.reason)
	}
	if err := tree.Forget(1); err != nil {
		t.Fatal(err)
	}
	_, err := tree.At(100, nil, nil)
	want(t, err, ReasonForgotten)
	_, err = tree.At(64*69, []uint64{64}, e)
	want(t, err, ReasonForgotten)
	past, err := tree.At(64*69, nil, nil)
	if err != nil || past.Root() != Services.RootOf(flat[:64*69*ServiceSize]) {
		t.Error(err)
	}
	store := &failing{Memory: new(Memory)}
	broken := New(Services, store)
	if err := broken.Set([]uint64{0}, e); err != nil {
		t.Fatal(err)
	}
	store.pages = nil
	if _, err := broken.At(1, nil, nil); !errors.Is(err, ReasonStore) {
		t.Error(err)
	}
}
