package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// Prover makes the proofs of windows that clients have co-signed. It is called from Config.Proving goroutines at a time.
type Prover interface {
	// Size returns how many statements a proof is about, at most, in a window with so many; 0 says that no proof can be made.
	Size(statements int) int
	// Prove returns the proof of a segment, whose statements are these. It returns soon after the context ended. After an
	// error it may be called again with the same. What it returns is verified by the caller.
	Prove(ctx context.Context, s *rollup.Segment, statements []rollup.Statement) ([rollup.ProofSize]byte, error)
}

// ProofFailure says why a window stays without a proof.
type ProofFailure string

// The reasons.
const (
	ProofError   ProofFailure = "error"   // the prover gave none
	ProofWrong   ProofFailure = "wrong"   // what the prover gave does not verify
	ProofLate    ProofFailure = "late"    // before the window's turn came, the chain forgot its epoch and who paid in it
	ProofCrowded ProofFailure = "crowded" // newer windows took its place in the queue
)

// ProofFailures returns every reason.
func ProofFailures() []ProofFailure {
	return []ProofFailure{ProofError, ProofWrong, ProofLate, ProofCrowded}
}

const (
	maxProofQueue = 64 // windows that wait to be proved
	proveAttempts = 2  // of a segment: a prover may die of something else than the segment
)

var errWrongProof = errors.New("the prover's proof does not verify")

// proving is the stage beside the way of a window: it holds what waits to be proved and what is in work.
type proving struct {
	mu       sync.Mutex
	filled   sync.Cond
	closed   bool
	waiting  []*proofTask // oldest first; those whose certification waits go first
	working  []*proofTask
	failures map[ProofFailure]uint64
}

// proofTask is a sealed window of which a proof is to be made. Its certification waits for that, for a while.
type proofTask struct {
	j     *certification
	since time.Time
	holds bool        // the certification waits; guarded by proving.mu
	timer *time.Timer // ends that, nil when it does not
}

func (q *proving) init() {
	q.filled.L = &q.mu
	q.failures = make(map[ProofFailure]uint64)
}

// push adds a task, calls expire when its wait is over, and returns the task that has to go for it, if any.
func (q *proving) push(t *proofTask, wait time.Duration, expire func()) (dropped *proofTask) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.holds {
		t.timer = time.AfterFunc(wait, expire)
	}
	if len(q.waiting) == maxProofQueue {
		dropped = q.take(false)
	}
	q.waiting = append(q.waiting, t)
	q.filled.Signal()
	return dropped
}

// pop waits for a task; false means that the queue was closed.
func (q *proving) pop() (*proofTask, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return nil, false
	}
	t := q.take(true)
	q.working = append(q.working, t)
	return t, true
}

// take removes the oldest of the tasks for which a certification waits, or does not, or of all if there is none of these.
func (q *proving) take(held bool) *proofTask {
	i := max(0, slices.IndexFunc(q.waiting, func(t *proofTask) bool { return t.holds == held }))
	t := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return t
}

// done says that a task is out of work.
func (q *proving) done(t *proofTask) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.working = slices.DeleteFunc(q.working, func(other *proofTask) bool { return other == t })
}

func (q *proving) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, t := range slices.Concat(q.waiting, q.working) {
		if t.timer != nil {
			t.timer.Stop()
		}
	}
	q.filled.Broadcast()
}

// awaitProof has a window proved, and reports whether its certification waits for that. If it does, the certifier gets it
// when there is a proof, or will be none in time. A window waits once.
func (p *Pipeline) awaitProof(j *certification) bool {
	if j.proof != nil || j.statements == 0 || p.cfg.Prover == nil || p.cfg.Prover.Size(j.statements) == 0 {
		return false
	}
	wait := p.proofWait(j.key)
	t := &proofTask{j: j, since: time.Now(), holds: wait > 0}
	j.proof = t
	if t.holds {
		p.certifier.add(j)
		p.status(j, func(s *WindowStatus) { s.State = StateProving })
	}
	if dropped := p.proving.push(t, wait, func() { p.stopWaiting(t) }); dropped != nil {
		p.unproven(dropped, ProofCrowded, nil)
	}
	return wait > 0
}

// proofWait is how long a window may wait for its proof: as long as is configured, and not longer than leaves half of its
// epoch's grace to certify and order it.
func (p *Pipeline) proofWait(key rollup.WindowKey) time.Duration {
	v := p.chain.View()
	end := v.EpochEnd()
	switch {
	case v.Epoch() > key.Epoch+1:
		return 0
	case v.Epoch() > key.Epoch:
		end = v.EpochStart()
	}
	left := end.Add(time.Duration(v.Params().GraceSeconds) * time.Second / 2).Sub(v.Time())
	return min(p.cfg.ProofWait, left)
}

// stopWaiting lets a window go on to the committee, with a proof or without.
func (p *Pipeline) stopWaiting(t *proofTask) {
	p.proving.mu.Lock()
	held := t.holds
	t.holds = false
	p.proving.mu.Unlock()
	if held {
		t.timer.Stop()
		p.status(t.j, func(s *WindowStatus) { s.State = StateCertifying })
		p.certifier.push(t.j)
	}
}

// unproven ends a task without a proof.
func (p *Pipeline) unproven(t *proofTask, why ProofFailure, err error) {
	p.proving.mu.Lock()
	p.proving.failures[why]++
	p.proving.mu.Unlock()
	p.counters.prove.settle(0, t.j.stated)
	p.status(t.j, func(s *WindowStatus) { s.ProofFailure = why })
	p.log.Warn("no proof of a window", "epoch", t.j.key.Epoch, "window", t.j.key.Window, "statements", t.j.statements, "reason", why, "err", err)
	p.stopWaiting(t)
}

// proveWindows proves one window after the other.
func (p *Pipeline) proveWindows() {
	for {
		t, ok := p.proving.pop()
		if !ok {
			return
		}
		if !p.failed() {
			p.proveWindow(t)
		}
		p.proving.done(t)
	}
}

func (p *Pipeline) proveWindow(t *proofTask) {
	key := t.j.key
	if v := p.chain.View(); uint64(v.Epoch()) > uint64(key.Epoch)+uint64(v.Params().LateEpochs) {
		p.unproven(t, ProofLate, nil)
		return
	}
	start := time.Now()
	evidence, err := p.prove(p.ctx, t.j)
	took := time.Since(start)
	switch {
	case p.ctx.Err() != nil: // the next start goes on
	case errors.Is(err, errWrongProof):
		p.unproven(t, ProofWrong, err)
	case err != nil:
		p.unproven(t, ProofError, err)
	default:
		if err := p.store.PutProof(key, evidence); err != nil {
			p.fail("keeping a proof", err)
			return
		}
		p.counters.prove.batch(t.j.stated, took)
		p.counters.prove.settle(t.j.stated, 0)
		p.status(t.j, func(s *WindowStatus) { s.Rung, s.ProveTime, s.Proven = rollup.RungProof, took, time.Now() })
		p.log.Info("window proved", "epoch", key.Epoch, "window", key.Window, "statements", t.j.statements, "took", took)
		p.stopWaiting(t)
	}
}

// prove returns the statements part of a window's evidence of rung 3. What it returns verifies.
func (p *Pipeline) prove(ctx context.Context, j *certification) ([]byte, error) {
	kept, err := p.store.Sealed(j.key)
	if err != nil {
		return nil, err
	}
	statements, list, segments, err := kept.segments(p.chain.View(), p.cfg.Prover.Size(j.statements))
	if err != nil {
		return nil, err
	}
	p.status(j, func(s *WindowStatus) { s.Segments, s.SegmentsProven = len(segments), 0 })
	proofs := make([][rollup.ProofSize]byte, len(segments))
	for i := range segments {
		s := &segments[i]
		if proofs[i], err = p.proveSegment(ctx, s, statements[s.First:s.First+len(s.Clients)]); err != nil {
			return nil, fmt.Errorf("segment %d of %d: %w", i, len(segments), err)
		}
		p.counters.proofs.Add(1)
		p.status(j, func(s *WindowStatus) { s.SegmentsProven++ })
	}
	return rollup.ProofEvidence(noAcks, list, segments, proofs).Append(nil), nil
}

func (p *Pipeline) proveSegment(ctx context.Context, s *rollup.Segment, statements []rollup.Statement) (proof [rollup.ProofSize]byte, err error) {
	for range proveAttempts {
		if proof, err = p.cfg.Prover.Prove(ctx, s, statements); err == nil || ctx.Err() != nil {
			break
		}
		p.log.Warn("the prover failed", "statements", len(statements), "err", err)
	}
	if err != nil {
		return proof, err
	}
	if err := p.cfg.Proofs.VerifyProof(s.Size, s.Public.Bytes(), &proof); err != nil {
		return proof, fmt.Errorf("%w: %w", errWrongProof, err)
	}
	return proof, nil
}

// stats fills in what waits.
func (q *proving) stats(s *Stats, age func(time.Time) time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.ProofFailures = make(map[ProofFailure]uint64, len(q.failures))
	for _, why := range ProofFailures() {
		s.ProofFailures[why] = q.failures[why]
	}
	for _, t := range slices.Concat(q.working, q.waiting) {
		s.Prove.Queued += t.j.stated
		s.Prove.Oldest = max(s.Prove.Oldest, age(t.since))
	}
	s.Proving, s.ProofQueue = len(q.working), len(q.waiting)
}
