package serve

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/internal/testnode"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// shelf is content in memory.
type shelf struct {
	mu    sync.Mutex
	files map[rollup.Hash]*file
	names map[string]Name
}

type file struct {
	*bytes.Reader
	tree   []byte
	denied atomic.Bool
	failed atomic.Bool
}

func (s *shelf) add(data []byte) rollup.Hash {
	root, tree := blake3.Outboard(data, delivery.GroupSize)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[root] = &file{Reader: bytes.NewReader(data), tree: tree}
	return root
}

func (s *shelf) Open(_ context.Context, root rollup.Hash) (File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[root]
	if f == nil {
		return nil, delivery.Refuse(delivery.ReasonNotFound, "%v", root)
	}
	return f, f.Check()
}

func (s *shelf) Resolve(_ context.Context, service uint32, path string) (Name, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, ok := s.names[path]; ok && service == 0 {
		return name, nil
	}
	return Name{}, delivery.ReasonNotFound
}

func (f *file) Size() uint64 { return uint64(f.Reader.Size()) }
func (f *file) Close() error { return nil }

func (f *file) ReadAt(p []byte, at int64) (int, error) {
	if f.failed.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	return f.Reader.ReadAt(p, at)
}

func (f *file) Check() error {
	if f.denied.Load() {
		return delivery.ReasonDenied
	}
	return nil
}

func (f *file) Parents(dst []byte, first, next, end uint64) ([]byte, error) {
	return blake3.AppendNodes(dst, bytes.NewReader(f.tree), f.Reader.Size(), delivery.GroupSize,
		int64(first), int64(next), int64(end))
}

// world is a network with nodes that deliver.
type world struct {
	*testnet.Network
	shelf *shelf
	nodes []*node
	// listen listens where a node is; at an address that was just left, or at any.
	listen func(t testing.TB, node uint32, address string) net.Listener

	windowAge, cosignWait time.Duration
	credit                credit.Params
	exposure              uint64 // of each node; 0: the default
}

type node struct {
	inside *testnode.Node
	server *Server
	url    string
	pin    client.Pin
	cut    func() // ends the node's connections and takes no others

	mu       sync.Mutex
	accounts *Accounts // that hear of the pipeline's acks
}

// taken is what the pipeline tells of its acks.
func (n *node) taken(chunks []rollup.Chunk) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.accounts.Taken(chunks)
}

// open opens the accounts of a directory, as a node's new process does.
func (n *node) open(t testing.TB, dir string, params credit.Params) *Accounts {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	if n.accounts, err = OpenAccounts(dir, params, quiet()); err != nil {
		t.Fatal(err)
	}
	return n.accounts
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start starts a network of nodes.
func start(t testing.TB, nodes, clients int, change func(*Config)) *world {
	t.Helper()
	return startAt(t, nodes, clients, listenHere, change)
}

func listenHere(t testing.TB, _ uint32, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", cmp.Or(address, "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func startAt(t testing.TB, nodes, clients int,
	listen func(testing.TB, uint32, string) net.Listener, change func(*Config)) *world {
	t.Helper()
	var addresses []string
	for range max(nodes, 1) {
		addresses = append(addresses, "127.0.0.1:1")
	}
	w := &world{Network: testnet.New(t, addresses, clients), listen: listen,
		shelf: &shelf{files: make(map[rollup.Hash]*file), names: make(map[string]Name)}}
	for i := range nodes {
		w.nodes = append(w.nodes, w.node(t, uint32(i), change))
	}
	return w
}

// lends starts a node that gives credit by rules of its own.
func lends(t testing.TB, clients int, params credit.Params, change func(*Config)) *world {
	t.Helper()
	w := startAt(t, 0, clients, listenHere, nil)
	w.credit = params
	w.nodes = append(w.nodes, w.node(t, 0, change))
	return w
}

func (w *world) node(t testing.TB, index uint32, change func(*Config)) *node {
	sessions := ingest.NewSessions(quiet())
	n := new(node)
	dir := t.TempDir()
	n.open(t, dir, w.credit)
	t.Cleanup(func() {
		if err := n.accounts.Close(); err != nil {
			t.Error(err)
		}
	})
	n.inside = testnode.Start(t, testnode.Options{Network: w.Network, Index: index,
		WindowAge: w.windowAge, CosignWait: w.cosignWait, Cosigners: sessions, Taken: n.taken,
		Exposure: w.exposure})
	key := w.Members[index].Transport
	api := ingest.NewServer(ingest.Config{Network: w.ID, Node: index, Key: key, Version: "test",
		Pipeline: n.inside.Pipeline.Pipeline, Chain: n.inside.Chain, Witness: w.Witness,
		Store: n.inside.Store, Logger: quiet(), Sessions: sessions, Status: func() any { return nil },
		Answered: func(frames []byte, answers []rollup.Answer) {
			n.server.Answered(frames, answers)
		}})
	config := Config{Network: w.ID, Node: index, Key: key, Chain: n.inside.Chain, Content: w.shelf,
		Counter: n.inside.Pipeline.Counter, API: api.Handler(), Dir: dir, Accounts: n.accounts,
		Left: func(payer, epoch uint32) (uint64, rollup.Code, time.Duration) {
			s := n.inside.Pipeline.Credit(payer, epoch)
			return s.Left, s.Code, s.Wait
		}}
	if change != nil {
		change(&config)
	}
	server, err := NewServer(config)
	if err != nil {
		t.Fatal(err)
	}
	n.server = server
	listener := w.listen(t, index, "")
	n.url = "http://" + listener.Addr().String()
	if config.TLS != nil {
		n.url = "https://" + listener.Addr().String()
	}
	n.pin = client.Pin{Network: w.ID, Node: index}
	n.pin.Key, _ = w.View().NodeKey(index)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	n.cut = sync.OnceFunc(func() { _ = server.http.Close() })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = api.Shutdown(ctx) // it never listened
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		serving.Wait()
	})
	return n
}

// through puts something between clients and a node that may change what the node sends.
func (n *node) through(t *testing.T, change func(*http.Request, []byte) []byte) string {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	server := httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			forward(t, transport, n.url, w, r, change)
		}))
	server.Config.Protocols = protocols
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

func forward(t *testing.T, transport *http.Transport, url string, w http.ResponseWriter,
	r *http.Request, change func(*http.Request, []byte) []byte) {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, url+r.URL.RequestURI(), r.Body)
	if err != nil {
		t.Error(err)
		return
	}
	out.Header, out.ContentLength = r.Header, r.ContentLength
	response, err := transport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	flush := func() { _ = http.NewResponseController(w).Flush() }
	flush()
	b := make([]byte, 64<<10)
	for {
		n, err := response.Body.Read(b)
		if n > 0 {
			if _, err := w.Write(change(r, b[:n])); err != nil {
				return
			}
			flush()
		}
		if err != nil {
			for name, values := range response.Trailer {
				w.Header()[http.TrailerPrefix+name] = values
			}
			if err != io.EOF {
				panic(http.ErrAbortHandler)
			}
			return
		}
	}
}

// fetcher returns a fetcher of a client from nodes.
func (w *world) fetcher(t *testing.T, index uint64, book *client.Book,
	nodes ...*node) *client.Fetcher {
	t.Helper()
	var list []*client.Client
	for _, n := range nodes {
		list = append(list, w.at(t, n.url, n.pin, book))
	}
	f, err := client.NewFetcher(client.FetchConfig{Nodes: list, Client: index,
		Key: w.Clients[index], Silence: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (w *world) at(t *testing.T, url string, pin client.Pin, book *client.Book) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: url, Pin: &pin, Book: book,
		Backoff: 5 * time.Millisecond, Committee: w.Genesis.Committee()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// content makes content that follows from a seed.
func content(seed uint64, size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b) // never fails
	return b
}
