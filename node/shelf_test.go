package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
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
	if _, err := s.Add(ctx, bytes.NewReader(data), remote.Adding{Placing: content.Placing{
		Root: &d.roots[0], Size: -1}}); !errors.Is(err, content.ReasonMismatch) {
		t.Errorf("other bytes: %v", err)
	}
	info, err := s.Add(ctx, bytes.NewReader(data), remote.Adding{Placing: content.Placing{
		Size: -1}, Pin: true})
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
		if _, err := s.Add(ctx, bytes.NewReader(data), remote.Adding{Placing: content.Placing{
			Size: int64(len(data))}, Pin: c.verb == remote.Purge}); err != nil {
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

// private has node 0 give content to clients of one payer, and then of another one. Nobody else
// learns whether it is there, by no request, and nothing is fetched for anybody else. It returns
// what client 0 was charged.
func (d *delivering) private(t *testing.T) (charged uint64) {
	s, ctx, root := d.shelfOf(0), t.Context(), d.roots[2] // at the origin
	view := d.nodes[0].View()
	of, _ := view.Client(0)
	set := func(payer uint32) {
		if err := s.SetPrivate(ctx, root, []uint32{payer}); err != nil {
			t.Fatal(err)
		}
	}
	set(of.Payer + 1)
	nowhere := rollup.Hash{7}
	if err := s.SetPrivate(ctx, nowhere, []uint32{of.Payer + 1, 0}); err != nil {
		t.Fatal(err)
	}
	answers := map[string]bool{}
	for _, c := range []struct {
		method, ranges, match string
		root                  rollup.Hash
	}{
		{"GET", "", "", root}, {"GET", "bytes=0-9", "", root}, {"GET", "bytes=99999999-", "", root},
		{"GET", "", `"` + root.String() + `"`, root}, {"GET", "", "", nowhere},
		{"GET", "bytes=0-9", "", nowhere}, {"HEAD", "", "", root}, {"HEAD", "", "", nowhere},
	} {
		r, err := http.NewRequest(c.method, d.port(0)+"/b3/"+c.root.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Range", c.ranges)
		r.Header.Set("If-None-Match", c.match)
		r.Header.Set("Origin", "https://example.org")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		response.Header.Del("Date")
		if err != nil || response.StatusCode != http.StatusUnauthorized ||
			response.Header.Get("Cache-Control") != "no-store" || response.Header.Get("ETag") != "" {
			t.Errorf("%+v: %s, %v, %v", c, response.Status, response.Header, err)
		}
		answers[fmt.Sprint(c.method, response.Header, string(body))] = true
	}
	if len(answers) != 2 { // of GET, and of HEAD
		t.Errorf("answers tell more: %q", slices.Collect(maps.Keys(answers)))
	}
	read := func(root rollup.Hash, half func()) error {
		f := d.fetcher(0, client.MemoryBook(), 0)
		r, err := f.Open(ctx, root)
		if err == nil {
			if half != nil {
				_, err = io.ReadFull(r, make([]byte, 100<<10))
				half()
			}
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			err = errors.Join(err, r.Close())
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		charged += f.Stats().Charged
		return err
	}
	there := read(root, nil)
	if absent := read(nowhere, nil); !errors.Is(there, delivery.ReasonPrivate) ||
		!errors.Is(absent, delivery.ReasonPrivate) ||
		strings.ReplaceAll(absent.Error(), nowhere.String(), root.String()) != there.Error() {
		t.Errorf("of another payer: %v, and of what is not there: %v", there, absent)
	}
	list, err := s.List(ctx)
	if err != nil || len(list.Private) != 2 || slices.ContainsFunc(list.Contents,
		func(i content.Info) bool { return i.Root == root }) {
		t.Errorf("it was fetched for who may not have it: %+v, %v", list, err)
	}
	set(of.Payer)
	if err := read(root, nil); err != nil {
		t.Errorf("of the payer: %v", err)
	}
	big := bytes.Repeat([]byte{1}, 12<<20)
	info, err := s.Add(ctx, bytes.NewReader(big), remote.Adding{Placing: content.Placing{
		Size: -1, Payers: []uint32{of.Payer}}})
	if err != nil || !slices.Equal(info.Payers, []uint32{of.Payer}) {
		t.Fatal(err)
	}
	root = info.Root
	if err := read(root, func() { set(of.Payer + 1) }); !errors.Is(err, delivery.ReasonPrivate) {
		t.Errorf("in the middle: %v", err)
	}
	return charged
}
