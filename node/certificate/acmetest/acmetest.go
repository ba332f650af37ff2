// Package acmetest has an ACME authority for tests: Pebble, in this process.
package acmetest

import (
	"encoding/pem"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// New starts an authority, which connects to a port of 127.0.0.1 as a public one connects to 443.
// It returns its directory, and a file with the roots that its own server is known by. It ends with
// the test.
func New(t *testing.T, port int) (directory, roots string) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	said := Log(t)
	store := db.NewMemoryStore()
	issuer := ca.New(said, store, "", "ecdsa", 0, 1,
		map[string]ca.Profile{"default": {ValidityPeriod: 3600}})
	front := wfe.New(said, store, va.New(said, 1, port, true, "", store), issuer,
		[]string{"pebble"}, true, false, 1, 1)
	server := httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)
	roots = filepath.Join(t.TempDir(), "roots.pem")
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(roots, root, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL + wfe.DirectoryPath, roots
}

// Log writes lines into the test's output while it runs.
func Log(t *testing.T) *log.Logger { return log.New(lines{t}, "", 0) }

type lines struct{ t *testing.T }

func (l lines) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil { // afterwards it would be a mistake
		l.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}
