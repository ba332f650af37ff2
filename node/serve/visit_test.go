package serve

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/health"
	"github.com/waybill-network/waybill/node/visit"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// visited is a world of nodes that have a site, and somebody who visits them.
type visited struct {
	*world
	data     map[string][]byte
	manifest *manifest.Manifest
	owner    ed25519.PrivateKey // of the service, and the payer
}

func newVisited(t *testing.T, nodes, film int,
	change func(v *visited, node uint32, c *Config)) *visited {
	t.Helper()
	v := &visited{data: map[string][]byte{"/": content(1, 100), "/page": content(2, 10_000),
		"/film": content(3, film)}}
	addresses := slices.Repeat([]string{"127.0.0.1:1"}, nodes)
	v.world = &world{Network: testnet.New(t, addresses, 1), listen: listenHere,
		shelf: &shelf{files: make(map[rollup.Hash]*file), names: make(map[string]Name)}}
	v.owner = v.Members[0].Owner
	var entries []manifest.Entry
	for _, path := range []string{"/", "/film", "/page"} {
		data := v.data[path]
		entries = append(entries, manifest.Entry{Path: path, Root: v.shelf.add(data),
			Size: uint64(len(data)), Life: 60, Type: "video/mp4"})
	}
	var err error
	v.manifest, err = manifest.New(manifest.Head{Network: v.ID, Until: manifest.Forever}, entries,
		v.owner)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		v.shelf.names[e.Path] = Name{Root: e.Root, Manifest: v.manifest.Digest(),
			Path: manifest.PathDigest(e.Path), Type: e.Type}
	}
	for i := range uint32(nodes) {
		v.nodes = append(v.nodes, v.node(t, i, func(c *Config) {
			c.Showing = func(_ uint32, path string) ([]byte, error) {
				shown, err := v.manifest.Showing(path)
				if err != nil {
					return nil, delivery.Refuse(delivery.ReasonMalformed, "%w", err)
				}
				return shown.Append(nil), nil
			}
			if change != nil {
				change(v, i, c)
			}
		}))
	}
	return v
}

// visitor visits as the operator of no node here, through addresses in place of the nodes' own.
func (v *visited) visitor(t *testing.T, at map[uint32]string, change func(*visit.Config),
) *visit.Visitor {
	t.Helper()
	cfg := visit.Config{Chain: v, Payers: []ed25519.PrivateKey{v.owner},
		Contact: func(_ context.Context, node uint32) (string, error) {
			return cmp.Or(at[node], v.nodes[node].url), nil
		},
		Sites:   func() []*manifest.Manifest { return []*manifest.Manifest{v.manifest} },
		Genesis: v.Genesis, Budget: 64 << 20, Cost: 100_000_000, Logger: quiet()}
	if change != nil {
		change(&cfg)
	}
	visitor, err := visit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return visitor
}

// TestVisits: nodes that do not deliver what they are asked for, and those alone, are unfit,
// whatever else they do well; and money is exact.
func TestVisits(t *testing.T) {
	v := newVisited(t, 5, 1000, func(v *visited, node uint32, c *Config) {
		other := &shelf{files: make(map[rollup.Hash]*file), names: v.shelf.names}
		switch node {
		case 1: // its content has the right name and tree, and other bytes
			for root, f := range v.shelf.files { // order-free
				other.files[root] = &file{tree: f.tree, Reader: bytes.NewReader(make([]byte, f.Size()))}
			}
			c.Content = other
		case 4: // it has nothing, and says so
			c.Content = other
		}
	})
	gone := httptest.NewServer(nil)
	gone.Close()
	at := map[uint32]string{
		2: gone.URL,       // nobody is there
		3: v.nodes[0].url, // another node
	}
	visitor := v.visitor(t, at, nil)
	before, _ := v.View().AccountByKey(ledger.KeyOf(v.owner))
	found := visitor.Visit(t.Context(), []uint32{0, 1, 2, 3, 4}, 100*time.Millisecond)
	for node, want := range []struct {
		outcome func(*health.Visited) int
		unfit   bool
		why     string
	}{
		{outcome: func(x *health.Visited) int { return x.Served }},
		{func(x *health.Visited) int { return x.Failed }, true, "verify: bytes that do not verify"},
		{func(x *health.Visited) int { return x.Failed }, true,
			"manifest: nobody answers, or falls silent"},
		{func(x *health.Visited) int { return x.Failed }, true, "session: client: other_node"},
		{outcome: func(x *health.Visited) int { return x.Refused }},
	} {
		x := found[uint32(node)]
		if x.Asked < visit.Least || x.Asked > visit.Greatest || want.outcome(&x) != x.Asked ||
			x.Unfit != want.unfit || x.Why != want.why || (x.Median > 0) != (x.Served > 0) {
			t.Errorf("node %d: %+v", node, x)
		}
	}
	s := visitor.Stats()
	after, _ := v.View().AccountByKey(ledger.KeyOf(v.owner))
	if clients := v.View().Clients(); s.Why != nil || clients != 1+5 ||
		before.Balance-after.Balance != s.Fees || s.Fees != 5*v.View().Params().GrantFee {
		t.Errorf("%+v; the payer had %d and has %d", s, before.Balance, after.Balance)
	}
	paid, kept := uint64(0), uint64(0)
	for _, n := range v.nodes {
		paid += n.server.Stats().Credit.Paid
		for c := range v.View().Clients() {
			kept += held(t, n, c)
		}
	}
	if s.Charged == 0 || s.Charged != s.Bytes || paid != s.Charged || kept != s.Charged {
		t.Errorf("%d bytes came, %d were charged, nodes say %d and hold acks for %d", s.Bytes,
			s.Charged, paid, kept)
	}
	t.Logf("%+v", s)
}

// TestVisitsOwnLine: a visitor whose own line is cut takes nobody for unfit, unless what came to it
// is wrong, which no line does.
func TestVisitsOwnLine(t *testing.T) {
	v := newVisited(t, 2, 1000, nil)
	gone := httptest.NewServer(nil)
	gone.Close()
	at := map[uint32]string{0: gone.URL, 1: gone.URL}
	visitor := v.visitor(t, at, nil)
	found := visitor.Visit(t.Context(), []uint32{0, 1}, 0)
	for node, x := range found {
		if x.Failed != x.Asked || x.Unfit {
			t.Errorf("node %d: %+v", node, x)
		}
	}
	if s := visitor.Stats(); len(found) != 2 || !errors.Is(s.Why, visit.ErrOwnLine) ||
		s.Charged+s.Bytes != 0 {
		t.Errorf("%v, %+v", found, s)
	}
	at[1] = v.nodes[0].url
	if found := visitor.Visit(t.Context(), []uint32{0, 1}, 0); found[0].Unfit || !found[1].Unfit {
		t.Errorf("%+v", found)
	}
}

// TestVisitsCost: nothing is spent that is not allowed for, and nobody is visited without money, a
// site, or a node to visit.
func TestVisitsCost(t *testing.T) {
	v := newVisited(t, 1, 1<<20, nil)
	for name, c := range map[string]struct {
		change func(*visit.Config)
		want   error
	}{
		"a payer without an account": {func(c *visit.Config) {
			c.Payers = []ed25519.PrivateKey{testnet.Key("nobody", 1)}
		}, visit.ErrNoPayer},
		"no payer": {func(c *visit.Config) { c.Payers = nil }, visit.ErrNoPayer},
		"no site": {func(c *visit.Config) { c.Sites = func() []*manifest.Manifest { return nil } },
			visit.ErrNoSite},
		"too dear": {func(c *visit.Config) { c.Cost = visit.Most - 1 }, visit.ErrNoSite},
		"no node": {func(c *visit.Config) {
			c.Contact = func(context.Context, uint32) (string, error) { return "", nil }
		}, visit.ErrNoHost},
		"no bytes": {func(c *visit.Config) { c.Budget = 1000 }, visit.ErrNoHost},
	} {
		visitor := v.visitor(t, nil, c.change)
		found := visitor.Visit(t.Context(), []uint32{0}, 0)
		if s := visitor.Stats(); !errors.Is(s.Why, c.want) || len(found) > 0 || s.Charged > 0 ||
			v.View().Clients() != 1 {
			t.Errorf("%s: %v, %+v", name, found, s)
		}
	}
	const cost = 300_000 // one visit to the film may take more than is left after others
	visitor := v.visitor(t, nil, func(c *visit.Config) { c.Cost = cost })
	visitor.Visit(t.Context(), []uint32{0}, 0)
	if s := visitor.Stats(); s.Charged > cost || v.nodes[0].server.Stats().Credit.Paid != s.Charged {
		t.Errorf("%+v", s)
	}
}

// What differs from one request of a client to the next.
var (
	sessions = regexp.MustCompile("session=[0-9a-f]{32}")
	ranges   = regexp.MustCompile("bytes=[0-9]+-$")
)

// shape is what a node sees of a request.
func shape(r *http.Request) string {
	var names []string
	for name, values := range r.Header {
		value := sessions.ReplaceAllString(strings.Join(values, "|"), "session=")
		value = ranges.ReplaceAllString(value, "bytes=")
		if name == "Connect-Timeout-Ms" || name == "Content-Length" {
			value = ""
		}
		names = append(names, name+": "+value)
	}
	slices.Sort(names)
	return fmt.Sprintf("%s %s %s of %v; %s", r.Proto, r.Method, r.URL.RequestURI(),
		r.ContentLength > 0, strings.Join(names, "; "))
}

// recorder stands before a node and notes what it sees, with TLS.
type recorder struct {
	*httptest.Server
	mu     sync.Mutex
	shapes map[string]bool
	hellos map[string]bool
}

func record(t *testing.T, n *node) *recorder {
	t.Helper()
	r := &recorder{shapes: make(map[string]bool), hellos: make(map[string]bool)}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, request *http.Request) {
			r.mu.Lock()
			r.shapes[shape(request)] = true
			r.mu.Unlock()
			forward(t, transport, n.url, w, request,
				func(_ *http.Request, b []byte) []byte { return b })
		}))
	r.EnableHTTP2 = true
	r.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hellos[fmt.Sprint(h.CipherSuites, h.ServerName, h.SupportedCurves, h.SupportedPoints,
			h.SignatureSchemes, h.SupportedProtos, h.SupportedVersions, h.Extensions)] = true
		return nil, nil
	}}
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

// trusts is a client's way to say whom it trusts.
func (r *recorder) trusts() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(r.Certificate())
	return &tls.Config{RootCAs: roots}
}

// TestVisitsAsClients: what a node gets from a visitor, it gets from every client that reads the
// same pages: the same requests with the same headers, the same first words of TLS, from a client
// with a grant like any other. Only a session's name, a range and a time differ.
func TestVisitsAsClients(t *testing.T) {
	v := newVisited(t, 1, 1<<20, nil)
	ordinary, visited := record(t, v.nodes[0]), record(t, v.nodes[0])
	c, err := client.New(client.Config{URL: ordinary.URL, Pin: &v.nodes[0].pin,
		Book: client.MemoryBook(), Committee: v.Genesis.Committee(), TLS: ordinary.trusts()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, path := range []string{"/", "/page", "/film", "/page"} { // by a session of its own each
		f, err := client.NewFetcher(client.FetchConfig{Nodes: []*client.Client{c}, Key: v.Clients[0]})
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.OpenPath(t.Context(), client.Site{Owner: ledger.KeyOf(v.owner)}, path)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/film" { // somebody who skips what comes first
			if _, err := r.Seek(500_000, io.SeekStart); err != nil {
				t.Fatal(err)
			}
		}
		_, err = io.ReadFull(r, make([]byte, min(r.Size(), 64<<10)))
		if err := errors.Join(err, r.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	visitor := v.visitor(t, map[uint32]string{0: visited.URL}, func(c *visit.Config) {
		c.TLS = visited.trusts()
	})
	seen := func() int {
		visited.mu.Lock()
		defer visited.mu.Unlock()
		return len(visited.shapes)
	}
	for visits := 0; visits < 10 && seen() < len(ordinary.shapes); visits++ {
		found := visitor.Visit(t.Context(), []uint32{0}, 0)
		if found[0].Served < visit.Least {
			t.Fatalf("%+v", found)
		}
	}
	for _, r := range []*recorder{ordinary, visited} {
		r.Close() // and everything that was on its way is noted
	}
	for s := range visited.shapes {
		if !ordinary.shapes[s] {
			t.Errorf("only a visitor asks so: %s", s)
		}
	}
	for s := range ordinary.shapes {
		if !visited.shapes[s] {
			t.Errorf("no visitor asks so: %s", s)
		}
	}
	if len(ordinary.shapes) < 8 || len(visited.hellos) != 1 ||
		!maps.Equal(ordinary.hellos, visited.hellos) {
		t.Errorf("%d requests; %v, %v", len(ordinary.shapes), ordinary.hellos, visited.hellos)
	}
	for index := uint64(1); index < v.View().Clients(); index++ {
		common, _ := v.View().Client(0)
		fresh, _ := v.View().Client(index)
		if fresh.Payer != common.Payer || fresh.Services != common.Services ||
			fresh.Numbers != common.Numbers {
			t.Errorf("a visitor's grant %+v, and a client's %+v", fresh, common)
		}
	}
}
