// Package certificate gives a port its TLS certificate: from files, which are read again when they
// change, or from an authority that speaks ACME (RFC 8555), which issues it for names that reach
// the port and renews it in time. The certificates that nodes show each other are package peer's.
package certificate

import (
	"crypto/tls"
	"time"
)

// Source has a port's certificate. It is safe for concurrent use.
type Source interface {
	// TLS returns settings that take the newest certificate for each connection. The caller may
	// change them.
	TLS() *tls.Config
	// Start begins to obtain and renew, once the port is open: an authority looks there.
	Start() error
	// State says what there is at the moment.
	State() State
	// Close ends what Start began.
	Close()
}

// State is what a source has.
type State struct {
	Names []string  // that the certificate is for
	Until time.Time // when it ends; zero when there is none
	Wrong string    // what failed last, "" when nothing did
}

// Expired says that a client will not take the certificate any more, or that there is none.
func (s State) Expired(now time.Time) bool { return !now.Before(s.Until) }

func settings() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}
