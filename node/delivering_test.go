package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// delivering is a network whose first three nodes deliver what lies in a folder.
type delivering struct {
	*world
	folder   string
	contents [][]byte
	roots    []rollup.Hash
}

func newDelivering(t *testing.T) *delivering {
	d := &delivering{folder: t.TempDir()}
	if err := os.Mkdir(filepath.Join(d.folder, "b3"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		data := make([]byte, 2<<20+i)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(data) // never fails
		root := rollup.Hash(blake3.Sum256(data))
		if err := os.WriteFile(filepath.Join(d.folder, "b3", root.String()), data,
			0o600); err != nil {
			t.Fatal(err)
		}
		d.contents, d.roots = append(d.contents, data), append(d.roots, root)
	}
	// The grace is longer than a node of the test is away: what it holds is ordered afterwards.
	d.world = newWorldOf(t, 3, 10, func(i int, c *config.Config) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.Content.Listen, c.Content.Origin = l.Addr().String(), d.folder
		c.Content.Courtesy = 1 << 30
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return d
}

// site gives a node that does not run a manifest of service 0, by its owner.
func (d *delivering) site(i int) {
	d.Helper()
	loaded, err := config.Load(d.net.Nodes[i].Config, nil, nil)
	if err != nil {
		d.Fatal(err)
	}
	m, err := manifest.New(manifest.Head{Network: d.net.Genesis.Network(), Serial: 1,
		Until: manifest.Forever}, []manifest.Entry{{Path: "/films/first one.mp4", Root: d.roots[0],
		Size: uint64(len(d.contents[0])), Life: 60, Type: "video/mp4"}},
		ed25519.NewKeyFromSeed(slices.Repeat([]byte{7}, 32)))
	if err != nil {
		d.Fatal(err)
	}
	s, err := content.Open(content.Options{Dir: loaded.Config.Path(loaded.Config.Content.Path)})
	if err != nil {
		d.Fatal(err)
	}
	if err := errors.Join(s.SetManifest(m), s.Close()); err != nil {
		d.Fatal(err)
	}
}

// port is the content port of a node.
func (d *delivering) port(i int) string {
	loaded, err := config.Load(d.net.Nodes[i].Config, nil, nil)
	if err != nil {
		d.Fatal(err)
	}
	return "http://" + loaded.Config.Content.Listen
}

// fetcher is one of a client that asks nodes in this order.
func (d *delivering) fetcher(c int, book *client.Book, nodes ...int) *client.Fetcher {
	d.Helper()
	cfg := client.FetchConfig{Client: uint64(c), Key: d.keys[c], Silence: 5 * time.Second}
	for _, i := range nodes {
		n, err := client.New(client.Config{URL: d.port(i), Book: book,
			Committee: d.net.Genesis.Committee(),
			Pin: &client.Pin{Network: d.net.Genesis.Network(), Node: uint32(i),
				Key: d.net.Genesis.Members[i].TransportKey}})
		if err != nil {
			d.Fatal(err)
		}
		d.Cleanup(n.Close)
		cfg.Nodes = append(cfg.Nodes, n)
	}
	return d.newFetcher(cfg)
}

func (d *delivering) newFetcher(cfg client.FetchConfig) *client.Fetcher {
	d.Helper()
	f, err := client.NewFetcher(cfg)
	if err != nil {
		d.Fatal(err)
	}
	return f
}

// TestDelivering: clients fetch from three nodes of a network with a chain, one of which is stopped
// in the middle and starts again. Each has its content, and the settlements pay for what the
// clients were charged, byte by byte.
func TestDelivering(t *testing.T) {
	d := newDelivering(t)
	defer d.stop()
	d.registerOf(1<<40, 1<<20)
	charged := d.shelf(t) + d.private(t)
	half, goOn := make(chan struct{}, len(d.roots)), make(chan struct{})
	d.routed()
	var group sync.WaitGroup
	var fetchers []*client.Fetcher
	for c := range d.roots {
		f := d.fetcher(c, client.MemoryBook(), c%2, 2, 1-c%2)
		if c%2 == 1 { // which finds the nodes by itself
			f = d.newFetcher(client.FetchConfig{Client: uint64(c), Key: d.keys[c],
				Silence: 5 * time.Second, Router: d.directory(client.MemoryBook(), 0, 1)})
		}
		fetchers = append(fetchers, f)
		group.Go(func() {
			if err := halves(t.Context(), f, d.roots[c], d.contents[c], half, goOn); err != nil {
				t.Errorf("client %d: %v", c, err)
			}
		})
	}
	for range d.roots {
		<-half
	}
	d.nodes[0].Stop()
	if _, err := d.shelfOf(0).List(t.Context()); !errors.Is(err, node.ErrNotRunning) {
		t.Errorf("the store of a node that does not run: %v", err)
	}
	close(goOn)
	group.Wait()
	d.site(0)
	if err := d.start(0); err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(d.port(0) + "/site/0/films/first%20one.mp4")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := http.Head(d.port(0) + "/b3/" + d.roots[2].String()); err != nil ||
		again.StatusCode != http.StatusUnauthorized {
		t.Errorf("what was private, after a restart: %v, %v", again, err)
	}
	film, err := io.ReadAll(response.Body)
	err = errors.Join(err, response.Body.Close())
	if err != nil || !bytes.Equal(film, d.contents[0]) ||
		response.Header.Get("Content-Type") != "video/mp4" ||
		response.Header.Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("%s: %d bytes, %v, %v", response.Status, len(film), response.Header, err)
	}
	for c, f := range fetchers {
		if err := f.Close(); err != nil {
			t.Errorf("client %d: %v", c, err)
		}
		s := f.Stats()
		if s.Received < uint64(len(d.contents[c])) || s.Received != s.Charged+s.Refused {
			t.Errorf("client %d: %+v", c, s)
		}
		charged += s.Charged
	}
	d.await("settlements that pay for what was charged", func() bool {
		_, paid, _ := d.settled(1)
		return paid == charged
	})
	for i := range 3 {
		_, metrics := d.get(i, "/metrics")
		for _, want := range []string{"waybill_content_sent_bytes_total ",
			"waybill_content_owed_bytes ", "waybill_content_outstanding_bytes "} {
			if !strings.Contains(metrics, want) {
				t.Errorf("node %d has no metric %q", i, want)
			}
		}
	}
	t.Logf("%d bytes charged and settled", charged)
}

// halves reads content in two parts.
func halves(ctx context.Context, f *client.Fetcher, root rollup.Hash, data []byte,
	half chan<- struct{}, goOn <-chan struct{}) (err error) {
	r, err := f.Open(ctx, root)
	if err != nil {
		half <- struct{}{}
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	got := make([]byte, len(data)/2)
	_, err = io.ReadFull(r, got)
	half <- struct{}{}
	if err != nil {
		return err
	}
	<-goOn
	rest, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(append(got, rest...), data) {
		err = fmt.Errorf("other bytes: %d of %d", len(got)+len(rest), len(data))
	}
	return err
}
