package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// faultFS counts operations that change its files, and may fail some: without doing them, or after
// doing them.
type faultFS struct {
	vfs.FS
	faults *faults
}

type faults struct {
	mu    sync.Mutex
	ops   int
	fail  func(op int, kind, name string) (err error, done bool) // nil: nothing fails
	first string                                                 // that failed
}

func (f *faults) do(kind, name string, op func() error) error {
	f.mu.Lock()
	var err error
	done := true
	if f.fail != nil {
		err, done = f.fail(f.ops, kind, name)
	}
	if err != nil && f.first == "" {
		f.first = fmt.Sprintf("%d: %s %s", f.ops, kind, name)
	}
	f.ops++
	f.mu.Unlock()
	if err != nil && !done {
		return err
	}
	return errors.Join(op(), err)
}

func (f *faults) set(fail func(op int, kind, name string) (error, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faults) failed() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

func (fs faultFS) Unwrap() vfs.FS { return fs.FS }

func (fs faultFS) file(kind, name string, make func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := fs.faults.do(kind, name, func() (err error) { f, err = make(); return err })
	if err != nil {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		return nil, err
	}
	return faultFile{f, name, fs.faults}, nil
}

func (fs faultFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file("create", name, func() (vfs.File, error) { return fs.FS.Create(name, c) })
}

func (fs faultFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file("reuse", name,
		func() (vfs.File, error) { return fs.FS.ReuseForWrite(old, name, c) })
}

func (fs faultFS) OpenReadWrite(name string, c vfs.DiskWriteCategory,
	o ...vfs.OpenOption) (vfs.File, error) {
	return fs.file("open", name,
		func() (vfs.File, error) { return fs.FS.OpenReadWrite(name, c, o...) })
}

func (fs faultFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return faultFile{f, name, fs.faults}, nil
}

func (fs faultFS) Rename(from, to string) error {
	return fs.faults.do("rename", to, func() error { return fs.FS.Rename(from, to) })
}

func (fs faultFS) Remove(name string) error {
	return fs.faults.do("remove", name, func() error { return fs.FS.Remove(name) })
}

func (fs faultFS) MkdirAll(name string, mode os.FileMode) error {
	return fs.faults.do("mkdir", name, func() error { return fs.FS.MkdirAll(name, mode) })
}

type faultFile struct {
	vfs.File
	name   string
	faults *faults
}

func (f faultFile) Write(b []byte) (n int, err error) {
	err = f.faults.do("write", f.name, func() error { n, err = f.File.Write(b); return err })
	return n, err
}

func (f faultFile) Sync() error { return f.faults.do("sync", f.name, f.File.Sync) }

func (f faultFile) SyncData() error { return f.faults.do("sync", f.name, f.File.SyncData) }

func (f faultFile) SyncTo(n int64) (full bool, err error) {
	err = f.faults.do("sync", f.name, func() error { full, err = f.File.SyncTo(n); return err })
	return full, err
}

// The script is one write after another; only the last but one is not synced. What it writes fits
// into one table in memory, or with large entries makes the store flush several times.
var (
	script      = newScript(6)
	largeScript = newScript(600)
)

func newScript(size int) (list []func(s *Store) error) {
	k := key(0, 1, 0)
	h, id := header(key(2, 1, 0), 3)
	billed := []rollup.Run{{Client: 3, Service: 1, First: 4, Count: 5}}
	add := func(write func(s *Store) error) { list = append(list, write) }
	add(func(s *Store) error { return s.Begin(0) })
	for i := range 3 {
		add(func(s *Store) error {
			return s.AppendAcks([]rollup.Chunk{run(k, 1, size*i, size), run(key(0, 1, 1), 2, i, 1)})
		})
	}
	add(func(s *Store) error { return putSealed(s, k, 1) })
	add(func(s *Store) error {
		h, _ := header(key(0, 1, 1), 5)
		list := rollup.List{{Run: rollup.Run{Client: 1, Count: 1}, Signed: true}}
		return s.PutSealed(rollup.NewArchive(h, acksOf(5, 3*size), nil, list))
	})
	add(func(s *Store) error { return s.PutProof(key(0, 1, 1), frames(6, 0, size)) })
	add(func(s *Store) error { return s.PutHolder(key(0, 1, 1), 3) })
	add(func(s *Store) error {
		return s.PutEvidence(id, h.Append(nil), append(proof(1), frames(1, 1, size)...))
	})
	add(func(s *Store) error { return s.Sign(h, oneAck(3), billed) })
	add(func(s *Store) error { return s.ForgetBilled(2) })
	add(func(s *Store) error { return s.PutCertificate(k, []byte("certificate")) })
	for height := range int64(3) {
		add(func(s *Store) error {
			return s.CommitLedger(height, rollup.Hash{byte(height)},
				[]ledger.Record{{Key: []byte("account"), Value: frames(1, int(height), size)},
					{Key: fmt.Appendf(nil, "at %d", height), Value: []byte{}},
					{Key: fmt.Appendf(nil, "at %d", height-1)}},
				[]ledger.Record{{Key: []byte("local"), Value: frames(1, int(height), size)}})
		})
	}
	add(func(s *Store) error { return s.KV("engine").SetSync([]byte("height"), frames(1, 0, size)) })
	add(func(s *Store) error {
		b := s.KV("engine").Batch()
		b.Delete([]byte("height"))
		b.Set([]byte("state"), []byte("2"))
		return b.Write(true)
	})
	add(func(s *Store) error { return s.MarkOrdered(k) })
	add(func(s *Store) error { _, err := s.Prune(2); return err })
	return list
}

// contents is everything in a store.
func contents(t testing.TB, s *Store) map[string]string {
	t.Helper()
	m := map[string]string{}
	ok(t, s.scan(nil, nil, func(key, value []byte) (bool, error) {
		m[string(key)] = string(value)
		return true, nil
	}))
	return m
}

// states[i] is what a store holds after i writes of the script.
func states(t testing.TB, script []func(s *Store) error) (list []map[string]string) {
	s := openNew(t, vfs.NewMem())
	list = append(list, contents(t, s))
	for _, write := range script {
		ok(t, write(s))
		list = append(list, contents(t, s))
	}
	for i := 1; i < len(list); i++ {
		if maps.Equal(list[i-1], list[i]) {
			t.Fatalf("write %d of the script changes nothing", i-1)
		}
	}
	ok(t, s.Close())
	return list
}

func small(fs vfs.FS) Options {
	return Options{FS: fs, CacheSize: 1 << 20, MemTableSize: 256 << 10}
}

// TestCrash loses power after every write of the script, with nothing, some or all of what was not
// synced left: what was durable is there, and nothing by halves.
func TestCrash(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, script := range [][]func(s *Store) error{script, largeScript} {
		crash(t, script, rng)
	}
}

func crash(t *testing.T, script []func(s *Store) error, rng *rand.Rand) {
	want := states(t, script)
	fs := vfs.NewCrashableMem()
	s, err := Open("store", small(fs))
	ok(t, err)
	for i := range want {
		for _, percent := range []int{0, 10, 50, 90, 100} {
			crashed := openNew(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
			got := contents(t, crashed)
			unsynced := i == len(want)-2 // MarkOrdered may be lost
			if !maps.Equal(got, want[i]) && !(unsynced && maps.Equal(got, want[i-1])) {
				t.Errorf("%d writes, %d %% of the rest: not what was written", i, percent)
			}
			ok(t, crashed.Close())
		}
		if i < len(script) {
			ok(t, script[i](s))
		}
	}
	ok(t, s.Close())
}

// TestFaults fails every operation on files in turn, without doing it and after doing it. The write
// that it hits fails, so do all later ones, and the store that is opened next has all of it or
// nothing.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		script []func(s *Store) error
		least  int
	}{{"log", script, 40}, {"tables", largeScript, 40}} {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, done %v", c.name, done), func(t *testing.T) {
				t.Parallel()
				want := states(t, c.script)
				op, step := 0, 1
				if testing.Short() {
					step = 5
				}
				for runWithFault(t, c.script, want, op, done) {
					op += step
				}
				t.Logf("%d faults", op)
				if op < c.least {
					t.Errorf("the script takes %d operations only", op)
				}
			})
		}
	}
}

var errInjected = errors.New("injected")

func runWithFault(t *testing.T, script []func(s *Store) error, want []map[string]string, at int,
	done bool) (hit bool) {
	mem := vfs.NewCrashableMem()
	f := &faults{fail: func(op int, kind, name string) (error, bool) {
		if op == at {
			return errInjected, done
		}
		return nil, true
	}}
	s, err := Open("store", small(faultFS{mem, f}))
	i := 0
	if err == nil {
		for i < len(script) && err == nil {
			if err = script[i](s); err == nil {
				i++
			}
		}
		if err != nil {
			is(t, err, ErrFailed)
			is(t, err, errInjected)
			is(t, s.Err(), ErrFailed)
			refusesWrites(t, s)
		}
	}
	clones := []*vfs.MemFS{mem.CrashClone(vfs.CrashCloneCfg{})}
	if s != nil { // else it was still being created, with names of files on disk in any order
		clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50,
			RNG: rand.New(rand.NewPCG(uint64(at), 0))}))
		_ = s.Close() // may complain of the fault too
	}
	clones = append(clones, mem)
	for n, fs := range clones {
		again, openErr := Open("store", small(fs))
		if openErr != nil {
			t.Fatalf("fault %s (done: %v), write %d failed with %v: reopening %d: %v", f.failed(), done, i,
				err, n, openErr)
		}
		got := contents(t, again)
		match := slices.IndexFunc(want, func(m map[string]string) bool { return maps.Equal(m, got) })
		first, last := i, i
		if i == len(script)-1 { // MarkOrdered came before, and it is not synced
			first--
		}
		if err != nil {
			last++
		}
		if match < first || match > last {
			t.Errorf("fault %s (done: %v), write %d failed with %v: reopened %d after write %d", f.failed(),
				done, i, err, n, match)
		}
		for rest := match; n == 0 && rest >= 0 && rest < len(script); rest++ { // it works again
			ok(t, script[rest](again))
		}
		if n == 0 && !maps.Equal(contents(t, again), want[len(script)]) {
			t.Errorf("fault %s (done: %v): the rest of the script leads elsewhere", f.failed(), done)
		}
		ok(t, again.Close())
	}
	return f.failed() != ""
}

// refusesWrites tries every write there is, on a store that has failed.
func refusesWrites(t *testing.T, s *Store) {
	t.Helper()
	writes := append(slices.Clone(script),
		func(s *Store) error { return s.AppendAcks([]rollup.Chunk{run(key(9, 9, 9), 1, 0, 1)}) },
		func(s *Store) error { return putSealed(s, key(9, 9, 9), 1) },
		func(s *Store) error { h, _ := header(key(9, 9, 9), 1); return s.Sign(h, oneAck(1), nil) },
		func(s *Store) error { return s.KV("engine").Set([]byte("k"), nil) },
		func(s *Store) error { return s.KV("engine").Delete([]byte("k")) },
		func(s *Store) error { return s.KV("engine").DeleteSync([]byte("k")) },
	)
	for i, write := range writes {
		if err := write(s); !errors.Is(err, ErrFailed) {
			t.Errorf("write %d after a failure: %v", i, err)
		}
	}
}

// TestDiskFull runs out of space in the log, in a flush, and when opening.
func TestDiskFull(t *testing.T) {
	script := largeScript
	want := states(t, script)
	for _, suffix := range []string{".log", ".sst", ""} {
		mem := vfs.NewCrashableMem()
		f := &faults{}
		full := func(_ int, kind, name string) (error, bool) {
			if (kind == "write" || kind == "create") && strings.HasSuffix(name, suffix) {
				return &os.PathError{Op: kind, Path: name, Err: syscall.ENOSPC}, false
			}
			return nil, true
		}
		s, err := Open("store", small(faultFS{mem, f}))
		ok(t, err)
		ok(t, script[0](s))
		f.set(full)
		i := 1
		for err == nil && i < len(script) {
			if err = script[i](s); err == nil {
				i++
			}
		}
		if err == nil { // the table was still being written
			_ = s.db.Flush()
			err = s.Err()
		}
		is(t, err, ErrDiskFull)
		is(t, err, ErrFailed)
		_ = s.Close()
		if suffix == "" {
			_, err := Open("store", small(faultFS{mem, f}))
			is(t, err, ErrDiskFull)
		}
		f.set(nil)
		s = open(t, mem)
		match := slices.IndexFunc(want,
			func(m map[string]string) bool { return maps.Equal(m, contents(t, s)) })
		if match < i || match > i+1 {
			t.Errorf("full %q: write %d failed, %d are there", suffix, i, match)
			continue
		}
		for _, write := range script[match:] {
			ok(t, write(s))
		}
		if !maps.Equal(contents(t, s), want[len(script)]) {
			t.Errorf("full %q: the rest of the script leads elsewhere", suffix)
		}
		ok(t, s.Close())
	}
}

// TestClosed calls everything after Close.
func TestClosed(t *testing.T) {
	s := open(t, vfs.NewMem())
	kv := s.KV("engine")
	ok(t, kv.Set([]byte("k"), []byte("v")))
	ok(t, s.Close())
	ok(t, s.Close())
	for i, write := range script {
		if err := write(s); !errors.Is(err, ErrClosed) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	k, h := key(0, 1, 0), rollup.Hash{}
	for i, read := range []func() error{
		func() error { _, err := s.PoolWindows(); return err },
		func() error { return s.ReadPool(k, nil) },
		func() error { _, err := s.NextWindow(0, 0); return err },
		func() error { _, err := s.Sealed(k); return err },
		func() error { _, err := s.Unordered(); return err },
		func() error { _, err := s.Certificate(k); return err },
		func() error { _, err := windowOf(s, k); return err },
		func() error { _, err := s.Recent(1); return err },
		func() error { _, err := s.RecentOwn(1); return err },
		func() error { _, err := s.Unheld(); return err },
		func() error { _, err := s.Holder(k); return err },
		func() error { _, err := s.Rung(h); return err },
		func() error { _, err := s.HasEvidence(h, 0); return err },
		func() error { _, _, _, err := evidenceOf(s, h, 0); return err },
		func() error { _, _, err := s.Locked(k); return err },
		func() error { _, _, err := s.Billed(0, 1); return err },
		func() error { _, err := s.FindRun(0, 1, 0, 0, 0); return err },
		func() error { return s.ReadRuns(0, 1, nil) },
		func() error { _, _, _, err := s.LoadLedger(); return err },
		func() error { _, err := s.Usage(); return err }} {
		if err := read(); !errors.Is(err, ErrClosed) {
			t.Errorf("read %d: %v", i, err)
		}
	}
	if v, err := kv.Get([]byte("k")); v != nil || err != nil {
		t.Error("a view after Close", v, err)
	}
	if has, err := kv.Has([]byte("k")); has || err != nil {
		t.Error("a view after Close", err)
	}
	it, err := kv.Iterator(nil, nil, false)
	if err != nil || it.Valid() || it.Error() != nil || it.Close() != nil {
		t.Error("an iterator after Close", err)
	}
	is(t, kv.SetSync([]byte("k"), nil), ErrClosed)
	is(t, kv.Batch().Write(true), ErrClosed)
}

// TestConcurrent closes a store while everything is called: Close waits for iterators, and what
// succeeded is there.
func TestConcurrent(t *testing.T) {
	fs := vfs.NewCrashableMem()
	fs.TestingSetDiskUsage(vfs.DiskUsage{TotalBytes: 1})
	s := open(t, fs)
	kv := s.KV("engine")
	ok(t, kv.SetSync([]byte("k"), []byte("v")))
	held, err := kv.Iterator(nil, nil, false)
	ok(t, err)
	var wg sync.WaitGroup
	written := make([]int, 4)
	begun := make(chan struct{}, len(written))
	for i := range written {
		wg.Go(func() { // a window each
			for n := 0; ; n++ {
				err := s.AppendAcks([]rollup.Chunk{run(key(0, 1, uint32(i)), i, n, 1)})
				if err != nil {
					is(t, err, ErrClosed)
					return
				}
				written[i] = n + 1
				if n == 20 {
					begun <- struct{}{}
				}
				_, lockErr := s.PoolWindows()
				h, _ := header(key(1, 1, uint32(n%8)), byte(i))
				lockErr2 := s.Sign(h, oneAck(1), nil)
				_, recentErr := s.Recent(3)
				_, usageErr := s.Usage()
				it, iterErr := kv.Iterator(nil, nil, n%2 == 0)
				for ; iterErr == nil && it.Valid(); it.Next() {
					it.Key()
				}
				for _, err := range []error{lockErr, lockErr2, recentErr, usageErr, iterErr, it.Close()} {
					if err != nil && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
				}
			}
		})
	}
	for range written {
		<-begun
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	wg.Wait() // the door is shut, and Close still waits
	select {
	case <-closed:
		t.Error("Close did not wait for an iterator")
	default:
	}
	if !held.Valid() || string(held.Key()) != "k" {
		t.Error("an iterator does not outlive the beginning of Close")
	}
	ok(t, held.Close())
	ok(t, <-closed)
	s = open(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	for i, n := range written {
		if got := len(pool(t, s, key(0, 1, uint32(i)))) / rollup.AckSize; got != n {
			t.Errorf("window %d has %d acks, %d were written", i, got, n)
		}
	}
}
