// Package live drives the client in TypeScript against real nodes: doors, pipelines, stores and
// books, in a network whose blocks are made on demand. In Node.js it runs sdk/ts/test/live, in
// Chromium the pages of sdk/ts/test/pages.
package live

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/internal/testnode"
	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/serve"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/manifest"
	"github.com/waybill-network/waybill/rollup/registry"
)

const package_ = "../ts"

// shelf is a store as package serve needs it.
type shelf struct {
	*content.Store
	manifest *manifest.Manifest
}

type file struct{ *content.Content }

func (f file) Size() uint64 { return uint64(f.Content.Size) }

func (f file) Parents(dst []byte, first, next, end uint64) ([]byte, error) {
	return f.AppendNodes(dst, int64(first), int64(next), int64(end))
}

func (s *shelf) Open(_ context.Context, root rollup.Hash) (serve.File, error) {
	c, err := s.Store.Open(root)
	if err != nil {
		return nil, delivery.Refuse(delivery.ReasonNotFound, "%w", err)
	}
	return file{c}, nil
}

func (s *shelf) Resolve(_ context.Context, _ uint32, path string) (n serve.Name, err error) {
	e, err := s.manifest.Lookup(path)
	if err != nil {
		return n, delivery.Refuse(delivery.ReasonNotFound, "%w", err)
	}
	return serve.Name{Root: e.Root, Manifest: s.manifest.Digest(),
		Path: manifest.PathDigest(path), Type: e.Type}, nil
}

func (s *shelf) encoded(uint32) ([]byte, error) { return s.manifest.Append(nil), nil }

type world struct {
	*testnet.Network
	shelf *shelf
	nodes []*node
}

type node struct {
	server *serve.Server
	inside *testnode.Node
	url    string
	pin    client.Pin
	cut    func()
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// made is content that follows from a seed.
func made(seed uint64, size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b) // never fails
	return b
}

// start starts nodes that deliver a site of 100 images of 50 KB, a film, and some files.
func start(t *testing.T, nodes, clients int) *world {
	t.Helper()
	addresses := make([]string, nodes)
	for i := range addresses {
		addresses[i] = "127.0.0.1:1"
	}
	w := &world{Network: testnet.New(t, addresses, clients), shelf: &shelf{}}
	store, err := content.Open(content.Options{Dir: t.TempDir(), MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	w.shelf.Store = store
	t.Cleanup(func() { _ = store.Close() }) // it goes with its folder
	var entries []manifest.Entry
	add := func(path, kind string, data []byte) {
		info, err := store.Add(t.Context(), bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, manifest.Entry{Path: path, Root: info.Root,
			Size: uint64(len(data)), Type: kind})
	}
	for i := range 100 {
		add(fmt.Sprintf("/images/%d.bmp", i), "image/bmp", picture(i))
	}
	for i, size := range []int{0, 1, 16384, 16385, 700_001, 5 << 20} {
		add(fmt.Sprintf("/files/%d", size), "application/octet-stream", made(uint64(i), size))
	}
	add("/sound.wav", "audio/wav", wave(60))
	owner := w.Members[0].Owner
	w.shelf.manifest, err = manifest.New(manifest.Head{Network: w.ID, Service: 0, Serial: 1,
		Until: manifest.Forever}, entries, owner)
	if err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		w.nodes = append(w.nodes, w.node(t, uint32(i)))
	}
	return w
}

// picture is an image of some 50 KB that browsers show: 128 by 128 dots in 24 bits, and no two
// alike.
func picture(i int) []byte {
	const side, header = 128, 54
	b := make([]byte, header, header+3*side*side)
	copy(b, "BM")
	for at, v := range map[int]byte{10: header, 14: 40, 18: side, 22: side, 26: 1, 28: 24} {
		b[at] = v
	}
	b[2], b[3] = byte((header+3*side*side)&255), byte((header+3*side*side)>>8)
	return append(b, made(uint64(1000+i), 3*side*side)...)
}

func (w *world) node(t *testing.T, index uint32) *node {
	dir := t.TempDir()
	accounts, err := serve.OpenAccounts(dir, credit.Params{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := accounts.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &node{inside: testnode.Start(t, testnode.Options{Network: w.Network, Index: index,
		Taken: accounts.Taken})}
	key := w.Members[index].Transport
	api := ingest.NewServer(ingest.Config{Network: w.ID, Node: index, Key: key, Version: "test",
		Pipeline: n.inside.Pipeline.Pipeline, Chain: n.inside.Chain, Witness: w.Witness,
		Store: n.inside.Store, Logger: quiet(), Status: func() any { return nil },
		Answered: func(frames []byte, answers []rollup.Answer) {
			n.server.Answered(frames, answers)
		}})
	n.server, err = serve.NewServer(serve.Config{Network: w.ID, Node: index, Key: key,
		Chain: n.inside.Chain, Content: w.shelf, Counter: n.inside.Pipeline.Counter,
		Manifest: w.shelf.encoded, Routes: w, API: api.Handler(), Dir: dir, Accounts: accounts})
	if err != nil {
		t.Fatal(err)
	}
	listener := listen(t)
	n.url = "http://" + listener.Addr().String()
	n.pin = client.Pin{Network: w.ID, Node: index}
	n.pin.Key, _ = w.View().NodeKey(index)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := n.server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	stop := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = api.Shutdown(ctx)      // it never listened
		_ = n.server.Shutdown(ctx) // a browser keeps its connections
		serving.Wait()
	})
	n.cut = stop
	t.Cleanup(stop)
	return n
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

type object = map[string]any

// config is what a client of the SDK is configured with.
func (w *world) config(c int) object {
	var nodes []object
	for _, n := range w.nodes {
		nodes = append(nodes, object{"url": n.url, "pin": n.pin.String()})
	}
	secret := w.Clients[c].Bytes()
	owner := w.Members[0].Owner
	return object{"nodes": nodes, "genesis": string(w.Genesis.Encode()), "client": c,
		"service": 0, "secret": hex.EncodeToString(secret[:]),
		"owner": hex.EncodeToString(owner[32:])}
}

// Nodes implements serve.Routes: no record is certified yet.
func (w *world) Nodes() (serve.Nodes, error) {
	n := serve.Nodes{Stake: w.Genesis.Params.ServeStake}
	for _, m := range w.Genesis.Members {
		n.All = append(n.All, registry.Node{NodeKey: m.TransportKey, Until: registry.None,
			Stake: m.Stake, Status: registry.Standing})
	}
	return n, nil
}

// Contacts implements serve.Routes.
func (w *world) Contacts() (list []serve.Contact) {
	for i, n := range w.nodes {
		list = append(list, serve.Contact{Node: uint32(i), URL: n.url})
	}
	return list
}

// paid is what a node holds acks for.
func (n *node) paid() uint64 { return n.server.Stats().Credit.Paid }

// site serves what the programs under test ask of their own server: configurations, the nodes'
// books, the end of a node, and files.
func (w *world) site(t *testing.T, files http.Handler) (url string, reports <-chan string) {
	t.Helper()
	said := make(chan string, 64)
	mux := http.NewServeMux()
	answer := func(rw http.ResponseWriter, v any) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Access-Control-Allow-Origin", "*")
		_ = json.NewEncoder(rw).Encode(v) // or nobody is there
	}
	mux.HandleFunc("GET /config/{client}", func(rw http.ResponseWriter, r *http.Request) {
		var c int
		if _, err := fmt.Sscan(r.PathValue("client"), &c); err != nil || c >= len(w.Clients) {
			http.NotFound(rw, r)
			return
		}
		answer(rw, w.config(c))
	})
	mux.HandleFunc("GET /books", func(rw http.ResponseWriter, _ *http.Request) {
		var books []object
		for _, n := range w.nodes {
			c := n.server.Stats().Credit
			books = append(books, object{"sent": n.server.Stats().Sent, "paid": c.Paid,
				"outstanding": c.Outstanding, "owed": c.Owed, "beyond": c.Beyond})
		}
		answer(rw, books)
	})
	mux.HandleFunc("POST /cut/{node}", func(rw http.ResponseWriter, r *http.Request) {
		var i int
		if _, err := fmt.Sscan(r.PathValue("node"), &i); err != nil || i >= len(w.nodes) {
			http.NotFound(rw, r)
			return
		}
		w.nodes[i].cut()
		answer(rw, true)
	})
	mux.HandleFunc("POST /epoch", func(rw http.ResponseWriter, _ *http.Request) {
		w.Advance(testnet.EpochSeconds * time.Second)
		answer(rw, w.View().Epoch())
	})
	mux.HandleFunc("POST /certify", func(rw http.ResponseWriter, _ *http.Request) {
		w.CertifyRecords(t)
		answer(rw, w.View().Epoch())
	})
	mux.HandleFunc("POST /report", func(rw http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		said <- string(text)
		rw.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("/", files)
	listener := listen(t)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String(), said
}

// tool finds a program, or skips the test: unless the variable says that it has to be there.
func tool(t *testing.T, name, required string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil && name == "node" {
		_, err = os.Stat(package_ + "/build/live")
	}
	if err != nil {
		if os.Getenv(required) != "" {
			t.Fatal(err)
		}
		t.Skipf("%v: make sdk runs this", err)
	}
	return path
}

// TestNode runs the tests that need nodes, in Node.js.
func TestNode(t *testing.T) {
	path := tool(t, "node", "REQUIRE_SDK")
	w := start(t, 2, 8)
	url, _ := w.site(t, http.NotFoundHandler())
	cmd := exec.CommandContext(t.Context(), path, "--test", "build/live/")
	cmd.Dir, cmd.Env = package_, append(os.Environ(), "WAYBILL_LIVE="+url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, " acks, ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	for i, n := range w.nodes {
		t.Logf("node %d holds acks for %d bytes", i, n.paid())
	}
}
