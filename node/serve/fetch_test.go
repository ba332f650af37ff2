package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// read reads content to its end.
func read(t *testing.T, f *client.Fetcher, root rollup.Hash) ([]byte, error) {
	t.Helper()
	r, err := f.Open(context.Background(), root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// TestFetch: content of all shapes comes verified, and all of it is acknowledged and accepted.
func TestFetch(t *testing.T) {
	w := start(t, 1, 1, nil)
	f := w.fetcher(t, 0, client.MemoryBook(), w.nodes[0])
	total := uint64(0)
	for i, size := range []int{0, 1, 1024, 16384, 16385, 40_000, 1 << 20, 5<<20 + 7} {
		data := content(uint64(i), size)
		got, err := read(t, f, w.shelf.add(data))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: %d, %v", size, len(got), err)
		}
		total += uint64(size)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	stats, node := f.Stats(), w.nodes[0].server.Stats()
	if stats.Received != total || stats.Signed != total || stats.Charged != total ||
		stats.Refused != 0 {
		t.Errorf("of %d bytes: %+v", total, stats)
	}
	if node.Sent != total || node.Credit.Paid != total || node.Credit.Outstanding != 0 ||
		node.Credit.Owed != 0 || node.Credit.Beyond != 0 {
		t.Errorf("of %d bytes the node: %+v", total, node)
	}
	t.Logf("%d bytes, %d acks", total, stats.Acks)
}

// TestCosigned: a fetcher that co-signs does so for the windows that hold its acks.
func TestCosigned(t *testing.T) {
	w := startAt(t, 0, 1, listenHere, nil)
	w.windowAge, w.cosignWait = 500*time.Millisecond, 10*time.Second
	n := w.node(t, 0, nil)
	f, err := client.NewFetcher(client.FetchConfig{Key: w.Clients[0], Cosign: true,
		Nodes: []*client.Client{w.at(t, n.url, n.pin, client.MemoryBook())}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// A window that closes before the node knows that it can ask is not offered.
	for i := uint64(0); f.Stats().Cosigned == 0 && ctx.Err() == nil; i++ {
		data := content(i, 20_000)
		if got, err := read(t, f, w.shelf.add(data)); err != nil || !bytes.Equal(got, data) {
			t.Fatal(err)
		}
		if err := f.Settle(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if s := f.Stats(); s.Cosigned == 0 || s.Charged != s.Received {
		t.Errorf("%+v", s)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestOrigin: what no node has comes from the origin, whole and right, or not at all; and nobody is
// paid for it.
func TestOrigin(t *testing.T) {
	w := start(t, 2, 1, nil)
	good, bad := content(1, 200_000), content(2, 200_000)
	roots := map[string][]byte{}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if data := roots[r.URL.Path]; data != nil {
			_, _ = w.Write(data)
			return
		}
		http.NotFound(w, r)
	}))
	defer origin.Close()
	rootOf := func(data []byte) rollup.Hash { return blake3.Sum256(data) }
	roots["/files/b3/"+rootOf(good).String()] = good
	roots["/files/b3/"+rootOf(bad).String()] = good
	f, err := client.NewFetcher(client.FetchConfig{Key: w.Clients[0], Origin: origin.URL + "/files/",
		Nodes: []*client.Client{w.at(t, w.nodes[0].url, w.nodes[0].pin, client.MemoryBook()),
			w.at(t, w.nodes[1].url, w.nodes[1].pin, client.MemoryBook())}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Open(t.Context(), rootOf(good))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Seek(100_001, io.SeekStart); err != nil || r.Size() != 200_000 {
		t.Fatal(r.Size(), err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, good[100_001:]) {
		t.Error(len(got), err)
	}
	for _, root := range []rollup.Hash{rootOf(bad), rootOf([]byte("nowhere"))} {
		got, err := read(t, f, root)
		var failure *client.FetchError
		if len(got) > 0 || !errors.As(err, &failure) || !errors.Is(err, delivery.ReasonNotFound) ||
			!strings.Contains(err.Error(), "origin") {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if err := f.Close(); err != nil || f.Stats() != (client.FetchStats{}) {
		t.Errorf("%v, %+v", err, f.Stats())
	}
}

// TestSeek: any part is read, and what was on its way when the reader left is acknowledged.
func TestSeek(t *testing.T) {
	w := start(t, 1, 1, nil)
	data := content(1, 3<<20)
	root := w.shelf.add(data)
	f := w.fetcher(t, 0, client.MemoryBook(), w.nodes[0])
	r, err := f.Open(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{2 << 20, 17, 1<<20 + 1, 3<<20 - 5} {
		if n, err := r.Seek(at, io.SeekStart); err != nil || n != at {
			t.Fatal(n, err)
		}
		b := make([]byte, min(40_000, int64(len(data))-at))
		if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, data[at:at+int64(len(b))]) {
			t.Fatalf("at %d: %v", at, err)
		}
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if err := errors.Join(r.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	stats, node := f.Stats(), w.nodes[0].server.Stats()
	if stats.Charged != stats.Received || node.Credit.Paid != stats.Charged {
		t.Errorf("%+v; %+v", stats, node)
	}
	w.nodes[0].server.accounts.mu.Lock()
	left := node.Credit.Outstanding
	w.nodes[0].server.accounts.mu.Unlock()
	if left != 0 {
		t.Errorf("%d bytes were sent and not acknowledged", left)
	}
}
