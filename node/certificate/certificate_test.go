package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/certificate/acmetest"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write puts a self-signed pair for a name into two files.
func write(t *testing.T, chain, key, name string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, secret.Public(), secret)
	ok(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	ok(t, err)
	ok(t, os.WriteFile(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	ok(t, os.WriteFile(key,
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// TestFiles: what takes the place of a pair is used without a restart, and what does not fit, or is
// gone, hurts no connection and is told.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	if _, err := NewFiles(chain, key, slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("files that are not there are taken")
	}
	write(t, chain, key, "one.example")
	var said strings.Builder
	f, err := NewFiles(chain, key, slog.New(slog.NewTextHandler(&said, nil)))
	ok(t, err)
	now := time.Now()
	f.now = func() time.Time { return now }
	serves := func(want string) {
		t.Helper()
		now = now.Add(lookAgain)
		c, err := f.TLS().GetCertificate(nil)
		ok(t, err)
		if c.Leaf.DNSNames[0] != want {
			t.Fatalf("the certificate of %s, not %s", c.Leaf.DNSNames[0], want)
		}
	}
	serves("one.example")
	write(t, chain, key, "two.example.org")
	serves("two.example.org")
	if s := f.State(); s.Wrong != "" || s.Expired(now) || !s.Expired(now.Add(2*time.Hour)) ||
		!slices.Equal(s.Names, []string{"two.example.org"}) {
		t.Error(s)
	}
	write(t, chain, filepath.Join(dir, "of-another"), "three.example.com")
	for range 3 {
		serves("two.example.org")
	}
	ok(t, os.Remove(key))
	serves("two.example.org")
	if s := f.State(); !strings.Contains(s.Wrong, "key.pem") {
		t.Error(s.Wrong)
	}
	write(t, chain, key, "four.example.net")
	serves("four.example.net")
	if s := f.State(); s.Wrong != "" {
		t.Error(s.Wrong)
	}
	if n := strings.Count(said.String(), "level=WARN"); n != 2 {
		t.Errorf("%d warnings of two faults:\n%s", n, said.String())
	}
}

// TestACME: a port gets its certificate by answering the authority's challenge itself, and has it
// after a restart without asking again.
func TestACME(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	directory, roots := acmetest.New(t, port)
	a := Authority{Names: []string{"127.0.0.1"}, Directory: directory, Roots: roots,
		Dir: filepath.Join(t.TempDir(), "acme"), Port: port, Log: slog.New(slog.DiscardHandler)}
	s, err := NewACME(a)
	ok(t, err)
	if !s.State().Expired(time.Now()) {
		t.Error("a certificate before it was asked for")
	}
	server := &http.Server{TLSConfig: s.TLS(), ErrorLog: acmetest.Log(t),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
		})}
	go server.ServeTLS(listener, "", "")
	t.Cleanup(func() { server.Close() })
	ok(t, s.Start())
	var state State
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if state = s.State(); !state.Expired(time.Now()) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no certificate: ", state.Wrong)
		}
	}
	served := func() *x509.Certificate {
		conn, err := tls.Dial("tcp", listener.Addr().String(),
			&tls.Config{InsecureSkipVerify: true}) // the authority's root is made anew each time
		ok(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	leaf := served()
	ok(t, leaf.VerifyHostname("127.0.0.1"))
	if !leaf.NotAfter.Equal(state.Until) {
		t.Errorf("until %v, and %v is served", state.Until, leaf.NotAfter)
	}
	s.Close()

	again, err := NewACME(a)
	ok(t, err)
	defer again.Close()
	ok(t, again.Start())
	for deadline := time.Now().Add(30 * time.Second); again.State().Expired(time.Now()); {
		if time.Now().After(deadline) {
			t.Fatal("what was kept is not found: ", again.State().Wrong)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := again.State().Until; !got.Equal(state.Until) {
		t.Errorf("a new certificate (until %v) after a restart", got)
	}
}

// TestACMEFails: an authority that does not get through to the port says so, and the node tells.
func TestACMEFails(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	ok(t, closed.Close())
	directory, roots := acmetest.New(t, closed.Addr().(*net.TCPAddr).Port)
	mine, err := net.Listen("tcp", "127.0.0.1:0") // which the authority is not led to
	ok(t, err)
	defer mine.Close()
	s, err := NewACME(Authority{Names: []string{"127.0.0.1"}, Directory: directory, Roots: roots,
		Dir: filepath.Join(t.TempDir(), "acme"), Port: mine.Addr().(*net.TCPAddr).Port,
		Log: slog.New(slog.DiscardHandler)})
	ok(t, err)
	defer s.Close()
	ok(t, s.Start())
	for deadline := time.Now().Add(60 * time.Second); s.State().Wrong == ""; {
		if time.Now().After(deadline) {
			t.Fatal("nobody says that it failed")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if state := s.State(); !strings.HasPrefix(state.Wrong, "127.0.0.1: ") ||
		!state.Expired(time.Now()) {
		t.Error(state)
	}
}

// TestRoots: a file without roots is refused by name.
func TestRoots(t *testing.T) {
	file := filepath.Join(t.TempDir(), "roots.pem")
	for _, content := range []string{"", "no PEM"} {
		ok(t, os.WriteFile(file, []byte(content), 0o600))
		_, err := NewACME(Authority{Names: []string{"a.example"}, Roots: file})
		if err == nil || !strings.Contains(err.Error(), "roots.pem") {
			t.Error(err)
		}
	}
}

// TestProfile: an address has a short life at the authority that wants it so.
func TestProfile(t *testing.T) {
	const public = "https://acme-v02.api.letsencrypt.org/directory"
	for _, c := range []struct {
		name, directory, want string
	}{{"a.example", public, ""}, {"192.0.2.1", public, "shortlived"},
		{"2001:db8::1", public, "shortlived"}, {"192.0.2.1", "https://ca.example/dir", ""}} {
		if got := profile(Authority{Names: []string{c.name}, Directory: c.directory}); got != c.want {
			t.Errorf("%s at %s: %q", c.name, c.directory, got)
		}
	}
}
