package serve

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/manifest"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/route"
	"github.com/waybill-network/waybill/rollup/word"
)

// listed is a list of the world's nodes and services that its committee signed, of an epoch.
type listed struct {
	list *route.List
	node *node
}

func (w *world) listed(t *testing.T, epoch uint32) *listed {
	t.Helper()
	l := &route.List{}
	var nodes, services []byte
	view := w.View()
	for i := range uint32(view.Nodes()) {
		n, _ := view.Node(i)
		leaf := registry.Node{Key: n.BLSKey, NodeKey: n.TransportKey, Owner: n.Owner,
			Until: registry.None, Stake: n.Stake}
		l.Nodes, nodes = append(l.Nodes, leaf), leaf.Append(nodes)
	}
	for i := range uint32(view.Services()) {
		s, _ := view.Service(i)
		leaf := registry.Service{Owner: s.Owner, Cap: s.UnitCap, Price: s.Price,
			NextPrice: s.NextPrice, From: s.From}
		l.Services, services = append(l.Services, leaf), leaf.Append(services)
	}
	l.Heads.Nodes = registry.Head{Count: uint64(len(l.Nodes)), Root: registry.Nodes.RootOf(nodes)}
	l.Heads.Services = registry.Head{Count: uint64(len(l.Services)),
		Root: registry.Services.RootOf(services)}
	l.Record = &rollup.Record{Network: w.ID, Height: 9, Epoch: epoch, SettledEpoch: rollup.NoEpoch,
		RegistryRoot: l.Heads.Root()}
	l.Certificate = w.SignRecord(l.Record)
	return &listed{list: l}
}

func (l *listed) Nodes() (Nodes, error) {
	return Nodes{List: l.list.Append(nil), Height: l.list.Record.Height,
		Epoch: l.list.Record.Epoch, All: l.list.Nodes}, nil
}

func (l *listed) Contacts() []Contact { return []Contact{{0, l.node.url}} }

// site is a world with a site of service 0.
type site struct {
	*world
	data     map[string][]byte
	manifest *manifest.Manifest
	owner    [32]byte
}

func newSite(t *testing.T) *site {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	s := &site{data: map[string][]byte{"/": content(1, 100), "/a film.mp4": content(2, 300_000),
		"/ü/": content(3, 0)}, owner: [32]byte(key.Public().(ed25519.PublicKey))}
	s.world = start(t, 0, 8, nil)
	var entries []manifest.Entry
	for _, path := range []string{"/", "/a film.mp4", "/ü/"} {
		data := s.data[path]
		entries = append(entries, manifest.Entry{Path: path, Root: s.shelf.add(data),
			Size: uint64(len(data)), Life: 60, Type: "video/mp4"})
	}
	var err error
	s.manifest, err = manifest.New(manifest.Head{Network: s.ID, Until: manifest.Forever}, entries,
		key)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		s.shelf.names[e.Path] = Name{Root: e.Root, Manifest: s.manifest.Digest(),
			Path: manifest.PathDigest(e.Path), Type: e.Type}
	}
	l := s.listed(t, s.View().Epoch())
	l.node = s.node(t, 0, func(c *Config) {
		c.Routes = l
		c.Showing = func(_ uint32, path string) ([]byte, error) {
			shown, err := s.manifest.Showing(path)
			if err != nil {
				return nil, delivery.Refuse(delivery.ReasonMalformed, "%w", err)
			}
			return shown.Append(nil), nil
		}
	})
	s.nodes = append(s.nodes, l.node)
	return s
}

// fetch fetches what is under a path from a node's address, and returns the files of lies as well.
func (s *site) fetch(t *testing.T, url string, index, most uint64, path string) (got []byte,
	lies []string, stats client.FetchStats, err error) {
	t.Helper()
	dir := t.TempDir()
	f, err := client.NewFetcher(client.FetchConfig{Client: index, Key: s.Clients[index],
		Evidence: dir, MaxPrice: most,
		Nodes: []*client.Client{s.at(t, url, s.nodes[0].pin, client.MemoryBook())}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.OpenPath(t.Context(), client.Site{Owner: s.owner}, path)
	if err == nil {
		got, err = io.ReadAll(r)
		err = errors.Join(err, r.Close())
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	lies, globErr := filepath.Glob(filepath.Join(dir, "*.wbx"))
	if globErr != nil {
		t.Fatal(globErr)
	}
	return got, lies, f.Stats(), err
}

// TestSite: what a site has under a path is shown, fetched and paid for, and no honest head is
// kept.
func TestSite(t *testing.T) {
	s := newSite(t)
	for path, data := range s.data { // order-free
		got, lies, stats, err := s.fetch(t, s.nodes[0].url, 0, 0, path)
		if err != nil || !bytes.Equal(got, data) || len(lies) > 0 ||
			stats.Charged != uint64(len(data)) {
			t.Errorf("%s: %d bytes, %v, %+v, %v", path, len(got), lies, stats, err)
		}
	}
	if _, _, _, err := s.fetch(t, s.nodes[0].url, 0, 0, "/b"); !errors.Is(err,
		manifest.ReasonAbsent) {
		t.Errorf("nothing is there: %v", err)
	}
	s.owner[0] ^= 1
	if _, _, _, err := s.fetch(t, s.nodes[0].url, 0, 0, "/"); !errors.Is(err,
		manifest.ReasonSignature) {
		t.Errorf("of another owner: %v", err)
	}
}

// TestLyingHeads: a head with a price above the service's, or with other content than the manifest
// has, gets nothing signed, and leaves a file that anybody verifies. A price that is the service's
// and more than the client wants to pay is no lie.
func TestLyingHeads(t *testing.T) {
	s := newSite(t)
	n := s.nodes[0]
	price := func() uint64 { of, _ := s.View().Service(0); return of.Price }()
	for i, c := range []struct {
		name string
		lie  word.Lie // 0: none
		most uint64
		tell func(*word.Head)
	}{
		{"nothing", 0, 0, func(*word.Head) {}},
		{"a price", word.LiePrice, 0, func(h *word.Head) { h.Price++ }},
		{"content", word.LieContent, 0, func(h *word.Head) { h.Content[0] ^= 1 }},
		{"a price that is agreed to", 0, price + 5, func(h *word.Head) { h.Price += 5 }},
		{"more than the client pays", 0, price - 1, func(*word.Head) {}},
		{"another manifest", 0, 0, func(h *word.Head) { h.Manifest[0] ^= 1 }},
		{"another path", 0, 0, func(h *word.Head) { h.Path[0] ^= 1 }},
	} {
		url := n.through(t, func(r *http.Request, b []byte) []byte {
			if !strings.HasPrefix(r.URL.Path, "/site/") || len(b) < delivery.PrefixSize+
				delivery.HeadSize || b[0] != byte(delivery.KindHead) {
				return b
			}
			h, err := delivery.ParseHead(b[delivery.PrefixSize:][:delivery.HeadSize])
			if err != nil {
				return b // in the middle of content
			}
			c.tell(&h.Word)
			h.Signature = word.Sign(&s.ID, s.Members[0].Transport, h.Word)
			return append(h.Append(nil), b[delivery.PrefixSize+delivery.HeadSize:]...)
		})
		got, lies, stats, err := s.fetch(t, url, uint64(i), c.most, "/a film.mp4")
		honest := c.lie == 0 && !errors.Is(err, client.ReasonHead)
		if honest != (err == nil && bytes.Equal(got, s.data["/a film.mp4"])) ||
			!honest && stats.Signed != 0 {
			t.Errorf("%s: %d bytes, %+v, %v", c.name, len(got), stats, err)
		}
		if c.lie == 0 {
			if len(lies) > 0 {
				t.Errorf("%s: %v", c.name, lies)
			}
			continue
		}
		if len(lies) == 0 {
			t.Errorf("%s: no file", c.name)
			continue
		}
		file, err := os.ReadFile(lies[0])
		if err != nil {
			t.Fatal(err)
		}
		report, err := export.Verify(file, export.TrustOf(s.Genesis))
		if err != nil || !strings.Contains(report.Summary(), "node 0 told lie") {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		t.Logf("%s: %s", c.name, report.Summary())
	}
}
