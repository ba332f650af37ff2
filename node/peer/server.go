package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Limits of the peer API.
const (
	// MaxMessageSize is the size in bytes of the largest message: a full rollup, with room for the field headers.
	MaxMessageSize = rollup.MaxHeaderSize + rollup.MaxEvidenceSize + 64

	handshakeTimeout = 10 * time.Second
	callTimeout      = 60 * time.Second  // to read a request and to write its answer, each
	idleTimeout      = 120 * time.Second // a connection without a call
)

// ServerConfig is what a Server works with.
type ServerConfig struct {
	Member      *Member // nil: only Pull is answered
	Store       *store.Store
	Chain       Chain           // whose registry says which transport keys are admitted
	Certificate tls.Certificate // of this node's transport key, see NewCertificate
	MaxInflight int             // calls of one node at once; 0: 4
	Logger      *slog.Logger
}

// Server serves the peer API to registered nodes. It is safe for concurrent use.
type Server struct {
	cfg    ServerConfig
	member *Member
	http   *http.Server

	mu    sync.Mutex
	calls map[TransportKey]int
}

// NewServer returns a server; Serve makes it work.
func NewServer(cfg ServerConfig) *Server {
	if cfg.MaxInflight <= 0 {
		cfg.MaxInflight = 4
	}
	s := &Server{cfg: cfg, member: cfg.Member, calls: make(map[TransportKey]int)}
	path, handler := api.NewPeerServiceHandler(service{s},
		connect.WithReadMaxBytes(MaxMessageSize),
		connect.WithCompression("gzip", nil, nil), // digests and keys do not compress
	)
	mux := http.NewServeMux()
	mux.Handle(path, s.admit(handler))
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	s.http = &http.Server{
		Handler: mux,
		TLSConfig: serverTLS(cfg.Certificate, func(key TransportKey) bool {
			_, ok := cfg.Chain.View().NodeByKey(ledger.Key(key))
			return ok
		}),
		Protocols:         protocols,
		ReadHeaderTimeout: handshakeTimeout,
		ReadTimeout:       callTimeout,
		WriteTimeout:      2 * callTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 2 * cfg.MaxInflight,
			SendPingTimeout:      30 * time.Second,
			PingTimeout:          15 * time.Second,
			WriteByteTimeout:     30 * time.Second,
		},
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug), // handshakes that strangers fail
	}
	return s
}

// Serve answers on the listener until Shutdown, and returns nil then.
func (s *Server) Serve(listener net.Listener) error {
	if err := s.http.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("peer API: %w", err)
	}
	return nil
}

// Shutdown stops listening and waits for the calls that run, until ctx ends; then it breaks them off.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	return err
}

type callerKey struct{}

// caller returns the transport key behind the call; admit put it there.
func caller(ctx context.Context) TransportKey { return ctx.Value(callerKey{}).(TransportKey) }

// admit identifies the caller, bounds its calls, and takes a push's place in the member's room, all before a byte of
// the body is read.
func (s *Server) admit(next http.Handler) http.Handler {
	refusals := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deny := func(err error) { _ = refusals.Write(w, r, err) } // a caller that went away needs no answer
		key, err := peerKey(r.TLS)
		if err != nil {
			deny(connect.NewError(connect.CodeUnauthenticated, err))
			return
		}
		if !s.begin(key) {
			deny(wireError(refuse(Busy, "%d calls of this node are running", s.cfg.MaxInflight)))
			return
		}
		defer s.end(key)
		if r.URL.Path == api.PeerServicePushProcedure && s.member != nil {
			leave, err := s.member.enter()
			if err != nil {
				deny(wireError(err))
				return
			}
			defer leave()
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, key)))
	})
}

func (s *Server) begin(key TransportKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[key] >= s.cfg.MaxInflight {
		return false
	}
	s.calls[key]++
	return true
}

func (s *Server) end(key TransportKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[key]--; s.calls[key] == 0 {
		delete(s.calls, key)
	}
}

// service implements api.PeerServiceHandler.
type service struct{ *Server }

func (s service) Push(ctx context.Context, req *connect.Request[api.PushRequest]) (*connect.Response[api.PushResponse], error) {
	if s.member == nil {
		return nil, connect.NewError(connect.CodeUnimplemented, errors.New("this node is no member of the committee"))
	}
	share, err := s.member.push(ctx, caller(ctx), req.Msg.Header, req.Msg.Evidence)
	if err != nil {
		return nil, wireError(err)
	}
	return connect.NewResponse(&api.PushResponse{Share: share[:]}), nil
}

func (s service) Pull(_ context.Context, req *connect.Request[api.PullRequest]) (*connect.Response[api.PullResponse], error) {
	if len(req.Msg.RollupId) != len(rollup.Hash{}) {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a rollup id has %d bytes, not %d", len(rollup.Hash{}), len(req.Msg.RollupId)))
	}
	if req.Msg.Rung > uint32(rollup.RungProof) {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("there is no rung %d", req.Msg.Rung))
	}
	id, rung := rollup.Hash(req.Msg.RollupId), rollup.Rung(req.Msg.Rung)
	header, evidence, ok, err := s.cfg.Store.Evidence(id, rung)
	switch {
	case err != nil:
		return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("read rollup %v: %w", id, err))
	case !ok:
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("rollup %v is not kept here%s", id, ofRung(rung)))
	}
	return connect.NewResponse(&api.PullResponse{Header: header, Evidence: evidence}), nil
}

// ofRung says which evidence was asked for.
func ofRung(rung rollup.Rung) string {
	if rung == 0 {
		return ""
	}
	return fmt.Sprintf(" with evidence of rung %d", rung)
}
