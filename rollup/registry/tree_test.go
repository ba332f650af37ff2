package registry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// mth is the tree hash of RFC 9162 section 2.1.1, as it is written there.
func mth(name string, entries []byte, size int) Hash {
	leaf := blake3.ContextKey("waybill/" + name + "-leaf/2")
	node := blake3.ContextKey("waybill/" + name + "-node/2")
	var of func(b []byte) Hash
	of = func(b []byte) Hash {
		n := len(b) / size
		if n == 1 {
			return blake3.Keyed(&leaf, b)
		}
		k := 1
		for 2*k < n {
			k *= 2
		}
		l, r := of(b[:k*size]), of(b[k*size:])
		return blake3.Keyed(&node, slices.Concat(l[:], r[:]))
	}
	if len(entries) == 0 {
		return Hash{}
	}
	return of(entries)
}

func entry(kind *Kind, i, version uint64) []byte {
	b := make([]byte, kind.width)
	le.PutUint64(b, i)
	le.PutUint64(b[8:], version)
	return b
}

func entries(kind *Kind, n uint64) (indices []uint64, b []byte) {
	for i := range n {
		indices = append(indices, i)
		b = append(b, entry(kind, i, 0)...)
	}
	return indices, b
}

func want(t *testing.T, err error, reason Reason) {
	t.Helper()
	if !errors.Is(err, reason) {
		t.Fatalf("%v, not: %v", err, reason)
	}
}

// TestShape compares trees of all kinds, built at once, one by one, and opened again, with the
// definition.
func TestShape(t *testing.T) {
	for _, kind := range []*Kind{Clients, Nodes, Services, ProofKeys} {
		store := new(Memory)
		slow := New(kind, store)
		for n := range uint64(300) {
			indices, flat := entries(kind, n)
			root := mth(kind.String(), flat, kind.Width())
			fast := New(kind, new(Memory))
			if err := fast.Set(indices, flat); err != nil {
				t.Fatal(err)
			}
			again, err := Open(kind, store, n)
			if err != nil {
				t.Fatal(err)
			}
			for what, got := range map[string]Hash{"at once": fast.Root(), "one by one": slow.Root(),
				"opened": again.Root(), "not kept": kind.RootOf(flat)} {
				if got != root {
					t.Fatalf("%v tree of %d, %s: %x, not %x", kind, n, what, got, root)
				}
			}
			if err := slow.Set([]uint64{n}, entry(kind, n, 0)); err != nil || slow.Count() != n+1 {
				t.Fatal(err, slow.Count())
			}
		}
	}
}

// TestHeights grows trees across all borders of heights, from every size near a border to every
// other.
func TestHeights(t *testing.T) {
	sizes := []uint64{1, 63, 64, 65, 128, 129, 4095, 4096, 4097, 8193}
	_, flat := entries(Services, 262_145+64)
	for i, from := range sizes {
		for _, to := range append(slices.Clone(sizes[i+1:]), 262_144, 262_145) {
			if to > 10_000 && from < 64 {
				continue
			}
			tree := New(Services, new(Memory))
			grow(t, tree, from, flat)
			grow(t, tree, to, flat)
			part := flat[:to*ServiceSize]
			if root := Services.RootOf(part); tree.Root() != root {
				t.Fatalf("%d to %d: %x, not %x", from, to, tree.Root(), root)
			}
		}
	}
}

func grow(t *testing.T, tree *Tree, to uint64, flat []byte) {
	t.Helper()
	var indices []uint64
	from := tree.Count()
	for i := from; i < to; i++ {
		indices = append(indices, i)
	}
	if err := tree.Set(indices, flat[from*ServiceSize:to*ServiceSize]); err != nil {
		t.Fatal(err)
	}
}

// world is a tree under test, beside what it should be.
type world struct {
	*testing.T
	rng    *rand.Rand
	store  *Memory
	tree   *Tree
	flat   []byte // all entries
	gone   map[uint64]bool
	proofs int
	opens  int
}

func (w *world) set(n int) {
	chosen := map[uint64]bool{}
	count := w.tree.Count()
	appended := uint64(w.rng.IntN(n + 1))
	if w.rng.IntN(4) == 0 {
		appended = 0
	}
	for range n {
		if count == 0 {
			break
		}
		if i := w.rng.Uint64N(count); !w.gone[i/64] {
			chosen[i] = true
		}
	}
	var indices []uint64
	for i := range chosen {
		indices = append(indices, i)
	}
	slices.Sort(indices)
	for i := range appended {
		indices = append(indices, count+i)
		w.flat = append(w.flat, entry(Clients, 0, 0)...)
	}
	var b []byte
	for _, i := range indices {
		e := entry(Clients, i, w.rng.Uint64())
		copy(w.flat[i*ClientSize:], e)
		b = append(b, e...)
	}
	if err := w.tree.Set(indices, b); err != nil {
		w.Fatal(err)
	}
}

// forget forgets some pages in a row, so that those above them go as well.
func (w *world) forget(n int) {
	full := w.tree.Count() / 64
	if full == 0 {
		return
	}
	first := w.rng.Uint64N(full)
	for i := first; i < min(first+uint64(n), full); i++ {
		err := w.tree.Forget(i)
		if len(w.tree.upper) == 0 {
			want(w.T, err, ReasonIncomplete)
			return
		}
		if err != nil {
			w.Fatal(err)
		}
		w.gone[i] = true
	}
}

func (w *world) open() {
	tree, err := Open(Clients, w.store, w.tree.Count())
	if err != nil {
		w.Fatal(err)
	}
	if tree.Root() != w.tree.Root() {
		w.Fatalf("opened, the root is %x, not %x", tree.Root(), w.tree.Root())
	}
	w.tree = tree
	w.opens++
}

func (w *world) prove(n int) {
	var indices []uint64
	var b []byte
	for range n {
		if i := w.rng.Uint64N(w.tree.Count()); !w.gone[i/64] {
			indices = append(indices, i)
		}
	}
	slices.Sort(indices)
	indices = slices.Compact(indices)
	if len(indices) == 0 {
		return
	}
	for _, i := range indices {
		b = append(b, w.flat[i*ClientSize:(i+1)*ClientSize]...)
	}
	proof, err := w.tree.Prove(indices)
	if err != nil {
		w.Fatal(err)
	}
	if err := Clients.Verify(w.tree.Head(), indices, b, proof); err != nil {
		w.Fatal(err)
	}
	w.proofs++
}

// TestRandomOperations: after a million changes and appended entries, in batches of all sizes, with
// pages forgotten in between and the tree opened again, the root is that of a tree built anew.
func TestRandomOperations(t *testing.T) {
	total := 1_000_000
	if testing.Short() {
		total = 50_000
	}
	const seed = 2611
	w := &world{T: t, rng: rand.New(rand.NewPCG(seed, 0)), store: new(Memory),
		gone: make(map[uint64]bool)}
	w.tree = New(Clients, w.store)
	next := 1000
	for done := 0; done < total; {
		n := 1 + w.rng.IntN(1<<w.rng.IntN(13))
		done += n
		w.set(n)
		switch w.rng.IntN(6) {
		case 0:
			w.forget(1 + w.rng.IntN(1<<w.rng.IntN(8)))
		case 1:
			w.open()
		case 2:
			w.prove(1 + w.rng.IntN(1<<w.rng.IntN(10)))
		}
		if done >= next || done >= total {
			next = 2 * done
			if root := mth("client", w.flat, ClientSize); w.tree.Root() != root {
				t.Fatalf("seed %d: behind %d operations the root of %d is %x, not %x", seed, done,
					w.tree.Count(), w.tree.Root(), root)
			}
		}
	}
	upper := 0
	for _, height := range w.tree.upper {
		for _, p := range height {
			if p == nil {
				upper++
			}
		}
	}
	t.Logf("%d entries, %d pages of them forgotten, %d above, %d proofs, opened %d times",
		w.tree.Count(), len(w.gone), upper, w.proofs, w.opens)
	if upper == 0 || len(w.gone) == 0 || w.proofs < 10 || w.opens < 10 {
		t.Error("too little happened")
	}
}

// TestForget checks what can be forgotten, and what cannot be done behind it.
func TestForget(t *testing.T) {
	const n = 3*4096 + 70
	store := new(Memory)
	tree := New(Clients, store)
	indices, flat := entries(Clients, 64)
	if err := tree.Set(indices, flat); err != nil {
		t.Fatal(err)
	}
	want(t, tree.Forget(0), ReasonIncomplete) // nothing is above
	indices, flat = entries(Clients, n)
	if err := tree.Set(indices, flat); err != nil {
		t.Fatal(err)
	}
	want(t, tree.Forget(3*64+1), ReasonIncomplete)
	want(t, tree.Forget(3*64+2), ReasonGap)
	root, size := tree.Root(), store.Size()
	for i := range uint64(64) {
		for range 2 {
			if err := tree.Forget(64 + i); err != nil {
				t.Fatal(err)
			}
		}
	}
	if tree.upper[0][1] != nil || tree.upper[0][0] == nil {
		t.Error("another page was forgotten than that of height 1 over them")
	}
	if got, want := size-store.Size(), 64*LeafPageSize+UpperPageSize; got != want {
		t.Errorf("the store has %d bytes less, not %d", got, want)
	}
	again, err := Open(Clients, store, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, tree := range []*Tree{tree, again} {
		want(t, tree.Set([]uint64{4096}, flat[:ClientSize]), ReasonForgotten)
		_, err := tree.Prove([]uint64{0, 8191})
		want(t, err, ReasonForgotten)
		if tree.Root() != root {
			t.Error("the root changed")
		}
		proof, err := tree.Prove([]uint64{4095, 8192})
		if err != nil {
			t.Fatal(err)
		}
		b := pick(Clients, flat, []uint64{4095, 8192})
		if err := Clients.Verify(tree.Head(), []uint64{4095, 8192}, b, proof); err != nil {
			t.Error(err)
		}
	}
}

// TestSetRefuses: what is refused changes nothing.
func TestSetRefuses(t *testing.T) {
	store := &failing{Memory: new(Memory)}
	tree := New(Clients, store)
	indices, flat := entries(Clients, 200)
	if err := tree.Set(indices, flat); err != nil {
		t.Fatal(err)
	}
	writes, root := store.writes, tree.Root()
	e := entry(Clients, 1, 1)
	for _, c := range []struct {
		indices []uint64
		n       int
		reason  Reason
	}{
		{[]uint64{1}, 0, ReasonLength},
		{[]uint64{1}, 2, ReasonLength},
		{nil, 1, ReasonLength},
		{[]uint64{2, 1}, 2, ReasonOrder},
		{[]uint64{1, 1}, 2, ReasonOrder},
		{[]uint64{1, 201}, 2, ReasonGap},
		{[]uint64{200, 202}, 2, ReasonGap},
		{[]uint64{1, 1 << 63}, 2, ReasonGap},
	} {
		want(t, tree.Set(c.indices, slices.Repeat(e, c.n)), c.reason)
	}
	store.fail = PageID{0, 2}
	want(t, tree.Set([]uint64{0, 64, 128}, slices.Repeat(e, 3)), ReasonStore)
	_, err := tree.Prove([]uint64{0, 128})
	want(t, err, ReasonStore)
	if !errors.Is(err, errNoPage) {
		t.Errorf("the store's error is lost: %v", err)
	}
	if store.writes != writes || tree.Root() != root || tree.Count() != 200 {
		t.Error("what was refused changed something")
	}
	if err := tree.Set(nil, nil); err != nil || store.writes != writes {
		t.Error("no change at all is one")
	}
	small := *Services
	small.most = 100
	few := New(&small, new(Memory))
	indices, flat = entries(Services, 101)
	want(t, few.Set(indices, flat), ReasonFull)
	_, err = Open(&small, new(Memory), 101)
	want(t, err, ReasonFull)
}

// failing is a store with one page that cannot be read.
type failing struct {
	*Memory
	fail   PageID
	writes int
}

func (f *failing) Page(id PageID) ([]byte, error) {
	if id == f.fail && id != (PageID{}) {
		return nil, errNoPage
	}
	return f.Memory.Page(id)
}

func (f *failing) Write(id PageID, data []byte) {
	f.writes++
	f.Memory.Write(id, data)
}

// TestOpenRefuses: a flipped bit in any page that is read, a missing page and another count.
func TestOpenRefuses(t *testing.T) {
	const n = 4096 + 130
	store := new(Memory)
	tree := New(Services, store)
	indices, flat := entries(Services, n)
	if err := tree.Set(indices, flat); err != nil {
		t.Fatal(err)
	}
	refused := func(what string) {
		t.Helper()
		again, err := Open(Services, store, n)
		if err == nil && again.Root() != tree.Root() {
			return // of what is nowhere else, the caller has the root
		}
		if err == nil {
			t.Fatalf("%s: opened", what)
		}
		if !errors.Is(err, ReasonCorrupt) && !errors.Is(err, ReasonStore) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for h := 1; h < len(store.pages); h++ {
		for i, p := range store.pages[h] {
			for at := range pageSize {
				p[at] ^= 0x10
				refused(fmt.Sprintf("byte %d of page %d of height %d", at, i, h))
				p[at] ^= 0x10
			}
			store.pages[h][i] = nil
			refused("a missing page")
			store.pages[h][i] = p
		}
	}
	_, err := Open(Services, store, n+64*64*64)
	want(t, err, ReasonStore)
	_, err = Open(Services, store, n+64)
	want(t, err, ReasonCorrupt)
	if again, err := Open(Services, store, n); err != nil || again.Root() != tree.Root() {
		t.Fatal(err)
	}
}
