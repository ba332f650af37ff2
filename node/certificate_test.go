package node_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/certificate/acmetest"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/rollup"
)

// TestCertificate: a node that knows nothing but its name and an authority delivers over TLS, under
// a certificate for that name, and says until when.
func TestCertificate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	directory, roots := acmetest.New(t, address.Port)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	folder, data := t.TempDir(), bytes.Repeat([]byte("waybill"), 10_000)
	root := rollup.Hash(blake3.Sum256(data))
	if err := os.Mkdir(filepath.Join(folder, "b3"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "b3", root.String()), data, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorldOf(t, 1, 10, func(i int, c *config.Config) {
		if i == 0 {
			c.Content.Listen, c.Content.Origin = address.String(), folder
			c.Content.Courtesy = 1 << 30
			c.Certificate.Names = []string{"127.0.0.1"}
			c.Certificate.Directory, c.Certificate.Roots = directory, roots
		}
	})
	defer w.stop()
	w.await("a certificate", func() bool {
		_, body := w.get(0, "/metrics")
		_, rest, _ := strings.Cut(body, "\nwaybill_content_certificate_expiry_timestamp_seconds ")
		until, _, _ := strings.Cut(rest, "\n")
		return until != "0" && until != ""
	})
	// The authority's root is made anew each time, so only the name is checked.
	c := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer c.CloseIdleConnections()
	res, err := c.Get("https://" + address.String() + "/b3/" + root.String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(got, data) || res.Proto != "HTTP/2.0" {
		t.Fatal(res.Proto, len(got), err)
	}
	if err := res.TLS.PeerCertificates[0].VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
	if _, body := w.get(0, "/readyz"); strings.Contains(body, "certificate") {
		t.Error(body)
	}
}
