package content

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

// faulty is a disk whose operation number at fails, after it was done or instead.
type faulty struct {
	osDisk
	at, count int
	done      bool // it is done nevertheless
	err       error
}

func (d *faulty) do(op func() error) error {
	if d.count++; d.count != d.at {
		return op()
	}
	if d.done {
		if err := op(); err != nil {
			return err
		}
	}
	return d.err
}

func (d *faulty) Create(path string) (f file, err error) {
	err = d.do(func() (err error) {
		f, err = d.osDisk.Create(path)
		return err
	})
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, err
	}
	return &faultyFile{f, d}, nil
}

func (d *faulty) Rename(from, to string) error {
	return d.do(func() error { return d.osDisk.Rename(from, to) })
}

func (d *faulty) Mkdir(path string) error {
	return d.do(func() error { return d.osDisk.Mkdir(path) })
}

func (d *faulty) SyncDir(path string) error {
	return d.do(func() error { return d.osDisk.SyncDir(path) })
}

type faultyFile struct {
	file
	disk *faulty
}

func (f *faultyFile) Write(p []byte) (n int, err error) {
	n = len(p)
	return n, f.disk.do(func() (err error) { n, err = f.file.Write(p); return err })
}

func (f *faultyFile) Sync() error { return f.disk.do(f.file.Sync) }

// TestDiskFaults fails every operation of a write in turn, in both ways: what was there is there, a
// content is there as a whole or not at all, and the next attempt succeeds.
func TestDiskFaults(t *testing.T) {
	before, in := sample(1, 40<<10), sample(2, 300<<10)
	for _, done := range []bool{false, true} {
		for at := 1; ; at++ {
			dir := filepath.Join(t.TempDir(), "content")
			s := openStore(t, Options{Dir: dir})
			old := add(t, s, before)
			full := &fs.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}
			disk := &faulty{at: at, done: done, err: full}
			s.disk = disk
			info, err := s.Add(t.Context(), bytes.NewReader(in))
			if disk.count < at {
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				break // every operation has failed once
			}
			if !errors.Is(err, ReasonDiskFull) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("operation %d: %+v, %v", at, info, err)
			}
			if stats := s.Stats(); stats.Reserved != 0 || stats.Contents != 1 {
				t.Fatalf("operation %d: %+v", at, stats)
			}
			s.Close()
			s = openStore(t, Options{Dir: dir})
			if n := s.Stats().Contents; n != 1 || !s.Has(old) {
				t.Fatalf("operation %d: %d contents", at, n)
			}
			wholeStore(t, s)
			add(t, s, in)
			wholeStore(t, s)
			s.Close()
		}
	}
}

// wholeStore sees that all contents of a store are what their roots say.
func wholeStore(t *testing.T, s *Store) {
	t.Helper()
	scanned, err := s.Scan(t.Context(), 0)
	if err != nil || len(scanned.Damaged) > 0 || scanned.Contents != s.Stats().Contents {
		t.Fatalf("%+v, %v", scanned, err)
	}
}

// TestPinFaults does the same for the list of pins.
func TestPinFaults(t *testing.T) {
	for _, done := range []bool{false, true} {
		for at := 1; ; at++ {
			dir := filepath.Join(t.TempDir(), "content")
			s := openStore(t, Options{Dir: dir})
			one, two := add(t, s, sample(1, 10)), add(t, s, sample(2, 10))
			if err := s.Pin(one); err != nil {
				t.Fatal(err)
			}
			disk := &faulty{at: at, done: done, err: syscall.EIO}
			s.disk = disk
			err := s.Pin(two)
			s.Close()
			if disk.count < at {
				break
			}
			if !errors.Is(err, ReasonDisk) {
				t.Fatalf("operation %d: %v", at, err)
			}
			s = openStore(t, Options{Dir: dir})
			if !s.pins[one] {
				t.Fatalf("operation %d: a pin is lost", at)
			}
			s.Close()
		}
	}
}

const childVariable = "WAYBILL_CONTENT_CHILD"

// TestChild is what TestKill kills: it adds contents without end, and says which are in.
func TestChild(t *testing.T) {
	dir := os.Getenv(childVariable)
	if dir == "" {
		return // only of use to TestKill
	}
	s, err := Open(Options{Dir: dir, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(0); ; i++ {
		in := sample(byte(rand.Uint32()), rand.IntN(2<<20))
		info, err := s.Add(t.Context(), bytes.NewReader(in))
		if err == nil && i%4 == 0 {
			if err = s.Pin(info.Root); err == nil {
				fmt.Printf("\npinned %v\n", info.Root)
			}
		}
		if err != nil && !errors.Is(err, ReasonFull) {
			fmt.Printf("\nfailed %v\n", err)
		}
	}
}

// TestKill kills a process in the middle of writes, a few times over: what it said to be pinned is
// in the store, all that is there is whole, and nothing half written is left.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "content")
	pinned := map[rollup.Hash]bool{}
	for round := range 4 {
		child := exec.Command(os.Args[0], "-test.run=^TestChild$")
		child.Env = append(os.Environ(), childVariable+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 3+round && lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "pinned "); ok {
				root, err := ParseRoot(text)
				if err != nil {
					t.Fatal(err)
				}
				pinned[root] = true
				n++
			} else if strings.HasPrefix(lines.Text(), "failed ") {
				t.Error(lines.Text())
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said before it died
			if root, err := ParseRoot(strings.TrimPrefix(lines.Text(), "pinned ")); err == nil {
				pinned[root] = true
			}
		}
		child.Wait()
		s := openStore(t, Options{Dir: dir, MaxBytes: 64 << 20})
		for root := range pinned {
			if !s.Has(root) || !s.pins[root] {
				t.Errorf("round %d: %v is lost", round, root)
			}
		}
		wholeStore(t, s)
		unchanged(t, s, true)
	}
	if len(pinned) < 10 {
		t.Fatalf("only %d contents", len(pinned))
	}
}

// TestKillCanFail is the companion: a store that has lost a content, or has a wrong one, is seen.
func TestKillCanFail(t *testing.T) {
	s := openStore(t, Options{})
	root := add(t, s, sample(1, 100<<10))
	if err := os.WriteFile(s.object(root), sample(2, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	scanned, err := s.Scan(t.Context(), 0)
	if err != nil || len(scanned.Damaged) != 1 || s.Has(root) {
		t.Fatalf("%+v, %v", scanned, err)
	}
}
