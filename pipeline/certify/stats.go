package certify

import (
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// The stages of this room. For both a batch is a window; prove counts acks under co-signed
// statements only, and stands beside the way of an ack.
const (
	StageProve   = "prove"
	StageCertify = "certify"
)

// Stages returns the names of the stages of this room.
func Stages() []string { return []string{StageProve, StageCertify} }

const (
	maxOrdered = 32 // windows that are remembered once they are ordered
	maxListed  = 32 // windows that Stats lists, and as many stuck ones
)

// Stats is what the outbox says about itself at one instant. Counters only grow while the process
// lives.
type Stats struct {
	Prove   status.Stage `json:"prove"`
	Certify status.Stage `json:"certify"`

	States  []status.Count  `json:"states"`  // windows by state, all of States
	Windows []status.Window `json:"windows"` // newest first; stuck ones are there at any age
	Stuck   []status.Count  `json:"stuck"`   // counter: windows that got stuck, by reason

	Rungs     [3]uint64 `json:"rung_acks"`      // counter: acks in certificates, by what members saw
	Certified uint64    `json:"certified"`      // counter: certificates made
	Ordered   uint64    `json:"ordered"`        // counter: windows ordered
	Pending   int       `json:"pending"`        // windows that are neither ordered nor stuck
	Oldest    float64   `json:"oldest_seconds"` // since the oldest of them was sealed, or found

	Proofs        uint64         `json:"proofs"`         // counter: proofs made, one a segment
	ProofFailures []status.Count `json:"proof_failures"` // counter: windows without one, by reason
	Proving       int            `json:"proving"`        // windows in the prover's work
	ProofQueue    int            `json:"proof_queue"`    // windows that wait to be proved

	Members []Member `json:"members"` // in no order; those that were never pushed to are missing
}

// Member is what this node knows about a committee member.
type Member struct {
	Node      uint32    `json:"node"`
	Shares    uint64    `json:"shares"`   // counter: certificate shares from it
	Failures  uint64    `json:"failures"` // counter: pushes without a share
	Refusals  uint64    `json:"refusals"` // counter: of them, refusals for good
	Refusing  bool      `json:"refusing"` // the last answer was one
	LastShare time.Time `json:"last_share,omitzero"`
	Latency   float64   `json:"latency_seconds"`     // of the last share
	LastError string    `json:"last_error,omitzero"` // empty after a share
	// LastFailure is when LastError was seen; the last one ever when LastError is empty.
	LastFailure time.Time `json:"last_failure,omitzero"`

	told told
}

// counters are written by the jobs.
type counters struct {
	prove, certify             status.Counters
	certified, ordered, proofs atomic.Uint64
	rungs                      [3]atomic.Uint64
	stuck                      [reasons]atomic.Uint64
	unproven                   [proofFailures]atomic.Uint64
}

// Stats returns the state of the outbox.
func (o *Outbox) Stats() Stats {
	c := &o.counters
	s := Stats{
		Prove: c.prove.Stage(StageProve, true), Certify: c.certify.Stage(StageCertify, true),
		Certified: c.certified.Load(), Ordered: c.ordered.Load(), Proofs: c.proofs.Load(),
	}
	for i := range c.rungs {
		s.Rungs[i] = c.rungs[i].Load()
	}
	for _, r := range Reasons() {
		s.Stuck = append(s.Stuck, status.Count{Name: r.String(), Count: c.stuck[r].Load()})
	}
	for _, f := range ProofFailures() {
		s.ProofFailures = append(s.ProofFailures,
			status.Count{Name: f.String(), Count: c.unproven[f].Load()})
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list(&s, now)
	for _, jobs := range [][]*job{o.prover.working, o.prover.waiting} {
		for _, j := range jobs {
			s.Prove.Queue(j.status.Cosigned, j.proof.since, now)
		}
	}
	s.Proving, s.ProofQueue = len(o.prover.working), len(o.prover.waiting)
	for _, m := range o.known {
		s.Members = append(s.Members, *m)
	}
	return s
}

// list fills in the windows, and what follows from them.
func (o *Outbox) list(s *Stats, now time.Time) {
	count := make(map[status.State]uint64)
	stuck := 0
	for i := len(o.jobs) - 1; i >= 0; i-- {
		j := o.jobs[i]
		w := &j.status
		count[w.State]++
		switch w.State {
		case StateOrdered:
		case StateStuck:
			stuck++
		default:
			s.Pending++
			s.Certify.Queue(w.Acks, j.since, now)
		}
		recent := len(o.jobs)-i <= maxListed
		if recent || w.State == StateStuck && stuck <= maxListed {
			s.Windows = append(s.Windows, *w)
		}
	}
	s.Oldest = s.Certify.Oldest
	for _, state := range States() {
		s.States = append(s.States, status.Count{Name: string(state), Count: count[state]})
	}
}

// told is what the log has about a member that does not sign: a line for each reason, and one when
// it signs again, however many windows that is about.
type told struct {
	missed, unproved string // kinds of errors; empty while it signs
	since            time.Time
}

// shared, missed and unproved keep what is known about a member.
func (o *Outbox) shared(node uint32, took time.Duration, rung rollup.Rung) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.member(node)
	m.Shares++
	m.LastShare, m.Latency = time.Now(), took.Seconds()
	m.LastError, m.Refusing = "", false
	if m.told.missed != "" {
		o.log.Info("member signs rollups again", "node", node, "after",
			time.Since(m.told.since).Round(time.Second))
		m.told.missed = ""
	}
	if rung == rollup.RungProof {
		m.told.unproved = ""
	}
}

// missed takes the error of a push to a member, and how many pushes of this rollup it was. What the
// next one mends is no line.
func (o *Outbox) missed(node uint32, key rollup.WindowKey, err error, tries int) {
	final := isFinal(err)
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.member(node)
	m.Failures++
	m.LastError, m.LastFailure = err.Error(), time.Now()
	if final {
		m.Refusals++
		m.Refusing = true
	}
	kind := kindOf(err)
	if m.told.missed == kind || !final && tries == 1 {
		return
	}
	if m.told.missed == "" {
		m.told.since = time.Now()
	}
	m.told.missed = kind
	log := o.log.With("node", node, "epoch", key.Epoch, "window", key.Window, "err", err)
	switch {
	case isFault(err):
		log.Error("member refuses a rollup for good")
	case final:
		log.Warn("member signs no rollups now")
	default:
		log.Warn("no shares from member")
	}
}

// unproved takes the error with which a member refused a rollup by its proofs; the statements are
// shown to it next.
func (o *Outbox) unproved(node uint32, key rollup.WindowKey, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.member(node)
	if kind := kindOf(err); m.told.unproved != kind {
		m.told.unproved = kind
		o.log.Warn("member refuses rollups by their proofs", "node", node, "epoch", key.Epoch,
			"window", key.Window, "err", err)
	}
}

func (o *Outbox) member(node uint32) *Member {
	m := o.known[node]
	if m == nil {
		m = &Member{Node: node}
		o.known[node] = m
	}
	return m
}
