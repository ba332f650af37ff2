// Package quic has a client fetch content over HTTP/3:
//
//	over := quic.New(nil)
//	defer over.Close()
//	c, err := client.New(client.Config{URL: url, Streams: over, …})
//
// It pays where packets are lost: over TCP what is lost holds up all that came behind it. Where
// none are, HTTP/3 costs both sides more of their processors than HTTP/1.1 does. Sessions, acks and
// small calls stay on HTTP/2. A node has to have it switched on (content.http3).
package quic

import (
	"crypto/tls"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// New returns what is for client.Config.Streams, of any number of clients. TLS says whom to trust,
// as in client.Config; nil is the system's authorities. Close it.
func New(trust *tls.Config) *http3.Transport {
	if trust != nil {
		trust = trust.Clone()
		trust.NextProtos = nil // they are HTTP/3's own
	}
	return &http3.Transport{
		TLSClientConfig:    trust,
		DisableCompression: true,
		QUICConfig: &quic.Config{
			// A network that lets no UDP through says nothing of it.
			HandshakeIdleTimeout:       2 * time.Second,
			MaxIdleTimeout:             time.Minute,
			KeepAlivePeriod:            20 * time.Second,
			MaxStreamReceiveWindow:     8 << 20, // as much as a node sends ahead of acks
			MaxConnectionReceiveWindow: 32 << 20,
		},
	}
}
