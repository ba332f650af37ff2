// Package ingest is a node's door for clients: the RPC server through which acks come in and the
// ledger is read. Package client is the library that programs use to talk to it.
//
// One port speaks Connect, gRPC and plain HTTP with JSON, over TLS or unencrypted HTTP/1.1 and
// HTTP/2. Everything that node/api/waybill.proto defines can be asked with curl:
//
//	curl -d '{}' -H 'Content-Type: application/json' \
//	  http://localhost:7400/waybill.v1.LedgerService/GetStatus
//
// The stream of acks needs HTTP/2 and so a program.
package ingest

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/node/events"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

const (
	readHeaderTimeout = 10 * time.Second
	// to write an answer of a stream; see door.Ingest for calls
	callTimeout = 30 * time.Second
	maxStreams  = 256 // calls at once on one connection

	// budget is how many bytes of requests may be read or worked on at once. Acks that were read
	// have their own budget in the pipeline.
	budget = 64 << 20
)

// pace is the least rate of a request or, in a stream, of a message.
var pace = door.Pace{Grace: 10 * time.Second, Rate: 32 << 10}

// Chain is the committee as this package needs it. Safe for concurrent use.
type Chain interface {
	// View returns the ledger as of the last block.
	View() *ledger.View
	// Updated returns a channel that is closed when View will return something newer.
	Updated() <-chan struct{}
	// SubmitTx hands a transaction to the mempool. An error whose type is *ledger.Refusal is the
	// ledger's final word on it; any other, even one that wraps a refusal, may pass.
	SubmitTx(ctx context.Context, tx []byte) error
}

// Witness is what is kept of blocks for files that outsiders check, see node/witness. Safe for
// concurrent use.
type Witness interface {
	Anchor(h *rollup.Header) (*export.Anchor, error)
	Settlement(epoch uint32) (*export.Settlement, error)
	HandOvers(first uint32, key func(node uint32) ([bls.PublicKeySize]byte, bool)) (
		*export.HandOvers, error)
	Draws(first uint32) (*export.Draws, error)
	Registry(height uint64) export.Prover
	Events() *events.Log
}

// Config is what a Server works with. Zero limits mean the defaults.
type Config struct {
	Network rollup.Network
	Node    uint32
	Version string

	// Key is the node's own, with which it signs what it answers. A node with a pipeline has one.
	Key ed25519.PrivateKey

	// nil: the node does not serve, and IngestService answers unimplemented
	Pipeline *pipeline.Pipeline
	Sessions *Sessions // those that the pipeline asks to co-sign; nil: it asks nobody
	Chain    Chain
	Witness  Witness
	Joining  Joining // nil: nothing for nodes that join
	Store    *store.Store
	// VerifyingKey returns the encoded verifying key for a circuit's size in an epoch, which
	// exports of rung 3 carry; nil when it is not here.
	VerifyingKey func(size int, epoch uint32) []byte
	// Status returns the node's snapshot, which GetStatus sends along as JSON.
	Status func() any
	// Ready says whether the node is ready, as its operator's port does. Nil: always.
	Ready func() bool
	// Answered hears of every answer to acks, 128 bytes each, before it is sent. Nil: nobody does.
	Answered func(frames []byte, answers []rollup.Answer)

	TLS            *tls.Config   // with certificates; nil: unencrypted
	MaxConnections int           // 0: 4096
	MaxOfOne       int           // connections of one address; 0: 256
	MaxSubmission  int           // acks in a request; 0: api.MaxSubmission
	IdleTimeout    time.Duration // of a connection or an ack stream; 0: 5 minutes
	Logger         *slog.Logger
}

// Server serves IngestService and LedgerService. It is safe for concurrent use.
type Server struct {
	cfg   Config
	door  *door.Door
	http  *http.Server
	drain context.Context // done when Shutdown begins
	stop  context.CancelFunc

	callTimeout time.Duration
}

// NewServer returns a server; Serve makes it work.
func NewServer(cfg Config) *Server {
	if cfg.Pipeline != nil && len(cfg.Key) != ed25519.PrivateKeySize {
		panic("ingest: a pipeline without the node's key")
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = 4096
	}
	if cfg.MaxOfOne == 0 {
		cfg.MaxOfOne = 256
	}
	if cfg.MaxSubmission == 0 {
		cfg.MaxSubmission = api.MaxSubmission
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 5 * time.Minute
	}
	if cfg.Ready == nil {
		cfg.Ready = func() bool { return true }
	}
	s := &Server{cfg: cfg, callTimeout: callTimeout}
	s.drain, s.stop = context.WithCancel(context.Background())
	largest := door.Submission(cfg.MaxSubmission)
	s.door = door.New(door.Config{Table: door.Ingest(cfg.MaxSubmission), Pace: pace,
		Budget: []int64{max(budget, 8*largest)}})
	mux := http.NewServeMux()
	plain := connect.WithCompression("gzip", nil, nil) // nothing is inflated here
	if cfg.Pipeline != nil {
		mux.Handle(api.NewIngestServiceHandler(newAckService(s),
			connect.WithReadMaxBytes(int(largest)), plain, api.WithZeros()))
	}
	mux.Handle(api.NewLedgerServiceHandler(ledgerService{s},
		connect.WithReadMaxBytes(api.MaxMessageSize), plain, api.WithZeros()))
	s.tools(mux, connect.WithReadMaxBytes(door.MaxTool), plain)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(cfg.TLS != nil)
	protocols.SetUnencryptedHTTP2(cfg.TLS == nil)
	s.http = &http.Server{
		Handler:           s.door.Handler(streams(mux)),
		ConnState:         door.Track,
		TLSConfig:         cfg.TLS.Clone(),
		Protocols:         protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			// A stream's window holds a large submission, so that the next one travels while the
			// last is verified.
			MaxReceiveBufferPerStream:     1 << 20,
			MaxReceiveBufferPerConnection: 2 << 20,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              callTimeout,
		},
		// what strangers send to an open port
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Handler returns what the port answers, within the bounds of its door, for another port that
// serves it as well. Shutdown ends its streams.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Drain ends streams when what was read of them is answered. Shutdown does so, too; this is for
// another port that serves Handler and is shut down before.
func (s *Server) Drain() { s.stop() }

// Serve answers on the listener until Shutdown, and returns nil then.
func (s *Server) Serve(listener net.Listener) error {
	listener = door.Listen(listener, door.Bounds{
		Most: s.cfg.MaxConnections, OfOne: s.cfg.MaxOfOne, Idle: s.cfg.IdleTimeout})
	var err error
	if s.cfg.TLS != nil {
		err = s.http.ServeTLS(listener, "", "")
	} else {
		err = s.http.Serve(listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("ingest API: %w", err)
	}
	return nil
}

// Shutdown stops listening and reading, answers what was read, and waits for that until ctx ends;
// then it breaks off what is left. Shut the pipeline down afterwards.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	return err
}
