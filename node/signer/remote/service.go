package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/pinned"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/signer/remote/wire"
	"github.com/waybill-network/waybill/node/signer/vault"
)

// Bounds of a request. A report with what its audit asks for is the longest statement.
const (
	maxRequest    = 8 << 20
	maxStatements = 1024
	maxExtension  = 64 << 10
)

// Server answers one node for one vault.
type Server struct {
	vault  *vault.Vault
	server *http.Server
	log    *slog.Logger
	broken atomic.Bool
}

var _ wire.SignerServiceHandler = (*Server)(nil)

// NewServer returns a server, which has to be closed.
func NewServer(v *vault.Vault, log *slog.Logger) (*Server, error) {
	certificate, err := pinned.NewCertificate(v.TLS())
	if err != nil {
		return nil, err
	}
	s := &Server{vault: v, log: log}
	path, handler := wire.NewSignerServiceHandler(s, connect.WithReadMaxBytes(maxRequest))
	mux := http.NewServeMux()
	mux.Handle(path, handler)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second,
		TLSConfig: pinned.Server(certificate, func(key pinned.Key) bool {
			return key == pinned.Key(v.Node)
		}),
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	return s, nil
}

// Serve answers at a listener until Close, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("signer: %w", err)
	}
	return nil
}

// Close ends the server. Calls under way are answered first, until the context ends.
func (s *Server) Close(ctx context.Context) error {
	if err := s.server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("signer: %w", err), s.server.Close())
	}
	return nil
}

// Describe says whose keys these are.
func (s *Server) Describe(context.Context, *connect.Request[wire.DescribeRequest]) (
	*connect.Response[wire.DescribeResponse], error) {
	if s.broken.Load() {
		return nil, connect.NewError(connect.CodeUnavailable, vault.ErrBroken)
	}
	duty, consensus := s.vault.Duty(), s.vault.Consensus()
	last, _ := s.vault.Votes().Last()
	return connect.NewResponse(&wire.DescribeResponse{Network: s.vault.Network[:],
		ConsensusKey: consensus[:], DutyKey: duty[:], LastVote: last}), nil
}

// Sign signs statements.
func (s *Server) Sign(ctx context.Context, r *connect.Request[wire.SignRequest]) (
	*connect.Response[wire.SignResponse], error) {
	list := r.Msg.Statements
	if len(list) == 0 || len(list) > maxStatements {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("%d statements, want 1 to %d", len(list), maxStatements))
	}
	statements := make([]signer.Statement, len(list))
	for i, x := range list {
		if x.Kind > 255 {
			return nil, connect.NewError(connect.CodeInvalidArgument, signer.ErrStatement)
		}
		statements[i] = signer.Statement{Kind: signer.Kind(x.Kind), Message: x.Message}
	}
	signatures, err := s.vault.Sign(ctx, statements...)
	if err != nil {
		refusal, why := s.refuse(err)
		return connect.NewResponse(&wire.SignResponse{Refusal: refusal, Why: why}), nil
	}
	answer := &wire.SignResponse{Signatures: make([]*wire.Signature, len(signatures))}
	for i := range signatures {
		duty := signatures[i].Duty.Bytes()
		answer.Signatures[i] = &wire.Signature{Duty: duty[:]}
		if statements[i].Kind == signer.Ready {
			answer.Signatures[i].Consensus = signatures[i].Consensus[:]
		}
	}
	return connect.NewResponse(answer), nil
}

// Vote signs a vote or a proposal.
func (s *Server) Vote(_ context.Context, r *connect.Request[wire.VoteRequest]) (
	*connect.Response[wire.VoteResponse], error) {
	signed, err := s.vote(r.Msg)
	if err != nil {
		refusal, why := s.refuse(err)
		return connect.NewResponse(&wire.VoteResponse{Refusal: refusal, Why: why}), nil
	}
	return connect.NewResponse(&wire.VoteResponse{Ballot: signed}), nil
}

func (s *Server) vote(r *wire.VoteRequest) ([]byte, error) {
	if r.ChainId != s.vault.ChainID {
		return nil, fmt.Errorf("%w: chain %q", signer.ErrNetwork, r.ChainId)
	}
	if b := r.GetProposal(); b != nil {
		p := new(cmtproto.Proposal)
		if err := proto.Unmarshal(b, p); err != nil {
			return nil, fmt.Errorf("%w: proposal: %w", signer.ErrStatement, err)
		}
		if p.Type != cmtproto.ProposalType || p.Height < 1 || p.Round < 0 {
			return nil, fmt.Errorf("%w: no proposal: %s at %d/%d", signer.ErrStatement, p.Type,
				p.Height, p.Round)
		}
		if err := s.vault.Votes().SignProposal(s.vault.ChainID, p); err != nil {
			return nil, err
		}
		return proto.Marshal(p)
	}
	v := new(cmtproto.Vote)
	if err := proto.Unmarshal(r.GetVote(), v); err != nil {
		return nil, fmt.Errorf("%w: vote: %w", signer.ErrStatement, err)
	}
	key := s.vault.Consensus()
	own := cmted25519.PubKey(key[:]).Address()
	switch {
	case v.Type != cmtproto.PrevoteType && v.Type != cmtproto.PrecommitType,
		v.Height < 1, v.Round < 0, len(v.Extension) > maxExtension:
		return nil, fmt.Errorf("%w: no vote: %s at %d/%d", signer.ErrStatement, v.Type, v.Height,
			v.Round)
	case string(v.ValidatorAddress) != string(own):
		return nil, fmt.Errorf("%w: a vote of %X", signer.ErrStatement, v.ValidatorAddress)
	}
	if err := s.vault.Votes().SignVote(s.vault.ChainID, v); err != nil {
		return nil, err
	}
	return proto.Marshal(v)
}

// Above forbids votes up to a height.
func (s *Server) Above(_ context.Context, r *connect.Request[wire.AboveRequest]) (
	*connect.Response[wire.AboveResponse], error) {
	if err := s.vault.Votes().Above(r.Msg.Height); err != nil {
		s.refuse(err)
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	s.log.Info("no votes up to a height from now on", "height", r.Msg.Height)
	return connect.NewResponse(new(wire.AboveResponse)), nil
}

// refusals are errors as a node is told of them.
var refusals = []struct {
	refusal wire.Refusal
	err     error
}{
	{wire.Refusal_REFUSAL_SIGNED, signer.ErrSigned},
	{wire.Refusal_REFUSAL_SIGNED, ballot.ErrRefused},
	{wire.Refusal_REFUSAL_BELOW, signer.ErrBelow},
	{wire.Refusal_REFUSAL_STATEMENT, signer.ErrStatement},
	{wire.Refusal_REFUSAL_NETWORK, signer.ErrNetwork},
}

// refuse says why something is not signed, and the operator as well: an honest node is refused
// hardly ever.
func (s *Server) refuse(err error) (wire.Refusal, string) {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			s.log.Warn("not signed", "err", err)
			return r.refusal, err.Error()
		}
	}
	if !s.broken.Swap(true) {
		s.log.Error("nothing is signed any more: start this signer again", "err", err)
	}
	return wire.Refusal_REFUSAL_BROKEN, err.Error()
}
