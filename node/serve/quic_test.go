package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/client/quic"
)

// overUDP starts a node that answers over QUIC, too, and returns it with who trusts it.
func overUDP(t *testing.T, change func(*Config)) (*world, *tls.Config) {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	certificates, pool := borrowed.TLS.Certificates, x509.NewCertPool()
	pool.AddCert(borrowed.Certificate())
	borrowed.Close()
	w := startAt(t, 0, 1, listenHere, nil)
	w.exposure = 1 << 60 // no block orders what is taken
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait) // after the node's own
	w.nodes = append(w.nodes, w.node(t, 0, func(c *Config) {
		c.TLS, c.HTTP3 = &tls.Config{Certificates: certificates}, true
		if change != nil {
			change(c)
		}
	}))
	u, err := url.Parse(w.nodes[0].url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	serving.Go(func() {
		if err := w.nodes[0].server.ServeHTTP3(conn); err != nil {
			t.Error(err)
		}
	})
	return w, &tls.Config{RootCAs: pool}
}

// viaQUIC returns a fetcher whose streams come over HTTP/3.
func viaQUIC(t *testing.T, w *world, trust *tls.Config, over http.RoundTripper) *client.Fetcher {
	t.Helper()
	c, err := client.New(client.Config{URL: w.nodes[0].url, Pin: &w.nodes[0].pin,
		Book: client.MemoryBook(), TLS: trust, Streams: over, Committee: w.Genesis.Committee()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	f, err := client.NewFetcher(client.FetchConfig{Nodes: []*client.Client{c}, Client: 0,
		Key: w.Clients[0], Stall: time.Minute, Silence: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func transport(t *testing.T, trust *tls.Config) *http3.Transport {
	t.Helper()
	over := quic.New(trust)
	t.Cleanup(func() {
		if err := over.Close(); err != nil {
			t.Error(err)
		}
	})
	return over
}

// TestHTTP3: content comes over UDP in a session, in credit, and is paid for to the last byte; a
// reader that leaves owes nothing.
func TestHTTP3(t *testing.T) {
	w, trust := overUDP(t, nil)
	data := content(1, 3<<20+5)
	root := w.shelf.add(data)
	f := viaQUIC(t, w, trust, transport(t, trust))
	for range 2 {
		r, err := f.Open(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: %v", len(got), err)
		}
	}
	r, err := f.Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	if err := errors.Join(r.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	s, at := f.Stats(), w.nodes[0].server.Stats()
	if s.Received < 2*uint64(len(data))+1000 || s.Charged != s.Received || at.Sent < s.Received {
		t.Errorf("client %+v, node sent %d", s, at.Sent)
	}
	if at.Credit.Paid != s.Charged || at.Credit.Owed != 0 {
		t.Errorf("client %+v, credit %+v", s, at.Credit)
	}
	if !at.HTTP3.On || at.HTTP3.Accepted != 1 {
		t.Errorf("%+v: the streams came another way", at.HTTP3)
	}
}

// TestHTTP3Refusals: a refusal is the same JSON as over TCP, and answers over TCP say where HTTP/3
// is.
func TestHTTP3Refusals(t *testing.T) {
	w, trust := overUDP(t, nil)
	u, err := url.Parse(w.nodes[0].url)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(by http.RoundTripper) (*http.Response, string) {
		t.Helper()
		response, err := (&http.Client{Transport: by}).Get(w.nodes[0].url + "/b3/none")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return response, string(text)
	}
	tcp := &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true}
	defer tcp.CloseIdleConnections()
	over, text := ask(transport(t, trust))
	plain, same := ask(tcp)
	if over.ProtoMajor != 3 || over.StatusCode != http.StatusBadRequest || text != same ||
		!strings.Contains(text, `"malformed"`) || over.Header.Get("Alt-Svc") != "" {
		t.Errorf("%s %s, over TCP %s: %s", over.Proto, over.Status, same, text)
	}
	if got := plain.Header.Get("Alt-Svc"); !strings.Contains(got, `h3=":`+u.Port()+`"`) {
		t.Errorf("Alt-Svc %q, at port %s", got, u.Port())
	}
}

// TestHTTP3Places: an address has so many connections and no more, and gets others when they end.
func TestHTTP3Places(t *testing.T) {
	w, trust := overUDP(t, func(c *Config) { c.MaxOfOne = 2 })
	get := func(by http.RoundTripper) error {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.nodes[0].url+"/session", nil)
		if err != nil {
			return err
		}
		response, err := by.RoundTrip(r)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	first := quic.New(trust)
	if err := errors.Join(get(first), get(transport(t, trust))); err != nil {
		t.Fatal(err)
	}
	if err := get(transport(t, trust)); err == nil {
		t.Error("a third connection has a place")
	}
	if s := w.nodes[0].server.Stats().HTTP3; s.Accepted != 2 || s.Refused == 0 || s.Open != 2 {
		t.Errorf("%+v", s)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(30 * time.Second); get(transport(t, trust)) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the place is not given back")
		}
	}
}

// TestHTTP3Crowd: while many handshakes are under way a newcomer shows its address first, and is
// served then.
func TestHTTP3Crowd(t *testing.T) {
	w, trust := overUDP(t, nil)
	q := w.nodes[0].server.quic
	q.young.Add(maxYoung)
	defer q.young.Add(-maxYoung)
	data := content(2, 1<<20)
	f := viaQUIC(t, w, trust, transport(t, trust))
	r, err := f.Open(t.Context(), w.shelf.add(data))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close(), f.Close()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if s := w.nodes[0].server.Stats().HTTP3; s.Shown == 0 || s.Accepted != 1 {
		t.Errorf("%+v", s)
	}
}

// TestHTTP3Blocked: where no UDP comes through, streams go over TCP.
func TestHTTP3Blocked(t *testing.T) {
	w, trust := overUDP(t, nil)
	data := content(3, 100_000)
	f := viaQUIC(t, w, trust, roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("no answer")
	}))
	r, err := f.Open(t.Context(), w.shelf.add(data))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close(), f.Close()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if s := w.nodes[0].server.Stats().HTTP3; s.Accepted != 0 {
		t.Errorf("%+v", s)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
