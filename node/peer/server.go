package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/node/pinned"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Limits of the peer API; those of its calls are in door.Peer.
const (
	// MaxMessageSize is the size in bytes of the largest message: a full rollup, with room for the
	// field headers.
	MaxMessageSize = door.MaxPush

	handshakeTimeout = 10 * time.Second
	idleTimeout      = 120 * time.Second // a connection without a call; callers hang up earlier
	maxConnections   = 1024
	maxOfOneAddress  = 128 // many nodes may share one
)

// pace is the least rate of a push. A full rollup at this rate takes half a minute.
var pace = door.Pace{Grace: 5 * time.Second, Rate: 256 << 10}

// ServerConfig is what a Server works with.
type ServerConfig struct {
	Member      *Member // nil: Push is refused
	Store       *store.Store
	Chain       Chain           // whose registry says which transport keys are admitted
	Certificate tls.Certificate // of this node's transport key, see NewCertificate
	MaxInflight int             // calls of one node at once; 0: 4
	ContentURL  string          // where this node delivers content; empty: nowhere
	// Answer answers an encoded probe of the node that has a key; nil: Probe is refused.
	Answer func(caller ledger.Key, probe []byte) ([]byte, error)
	Logger *slog.Logger
}

// Server serves the peer API to registered nodes. It is safe for concurrent use.
type Server struct {
	cfg    ServerConfig
	member *Member
	door   *door.Door
	http   *http.Server
}

// NewServer returns a server; Serve makes it work.
func NewServer(cfg ServerConfig) *Server {
	if cfg.MaxInflight <= 0 {
		cfg.MaxInflight = 4
	}
	s := &Server{cfg: cfg, member: cfg.Member}
	view := cfg.Chain.View()
	seats := int64(len(view.Committee().Members))
	if r := view.Params().Rotation; r != nil {
		seats = int64(r.Seats)
	}
	s.door = door.New(door.Config{
		Table: door.Peer(cfg.MaxInflight), Pace: pace,
		Budget: []int64{
			stakeless: 4 * MaxMessageSize,
			staked:    8 * MaxMessageSize,
			seated:    2 * max(4, seats) * MaxMessageSize,
		},
		Identify: s.identify, Admit: s.admit, Ended: s.cutOff, Wire: refusedAtDoor,
	})
	path, handler := api.NewPeerServiceHandler(service{s},
		connect.WithReadMaxBytes(MaxMessageSize),
		connect.WithCompression("gzip", nil, nil), // digests and keys do not compress
	)
	mux := http.NewServeMux()
	mux.Handle(path, handler)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	s.http = &http.Server{
		Handler:   s.door.Handler(mux),
		ConnState: door.Track,
		TLSConfig: pinned.Server(cfg.Certificate, func(key TransportKey) bool {
			_, ok := cfg.Chain.View().NodeByKey(ledger.Key(key))
			return ok
		}),
		Protocols:         protocols,
		ReadHeaderTimeout: handshakeTimeout,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 2 * cfg.MaxInflight,
			SendPingTimeout:      30 * time.Second,
			PingTimeout:          15 * time.Second,
			WriteByteTimeout:     30 * time.Second,
		},
		// handshakes that strangers fail
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers on the listener until Shutdown, and returns nil then.
func (s *Server) Serve(listener net.Listener) error {
	listener = door.Listen(listener,
		door.Bounds{Most: maxConnections, OfOne: maxOfOneAddress, Idle: idleTimeout})
	if err := s.http.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("peer API: %w", err)
	}
	return nil
}

// Shutdown stops listening and waits for the calls that run, until ctx ends; then it breaks them
// off.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	return err
}

// caller returns the transport key behind a call.
func caller(ctx context.Context) TransportKey {
	return TransportKey([]byte(door.CallerOf(ctx).Key))
}

// identify says by which key a call is made, and what the ledger says about its node.
func (s *Server) identify(r *http.Request) (door.Caller, error) {
	key, err := pinned.PeerKey(r.TLS)
	if err != nil {
		return door.Caller{}, connect.NewError(connect.CodeUnauthenticated, err)
	}
	return door.Caller{Key: string(key[:]), Class: int(standingOf(s.cfg.Chain.View(), key))}, nil
}

// admit refuses a push of a caller who has to wait, before a byte of the body is read.
func (s *Server) admit(r *http.Request, c door.Caller) error {
	if s.member == nil || r.URL.Path != api.PeerServicePushProcedure {
		return nil
	}
	if err := s.member.Admit(TransportKey([]byte(c.Key))); err != nil {
		return wireError(err)
	}
	return nil
}

// cutOff notes a push that was too slow or too large. What broke by itself is nobody's fault.
func (s *Server) cutOff(r *http.Request, c door.Caller, err error) {
	if s.member == nil || r.URL.Path != api.PeerServicePushProcedure {
		return
	}
	if errors.Is(err, door.ReasonSlow) || errors.Is(err, door.ReasonSize) {
		s.member.Fault(TransportKey([]byte(c.Key)), err)
	}
}

// refusedAtDoor tells a pusher that found no room in the words of the peer API.
func refusedAtDoor(r *door.Refusal) error {
	if r.Code == door.ReasonCalls || r.Code == door.ReasonBytes {
		return wireError(&Refusal{Code: ReasonBusy, Err: r.Err})
	}
	return door.Wire(r)
}

// service implements api.PeerServiceHandler.
type service struct{ *Server }

func (s service) Push(ctx context.Context, req *connect.Request[api.PushRequest]) (
	*connect.Response[api.PushResponse], error) {
	if s.member == nil || !s.judges() {
		return nil, connect.NewError(connect.CodeUnimplemented,
			errors.New("this node is no member of the committee"))
	}
	own := [rollup.WordSize]byte{} // of another length it is none
	if len(req.Msg.Own) == len(own) {
		copy(own[:], req.Msg.Own)
	}
	share, err := s.member.Push(ctx, caller(ctx), req.Msg.Header, own, req.Msg.Evidence)
	if err != nil {
		return nil, wireError(err)
	}
	return connect.NewResponse(&api.PushResponse{Share: share[:]}), nil
}

// judges reports whether this node is, or was, of a committee whose word may be asked for.
func (s *Server) judges() bool {
	view := s.cfg.Chain.View()
	if _, rotates := view.Rotation(); !rotates {
		return true // or there were no member here
	}
	key, err := pinned.KeyOf(s.cfg.Certificate)
	if err != nil {
		return false
	}
	node, known := view.NodeByKey(ledger.Key(key))
	return known && view.Judges(node.Index)
}

func (s service) Pull(_ context.Context, req *connect.Request[api.PullRequest]) (
	*connect.Response[api.PullResponse], error) {
	if len(req.Msg.RollupId) != len(rollup.Hash{}) {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("a rollup id has %d bytes, not %d", len(rollup.Hash{}),
				len(req.Msg.RollupId)))
	}
	if req.Msg.Rung > uint32(rollup.RungProof) {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("there is no rung %d", req.Msg.Rung))
	}
	id, rung := rollup.Hash(req.Msg.RollupId), rollup.Rung(req.Msg.Rung)
	header, evidence, err := s.kept(id, rung)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, connect.NewError(connect.CodeInternal,
			fmt.Errorf("read rollup %v: %w", id, err))
	case err != nil:
		return nil, connect.NewError(connect.CodeNotFound,
			fmt.Errorf("rollup %v is not kept here%s", id, ofRung(rung)))
	}
	return connect.NewResponse(&api.PullResponse{Header: header, Evidence: evidence}), nil
}

func (s service) Contact(context.Context, *connect.Request[api.ContactRequest]) (
	*connect.Response[api.ContactResponse], error) {
	return connect.NewResponse(&api.ContactResponse{ContentUrl: s.cfg.ContentURL}), nil
}

// Probe answers a member of the committee.
func (s service) Probe(ctx context.Context, req *connect.Request[api.ProbeRequest]) (
	*connect.Response[api.ProbeResponse], error) {
	if s.cfg.Answer == nil {
		return nil, connect.NewError(connect.CodeUnimplemented,
			errors.New("this node is no candidate of a committee that rotates"))
	}
	answer, err := s.cfg.Answer(ledger.Key(caller(ctx)), req.Msg.Probe)
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return connect.NewResponse(&api.ProbeResponse{Answer: answer}), nil
}

func (s service) kept(id rollup.Hash, rung rollup.Rung) (header, evidence []byte, err error) {
	a, err := s.cfg.Store.Archive(id)
	if err != nil {
		return nil, nil, err
	}
	evidence, err = a.Evidence(rung)
	return a.Header.Append(nil), evidence, err
}

// ofRung says which evidence was asked for.
func ofRung(rung rollup.Rung) string {
	if rung == 0 {
		return ""
	}
	return fmt.Sprintf(" with evidence of rung %d", rung)
}
