package registry

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// replacedNodes are what was on the lowest levels of pages.
type replacedNodes map[PageID]map[int]Hash

// note keeps what stood in a place, unless something is known that stood there before.
func (r replacedNodes) note(id PageID, place int, hash Hash) bool {
	if r[id] == nil {
		r[id] = map[int]Hash{}
	}
	if _, known := r[id][place]; known {
		return false
	}
	r[id][place] = hash
	return true
}

// noteEntry keeps an entry's hash, and the roots of the pages above it.
func (r replacedNodes) noteEntry(t *Tree, index uint64, e []byte) {
	if !r.note(PageID{Index: index / PageNodes}, int(index%PageNodes), t.kind.LeafHash(e)) {
		return
	}
	t.Above(index, func(id PageID, root Hash) bool {
		return r.note(PageID{id.Height + 1, id.Index / PageNodes}, int(id.Index%PageNodes), root)
	})
}

func (r replacedNodes) tell(id PageID, put func(int, Hash)) error {
	for place, hash := range r[id] {
		put(place, hash)
	}
	return nil
}

// version is what a tree was before a batch, and what the batch replaced.
type version struct {
	head     Head
	replaced replacedNodes
	entries  []byte
}

// TestProveAt goes back to every earlier version of a tree, and proves there.
func TestProveAt(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	tree := New(Services, new(Memory))
	var flat []byte
	var versions []version
	for range 130 {
		v := version{tree.Head(), replacedNodes{}, slices.Clone(flat)}
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
				v.replaced.noteEntry(tree, i, flat[i*ServiceSize:][:ServiceSize])
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
	if heights(tree.Count()) < 3 {
		t.Fatalf("%d entries", tree.Count())
	}
	now := tree.Head()
	since, failed := replacedNodes{}, 0
	for i := len(versions) - 1; i >= 0; i-- {
		v := versions[i]
		for id, nodes := range v.replaced {
			for place, hash := range nodes {
				delete(since[id], place) // the earlier one counts
				since.note(id, place, hash)
			}
		}
		if v.head.Count < 2 {
			continue
		}
		shown := []uint64{rng.Uint64N(v.head.Count - 1), v.head.Count - 1}
		prove := func(r Replaced) error {
			proof, err := tree.ProveAt(v.head.Count, r, shown)
			if err != nil {
				t.Fatal(err)
			}
			return Services.Verify(v.head, shown, pick(Services, v.entries, shown), proof)
		}
		asked := map[PageID]bool{}
		err := prove(func(id PageID, put func(int, Hash)) error {
			asked[id] = true
			return since.tell(id, put)
		})
		if err != nil {
			t.Fatalf("%d entries: %v", v.head.Count, err)
		}
		if n := len(asked); n > len(shown)*heights(v.head.Count) {
			t.Fatalf("%d entries: %d pages were asked for", v.head.Count, n)
		}
		if prove(replacedNodes{}.tell) != nil { // the companion
			failed++
		}
	}
	if failed < len(versions)/2 {
		t.Errorf("only %d proofs need what was replaced", failed)
	}
	if tree.Head() != now || Services.RootOf(flat) != now.Root {
		t.Error("the tree changed")
	}
}

// TestProveAtRefuses: what is no earlier version, or was forgotten, or cannot be told.
func TestProveAtRefuses(t *testing.T) {
	tree, flat := built(t, Services, 64*70)
	nothing := replacedNodes{}.tell
	for _, c := range []struct {
		count   uint64
		indices []uint64
		reason  Reason
	}{
		{64*70 + 1, []uint64{0}, ReasonGap},
		{100, []uint64{100}, ReasonGap},
		{100, []uint64{2, 1}, ReasonOrder},
		{100, nil, ReasonNone},
	} {
		_, err := tree.ProveAt(c.count, nothing, c.indices)
		want(t, err, c.reason)
	}
	if err := tree.Forget(1); err != nil {
		t.Fatal(err)
	}
	_, err := tree.ProveAt(100, nothing, []uint64{3})
	want(t, err, ReasonForgotten) // the page of the last entry
	_, err = tree.ProveAt(64*69, nothing, []uint64{64})
	want(t, err, ReasonForgotten)
	head := Head{64 * 69, Services.RootOf(flat[:64*69*ServiceSize])}
	proof, err := tree.ProveAt(head.Count, nothing, []uint64{3})
	if err != nil {
		t.Fatal(err)
	}
	shown := pick(Services, flat, []uint64{3})
	if err := Services.Verify(head, []uint64{3}, shown, proof); err != nil {
		t.Error(err)
	}
	silent := errors.New("silent")
	_, err = tree.ProveAt(64*69, func(PageID, func(int, Hash)) error { return silent }, []uint64{3})
	if !errors.Is(err, silent) {
		t.Error(err)
	}
	store := &failing{Memory: new(Memory)}
	broken := New(Services, store)
	if err := broken.Set([]uint64{0}, flat[:ServiceSize]); err != nil {
		t.Fatal(err)
	}
	store.pages = nil
	if _, err := broken.ProveAt(1, nothing, []uint64{0}); !errors.Is(err, ReasonStore) {
		t.Error(err)
	}
}
