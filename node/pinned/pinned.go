// Package pinned is TLS 1.3 between two sides that know each other by Ed25519 keys: each side's
// certificate wraps its key, and only the key in it counts. Nodes talk so with each other, and a
// node with the signer that holds its keys.
package pinned

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ErrIdentity is returned when the other side of a connection does not hold the expected key.
var ErrIdentity = errors.New("not the expected transport key")

// ALPN is the only application protocol, HTTP/2; anything else fails in the handshake.
const ALPN = "h2"

// Key is an Ed25519 public key.
type Key = [ed25519.PublicKeySize]byte

// NewCertificate wraps a key in a self-signed certificate. Only the key in it counts: there is no
// authority, no name and no expiry.
func NewCertificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "waybill node"},
		NotBefore:    time.Unix(0, 0),
		// RFC 5280 section 4.1.2.5: no expiry
		NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("transport certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Server accepts clients whose key is known.
func Server(certificate tls.Certificate, known func(Key) bool) *tls.Config {
	config := pinned(certificate, func(key Key) error {
		if !known(key) {
			return fmt.Errorf("%w: %x is not registered", ErrIdentity, key)
		}
		return nil
	})
	config.ClientAuth = tls.RequireAnyClientCert // any, because pinned judges the key itself
	return config
}

// Client accepts the one server that holds the key.
func Client(certificate tls.Certificate, want Key) *tls.Config {
	config := pinned(certificate, func(key Key) error {
		if key != want {
			return fmt.Errorf("%w: %x, and %x is wanted", ErrIdentity, key, want)
		}
		return nil
	})
	// there is no authority to ask; pinned takes the place of the default check
	config.InsecureSkipVerify = true
	return config
}

func pinned(certificate tls.Certificate, judge func(Key) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{certificate},
		NextProtos:             []string{ALPN},
		SessionTicketsDisabled: true, // a resumed session would outlive a change of the registry
		VerifyConnection: func(state tls.ConnectionState) error {
			key, err := PeerKey(&state)
			if err != nil {
				return err
			}
			return judge(key)
		},
	}
}

// PeerKey returns the transport key that the other side proved to hold: TLS 1.3 signs the handshake
// with the key of the first certificate.
func PeerKey(state *tls.ConnectionState) (key Key, err error) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return key, fmt.Errorf("%w: no certificate", ErrIdentity)
	}
	public, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return key, fmt.Errorf("%w: not an Ed25519 certificate", ErrIdentity)
	}
	return Key(public), nil
}

// KeyOf returns the transport key in a certificate of NewCertificate.
func KeyOf(certificate tls.Certificate) (key Key, err error) {
	private, ok := certificate.PrivateKey.(ed25519.PrivateKey)
	if !ok {
		return key, fmt.Errorf("%w: the certificate's key is not Ed25519", ErrIdentity)
	}
	return Key(private.Public().(ed25519.PublicKey)), nil
}
