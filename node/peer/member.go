package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Chain gives the ledger as of the last block. Safe for concurrent use.
type Chain interface{ View() *ledger.View }

// MemberConfig is what a Member works with.
type MemberConfig struct {
	Network rollup.Network
	Key     *bls.SecretKey // signs shares
	Chain   Chain
	Store   *store.Store
	Proofs  rollup.ProofVerifier // of rung 3; nil: refused as NoProofs

	Workers    int // goroutines of one verification, at least 1
	Concurrent int // verifications at once, at least 1
	Waiting    int // pushes that may wait for their turn besides; more are refused as Busy

	Logger *slog.Logger
}

// Member is a committee member's part in certifying rollups: it verifies a rollup, keeps it, and signs at most one per
// window. It is safe for concurrent use.
type Member struct {
	cfg   MemberConfig
	room  chan struct{} // pushes inside: waiting or verifying
	turns chan struct{} // pushes verifying

	signed  atomic.Uint64
	refused [len(reasons)]atomic.Uint64

	mu        sync.Mutex
	conflicts map[rollup.WindowKey]struct{} // windows for which a second rollup is kept
}

// NewMember returns a member; there is nothing to close.
func NewMember(cfg MemberConfig) *Member {
	return &Member{
		cfg:       cfg,
		room:      make(chan struct{}, max(cfg.Concurrent, 1)+max(cfg.Waiting, 0)),
		turns:     make(chan struct{}, max(cfg.Concurrent, 1)),
		conflicts: make(map[rollup.WindowKey]struct{}),
	}
}

// MemberStats counts a member's answers since it was made.
type MemberStats struct {
	Signed  uint64
	Refused map[Reason]uint64
}

// Stats returns the counts of answers. A rollup that is pushed twice counts twice.
func (m *Member) Stats() MemberStats {
	stats := MemberStats{Signed: m.signed.Load(), Refused: make(map[Reason]uint64, len(reasons))}
	for _, reason := range Reasons() {
		stats.Refused[reason] = m.refused[reason].Load()
	}
	return stats
}

// enter takes a place for a push, so that its evidence may be read; leave gives it back. It is refused as Busy when
// there is none.
func (m *Member) enter() (leave func(), err error) {
	select {
	case m.room <- struct{}{}:
		return func() { <-m.room }, nil
	default:
		m.refused[Busy].Add(1)
		return nil, refuse(Busy, "%d rollups are being verified or wait for it", cap(m.room))
	}
}

// Push verifies a rollup on behalf of the node that holds the transport key caller, keeps it durably and returns this
// member's signature on it. The same rollup again gets the same signature. Errors are a *Refusal, ctx's error, or the
// store's.
func (m *Member) Push(ctx context.Context, caller TransportKey, header, evidence []byte) (share [bls.SignatureSize]byte, err error) {
	leave, err := m.enter()
	if err != nil {
		return share, err
	}
	defer leave()
	return m.push(ctx, caller, header, evidence)
}

// push is Push for a caller who entered.
func (m *Member) push(ctx context.Context, caller TransportKey, header, evidence []byte) (share [bls.SignatureSize]byte, err error) {
	h, err := m.certify(ctx, caller, header, evidence)
	if err != nil {
		if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
			m.refused[refusal.Reason].Add(1)
		}
		return share, err
	}
	signature := bls.Default.Sign(m.cfg.Key, rollup.CertificateMessage(m.cfg.Network, h.Epoch, h.ID()))
	m.signed.Add(1)
	return signature.Bytes(), nil
}

// certify returns the header once the rollup is valid, durable, and the only one that this member signs for its window.
func (m *Member) certify(ctx context.Context, caller TransportKey, header, evidence []byte) (*rollup.Header, error) {
	h, err := rollup.ParseHeader(header)
	if err != nil {
		return nil, &Refusal{Reason: Invalid, Err: err}
	}
	if err := m.admissible(m.cfg.Chain.View(), h, caller); err != nil {
		return nil, err
	}
	if done, err := m.kept(h, evidence); err == nil && done {
		return h, nil
	}
	select {
	case m.turns <- struct{}{}:
		defer func() { <-m.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return h, m.keep(h, header, evidence)
}

// kept reports whether the window is locked to the rollup and evidence of the same rung is kept: then there is nothing to do.
// What the evidence says is not looked at.
func (m *Member) kept(h *rollup.Header, evidence []byte) (bool, error) {
	prior, locked, err := m.cfg.Store.Locked(h.Key())
	if err != nil || !locked || prior != h.ID() {
		return false, err
	}
	rung, err := rollup.RungOf(evidence)
	if err != nil {
		return false, &Refusal{Reason: Invalid, Err: err}
	}
	return m.cfg.Store.HasEvidence(prior, rung)
}

// keep verifies the rollup, makes it durable and locks its window to it, unless a push that was ahead did so. Of a rollup that
// the window is locked to, evidence of a second rung is verified and kept besides.
func (m *Member) keep(h *rollup.Header, header, evidence []byte) error {
	id := h.ID()
	if done, err := m.kept(h, evidence); done || err != nil {
		return err
	}
	prior, locked, err := m.cfg.Store.Locked(h.Key())
	switch {
	case err != nil:
		return fmt.Errorf("lock of rollup %v: %w", id, err)
	case locked && prior != id:
		return m.conflict(h, prior, evidence)
	}
	if err := m.verify(h, evidence); err != nil {
		return err
	}
	if err = m.cfg.Store.PutEvidence(id, header, evidence); err == nil {
		prior, locked, err = m.cfg.Store.Lock(h.Key(), id)
	}
	switch {
	case errors.Is(err, store.ErrPruned):
		return &Refusal{Reason: TooOld, Err: err}
	case err != nil:
		return fmt.Errorf("keep rollup %v: %w", id, err)
	case !locked: // a push of another rollup was verified meanwhile
		return m.conflict(h, prior, evidence)
	}
	return nil
}

// admissible holds the rules that need neither evidence nor store.
func (m *Member) admissible(view *ledger.View, h *rollup.Header, caller TransportKey) error {
	if h.Network != m.cfg.Network {
		return refuse(Invalid, "%w: %v", rollup.ErrNetwork, h.Network)
	}
	node, ok := view.Node(h.Node)
	if !ok || TransportKey(node.TransportKey) != caller {
		return refuse(NotOwner, "the caller's transport key is not that of node %d", h.Node)
	}
	epoch, late := view.Epoch(), uint64(view.Params().LateEpochs)
	if h.Epoch > epoch {
		return refuse(Lagging, "epoch %d has not begun here, where epoch %d runs", h.Epoch, epoch)
	}
	if uint64(h.Epoch)+late < uint64(epoch) {
		return refuse(TooOld, "epoch %d lies more than %d epochs behind %d", h.Epoch, late, epoch)
	}
	return nil
}

func (m *Member) verify(h *rollup.Header, evidence []byte) error {
	ev, err := rollup.ParseEvidence(evidence)
	if err == nil {
		err = rollup.Verify(h, ev, m.cfg.Network, m.cfg.Chain.View(), m.cfg.Proofs, max(m.cfg.Workers, 1))
	}
	switch {
	case errors.Is(err, rollup.ErrUnknownClient), errors.Is(err, rollup.ErrUnknownService):
		return &Refusal{Reason: Lagging, Err: err}
	case errors.Is(err, rollup.ErrNoProofs):
		return &Refusal{Reason: NoProofs, Err: err}
	case err != nil:
		return &Refusal{Reason: Invalid, Err: err}
	}
	return nil
}

// conflict refuses a second rollup for a window. The first of a window is kept besides the one that was signed, when
// it is valid: the clients' signatures in both convict the node.
func (m *Member) conflict(h *rollup.Header, prior rollup.Hash, evidence []byte) error {
	refusal := refuse(Conflict, "rollup %v is another one", h.ID())
	refusal.Prior = prior
	if !m.firstConflict(h.Key()) {
		return refusal
	}
	log := m.cfg.Logger.With("node", h.Node, "epoch", h.Epoch, "window", h.Window, "signed", prior, "pushed", h.ID())
	if err := m.verify(h, evidence); err != nil {
		log.Warn("a node pushed a second, invalid rollup for a window", "err", err)
		return refusal
	}
	if err := m.cfg.Store.PutEvidence(h.ID(), h.Append(nil), evidence); err != nil {
		log.Error("a node pushed two rollups for one window; the second could not be kept", "err", err)
		return refusal
	}
	log.Error("a node pushed two valid rollups for one window; both are kept")
	return refusal
}

// maxConflicts bounds how many windows' conflicts are examined and kept while the process lives: each is a node's
// proven fault, and a few convict it as well as many.
const maxConflicts = 1024

func (m *Member) firstConflict(key rollup.WindowKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, seen := m.conflicts[key]; seen || len(m.conflicts) >= maxConflicts {
		return false
	}
	m.conflicts[key] = struct{}{}
	return true
}
