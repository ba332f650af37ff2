package store

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-network/waybill/rollup"
)

// windowOfRuns is an own window whose clients follow each other's runs.
func windowOfRuns(k rollup.WindowKey, runs []rollup.Run) *rollup.Archive {
	var acks []byte
	le := func(v uint64, n int) {
		for i := range n {
			acks = append(acks, byte(v>>(8*i)))
		}
	}
	le(uint64(len(runs)), 4)
	total := 0
	for _, r := range runs {
		le(r.Client, 8)
		le(uint64(r.Service), 4)
		le(uint64(r.First), 4)
		le(uint64(r.Count), 4)
		total += int(r.Count)
	}
	acks = append(acks, make([]byte, total*rollup.BodySize)...)
	h, _ := header(k, byte(k.Window))
	return rollup.NewArchive(h, acks, nil, nil)
}

// TestRuns holds what the store says of the numbers in windows against a table of all of them.
func TestRuns(t *testing.T) {
	s := open(t, vfs.NewMem())
	rng := rand.New(rand.NewPCG(1, 2))
	type series struct {
		client  uint64
		service uint32
	}
	taken := map[series][]uint32{} // windows by number
	all := func() (list []series) {
		for range 40 {
			list = append(list, series{rng.Uint64N(100), rng.Uint32N(2)})
		}
		slices.SortFunc(list, func(a, b series) int {
			if a.client != b.client {
				return int(a.client) - int(b.client)
			}
			return int(a.service) - int(b.service)
		})
		return slices.Compact(list)
	}
	for window := range uint32(20) {
		var runs []rollup.Run
		for _, l := range all() {
			n := 1 + rng.Uint32N(5)
			runs = append(runs, rollup.Run{Client: l.client, Service: l.service,
				First: uint32(len(taken[l])), Count: n})
			taken[l] = append(taken[l], slices.Repeat([]uint32{window}, int(n))...)
		}
		ok(t, s.PutSealed(windowOfRuns(key(3, 5, window), runs)))
	}
	ok(t, s.PutSealed(windowOfRuns(key(3, 6, 0), []rollup.Run{{Client: 1, First: 0, Count: 90}})))
	ok(t, s.PutSealed(windowOfRuns(key(4, 5, 0), []rollup.Run{{Client: 1, First: 0, Count: 90}})))
	for range 2 {
		ends := map[series]uint64{}
		ok(t, s.ReadRuns(3, 5, func(runs []rollup.Run) error {
			for _, r := range runs {
				l := series{r.Client, r.Service}
				ends[l] = max(ends[l], r.End())
			}
			return nil
		}))
		want := map[series]uint64{}
		for l, windows := range taken {
			want[l] = uint64(len(windows))
			for number, window := range windows {
				got, err := s.FindRun(3, 5, l.client, l.service, uint32(number))
				if err != nil || got != window {
					t.Fatalf("number %d of %v: window %d, %v, want %d", number, l, got, err, window)
				}
			}
			_, err := s.FindRun(3, 5, l.client, l.service, uint32(len(windows)))
			is(t, err, ErrNotFound)
		}
		if !maps.Equal(ends, want) {
			t.Error("other numbers come next")
		}
		s = reopen(t, s)
	}
	_, err := s.FindRun(3, 7, 1, 0, 0)
	is(t, err, ErrNotFound)
	_, err = s.Prune(6)
	ok(t, err)
	_, err = s.FindRun(3, 5, 1, 0, 0)
	is(t, err, ErrPruned)
	ok(t, s.ReadRuns(3, 5, func([]rollup.Run) error { t.Error("runs of a pruned epoch"); return nil }))
	if window, err := s.FindRun(3, 6, 1, 0, 89); window != 0 || err != nil {
		t.Error(window, err)
	}
}

// TestFindRunDuringPrune: of a number that was taken it is never said that nothing is found, also
// while its epoch is pruned: its node would say that it never took the ack.
func TestFindRunDuringPrune(t *testing.T) {
	s := open(t, vfs.NewMem())
	const epochs = 50
	for epoch := range uint32(epochs) {
		ok(t, s.PutSealed(windowOfRuns(key(3, epoch, 0), []rollup.Run{{Client: 1, Count: 9}})))
	}
	var pruning sync.WaitGroup
	defer pruning.Wait()
	for epoch := range uint32(epochs) {
		pruning.Go(func() {
			if _, err := s.Prune(epoch + 1); err != nil {
				t.Error(err)
			}
		})
		for {
			_, err := s.FindRun(3, epoch, 1, 0, 4)
			if errors.Is(err, ErrPruned) && !errors.Is(err, ErrNotFound) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSealedOnce: a node is bound to the first rollup of a window that is durable.
func TestSealedOnce(t *testing.T) {
	s := open(t, vfs.NewMem())
	k := key(0, 3, 1)
	for range 2 {
		ok(t, putSealed(s, k, 7))
		is(t, putSealed(s, k, 8), ErrSealed)
		_, id := header(k, 7)
		kept, err := s.Sealed(k)
		ok(t, err)
		if kept.Header.ID() != id {
			t.Error("another rollup took its place")
		}
		s = reopen(t, s)
	}
}

// TestBilled: what was signed is known after a crash, and forgotten with its epoch.
func TestBilled(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	sign := func(node, epoch, window uint32, runs ...rollup.Run) {
		t.Helper()
		h, id := header(key(node, epoch, window), byte(window))
		writes := s.SyncLatency().Count
		ok(t, s.Sign(h, oneAck(1), runs))
		if s.SyncLatency().Count != writes+1 {
			t.Error("not one synced write")
		}
		if locked, bound, err := s.Locked(h.Key()); err != nil || !bound || locked != id {
			t.Error(locked, bound, err)
		}
		found := false
		ok(t, s.Locks(func(k rollup.WindowKey, bound rollup.Hash) error {
			found = found || k == h.Key() && bound == id
			return nil
		}))
		if !found {
			t.Error("it is not among the locks")
		}
		if has, err := s.HasEvidence(id, rollup.RungAcks); err != nil || !has {
			t.Error("no evidence", err)
		}
	}
	sign(2, 1, 0, rollup.Run{Client: 1, Service: 9, First: 0, Count: 3},
		rollup.Run{Client: 5, Service: 9, First: 0, Count: 1})
	sign(2, 1, 4, rollup.Run{Client: 1, Service: 9, First: 6, Count: 2})
	sign(2, 2, 0)
	sign(3, 1, 7, rollup.Run{Client: 1, Service: 9, First: 70, Count: 2})
	for range 2 {
		numbers, window, err := s.Billed(2, 1)
		ok(t, err)
		if window != 5 || numbers.Next(1, 9) != 8 || numbers.Next(5, 9) != 1 || numbers.Next(5, 8) != 0 {
			t.Errorf("window %d, %d, %d", window, numbers.Next(1, 9), numbers.Next(5, 9))
		}
		if numbers, window, err := s.Billed(9, 1); err != nil || window != 0 || numbers.Next(1, 9) != 0 {
			t.Error(window, err)
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
		s = open(t, fs)
	}
	ok(t, s.ForgetBilled(2))
	if numbers, window, err := s.Billed(2, 1); err != nil || window != 0 || numbers.Next(1, 9) != 0 {
		t.Error("not forgotten", window, err)
	}
	if _, window, err := s.Billed(2, 2); err != nil || window != 1 {
		t.Error(window, err)
	}
}

// TestBegin: a store knows that it is new, and the first word of where it begins stands.
func TestBegin(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open("store", Options{FS: fs})
	ok(t, err)
	h, _ := header(key(2, 3, 0), 1)
	if _, known := s.Since(); known {
		t.Error("a new store knows something")
	}
	is(t, s.Sign(h, oneAck(1), nil), ErrNew)
	_, _, err = s.Billed(2, 3)
	is(t, err, ErrNew)
	_, err = s.FindRun(2, 3, 0, 0, 0)
	is(t, err, ErrNew)
	ok(t, s.Begin(4))
	ok(t, s.Begin(2))
	for range 2 {
		if since, known := s.Since(); !known || since != 4 {
			t.Error(since, known)
		}
		is(t, s.Sign(h, oneAck(1), nil), ErrNew)
		h, _ := header(key(2, 4, 0), 1)
		ok(t, s.Sign(h, oneAck(1), nil))
		s = reopen(t, s)
	}
	_, err = s.Prune(6)
	ok(t, err)
	if since, known := s.Since(); !known || since != 6 {
		t.Error(since, known)
	}
}
