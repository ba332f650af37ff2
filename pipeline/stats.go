package pipeline

import (
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// Stats is what the pipeline says about itself at one instant. Counters only grow while the process lives.
type Stats struct {
	Admit, Verify, Commit, Window, Cosign, Seal, Prove, Certify StageStats

	Codes       [rollup.NumCodes]uint64 // acks by answer
	Writes      uint64                  // synced writes of acks
	GroupWait   time.Duration           // how long the last group collected before it was written
	Budget      BudgetStats
	Quarantined int      // clients
	Suspects    []uint32 // some of them, at most 32

	Offered uint64    // counter: acks under the statements that clients were asked to co-sign
	Rungs   [3]uint64 // counter: acks in certificates, by the rung that the committee saw, from 1 on; a later proof changes nothing

	Proofs        uint64                  // counter: proofs made, of segments
	ProofFailures map[ProofFailure]uint64 // counter: windows without a proof
	Proving       int                     // windows in work
	ProofQueue    int                     // windows that wait to be proved

	Windows   []WindowStatus // newest first, at most 32
	Certified uint64         // counter: certificates made
	Ordered   uint64         // counter: windows ordered
	Pending   int            // windows sealed and not ordered
	OldestAge time.Duration  // since the oldest of them was sealed, or read back at the start
	Members   []MemberStatus // in no order; members that were never pushed to are missing
}

// StageStats counts acks in one stage. For co-sign, seal, prove and certify a batch is a window; what passes co-sign are acks
// under statements that their client co-signed, and prove counts those only.
type StageStats struct {
	Passed  uint64        // counter: acks that went on to the next stage
	Refused uint64        // counter: acks that the stage refused
	Batches uint64        // counter
	Busy    time.Duration // counter: time spent on batches, over all workers
	Last    time.Duration // the last batch
	Size    int           // acks in it
	Queued  int           // acks waiting or in work
	Oldest  time.Duration // age of what waits longest
}

// BudgetStats is what admission has lent out.
type BudgetStats struct {
	Acks, MaxAcks   int
	Bytes, MaxBytes int64
	New             int // of Acks, those of sources that are not proven
	Sources         int // open
}

// WindowState is where a window is on its way.
type WindowState string

// The states of a window, in order; a stuck one is sealed and will not be ordered.
const (
	StateOpen       WindowState = "open"
	StateGrace      WindowState = "grace"
	StateCosigning  WindowState = "cosigning"
	StateSealing    WindowState = "sealing"
	StateProving    WindowState = "proving"
	StateCertifying WindowState = "certifying"
	StateOrdered    WindowState = "ordered"
	StateStuck      WindowState = "stuck"
)

// WindowStatus is what is known about a window. Times are zero until they come.
type WindowStatus struct {
	Key   rollup.WindowKey
	State WindowState
	Acks  int
	Units uint64
	Rows  int
	ID    rollup.Hash // from sealing on
	Root  rollup.Hash // of the ack tree, from sealing on; zero when all acks are under statements

	Statements int // in the tree, from sealing on
	Cosigned   int // acks under co-signed statements, from sealing on

	Rung                     rollup.Rung  // of the best evidence that is kept, from sealing on
	Segments, SegmentsProven int          // while it is proved, and then
	ProofFailure             ProofFailure // empty unless there will be no proof

	Power, TotalPower uint64 // of the members whose shares are there, and of all

	Opened, Sealed, Proven, Certified, Ordered time.Time

	SealTime  time.Duration // building the rollup and making it durable
	ProveTime time.Duration // making the proofs
	ShareTime time.Duration // from the first push to a quorum of verified shares
	OrderTime time.Duration // from the certificate to its block
	Err       string        // why it is stuck

	live *window // while it takes acks or drains
}

// describe takes what a header says.
func (s *WindowStatus) describe(h *rollup.Header) {
	acks, _ := h.Totals()
	s.ID, s.Root, s.Rows = h.ID(), h.AckRoot, len(h.Rows)
	s.Statements, s.Cosigned = int(h.StatementCount), int(acks)-int(h.AckCount)
	if s.Rung = rollup.RungAcks; h.StatementCount > 0 {
		s.Rung = rollup.RungStatements
	}
}

// fill takes the numbers of a live window.
func (s *WindowStatus) fill(w *window) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	s.Acks, s.Units = w.acks(), w.units
	if w.memory != nil {
		s.Rows = len(w.memory.rows.units)
	}
}

// MemberStatus is what this node knows about a committee member.
type MemberStatus struct {
	Member    int // index in the committee
	Shares    uint64
	Failures  uint64 // pushes without a share
	Refusals  uint64 // of them, refusals for good
	Refusing  bool   // the last answer was one
	LastShare time.Time
	Latency   time.Duration // of the last share
	LastError string        // empty after a share
}

// history is how many windows Stats lists.
const history = 32

// remember adds a window to the list; the caller holds ws.mu, or is alone.
func (ws *windows) remember(s *WindowStatus) {
	if len(ws.history) == history {
		for i, old := range ws.history { // the oldest that is over; live ones stay
			if old.State == StateOrdered || i == history-1 {
				ws.history = append(ws.history[:i], ws.history[i+1:]...)
				break
			}
		}
	}
	ws.history = append(ws.history, s)
}

func (ws *windows) list() []WindowStatus {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	list := make([]WindowStatus, 0, len(ws.history))
	for i := len(ws.history) - 1; i >= 0; i-- {
		s := *ws.history[i]
		if s.live != nil {
			s.fill(s.live)
			s.live = nil
		}
		list = append(list, s)
	}
	return list
}

// counters are written by the stages.
type counters struct {
	admit, verify, commit, window, cosign, seal, prove, certify stageCounters

	codes              [rollup.NumCodes]atomic.Uint64
	writes             atomic.Uint64
	commitWait         atomic.Int64
	sources            atomic.Int64
	certified, ordered atomic.Uint64
	offered            atomic.Uint64
	proofs             atomic.Uint64
	rungs              [3]atomic.Uint64
}

type stageCounters struct {
	passed, refused, batches atomic.Uint64
	busy, last, size         atomic.Int64
}

func (s *stageCounters) pass(n int) { s.passed.Add(uint64(n)) }

func (s *stageCounters) settle(passed, refused int) {
	s.passed.Add(uint64(passed))
	s.refused.Add(uint64(refused))
}

func (s *stageCounters) batch(size int, took time.Duration) {
	s.batches.Add(1)
	s.busy.Add(int64(took))
	s.last.Store(int64(took))
	s.size.Store(int64(size))
}

func (s *stageCounters) stats() StageStats {
	return StageStats{
		Passed: s.passed.Load(), Refused: s.refused.Load(), Batches: s.batches.Load(),
		Busy: time.Duration(s.busy.Load()), Last: time.Duration(s.last.Load()), Size: int(s.size.Load()),
	}
}

func (c *counters) answer(code rollup.Code, n int) { c.codes[code].Add(uint64(n)) }

// refuse counts acks that a stage answered itself.
func (c *counters) refuse(s *stageCounters, code rollup.Code, n int) {
	c.answer(code, n)
	s.refused.Add(uint64(n))
}

// Stats returns the state of the pipeline. It takes every lock for a moment: for a scrape, not for every ack.
func (p *Pipeline) Stats() Stats {
	c := &p.counters
	now := time.Now()
	age := func(t time.Time) time.Duration {
		if t.IsZero() {
			return 0
		}
		return now.Sub(t)
	}
	s := Stats{
		Admit: c.admit.stats(), Verify: c.verify.stats(), Commit: c.commit.stats(),
		Window: c.window.stats(), Cosign: c.cosign.stats(), Seal: c.seal.stats(), Prove: c.prove.stats(), Certify: c.certify.stats(),
		Offered: c.offered.Load(), Proofs: c.proofs.Load(),
		Writes: c.writes.Load(), GroupWait: time.Duration(c.commitWait.Load()),
		Windows: p.windows.list(), Certified: c.certified.Load(), Ordered: c.ordered.Load(),
	}
	for i := range c.codes {
		s.Codes[i] = c.codes[i].Load()
	}
	for i := range c.rungs {
		s.Rungs[i] = c.rungs[i].Load()
	}
	s.Budget = BudgetStats{MaxAcks: p.cfg.MaxAcks, MaxBytes: p.cfg.MaxBytes, Sources: int(c.sources.Load())}
	acks, bytes := p.budgets[laneProven].used()
	newAcks, newBytes := p.budgets[laneNew].used()
	s.Budget.Acks, s.Budget.Bytes, s.Budget.New = acks+newAcks, bytes+newBytes, newAcks
	s.Quarantined, s.Suspects = p.quarantine.list(32)

	s.Admit.Queued = s.Budget.Acks
	s.Verify.Queued, s.Verify.Oldest = p.queue.len(), age(p.queue.oldest())
	var since time.Time
	s.Commit.Queued, since = p.committer.queued()
	s.Commit.Oldest = age(since)
	for _, w := range s.Windows {
		switch w.State {
		case StateOpen, StateGrace:
			s.Window.Queued += w.Acks
			s.Window.Oldest = max(s.Window.Oldest, age(w.Opened))
		case StateCosigning:
			s.Cosign.Queued += w.Acks
			s.Cosign.Oldest = max(s.Cosign.Oldest, age(w.Opened))
		case StateSealing:
			s.Seal.Queued += w.Acks
			s.Seal.Oldest = max(s.Seal.Oldest, age(w.Opened))
		}
	}
	p.proving.stats(&s, age)
	p.certifier.stats(&s, age)
	return s
}

func (c *certifier) stats(s *Stats, age func(time.Time) time.Duration) {
	c.pendingMu.Lock()
	defer c.pendingMu.Unlock()
	s.Pending = len(c.pending)
	for j := range c.pending {
		s.Certify.Queued += j.acks
		s.OldestAge = max(s.OldestAge, age(j.since))
	}
	s.Certify.Oldest = s.OldestAge
	c.membersMu.Lock()
	defer c.membersMu.Unlock()
	for _, m := range c.members {
		s.Members = append(s.Members, *m)
	}
}
