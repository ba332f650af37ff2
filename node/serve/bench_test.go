package serve

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/rollup"
)

// BenchmarkFetch is a content of 64 MiB from a node over TLS by one connection, in one process:
// in a stream that is verified and acknowledged, and as plain bytes by the same server.
func BenchmarkFetch(b *testing.B) {
	borrowed := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	certificates, pool := borrowed.TLS.Certificates, x509.NewCertPool()
	pool.AddCert(borrowed.Certificate())
	borrowed.Close()
	w := startAt(b, 0, 1, listenHere, nil)
	w.exposure = 1 << 60 // no block orders what is taken
	w.nodes = append(w.nodes, w.node(b, 0, func(c *Config) {
		c.TLS = &tls.Config{Certificates: certificates}
		c.Courtesy = 1 << 40
	}))
	n := w.nodes[0]
	data := content(1, 64<<20)
	root := w.shelf.add(data)
	c, err := client.New(client.Config{URL: n.url, Pin: &n.pin, Book: client.MemoryBook(),
		TLS: &tls.Config{RootCAs: pool}, Committee: w.Genesis.Committee()})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.Run("acknowledged", func(b *testing.B) { benchStream(b, w, c, root, len(data)) })
	b.Run("plain", func(b *testing.B) {
		protocols := new(http.Protocols)
		protocols.SetHTTP2(true)
		plain := &http.Client{Transport: &http.Transport{Protocols: protocols,
			TLSClientConfig: &tls.Config{RootCAs: pool}}}
		defer plain.CloseIdleConnections()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			response, err := plain.Get(n.url + "/b3/" + root.String())
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, response.Body)
			if err := errors.Join(err, response.Body.Close()); err != nil || n != int64(len(data)) {
				b.Fatal(n, err)
			}
		}
	})
}

func benchStream(b *testing.B, w *world, c *client.Client, root rollup.Hash, size int) {
	f, err := client.NewFetcher(client.FetchConfig{Nodes: []*client.Client{c}, Client: 0,
		Key: w.Clients[0]})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		r, err := f.Open(b.Context(), root)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err := errors.Join(err, r.Close()); err != nil || n != int64(size) {
			b.Fatal(n, err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(f.Stats().Acks)/float64(b.N), "acks/op")
}
