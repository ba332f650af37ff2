package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Authority says who issues a certificate, and for what.
type Authority struct {
	Names     []string // host names and IP addresses that lead to the port
	Email     string   // where the authority writes to; may be empty
	Directory string   // the authority's URL
	Roots     string   // PEM file of what the authority's own server is known by; "": the system's
	Dir       string   // where account, keys and certificates are kept
	Port      int      // that listens; the authority comes to port 443 of each name, and is led there
	Log       *slog.Logger
}

// ACME is a Source that an authority fills. A certificate is renewed when a third of its life is
// left, or when the authority says so (RFC 9773), and again and again while that fails, at growing
// distances. The authority's challenge is answered in the port's own handshakes (RFC 8737).
type ACME struct {
	names []string
	cache *certmagic.Cache
	magic *certmagic.Config
	drain context.Context
	stop  context.CancelFunc

	mu    sync.Mutex
	wrong map[string]string // by name, what failed last
}

// NewACME returns a source that has nothing yet but what a run before left. It asks nobody before
// Start.
func NewACME(a Authority) (*ACME, error) {
	roots, err := pool(a.Roots)
	if err != nil {
		return nil, err
	}
	log := zap.New(&core{log: a.Log})
	s := &ACME{names: a.Names, wrong: make(map[string]string)}
	s.drain, s.stop = context.WithCancel(context.Background())
	s.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) {
			return s.magic, nil
		}, Logger: log})
	s.magic = certmagic.New(s.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: a.Dir}, OnEvent: s.note, Logger: log,
		// Who names an address, or nothing, in its greeting is answered too.
		DefaultServerName: a.Names[0],
	})
	s.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(s.magic, certmagic.ACMEIssuer{
		CA: a.Directory, Email: a.Email, Agreed: true, TrustedRoots: roots,
		DisableHTTPChallenge: true, AltTLSALPNPort: a.Port, Profile: profile(a), Logger: log,
	})}
	return s, nil
}

// letsEncrypt is an authority that issues for an address only in its profile of short lives.
const letsEncrypt = "api.letsencrypt.org/"

func profile(a Authority) string {
	isAddress := func(name string) bool { return net.ParseIP(name) != nil }
	if slices.ContainsFunc(a.Names, isAddress) && strings.Contains(a.Directory, letsEncrypt) {
		return "shortlived"
	}
	return ""
}

// pool reads roots, nil for the system's.
func pool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate (PEM) in it", file)
	}
	return roots, nil
}

// note keeps what failed, and forgets it when it works.
func (s *ACME) note(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch event {
	case "cert_failed":
		err, _ := data["error"].(error)
		if err == nil {
			err = errors.New("unknown")
		}
		s.wrong[name] = fmt.Sprintf("%s: %v", name, err)
	case "cert_obtained":
		delete(s.wrong, name)
	}
	return nil
}

// TLS is that of Source.
func (s *ACME) TLS() *tls.Config {
	c := settings()
	c.NextProtos = append(c.NextProtos, s.magic.TLSConfig().NextProtos...)
	c.GetCertificate = s.magic.GetCertificate
	return c
}

// Start obtains what is missing in the background, and renews from now on.
func (s *ACME) Start() error { return s.magic.ManageAsync(s.drain, s.names) }

// Close ends renewals. What is under way is given up.
func (s *ACME) Close() {
	s.stop()
	s.cache.Stop()
}

// State is that of Source: of several certificates, the one that ends first.
func (s *ACME) State() State {
	state := State{Names: s.names}
	for i, name := range s.names {
		var until time.Time
		for _, c := range s.cache.AllMatchingCertificates(name) {
			if c.Leaf != nil && c.Leaf.NotAfter.After(until) {
				until = c.Leaf.NotAfter
			}
		}
		if i == 0 || until.Before(state.Until) {
			state.Until = until
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.names {
		if wrong := s.wrong[name]; wrong != "" {
			state.Wrong = wrong
		}
	}
	return state
}
