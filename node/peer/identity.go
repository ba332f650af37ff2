package peer

import (
	"crypto/ed25519"
	"crypto/tls"

	"github.com/waybill-network/waybill/node/pinned"
)

// ErrIdentity is returned when the other side of a connection does not hold the expected transport
// key.
var ErrIdentity = pinned.ErrIdentity

// TransportKey is a node's Ed25519 transport key, as the ledger registers it.
type TransportKey = pinned.Key

// NewCertificate wraps a transport key in a self-signed certificate: see pinned.NewCertificate. The
// ledger says whose a key is and since when.
func NewCertificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	return pinned.NewCertificate(key)
}
