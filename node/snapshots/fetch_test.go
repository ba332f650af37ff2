package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
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
	ctx, cancel := context.WithCancel(t.Context())
	cut := &liar{Keeper: k, change: func(_ uint64, c []byte, p []rollup.Hash) ([]byte,
		[]rollup.Hash, error) {
		cancel()
		return c, p, nil
	}}
	dir := t.TempDir()
	if err := Fetch(ctx, dir, s, []Server{cut}, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cut off: %v", err)
	}
	if err := Fetch(t.Context(), dir, ledger.Snapshot{Height: 7}, nil, nil, nil); err == nil {
		t.Error("a snapshot of no bytes is fetched")
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 1 {
		t.Errorf("cut off, it leaves %d folders", len(entries))
	}
}
