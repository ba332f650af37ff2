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
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// TestTLS: content and acks over HTTP/2 with TLS; and over HTTP/1.1 with TLS a stream for who
// speaks that.
func TestTLS(t *testing.T) {
	borrowed := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	certificates, pool := borrowed.TLS.Certificates, x509.NewCertPool()
	pool.AddCert(borrowed.Certificate())
	borrowed.Close()
	trusts := &tls.Config{RootCAs: pool}
	w := start(t, 1, 2, func(c *Config) {
		c.TLS = &tls.Config{Certificates: certificates}
		c.Courtesy = 1 << 30
	})
	n := w.nodes[0]
	data := content(1, 3<<20)
	root := w.shelf.add(data)
	c, err := client.New(client.Config{URL: n.url, Pin: &n.pin, Book: client.MemoryBook(),
		TLS: trusts, Committee: w.Genesis.Committee()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := client.NewFetcher(client.FetchConfig{Nodes: []*client.Client{c}, Client: 0,
		Key: w.Clients[0]})
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(t, f, root)
	if err := errors.Join(err, f.Close()); err != nil || !bytes.Equal(got, data) {
		t.Fatal(len(got), err)
	}
	if s := n.server.Stats().Credit; s.Paid != uint64(len(data)) || s.Outstanding+s.Owed != 0 {
		t.Errorf("%+v", s)
	}
	one := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool},
		Protocols: new(http.Protocols)}}
	one.Transport.(*http.Transport).Protocols.SetHTTP1(true)
	defer one.CloseIdleConnections()
	response, err := one.Get(n.url + "/b3/" + root.String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err = io.ReadAll(response.Body)
	if err != nil || response.ProtoMajor != 1 || !bytes.Equal(got, data) {
		t.Errorf("HTTP/%d: %d bytes, %v", response.ProtoMajor, len(got), err)
	}
}

// TestSlowReader: who does not read what is sent is cut off, and owes no more than its window.
func TestSlowReader(t *testing.T) {
	// The window is more than the connection holds.
	w := lends(t, 1, credit.Params{First: 64 << 20, Most: 64 << 20}, func(c *Config) {
		c.Slow = 300 * time.Millisecond
	})
	n := w.nodes[0]
	root := w.shelf.add(content(1, 48<<20))
	accept := w.opened(t, n, 0)
	conn, err := net.Dial("tcp", n.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /b3/"+root.String()+" HTTP/1.1\r\nHost: a\r\nAccept: "+accept+
		"\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for n.server.Stats().Aborted[delivery.ReasonSlow] == 0 {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("nobody was cut off: %+v", n.server.Stats())
		}
	}
	s := n.server.Stats()
	if s.Open != 0 && s.Credit.Outstanding == 0 || s.Sent >= 48<<20 ||
		s.Credit.Outstanding+s.Credit.Owed < s.Sent {
		t.Errorf("%+v", s)
	}
}

// TestShutdown: a stream hears that the node leaves, and what was received is acknowledged.
func TestShutdown(t *testing.T) {
	w := start(t, 1, 1, nil)
	root := w.shelf.add(content(1, 64<<20))
	f := w.fetcher(t, 0, client.MemoryBook(), w.nodes[0])
	r, err := f.Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	w.nodes[0].server.stop()
	_, err = io.ReadAll(r)
	if !errors.Is(err, delivery.ReasonShuttingDown) {
		t.Errorf("%v", err)
	}
	if err := errors.Join(r.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if s := f.Stats(); s.Charged != s.Received {
		t.Errorf("%+v", s)
	}
}
