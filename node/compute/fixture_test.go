package compute

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/internal/testnode"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/compute/machine/machinetest"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/serve"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// shelf is content in memory.
type shelf struct{ files map[rollup.Hash][]byte }

type file struct {
	*bytes.Reader
	tree []byte
}

func (s *shelf) add(data []byte) rollup.Hash {
	root := rollup.Hash(blake3.Sum256(data))
	s.files[root] = data
	return root
}

func (s *shelf) Open(_ context.Context, root rollup.Hash) (serve.File, error) {
	data, ok := s.files[root]
	if !ok {
		return nil, delivery.ReasonNotFound
	}
	_, tree := blake3.Outboard(data, delivery.GroupSize)
	return &file{bytes.NewReader(data), tree}, nil
}

func (s *shelf) Resolve(context.Context, uint32, string) (serve.Name, error) {
	return serve.Name{}, delivery.ReasonNotFound
}

func (f *file) Size() uint64 { return uint64(f.Reader.Size()) }
func (f *file) Check() error { return nil }
func (f *file) Close() error { return nil }

func (f *file) Parents(dst []byte, first, next, end uint64) ([]byte, error) {
	return blake3.AppendNodes(dst, bytes.NewReader(f.tree), f.Reader.Size(), delivery.GroupSize,
		int64(first), int64(next), int64(end))
}

// world is a node that runs modules, and a network for it.
type world struct {
	*testnet.Network
	*shelf
	service *Service
	server  *serve.Server
	url     string
	pin     client.Pin
}

func start(t *testing.T, cfg Config) *world {
	t.Helper()
	w := &world{Network: testnet.New(t, []string{"127.0.0.1:1"}, 2),
		shelf: &shelf{make(map[rollup.Hash][]byte)}}
	dir := t.TempDir()
	accounts, err := serve.OpenAccounts(dir, credit.Params{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := accounts.Close(); err != nil {
			t.Error(err)
		}
	})
	inside := testnode.Start(t, testnode.Options{Network: w.Network, Taken: accounts.Taken})
	key, log := w.Members[0].Transport, slog.New(slog.DiscardHandler)
	api := ingest.NewServer(ingest.Config{Network: w.ID, Key: key, Version: "test",
		Pipeline: inside.Pipeline.Pipeline, Chain: inside.Chain, Witness: w.Witness,
		Store: inside.Store, Logger: log, Status: func() any { return nil },
		Answered: func(frames []byte, answers []rollup.Answer) {
			w.server.Answered(frames, answers)
		}})
	cfg.Modules = w.shelf
	if w.service, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	w.server, err = serve.NewServer(serve.Config{Network: w.ID, Key: key, Chain: inside.Chain,
		Content: w.shelf, Kinds: []serve.Kind{w.service}, Counter: inside.Pipeline.Counter,
		API: api.Handler(), Dir: dir, Accounts: accounts})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + listener.Addr().String()
	w.pin = client.Pin{Network: w.ID}
	w.pin.Key, _ = w.View().NodeKey(0)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := w.server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = api.Shutdown(ctx) // it never listened
		if err := w.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		serving.Wait()
		if err := w.service.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) fetcher(t *testing.T, index uint64) *client.Fetcher {
	t.Helper()
	c, err := client.New(client.Config{URL: w.url, Pin: &w.pin, Book: client.MemoryBook(),
		Backoff: 5 * time.Millisecond, Committee: w.Genesis.Committee()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	f, err := client.NewFetcher(client.FetchConfig{Nodes: []*client.Client{c}, Client: index,
		Key: w.Clients[index]})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// echo writes up to 32 bytes of its input.
func echo() []byte {
	m := machinetest.Module{Imports: []string{"fd_read", "fd_write"}, Pages: 1,
		Start: machinetest.Cat(
			machinetest.I32(0), machinetest.I32(0), []byte{0x36, 2, 0x40}, // [64] = 0
			machinetest.I32(0), machinetest.I32(32), []byte{0x36, 2, 0x44}, // [68] = 32
			machinetest.I32(0), []byte{0x41, 0xc0, 0}, machinetest.I32(1), []byte{0x41, 0xc4, 0},
			[]byte{0x10, 0, 0x1a}, // [68] = how much was read
			machinetest.I32(1), []byte{0x41, 0xc0, 0}, machinetest.I32(1), []byte{0x41, 0xc8, 0},
			[]byte{0x10, 1, 0x1a})}
	return m.Bytes()
}

// spin runs until its fuel is used.
func spin() []byte {
	m := machinetest.Module{Start: []byte{0x03, 0x40, 0x0c, 0, 0x0b}}
	return m.Bytes()
}
