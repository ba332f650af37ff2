package ingest

import (
	"bytes"
	"cmp"
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

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// clients is how many clients the network of a fixture has.
const clients = 4

// fixture is one serving node, the only member of its committee, on a real socket. Everything in it is the real thing
// but for consensus.
type fixture struct {
	*testnet.Network
	store    *store.Store
	pipeline *pipeline.Pipeline
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
	f := &fixture{Network: testnet.New(t, []string{"127.0.0.1:1"}, clients)}
	var err error
	if f.store, err = store.OpenMemory(); err != nil {
		t.Fatal(err)
	}
	quiet := quiet()
	certificate, err := peer.NewCertificate(f.Members[0].Transport)
	if err != nil {
		t.Fatal(err)
	}
	member := peer.NewMember(peer.MemberConfig{Network: f.ID, Key: f.Members[0].BLS, Chain: f, Store: f.store, Logger: quiet})
	members := peer.NewMembers(peer.MembersConfig{Chain: f, Certificate: certificate, Local: member})
	f.sessions = NewSessions(quiet)
	ended, endOffers := context.WithCancel(context.Background())
	f.endOffers = endOffers
	f.pipeline, err = pipeline.New(pipeline.Config{Network: f.ID, Workers: 1, WindowAge: cmp.Or(o.windowAge, time.Hour),
		Grace: 20 * time.Millisecond, MaxSkew: time.Hour, CosignWait: o.cosignWait, Cosigners: endable{f.sessions, ended}}, f.store, chain{f.Network, f.store}, members)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.pipeline.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	config := Config{Network: f.ID, Version: "test", Pipeline: f.pipeline, Sessions: f.sessions, Chain: chain{f.Network, f.store}, Store: f.store,
		Status: func() any { return map[string]any{"chain": map[string]int{"peers": 3}} }, Logger: quiet}
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
		f.pipeline.Close()
		members.Close()
		if err := f.store.Close(); err != nil {
			t.Error(err)
		}
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

// chain keeps the certificates that it executes, as a node does.
type chain struct {
	*testnet.Network
	store *store.Store
}

func (c chain) SubmitTx(ctx context.Context, tx []byte) error {
	err := c.Network.SubmitTx(ctx, tx)
	if parsed, parseErr := ledger.ParseTx(tx); err == nil && parseErr == nil && parsed.Kind == ledger.KindCertificate {
		certificate, ok := parsed.Body.(*rollup.Certificate)
		if !ok {
			return errors.New("a certificate transaction without a certificate")
		}
		return c.store.PutCertificate(certificate.Header.Key(), certificate.Append(nil))
	}
	return err
}

func (f *fixture) url() string { return "http://" + f.address }

func (f *fixture) client(t *testing.T, change func(*ClientConfig)) *Client {
	t.Helper()
	config := ClientConfig{URL: f.url(), Backoff: 5 * time.Millisecond}
	if change != nil {
		change(&config)
	}
	c, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// open is the open window.
func (f *fixture) open() rollup.WindowKey {
	w := f.pipeline.OpenWindow()
	return rollup.WindowKey{Epoch: w.Epoch, Window: w.Window}
}

// frames are acks with the given seqs for the open window.
func (f *fixture) frames(from, count uint32) []byte {
	var b []byte
	for seq := from; seq < from+count; seq++ {
		ack := f.Ack(f.open(), seq%clients, seq)
		b = ack.Append(b)
	}
	return b
}

// post calls a procedure as curl does.
func (f *fixture) post(t *testing.T, procedure string, body string) (response *http.Response, answer map[string]any) {
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

// ordered waits until the chain has executed the rollup of a window.
func (f *fixture) ordered(t *testing.T, key rollup.WindowKey) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		updated := f.Updated()
		if f.View().IsOrdered(key) {
			return
		}
		select {
		case <-updated:
		case <-deadline:
			t.Fatalf("the rollup of %v is not ordered", key)
		}
	}
}

// serverTLS is a certificate for 127.0.0.1 and what trusts it.
func serverTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	certificate, err := peer.NewCertificate(testnet.Key("tls", 0))
	if err != nil {
		t.Fatal(err)
	}
	trusts := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(state tls.ConnectionState) error {
		if !bytes.Equal(state.PeerCertificates[0].Raw, certificate.Certificate[0]) {
			return errors.New("another certificate")
		}
		return nil
	}}
	return &tls.Config{Certificates: []tls.Certificate{certificate}}, trusts
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
