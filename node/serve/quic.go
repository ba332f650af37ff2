package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/waybill-network/waybill/node/door"
)

// maxYoung is how many handshakes of QUIC may be under way before a newcomer has to show that it is
// where it says: one more round trip (RFC 9000, section 8.1.2). A server answers with at most three
// times what an address sent before that is shown, and each handshake costs a signature.
const maxYoung = 32

// overQUIC is HTTP/3: the same handlers, limits and certificates as over TCP, at a port of UDP.
type overQUIC struct {
	server *http3.Server
	tls    *tls.Config // its own: net/http changes the one that it serves by
	places *door.Places
	young  atomic.Int64 // handshakes under way
	shown  atomic.Uint64
	over   chan struct{} // closed when all connections are
}

// quicKey is of a connection's context: ends its handshake.
type quicKey struct{}

func newOverQUIC(cfg *Config, handler http.Handler) *overQUIC {
	q := &overQUIC{tls: http3.ConfigureTLSConfig(cfg.TLS.Clone()), over: make(chan struct{}),
		places: door.NewPlaces(door.Bounds{Most: cfg.MaxConnections, OfOne: cfg.MaxOfOne})}
	q.server = &http3.Server{
		Handler:        handler,
		Port:           cfg.HTTP3Port,
		MaxHeaderBytes: 16 << 10,
		IdleTimeout:    5 * time.Minute,
		Logger:         slog.New(slog.DiscardHandler), // strangers would fill the log
		ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context {
			if grown, ok := ctx.Value(quicKey{}).(func()); ok {
				grown()
			}
			return ctx
		},
	}
	return q
}

// settings bound what a connection may have here, as they do for HTTP/2.
func settings() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           5 * time.Second,
		MaxIdleTimeout:                 time.Minute,
		MaxIncomingStreams:             256,
		MaxIncomingUniStreams:          8,        // three are HTTP/3's own
		InitialStreamReceiveWindow:     64 << 10, // requests are small
		MaxStreamReceiveWindow:         1 << 20,
		InitialConnectionReceiveWindow: 256 << 10,
		MaxConnectionReceiveWindow:     2 << 20,
	}
}

// admit takes a place for a connection before its handshake begins.
func (q *overQUIC) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	leave, ok := q.places.Enter(info.RemoteAddr.String())
	if !ok {
		return nil, errNoPlace
	}
	q.young.Add(1)
	grown := sync.OnceFunc(func() { q.young.Add(-1) })
	context.AfterFunc(ctx, func() { grown(); leave() })
	return context.WithValue(ctx, quicKey{}, grown), nil
}

var errNoPlace = errors.New("serve: no place for this connection")

// ServeHTTP3 answers over QUIC on a port of UDP until Shutdown, and returns nil then. Config.HTTP3
// has to be set. Answers over TCP say where it is (RFC 7838).
func (s *Server) ServeHTTP3(conn net.PacketConn) error {
	if s.quic == nil {
		return errors.Join(errors.New("serve: HTTP/3 is off"), conn.Close())
	}
	q := s.quic
	transport := &quic.Transport{Conn: conn, ConnContext: q.admit,
		VerifySourceAddress: func(net.Addr) bool {
			crowded := q.young.Load() >= maxYoung
			if crowded {
				q.shown.Add(1)
			}
			return crowded
		}}
	listener, err := transport.Listen(q.tls, settings())
	if err != nil {
		return errors.Join(fmt.Errorf("content over HTTP/3: %w", err), conn.Close())
	}
	err = q.server.ServeListener(listener)
	if errors.Is(err, http.ErrServerClosed) {
		<-q.over
	}
	closed := errors.Join(listener.Close(), transport.Close(), conn.Close())
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("content over HTTP/3: %w", errors.Join(err, closed))
	}
	return nil
}

// announce says in an answer over TCP where HTTP/3 is.
func (q *overQUIC) announce(h http.Header) {
	_ = q.server.SetQUICHeaders(h) // it fails while nothing listens
}

// goodbye is how long connections may take to end by themselves once all streams have.
const goodbye = time.Second

// shutdown tells clients to go, and waits for their calls until ctx ends.
func (q *overQUIC) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	defer close(q.over)
	err := q.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // they were closed
	}
	return err
}

// QUICStats counts connections of HTTP/3 since the server was made.
type QUICStats struct {
	On bool
	door.ListenerStats
	Shown uint64 // newcomers that had to show their address first
}

func (s *Server) quicStats() (x QUICStats) {
	if s.quic != nil {
		x = QUICStats{true, s.quic.places.Stats(), s.quic.shown.Load()}
	}
	return x
}
