package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
)

// dialled are a client's connections, with the bytes that came over each.
type dialled struct {
	mu    sync.Mutex
	conns []*countedConn
}

type countedConn struct {
	net.Conn
	bytes atomic.Uint64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(uint64(n))
	return n, err
}

func (d *dialled) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	counted := &countedConn{Conn: c}
	d.conns = append(d.conns, counted)
	return counted, nil
}

// bytes are those of each connection.
func (d *dialled) bytes() (list []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		list = append(list, c.bytes.Load())
	}
	return list
}

// TestStraight: a client that a node has sent some megabytes has a second connection, and contents
// come over that, one after the other; all are verified and paid for.
func TestStraight(t *testing.T) {
	borrowed := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	certificates, pool := borrowed.TLS.Certificates, x509.NewCertPool()
	pool.AddCert(borrowed.Certificate())
	borrowed.Close()
	w := startAt(t, 0, 1, listenHere, nil)
	w.exposure = 1 << 60 // no block orders what is taken
	w.nodes = append(w.nodes, w.node(t, 0, func(c *Config) {
		c.TLS = &tls.Config{Certificates: certificates}
	}))
	data := content(1, 3<<20+5)
	root := w.shelf.add(data)
	d := new(dialled)
	c, err := client.New(client.Config{URL: w.nodes[0].url, Pin: &w.nodes[0].pin,
		Book: client.MemoryBook(), TLS: &tls.Config{RootCAs: pool}, Dial: d.dial,
		Committee: w.Genesis.Committee()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := client.NewFetcher(client.FetchConfig{Nodes: []*client.Client{c}, Client: 0,
		Key: w.Clients[0], Stall: time.Minute, Silence: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	fetched := 0
	fetch := func() {
		t.Helper()
		r, err := f.Open(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: %v", len(got), err)
		}
		fetched += len(got)
	}
	for deadline := time.Now().Add(30 * time.Second); len(d.bytes()) < 2; fetch() {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections", len(d.bytes()))
		}
	}
	straight := func() (sum uint64) {
		for _, n := range d.bytes()[1:] {
			sum += n
		}
		return sum
	}
	for deadline := time.Now().Add(30 * time.Second); straight() < 4*uint64(len(data)); fetch() {
		if time.Now().After(deadline) {
			t.Fatalf("bytes by connection: %d", d.bytes())
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if s := f.Stats(); s.Received != uint64(fetched) || s.Charged != s.Received {
		t.Errorf("%+v, of %d bytes", s, fetched)
	}
	if n := len(d.bytes()); n > 1+4 {
		t.Errorf("%d connections", n)
	}
}
