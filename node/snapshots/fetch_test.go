package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// liar serves the chunks of a keeper, changed.
type liar struct {
	*Keeper
	change func(index uint64, chunk []byte, path []rollup.Hash) ([]byte, []rollup.Hash, error)
	asked  atomic.Int64
}

func (l *liar) Chunk(_ context.Context, height, index uint64) ([]byte, []rollup.Hash, error) {
	l.asked.Add(1)
	chunk, path, err := l.Keeper.Chunk(height, index)
	if err != nil {
		return nil, nil, err
	}
	return l.change(index, chunk, path)
}

func honest(_ uint64, chunk []byte, path []rollup.Hash) ([]byte, []rollup.Hash, error) {
	return chunk, path, nil
}

// TestFetch gets a snapshot of five chunks from nodes of which some lie. What was fetched is a
// snapshot that a keeper keeps and serves; what was not leaves nothing.
func TestFetch(t *testing.T) {
	k := open(t, t.TempDir())
	s, err := take(t, k, 7, &source{n: 1200})
	if err != nil {
		t.Fatal(err)
	}
	lies := map[string]func(uint64, []byte, []rollup.Hash) ([]byte, []rollup.Hash, error){
		"a flipped bit": func(_ uint64, c []byte, p []rollup.Hash) ([]byte, []rollup.Hash, error) {
			c[len(c)-1] ^= 0x80
			return c, p, nil
		},
		"a cut chunk": func(_ uint64, c []byte, p []rollup.Hash) ([]byte, []rollup.Hash, error) {
			return c[1:], p, nil
		},
		"another place": func(i uint64, _ []byte, _ []rollup.Hash) ([]byte, []rollup.Hash, error) {
			return k.Chunk(7, (i+1)%5)
		},
		"no path": func(_ uint64, c []byte, _ []rollup.Hash) ([]byte, []rollup.Hash, error) {
			return c, nil, nil
		},
		"nothing": func(uint64, []byte, []rollup.Hash) ([]byte, []rollup.Hash, error) {
			return nil, nil, nil
		},
	}
	for name, change := range lies {
		dir := filepath.Join(t.TempDir(), "snapshots")
		bad := &liar{Keeper: k, change: change}
		if err := Fetch(t.Context(), dir, s, []Server{bad}, nil, nil); !errors.Is(err, ErrServers) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%s: it leaves %d folders", name, len(entries))
		}
		good, refused, most := &liar{Keeper: k, change: honest}, 0, uint64(0)
		if err := Fetch(t.Context(), dir, s, []Server{bad, good}, func(n uint64) { most = n },
			func(server int, _ error) { refused += 1 + server }); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if refused != 1 || most != s.Bytes {
			t.Errorf("%s: %d refused, %d bytes of %d", name, refused, most, s.Bytes)
		}
		got := open(t, dir)
		if list := got.Certified(); len(list) != 1 || list[0] != s {
			t.Errorf("%s: kept is %+v", name, list)
		}
		before := good.asked.Load()
		if err := Fetch(t.Context(), dir, s, []Server{good}, nil, nil); err != nil ||
			good.asked.Load() != before {
			t.Errorf("%s: fetched twice, %v", name, err)
		}
	}
	if err := Fetch(t.Context(), t.TempDir(), ledger.Snapshot{Height: 7}, nil, nil, nil); err == nil {
		t.Error("a snapshot of no bytes is fetched")
	}
}

// TestFetchGoesOn: a fetch that was cut off asks only for what it does not have, or what the disk
// has lost; one of another snapshot leaves nothing of it.
func TestFetchGoesOn(t *testing.T) {
	k := open(t, t.TempDir())
	s, err := take(t, k, 7, &source{n: 3000})
	if err != nil {
		t.Fatal(err)
	}
	sum := snapshot.Summary{Bytes: s.Bytes, Root: s.Root}
	chunks, dir := int64(sum.Chunks()), t.TempDir()
	good := &liar{Keeper: k, change: honest}
	var most atomic.Uint64
	cutAfter := func(n int64) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var given atomic.Int64
		cut := &liar{Keeper: k, change: func(_ uint64, c []byte, p []rollup.Hash) ([]byte,
			[]rollup.Hash, error) {
			if given.Add(1) > n {
				cancel()
				return nil, nil, ctx.Err()
			}
			return c, p, nil
		}}
		if err := Fetch(ctx, dir, s, []Server{cut}, most.Store, nil); !errors.Is(err,
			context.Canceled) {
			t.Fatalf("cut off: %v", err)
		}
		if begun, ok := Begun(dir); !ok || begun != s {
			t.Errorf("begun: %+v, %v", begun, ok)
		}
	}
	cutAfter(3)
	cutAfter(2)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Fetch(over, dir, s, []Server{good}, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cut off at once: %v", err) // and what is there stays
	}
	// power was lost: the hash of a chunk reached the disk, and the chunk did not
	part := Folder(dir, 7) + partSuffix
	hashes, err := os.ReadFile(filepath.Join(part, gotName))
	if err != nil {
		t.Fatal(err)
	}
	var had []int64
	for i := range len(hashes) / hashSize {
		if rollup.Hash(hashes[i*hashSize:]) != (rollup.Hash{}) {
			had = append(had, int64(i))
		}
	}
	if len(had) != 5 {
		t.Fatalf("there are the chunks %v", had)
	}
	stream, err := os.OpenFile(filepath.Join(part, streamName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.WriteAt(make([]byte, 4096), had[2]*snapshot.ChunkSize)
	if err := errors.Join(err, stream.Close()); err != nil {
		t.Fatal(err)
	}
	if err := Fetch(t.Context(), dir, s, []Server{good}, most.Store, nil); err != nil {
		t.Fatal(err)
	}
	if asked := good.asked.Load(); asked != chunks-4 {
		t.Errorf("%d chunks of %d are fetched, 4 were there", asked, chunks)
	}
	got := open(t, dir)
	if list := got.Certified(); most.Load() != s.Bytes || len(list) != 1 || list[0] != s {
		t.Errorf("%d bytes, kept is %+v", most.Load(), list)
	}
	for i := range sum.Chunks() {
		chunk, path, err := got.Chunk(7, i)
		if err := errors.Join(err, sum.Check(i, chunk, path)); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := Begun(dir); ok {
		t.Error("a fetch that is done is begun")
	}
	dir = t.TempDir()
	cutAfter(2)
	other, err := take(t, k, 9, &source{n: 40})
	if err != nil {
		t.Fatal(err)
	}
	if err := Fetch(t.Context(), dir, other, []Server{good}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d folders", len(entries))
	}
}

// TestFetchGone: a server that has the snapshot no more is not waited for.
func TestFetchGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := open(t, t.TempDir())
		start := time.Now()
		err := Fetch(t.Context(), t.TempDir(), ledger.Snapshot{Height: 7, Bytes: 9}, []Server{
			&liar{Keeper: gone, change: honest}}, nil, nil)
		if !errors.Is(err, ErrServers) || !errors.Is(err, ErrUnknown) || time.Since(start) > 0 {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}
