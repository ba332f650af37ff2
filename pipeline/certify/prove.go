package certify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// Prover makes the proofs of windows that clients have co-signed. It is called from Config.Proving
// goroutines at a time.
type Prover interface {
	// Size returns how many statements a proof is about, at most, in a window of an epoch with so
	// many; 0 says that no proof can be made.
	Size(epoch uint32, statements int) int
	// Prove returns the proof of a segment, whose statements are these. It returns soon after the
	// context ended. After an error it may be called again with the same. What it returns is verified
	// by the caller.
	Prove(ctx context.Context, epoch uint32, s *rollup.Segment,
		statements []rollup.Statement) ([rollup.ProofSize]byte, error)
}

const (
	maxProofQueue = 64 // windows that wait to be proved
	proveAttempts = 2  // of a segment: a prover may die of something else than the segment
)

// proofWork is how far the proof of a job's window is. All but over is guarded by the outbox's
// lock.
type proofWork struct {
	since  time.Time     // that it was requested
	awaits bool          // the job waits for it
	over   chan struct{} // closed when there is a proof, or will be none
}

// queue is the gate of the prover. It is guarded by the outbox's lock.
type queue struct {
	free    int    // how many more may be proved at once
	waiting []*job // oldest first
	working []*job
}

// take removes the oldest of the jobs that await their proof, or do not, or of all if there is
// none of these.
func (q *queue) take(awaits bool) *job {
	i := slices.IndexFunc(q.waiting, func(j *job) bool { return j.proof.awaits == awaits })
	i = max(0, i)
	j := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return j
}

// requestProof has the window proved, if it can be and is not, and returns for how long the job
// is to wait for that.
func (j *job) requestProof() (wait time.Duration) {
	o := j.o
	statements := j.status.Statements
	if statements == 0 || o.cfg.Prover == nil || o.cfg.Prover.Size(j.key.Epoch, statements) == 0 ||
		j.rung() == rollup.RungProof {
		return 0
	}
	wait = max(0, o.proofWait(j.key))
	o.mu.Lock()
	j.proof.since, j.proof.awaits = time.Now(), wait > 0
	var dropped *job
	if len(o.prover.waiting) == maxProofQueue {
		dropped = o.prover.take(false)
	}
	o.prover.waiting = append(o.prover.waiting, j)
	o.startProofs()
	o.mu.Unlock()
	if dropped != nil {
		dropped.unproven(ProofCrowded)
	}
	return wait
}

func (j *job) rung() rollup.Rung {
	j.o.mu.Lock()
	defer j.o.mu.Unlock()
	return j.status.Rung
}

// awaitProof returns when there is a proof, or will be none, or the wait is over, or the outbox
// closes.
func (j *job) awaitProof(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-j.proof.over:
	case <-timer.C:
	case <-j.o.ctx.Done():
	}
	j.o.mu.Lock()
	defer j.o.mu.Unlock()
	j.proof.awaits = false
}

// proofWait is how long a window may wait for its proof: as long as is configured, and not longer
// than leaves half of its epoch's grace to certify and order it.
func (o *Outbox) proofWait(key rollup.WindowKey) time.Duration {
	v := o.chain.View()
	end := v.EpochEnd()
	switch {
	case v.Epoch() > key.Epoch+1:
		return 0
	case v.Epoch() > key.Epoch:
		end = v.EpochStart()
	}
	half := time.Duration(v.Params().GraceSeconds) * time.Second / 2
	return min(o.cfg.ProofWait, end.Add(half).Sub(v.Time()))
}

// startProofs lets jobs through the gate. The caller holds the outbox's lock.
func (o *Outbox) startProofs() {
	for q := &o.prover; q.free > 0 && len(q.waiting) > 0 && !o.ended; q.free-- {
		j := q.take(true)
		q.working = append(q.working, j)
		o.tasks.Go(j.prove)
	}
}

// prove makes the window's proof, beside its job, and lets the next through the gate.
func (j *job) prove() {
	o := j.o
	if o.Err() == nil {
		j.proveWindow()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prover.working = slices.DeleteFunc(o.prover.working, func(w *job) bool { return w == j })
	o.prover.free++
	o.startProofs()
}

func (j *job) proveWindow() {
	o := j.o
	if o.expired(j.key) {
		j.unproven(ProofLate)
		return
	}
	start := time.Now()
	proved, err := j.makeProof()
	took := time.Since(start)
	if o.ctx.Err() != nil {
		return // the next start goes on
	}
	if err != nil {
		j.unproven(err)
		return
	}
	if err := o.store.PutProof(j.key, proved.Proof); err != nil {
		o.fail("keeping a proof", err)
		return
	}
	o.mu.Lock()
	if j.archive != nil {
		j.archive = proved
	}
	j.status.Rung, j.status.Proved = rollup.RungProof, time.Now()
	stated, statements := j.status.Cosigned, j.status.Statements
	o.mu.Unlock()
	o.counters.prove.Batch(stated, took)
	o.counters.prove.Settle(stated, 0)
	o.log.Info("window proved", "epoch", j.key.Epoch, "window", j.key.Window,
		"statements", statements, "took", took)
	close(j.proof.over)
}

// unproven ends the work without a proof. The error is, or wraps, a ProofFailure, or is the
// prover's.
func (j *job) unproven(err error) {
	o := j.o
	var why ProofFailure // ProofError, unless it says otherwise
	errors.As(err, &why)
	o.mu.Lock()
	j.status.ProofFailure = why.String()
	stated, statements := j.status.Cosigned, j.status.Statements
	o.mu.Unlock()
	o.counters.unproven[why].Add(1)
	o.counters.prove.Settle(0, stated)
	o.log.Warn("no proof of a window", "epoch", j.key.Epoch, "window", j.key.Window,
		"statements", statements, "reason", why.String(), "err", err)
	close(j.proof.over)
}

// makeProof returns the window's archive with a proof of every segment. What it returns verifies.
func (j *job) makeProof() (*rollup.Archive, error) {
	o := j.o
	a := j.atHand()
	var err error
	if a == nil {
		if a, err = o.store.Sealed(j.key); err != nil {
			return nil, err
		}
	}
	if a, err = a.WithTree(o.chain.View()); err != nil {
		return nil, err
	}
	statements := a.Tree.Statements()
	segments, err := a.Segments(o.cfg.Prover.Size(j.key.Epoch, len(statements)), o.chain.View())
	if err != nil {
		return nil, err
	}
	j.update(func(s *status.Window) { s.Segments, s.Proven = len(segments), 0 })
	proofs := make([][rollup.ProofSize]byte, len(segments))
	for i := range segments {
		s := &segments[i]
		proofs[i], err = o.proveSegment(j.key.Epoch, s, statements[s.First:s.First+len(s.List)])
		if err != nil {
			return nil, fmt.Errorf("segment %d of %d: %w", i, len(segments), err)
		}
		o.counters.proofs.Add(1)
		j.update(func(s *status.Window) { s.Proven++ })
	}
	return a.WithProof(segments, proofs), nil
}

func (o *Outbox) proveSegment(epoch uint32, s *rollup.Segment,
	statements []rollup.Statement) (proof [rollup.ProofSize]byte, err error) {
	for range proveAttempts {
		proof, err = o.cfg.Prover.Prove(o.ctx, epoch, s, statements)
		if err == nil || o.ctx.Err() != nil {
			break
		}
		o.log.Warn("the prover failed", "statements", len(statements), "err", err)
	}
	if err != nil {
		return proof, err
	}
	if err := o.cfg.Proofs(epoch).VerifyProof(s.Size, s.Public.Bytes(), &proof); err != nil {
		return proof, rollup.Refuse(ProofWrong, "%w", err)
	}
	return proof, nil
}
