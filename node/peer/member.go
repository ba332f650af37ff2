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
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/word"
)

// Chain gives the ledger as of the last block. Safe for concurrent use.
type Chain interface{ View() *ledger.View }

// MemberConfig is what a Member works with.
type MemberConfig struct {
	Network rollup.Network
	Keys    signer.Keys // signs shares
	Chain   Chain
	Store   *store.Store
	Proofs  EpochProofs // of rung 3; nil: ReasonNoProofs

	Workers    int // goroutines of one verification, at least 1
	Concurrent int // verifications at once, at least 1
	// Waiting is how many pushes of committee members may wait for their turn besides. Nodes
	// outside of the committee have places of their own (see room). More pushes are refused for
	// ReasonBusy.
	Waiting int
	// Penalty is how long a caller waits after its first push that is at fault; 0: 1 second.
	Penalty time.Duration

	// Accuse is told of a node's two words for one window; it must keep what it is given. May be
	// nil.
	Accuse func(*word.TwoRollups)
	// Alarm is told of a proof that is false; it must keep what it is given. May be nil.
	Alarm func(*FalseProof)

	Logger *slog.Logger
}

// Member is a committee member's part in certifying rollups: it verifies a rollup, keeps it, and
// signs at most one per window and no number twice. It is safe for concurrent use.
type Member struct {
	cfg       MemberConfig
	room      *room
	penalties *penalties
	billings  *billings
	words     *words

	signed  atomic.Uint64
	refused [len(reasons)]atomic.Uint64

	mu        sync.Mutex
	conflicts map[rollup.WindowKey]struct{} // windows for which a second rollup is kept
	denials   []denial                      // the latest, of rollups that statements deny
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
		billings:  newBillings(cfg.Store),
		words:     newWords(cfg.Store),
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

// Admit says whether a push of a caller may be read. After pushes that were at fault a caller has
// to wait: the refusal, for ReasonBusy, says how long.
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
var atFault = map[Reason]bool{ReasonNotOwner: true, ReasonInvalid: true, ReasonConflict: true,
	ReasonBadWord: true, ReasonNumbers: true}

// Push verifies a rollup on behalf of the node that holds the transport key caller, keeps it
// durably and returns this member's signature on it. Own is the node's word that the rollup is its
// own. The same rollup again gets the same signature. Errors are a *Refusal, ctx's error, or the
// store's.
func (m *Member) Push(ctx context.Context, caller TransportKey, header []byte,
	own [rollup.WordSize]byte, evidence []byte) (share [bls.SignatureSize]byte, err error) {
	view := m.cfg.Chain.View()
	h, err := m.certify(ctx, view, caller, &push{header, own, evidence})
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
	term := view.CommitteeOf(h.Epoch).Term
	signatures, err := m.cfg.Keys.Sign(ctx, signer.RollupOf(&m.cfg.Network, term, h.Key(), h.ID()))
	switch {
	case errors.Is(err, signer.ErrAway):
		m.refused[ReasonBusy].Add(1)
		return share, &Refusal{Code: ReasonBusy, Err: &door.DelayError{After: awayDelay, Err: err}}
	case err != nil:
		return share, fmt.Errorf("sign rollup %v: %w", h.ID(), err)
	}
	m.signed.Add(1)
	return signatures[0].Duty.Bytes(), nil
}

// awayDelay is when a rollup may be pushed again that could not be signed because this node's keys
// are out of reach. It is kept by then, so that costs little.
const awayDelay = time.Second

// push is what came.
type push struct {
	header   []byte
	own      [rollup.WordSize]byte
	evidence []byte
}

// certify returns the header once the rollup is valid, durable, the only one that this member signs
// for its window, and the only one that bills its numbers.
func (m *Member) certify(ctx context.Context, view *ledger.View, caller TransportKey, p *push) (
	*rollup.Header, error) {
	h, err := rollup.ParseHeader(p.header)
	if err != nil {
		return nil, &Refusal{Code: ReasonInvalid, Err: err}
	}
	if err := m.admissible(view, h, caller); err != nil {
		return nil, err
	}
	if err := rollup.VerifyOwn(h, &p.own, view); err != nil {
		return nil, &Refusal{Code: ReasonBadWord, Err: err}
	}
	if err := m.forget(view.NextToSettle()); err != nil {
		return nil, fmt.Errorf("forget settled epochs: %w", err)
	}
	if err := m.hear(h, &p.own); err != nil {
		return nil, err
	}
	if done, err := m.kept(h, p.evidence); err == nil && done {
		return h, nil
	}
	place, ok := m.room.enter(caller, standingOf(view, caller))
	if !ok {
		return nil, rollup.Refuse(ReasonBusy, "this node's share of the places is taken")
	}
	defer m.room.leave(place)
	b := m.billings.billing(h)
	b.begin(h.Window)
	defer b.end(h.Window)
	if err := m.room.await(ctx, place); err != nil {
		return nil, err
	}
	again, runs, err := m.judge(h, p.evidence, b)
	if err != nil {
		return nil, err
	}
	if again { // bound to it before: its evidence is kept besides
		return h, m.keepEvidence(h, p)
	}
	m.room.rest(place) // others are verified while the signature waits
	if err := b.await(ctx, h.Window); err != nil {
		return nil, err
	}
	return h, m.sign(h, p, b, runs)
}

// hear takes a node's word for a rollup, and accuses the node when it gave another of the window
// before, here or in a ticket.
func (m *Member) hear(h *rollup.Header, own *[rollup.WordSize]byte) error {
	evidence, err := m.words.hear(ownOf(h), *own)
	if evidence != nil {
		m.accuse(evidence)
	}
	return err
}

func (m *Member) accuse(e *word.TwoRollups) {
	if m.cfg.Accuse != nil {
		m.cfg.Accuse(e)
	}
}

// Ordered tells of a ticket that a block executed. The word in it may be another than was heard
// here.
func (m *Member) Ordered(c *rollup.Certificate) {
	if err := m.hear(&c.Header, &c.Own); err != nil {
		m.cfg.Logger.Error("a ticket's word could not be held against what was heard", "err", err)
	}
}

// Review accuses nodes of what was heard and ordered before the process was stopped.
func (m *Member) Review() error {
	all, err := m.words.review(m.cfg.Chain.View().NextToSettle())
	for _, e := range all {
		m.accuse(e)
	}
	return err
}

// forget drops what is not needed once the epochs before one are settled.
func (m *Member) forget(settled uint32) error {
	if !m.billings.forgets(settled) {
		return nil
	}
	return errors.Join(m.words.forget(settled), m.billings.forget(settled))
}

// kept reports whether the window is locked to the rollup and evidence of the same rung is kept:
// then there is nothing to do. What the evidence says is not looked at.
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

// judge verifies a rollup, and returns what it bills. What rests on this member's tables comes
// first, since it costs little. Again says that the window is bound to the rollup.
func (m *Member) judge(h *rollup.Header, evidence []byte, b *billing) (again bool,
	runs []rollup.Run, err error) {
	prior, locked, err := m.cfg.Store.Locked(h.Key())
	switch {
	case err != nil:
		return false, nil, fmt.Errorf("lock of rollup %v: %w", h.ID(), err)
	case locked && prior != h.ID():
		return false, nil, m.conflict(h, prior, evidence)
	}
	ev, err := rollup.ParseEvidence(evidence)
	if err != nil {
		return false, nil, &Refusal{Code: ReasonInvalid, Err: err}
	}
	if !locked {
		runs = ev.Billed()
		if refusal := b.check(h.Window, runs); refusal != nil {
			// A push of the same rollup may have been signed since the look above.
			prior, locked, err = m.cfg.Store.Locked(h.Key())
			if err != nil || !locked || prior != h.ID() {
				return false, nil, refusal
			}
		}
	}
	if err := m.verify(h, ev); err != nil {
		m.denied(h, evidence, ev, err)
		return false, nil, err
	}
	return locked, runs, m.proven(h, evidence, ev)
}

// sign binds this member to a valid rollup, unless a push that was ahead did so.
func (m *Member) sign(h *rollup.Header, p *push, b *billing, runs []rollup.Run) error {
	prior, err := b.sign(h, p.evidence, runs)
	switch refusal := (*Refusal)(nil); {
	case errors.As(err, &refusal):
		return err
	case errors.Is(err, store.ErrPruned):
		return &Refusal{Code: ReasonTooOld, Err: err}
	case err != nil:
		return fmt.Errorf("keep rollup %v: %w", h.ID(), err)
	case prior != h.ID(): // a push of another rollup was verified meanwhile
		return m.conflict(h, prior, p.evidence)
	}
	return m.keepEvidence(h, p)
}

// keepEvidence keeps evidence of a rollup to which its window is bound.
func (m *Member) keepEvidence(h *rollup.Header, p *push) error {
	err := m.cfg.Store.PutEvidence(h.ID(), p.header, p.evidence)
	switch {
	case errors.Is(err, store.ErrPruned):
		return &Refusal{Code: ReasonTooOld, Err: err}
	case err != nil:
		return fmt.Errorf("keep rollup %v: %w", h.ID(), err)
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
		return rollup.Refuse(ReasonNotOwner, "the caller's transport key is not that of node %d",
			h.Node)
	}
	if epoch := view.Epoch(); h.Epoch > epoch {
		return rollup.Refuse(ReasonLagging, "epoch %d has not begun here, where epoch %d runs",
			h.Epoch, epoch)
	}
	if view.Settled(h.Epoch) {
		return rollup.Refuse(ReasonTooOld, "epoch %d is settled", h.Epoch)
	}
	return nil
}

func (m *Member) verify(h *rollup.Header, ev *rollup.Evidence) error {
	err := rollup.Verify(h, ev, m.cfg.Network, m.cfg.Chain.View(), m.cfg.Proofs.in(h.Epoch),
		max(m.cfg.Workers, 1))
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

// conflict refuses a second rollup for a window. The first of a window is kept besides the one that
// was signed, when it is valid: for who wants to know which clients are in both. What convicts is
// the node's words.
func (m *Member) conflict(h *rollup.Header, prior rollup.Hash, evidence []byte) error {
	refusal := &Refusal{Code: ReasonConflict,
		Err: &PriorError{prior, fmt.Errorf("rollup %v is another one", h.ID())}}
	if !m.firstConflict(h.Key()) {
		return refusal
	}
	log := m.cfg.Logger.With("node", h.Node, "epoch", h.Epoch, "window", h.Window, "signed", prior,
		"pushed", h.ID())
	ev, err := rollup.ParseEvidence(evidence)
	if err == nil {
		err = m.verify(h, ev)
	}
	if err != nil {
		log.Warn("a node pushed a second, invalid rollup for a window", "err", err)
		return refusal
	}
	if err := m.cfg.Store.PutEvidence(h.ID(), h.Append(nil), evidence); err != nil {
		log.Error("a node pushed two rollups for one window; the second could not be kept", "err",
			err)
		return refusal
	}
	log.Error("a node pushed two valid rollups for one window; both are kept")
	return refusal
}

// maxConflicts bounds how many windows' conflicts are examined and kept while the process lives:
// each is a node's proven fault, and a few convict it as well as many.
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
