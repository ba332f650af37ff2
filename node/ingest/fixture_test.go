package ingest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/internal/testnode"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// clients is how many clients the network of a fixture has.
const clients = 4

// fixture is one serving node, the only member of its committee, on a real socket. Everything in it
// is the real thing but for consensus.
type fixture struct {
	*testnode.Node
	store    *store.Store
	pipeline *pipelinetest.Node
	sessions *Sessions
	// endOffers ends the offers under way, and later ones at once, as their deadline would.
	endOffers context.CancelFunc
	server    *Server
	address   string
	shutdown  func()
}

type options struct {
	windowAge  time.Duration
	cosignWait time.Duration
	config     func(*Config)
	server     func(*Server)
}

func start(t *testing.T, o options) *fixture {
	t.Helper()
	f := &fixture{sessions: NewSessions(quiet())}
	ended, endOffers := context.WithCancel(context.Background())
	f.endOffers = endOffers
	f.Node = testnode.Start(t, testnode.Options{Clients: clients, WindowAge: o.windowAge,
		CosignWait: o.cosignWait, Cosigners: endable{f.sessions, ended}})
	f.store, f.pipeline = f.Node.Store, f.Node.Pipeline
	config := Config{Network: f.ID, Key: f.Members[0].Transport, Version: "test",
		Pipeline: f.pipeline.Pipeline, Sessions: f.sessions, Chain: f.Chain, Witness: f.Witness,
		Store: f.store, Logger: quiet(),
		Status: func() any { return map[string]any{"chain": map[string]int{"peers": 3}} }}
	if o.config != nil {
		o.config(&config)
	}
	f.server = NewServer(config)
	if o.server != nil {
		o.server(f.server)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := f.server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	f.shutdown = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		serving.Wait()
	})
	t.Cleanup(func() {
		endOffers()
		f.shutdown()
	})
	return f
}

// endable are sessions whose offers a test can end.
type endable struct {
	*Sessions
	ended context.Context
}

func (e endable) Offer(ctx context.Context, o *pipeline.Offer) []pipeline.Cosignature {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ended, cancel)()
	return e.Sessions.Offer(ctx, o)
}

func (f *fixture) url() string { return "http://" + f.address }

func (f *fixture) client(t *testing.T, change func(*client.Config)) *client.Client {
	t.Helper()
	pin := f.pin()
	config := client.Config{URL: f.url(), Backoff: 5 * time.Millisecond, Pin: &pin,
		Book: client.MemoryBook(), Committee: f.Genesis.Committee()}
	if change != nil {
		change(&config)
	}
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// pin is what the node's clients are configured with.
func (f *fixture) pin() client.Pin {
	pin := client.Pin{Network: f.ID}
	pin.Key, _ = f.View().NodeKey(0)
	return pin
}

func (f *fixture) open() rollup.WindowKey { return f.Open() }

func (f *fixture) frames(from, count uint32) []byte { return f.Frames(from, count) }

func (f *fixture) ordered(t *testing.T, key rollup.WindowKey) { f.Ordered(t, key) }

// post calls a procedure as curl does.
func (f *fixture) post(t *testing.T, procedure string, body string) (response *http.Response,
	answer map[string]any) {
	t.Helper()
	response, err := http.Post(f.url()+procedure, "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s: %q: %v", response.Status, text, err)
	}
	return response, answer
}

// serverTLS is a certificate for 127.0.0.1 and what trusts it.
func serverTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	certificate, err := peer.NewCertificate(testnet.Key("tls", 0))
	if err != nil {
		t.Fatal(err)
	}
	trusts := &tls.Config{InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if !bytes.Equal(state.PeerCertificates[0].Raw, certificate.Certificate[0]) {
				return errors.New("another certificate")
			}
			return nil
		}}
	return &tls.Config{Certificates: []tls.Certificate{certificate}}, trusts
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
