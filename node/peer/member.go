package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/door"
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
	Proofs  rollup.ProofVerifier // of rung 3; nil: ReasonNoProofs

	Workers    int // goroutines of one verification, at least 1
	Concurrent int // verifications at once, at least 1
	// Waiting is how many pushes of committee members may wait for their turn besides. Nodes outside of
	// the committee have places of their own (see room). More pushes are refused for ReasonBusy.
	Waiting int
	// Penalty is how long a caller waits after its first push that is at fault; 0: 1 second.
	Penalty time.Duration

	Logger *slog.Logger
}

// Member is a committee member's part in certifying rollups: it verifies a rollup, keeps it, and signs at most one per
// window. It is safe for concurrent use.
type Member struct {
	cfg       MemberConfig
	room      *room
	penalties *penalties

	signed  atomic.Uint64
	refused [len(reasons)]atomic.Uint64

	mu        sync.Mutex
	conflicts map[rollup.WindowKey]struct{} // windows for which a second rollup is kept
}

// NewMember returns a member; there is nothing to close.
func NewMember(cfg MemberConfig) *Member {
	if cfg.Penalty <= 0 {
		cfg.Penalty = penaltyFirst
	}
	return &Member{
		cfg:       cfg,
		room:      newRoom(max(cfg.Concurrent, 1), max(cfg.Waiting, 0)),
		penalties: newPenalties(cfg.Penalty),
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

// Admit says whether a push of a caller may be read. After pushes that were at fault a caller has to
// wait: the refusal, for ReasonBusy, says how long.
func (m *Member) Admit(caller TransportKey) error {
	wait := m.penalties.wait(caller, time.Now())
	if wait == 0 {
		return nil
	}
	m.refused[ReasonBusy].Add(1)
	return &Refusal{Code: ReasonBusy, Err: &door.DelayError{After: wait,
		Err: errors.New("pushes of this node were at fault before")}}
}

// Fault notes that a caller's push was at fault before it could be judged, as one that was cut off.
func (m *Member) Fault(caller TransportKey, why error) {
	wait := m.penalties.fault(caller, time.Now())
	m.cfg.Logger.Warn("a node's push was at fault, and its next ones have to wait", "transport_key",
		ledger.Key(caller), "why", why, "for", wait)
}

// atFault are the reasons for which a caller has to wait.
var atFault = map[Reason]bool{ReasonNotOwner: true, ReasonInvalid: true, ReasonConflict: true}

// Push verifies a rollup on behalf of the node that holds the transport key caller, keeps it durably
// and returns this member's signature on it. The same rollup again gets the same signature. Errors
// are a *Refusal, ctx's error, or the store's.
func (m *Member) Push(ctx context.Context, caller TransportKey, header, evidence []byte) (
	share [bls.SignatureSize]byte, err error) {
	h, err := m.certify(ctx, caller, header, evidence)
	if err != nil {
		if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
			m.refused[refusal.Code].Add(1)
			if atFault[refusal.Code] {
				m.Fault(caller, err)
			}
		}
		return share, err
	}
	m.penalties.good(caller)
	signature := bls.Default.Sign(m.cfg.Key, rollup.CertificateMessage(m.cfg.Network, h.Epoch, h.ID()))
	m.signed.Add(1)
	return signature.Bytes(), nil
}

// certify returns the header once the rollup is valid, durable, and the only one that this member signs for its window.
func (m *Member) certify(ctx context.Context, caller TransportKey, header, evidence []byte) (*rollup.Header, error) {
	h, err := rollup.ParseHeader(header)
	if err != nil {
		return nil, &Refusal{Code: ReasonInvalid, Err: err}
	}
	view := m.cfg.Chain.View()
	if err := m.admissible(view, h, caller); err != nil {
		return nil, err
	}
	if done, err := m.kept(h, evidence); err == nil && done {
		return h, nil
	}
	place, ok := m.room.enter(caller, standingOf(view, caller))
	if !ok {
		return nil, rollup.Refuse(ReasonBusy, "this node's share of the places is taken")
	}
	defer m.room.leave(place)
	if err := m.room.await(ctx, place); err != nil {
		return nil, err
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
		return false, &Refusal{Code: ReasonInvalid, Err: err}
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
		return &Refusal{Code: ReasonTooOld, Err: err}
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
		return rollup.Refuse(ReasonInvalid, "%w: %v", rollup.ErrNetwork, h.Network)
	}
	node, ok := view.Node(h.Node)
	if !ok || TransportKey(node.TransportKey) != caller {
		return rollup.Refuse(ReasonNotOwner, "the caller's transport key is not that of node %d", h.Node)
	}
	epoch, late := view.Epoch(), uint64(view.Params().LateEpochs)
	if h.Epoch > epoch {
		return rollup.Refuse(ReasonLagging, "epoch %d has not begun here, where epoch %d runs", h.Epoch, epoch)
	}
	if uint64(h.Epoch)+late < uint64(epoch) {
		return rollup.Refuse(ReasonTooOld, "epoch %d lies more than %d epochs behind %d", h.Epoch, late, epoch)
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
		return &Refusal{Code: ReasonLagging, Err: err}
	case errors.Is(err, rollup.ErrNoProofs):
		return &Refusal{Code: ReasonNoProofs, Err: err}
	case err != nil:
		return &Refusal{Code: ReasonInvalid, Err: err}
	}
	return nil
}

// conflict refuses a second rollup for a window. The first of a window is kept besides the one that was signed, when
// it is valid: the clients' signatures in both convict the node.
func (m *Member) conflict(h *rollup.Header, prior rollup.Hash, evidence []byte) error {
	refusal := &Refusal{Code: ReasonConflict,
		Err: &PriorError{prior, fmt.Errorf("rollup %v is another one", h.ID())}}
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
