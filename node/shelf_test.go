package node_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/node/content/remote"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// shelfOf is the store of a running node, by its socket.
func (d *delivering) shelfOf(i int) remote.Store {
	control, done := node.Control(filepath.Dir(d.net.Nodes[i].Config))
	d.Cleanup(done)
	return remote.New(control, "http://node/content")
}

// shelf does what an operator does with the store of a node that runs. A purge ends what is on its
// way, a removal does not; refusals have the store's own reasons. It returns what client 0 was
// charged.
func (d *delivering) shelf(t *testing.T) (charged uint64) {
	s, ctx := d.shelfOf(0), t.Context()
	data := bytes.Repeat([]byte("no origin has these 32 bytes.\n\n\n"), 12<<15)
	root := rollup.Hash(blake3.Sum256(data))
	if _, err := s.Add(ctx, bytes.NewReader(data), remote.Adding{Root: &d.roots[0],
		Size: -1}); !errors.Is(err, content.ReasonMismatch) {
		t.Errorf("other bytes: %v", err)
	}
	info, err := s.Add(ctx, bytes.NewReader(data), remote.Adding{Size: -1, Pin: true})
	if err != nil || info.Root != root || !info.Pinned || info.Size != int64(len(data)) {
		t.Fatalf("%+v, %v", info, err)
	}
	var copied bytes.Buffer
	if n, err := s.CopyTo(ctx, root, &copied); err != nil || n != int64(len(data)) ||
		!bytes.Equal(copied.Bytes(), data) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := s.CopyTo(ctx, rollup.Hash{1}, &copied); !errors.Is(err, content.ReasonAbsent) {
		t.Errorf("what is not there: %v", err)
	}
	if err := s.Do(ctx, remote.Remove, root); !errors.Is(err, content.ReasonPinned) {
		t.Errorf("what is pinned: %v", err)
	}
	if err := s.Do(ctx, "burn", root); err == nil {
		t.Error("a verb that is none")
	}
	list, err := s.List(ctx)
	if err != nil || len(list.Contents) != 1 || list.Contents[0].Root != root ||
		list.Pinned == 0 {
		t.Errorf("%+v, %v", list, err)
	}
	// A client that reads when it is told to, so that the purge finds the stream in the middle.
	for _, c := range []struct {
		verb remote.Verb
		ends error
	}{{remote.Remove, nil}, {remote.Purge, delivery.ReasonNotFound}} {
		if err := s.Do(ctx, remote.Unpin, root); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Add(ctx, bytes.NewReader(data), remote.Adding{Size: int64(len(data)),
			Pin: c.verb == remote.Purge}); err != nil {
			t.Fatal(err)
		}
		f := d.fetcher(0, client.MemoryBook(), 0)
		r, err := f.Open(ctx, root)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1<<20)
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatal(err)
		}
		if err := s.Do(ctx, c.verb, root); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r)
		if c.ends == nil && (err != nil || !bytes.Equal(append(got, rest...), data)) ||
			c.ends != nil && (!errors.Is(err, c.ends) || len(rest) >= len(data)-len(got)) {
			t.Errorf("%s: %d bytes more, %v", c.verb, len(rest), err)
		}
		if err := errors.Join(r.Close(), f.Close()); err != nil {
			t.Error(err)
		}
		stats := f.Stats()
		if stats.Received != stats.Charged {
			t.Errorf("%s: %+v", c.verb, stats)
		}
		charged += stats.Charged
		if response, err := http.Get(d.port(0) + "/b3/" + root.String()); err != nil {
			t.Error(err)
		} else if response.Body.Close(); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", c.verb, response.Status)
		}
	}
	if scanned, err := s.Scan(ctx); err != nil || scanned.Contents != 0 {
		t.Errorf("%+v, %v", scanned, err)
	}
	return charged
}
