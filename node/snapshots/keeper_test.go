package snapshots

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// source has n records of 4 KiB each; it waits before the first until it may go on.
type source struct {
	n      int
	wait   chan struct{} // nil: it does not wait
	fail   error
	closed bool
}

func (s *source) Records(yield func(key, value []byte) error) error {
	if s.wait != nil {
		<-s.wait
	}
	for i := range s.n {
		if err := yield(fmt.Appendf(nil, "k%06d", i), bytes.Repeat([]byte{byte(i)}, 4096)); err != nil {
			return err
		}
	}
	return s.fail
}

func (s *source) Close() error { s.closed = true; return nil }

func open(t *testing.T, dir string) *Keeper {
	t.Helper()
	k, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// take writes the snapshot of a height.
func take(t *testing.T, k *Keeper, height uint64, s *source) (ledger.Snapshot, error) {
	t.Helper()
	k.Begin(height, s, snapshot.Record{Key: []byte("~"), Value: []byte("last")})
	<-k.writing.done
	if !s.closed {
		t.Error("the source stays open")
	}
	return k.Of(height)
}

func TestKeeper(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	k := open(t, dir)
	var signed []ledger.Snapshot
	for height := uint64(10); height <= 60; height += 10 {
		s, err := take(t, k, height, &source{n: 300})
		if err != nil {
			t.Fatal(err)
		}
		if height == 30 { // nobody signs it
			continue
		}
		if err := k.Certify(s); err != nil {
			t.Fatal(err)
		}
		signed = append(signed, s)
	}
	want := []ledger.Snapshot{signed[4], signed[3], signed[2]}
	pending, err := take(t, k, 70, &source{n: 600})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := k.Certified(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("kept: %v, not %v", got, want)
		}
		if s, err := k.Of(70); err != nil || s != pending {
			t.Errorf("that of the epoch: %+v, %v", s, err)
		}
		for _, gone := range []uint64{10, 20, 30} {
			if _, err := k.Of(gone); !errors.Is(err, ErrUnknown) {
				t.Errorf("block %d: %v", gone, err)
			}
		}
		k.Close()
		k = open(t, dir) // all of it is on the disk
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 4 {
		t.Errorf("%d folders", len(entries))
	}
	var stream bytes.Buffer
	sum := snapshot.Summary{Bytes: pending.Bytes, Root: pending.Root}
	for i := range sum.Chunks() {
		chunk, path, err := k.Chunk(70, i)
		if err == nil {
			err = sum.Check(i, chunk, path)
		}
		if err != nil {
			t.Fatal(err)
		}
		stream.Write(chunk)
	}
	records := 0
	for _, err := range snapshot.Records(&stream) {
		if err != nil {
			t.Fatal(err)
		}
		records++
	}
	if records != 601 {
		t.Errorf("%d records", records)
	}
	if _, _, err := k.Chunk(70, sum.Chunks()); !errors.Is(err, ErrUnknown) {
		t.Errorf("behind the last chunk: %v", err)
	}
	// the committee signed another one
	other := pending
	other.Root = rollup.Hash{1}
	if err := k.Certify(other); !errors.Is(err, ErrOther) {
		t.Errorf("another: %v", err)
	}
	if _, err := k.Of(70); !errors.Is(err, ErrUnknown) {
		t.Errorf("it is still there: %v", err)
	}
	if err := k.Certify(pending); !errors.Is(err, ErrUnknown) {
		t.Errorf("one that is not there: %v", err)
	}
}

// TestLease: one old snapshot stays for as long as somebody asks for its chunks.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := open(t, t.TempDir())
		for height := uint64(1); height <= 12; height++ {
			s, err := take(t, k, height, &source{n: 3})
			if err == nil {
				err = k.Certify(s)
			}
			if err != nil {
				t.Fatal(err)
			}
			if height >= 2 && height <= 8 {
				if _, _, err := k.Chunk(2, 0); err != nil {
					t.Errorf("at height %d: %v", height, err)
				}
			}
			most := min(height, kept)
			if height > 4 && height <= 9 {
				most++
			}
			if n := len(k.Certified()); n != int(most) {
				t.Errorf("at height %d: %d are kept", height, n)
			}
			want := max(height, 2) - 1
			if height > 3 && height <= 9 {
				want = 2
			}
			if from := k.Joining(); from != want {
				t.Errorf("at height %d nodes join from %d, not %d", height, from, want)
			}
			time.Sleep(lease * 2 / 3)
		}
		if _, _, err := k.Chunk(2, 0); !errors.Is(err, ErrUnknown) {
			t.Errorf("nobody asks for it: %v", err)
		}
	})
}

// TestKeeperFails: a snapshot that cannot be written leaves nothing, and its reason.
func TestKeeperFails(t *testing.T) {
	dir, broken := t.TempDir(), errors.New("broken")
	k := open(t, dir)
	if _, err := take(t, k, 10, &source{n: 5, fail: broken}); !errors.Is(err, broken) {
		t.Errorf("a source that fails: %v", err)
	}
	slow := &source{n: 5, wait: make(chan struct{})}
	k.Begin(20, slow, snapshot.Record{Key: []byte("~")})
	if _, err := k.Of(20); !errors.Is(err, ErrWriting) {
		t.Errorf("while it is written: %v", err)
	}
	next := &source{n: 5}
	k.Begin(30, next, snapshot.Record{Key: []byte("~")}) // gives the slow one up
	close(slow.wait)
	<-k.writing.done
	if _, err := k.Of(30); err != nil || !slow.closed {
		t.Errorf("the next one: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d folders", len(entries))
	}
	// what a crash leaves, and damage, are cleared away
	for _, name := range []string{"40.part", "50"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(Folder(dir, 30), leavesName), []byte("short"),
		0o600); err != nil {
		t.Fatal(err)
	}
	k.Close()
	open(t, dir)
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("%d folders after a start", len(entries))
	}
}
