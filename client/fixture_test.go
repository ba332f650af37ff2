package client

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/internal/testnode"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
)

// clients is how many clients the network of a fixture has.
const clients = 4

// fixture is one serving node on a real socket. Everything in it is the real thing but for
// consensus.
type fixture struct {
	*testnode.Node
	store    *store.Store
	sessions *ingest.Sessions
	address  string
	shutdown func()
}

type options struct {
	windowAge  time.Duration
	cosignWait time.Duration
	config     func(*ingest.Config)
	network    *testnet.Network
	now        func() time.Time // the node's clock
	taken      func([]rollup.Chunk)
}

func start(t testing.TB, o options) *fixture {
	t.Helper()
	f := &fixture{sessions: ingest.NewSessions(quiet())}
	f.Node = testnode.Start(t, testnode.Options{Clients: clients, WindowAge: o.windowAge,
		Network: o.network, Now: o.now, CosignWait: o.cosignWait, Cosigners: f.sessions,
		Taken: o.taken})
	f.store = f.Store
	config := ingest.Config{
		Network:  f.ID,
		Version:  "test",
		Key:      f.Members[0].Transport,
		Pipeline: f.Pipeline.Pipeline,
		Sessions: f.sessions,
		Chain:    f.Chain,
		Witness:  f.Witness,
		Store:    f.store,
		Status:   func() any { return struct{}{} },
		Logger:   quiet(),
	}
	if o.config != nil {
		o.config(&config)
	}
	server := ingest.NewServer(config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	f.shutdown = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		serving.Wait()
	})
	t.Cleanup(f.shutdown)
	return f
}

// pin is what the node's clients are configured with.
func (f *fixture) pin() Pin {
	pin := Pin{Network: f.ID}
	pin.Key, _ = f.View().NodeKey(0)
	return pin
}

// sign signs with the clients' keys.
func (f *fixture) sign() Signer {
	return SignWith(func(client uint64) *bls.SecretKey { return f.Clients[client] })
}

func (f *fixture) url() string { return "http://" + f.address }

func (f *fixture) client(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	pin := f.pin()
	config := Config{URL: f.url(), Backoff: 5 * time.Millisecond, Pin: &pin, Book: MemoryBook(),
		Committee: f.Genesis.Committee()}
	if change != nil {
		change(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
