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

// The states of a window in the outbox, in order.
const (
	StateSealed     status.State = "sealed"     // durable; nothing was done for it yet in this run
	StateProving    status.State = "proving"    // waits for its proof
	StateCollecting status.State = "collecting" // waits for shares of the certificate
	StateOrdering   status.State = "ordering"   // has its certificate, which the chain is to order
	StateOrdered    status.State = "ordered"    // on the chain
	StateStuck      status.State = "stuck"      // accepted, and will not be paid, see Reason
)

// States returns the states of a window in the outbox, in order.
func States() []status.State {
	return []status.State{StateSealed, StateProving, StateCollecting, StateOrdering, StateOrdered,
		StateStuck}
}

// next is to which states a job may go from a state.
var next = map[status.State][]status.State{
	StateSealed:     {StateProving, StateCollecting, StateOrdering, StateStuck},
	StateProving:    {StateCollecting, StateStuck},
	StateCollecting: {StateOrdering, StateStuck},
	StateOrdering:   {StateOrdered, StateStuck},
}

// job is a sealed window on its way to the chain.
type job struct {
	o     *Outbox
	key   rollup.WindowKey
	since time.Time // sealed, or found in the store

	// Guarded by the outbox's lock.
	status  status.Window
	archive *rollup.Archive // nil: in the store only
	proof   proofWork

	line   *line // of this window
	before *line // of the one before it

	// Of the job's goroutine.
	described   bool // the status says what the header says
	turn        bool // it has a place among those that are certified
	certificate []byte
	stopPushes  context.CancelCauseFunc // of those that are under way, nil when there are none
	stated      map[uint32]bool         // nodes that got the statements when they signed
}

// newJob returns a job that nobody runs yet. The caller holds the outbox's lock, or is alone.
func (o *Outbox) newJob(s status.Window) *job {
	return &job{o: o, key: s.Key(), since: time.Now(), status: s, line: newLine(),
		before: o.behind(s.Key()), proof: proofWork{over: make(chan struct{})}}
}

// update changes the public status.
func (j *job) update(change func(s *status.Window)) {
	j.o.mu.Lock()
	defer j.o.mu.Unlock()
	change(&j.status)
}

// become takes the job to another state. It is the only place where a job's state is set.
func (j *job) become(to status.State) {
	j.o.mu.Lock()
	defer j.o.mu.Unlock()
	if !slices.Contains(next[j.status.State], to) {
		panic(fmt.Sprintf("certify: a window can not go from %s to %s", j.status.State, to))
	}
	j.status.State = to
}

// run leads the job from its present state to its end.
func (j *job) run() {
	o := j.o
	err := j.certify()
	if err != nil {
		j.line.skip(j.before)
	}
	j.drain()
	j.endTurn()
	switch {
	case o.ctx.Err() != nil || errors.Is(err, ErrStore): // the next start goes on
	case err != nil:
		j.giveUp(err)
	default:
		if j.finish() == nil && j.status.Statements > 0 {
			j.hold()
		}
	}
	j.dropArchive()
}

// certify does not return before the chain has the window, or never will have it, or the outbox
// closes.
func (j *job) certify() error {
	o := j.o
	if !j.described { // of an earlier run: it has its turn, to look at the store
		if err := j.lookUp(); err != nil {
			return err
		}
	}
	start := time.Now()
	if j.certificate == nil && !o.ordered(j.key) {
		if wait := j.requestProof(); wait > 0 {
			j.endTurn()
			j.become(StateProving)
			j.awaitProof(wait)
		}
		j.become(StateCollecting)
		if err := j.follow(); err != nil {
			return err
		}
		start = time.Now()
		if err := j.collect(); err != nil {
			return err
		}
	}
	j.line.end()
	if !j.takeTurn() {
		return o.ctx.Err()
	}
	j.become(StateOrdering)
	err := j.order()
	o.counters.certify.Batch(j.status.Acks, time.Since(start))
	return err
}

// follow waits until the window before is pushed, and then for a turn. It holds none while it
// waits: the window before may need it.
func (j *job) follow() error {
	o := j.o
	select {
	case <-j.before.hasBegun():
	default:
		j.endTurn()
		select {
		case <-j.before.hasBegun():
		case <-o.ctx.Done():
			return o.ctx.Err()
		}
	}
	if !j.takeTurn() {
		return o.ctx.Err()
	}
	j.line.begin()
	return nil
}

// takeTurn waits for a place among the windows that are certified; false means that the outbox
// closes.
func (j *job) takeTurn() bool {
	if !j.turn {
		j.turn = j.o.certifying.Acquire(j.o.ctx, 1) == nil
	}
	return j.turn
}

func (j *job) endTurn() {
	if j.turn {
		j.o.certifying.Release(1)
		j.turn = false
	}
}

// lookUp finds out what is known of a window that was sealed in an earlier run.
func (j *job) lookUp() error {
	encoded, err := j.o.store.Certificate(j.key)
	switch {
	case err == nil:
		c, err := rollup.ParseCertificate(encoded)
		if err != nil {
			return rollup.Refuse(ReasonUnreadable, "its certificate: %w", err)
		}
		j.certificate = encoded
		j.describe(&c.Header)
		return nil
	case !errors.Is(err, rollup.ErrNotFound):
		return j.o.fail("reading a certificate", err)
	}
	a, err := j.load()
	if err == nil {
		j.describe(a.Header)
	} else if j.o.ordered(j.key) { // ordered it is, even if it can not be read
		return nil
	}
	return err
}

func (j *job) describe(h *rollup.Header) {
	j.described = true
	j.update(func(s *status.Window) {
		rung := s.Rung
		s.Describe(h)
		s.Rung = max(s.Rung, rung)
	})
}

// atHand returns the archive if the job keeps it in memory.
func (j *job) atHand() *rollup.Archive {
	j.o.mu.Lock()
	defer j.o.mu.Unlock()
	return j.archive
}

// load returns the archive, from the store when it is not at hand, and keeps it if there is room.
func (j *job) load() (*rollup.Archive, error) {
	if a := j.atHand(); a != nil {
		return a, nil
	}
	o := j.o
	a, err := o.store.Sealed(j.key)
	if err != nil {
		return nil, rollup.Refuse(ReasonUnreadable, "%w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	j.status.Rung = a.Rungs()[0]
	if o.archives < maxArchives {
		o.archives++
		j.archive = a
	}
	return a, nil
}

// dropArchive ends what load and Put began.
func (j *job) dropArchive() {
	o := j.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if j.archive != nil {
		j.archive = nil
		o.archives--
	}
}

// finish notes that the window is ordered. It is, whatever the store remembers; the error is that
// of a store that could not be told.
func (j *job) finish() error {
	o := j.o
	j.become(StateOrdered)
	j.update(func(s *status.Window) { s.Ordered = time.Now() })
	o.counters.ordered.Add(1)
	o.counters.certify.Settle(j.status.Acks, 0)
	o.trim()
	o.log.Info("window ordered", "epoch", j.key.Epoch, "window", j.key.Window,
		"acks", j.status.Acks, "took", time.Since(j.since))
	if err := o.store.MarkOrdered(j.key); err != nil {
		return o.fail("marking a window as ordered", err)
	}
	return nil
}

// giveUp ends a job whose window will not be ordered.
func (j *job) giveUp(err error) {
	o := j.o
	reason := ReasonUnreadable
	errors.As(err, &reason)
	j.become(StateStuck)
	j.update(func(s *status.Window) {
		o.givenUp[j.key] = struct{}{}
		s.Reason, s.Error, s.Advice = reason.String(), err.Error(), reason.Advice()
	})
	o.counters.stuck[reason].Add(1)
	o.counters.certify.Settle(0, j.status.Acks)
	o.log.Error("window is stuck: its acks were accepted and will not be paid",
		"epoch", j.key.Epoch, "window", j.key.Window, "acks", j.status.Acks,
		"reason", reason.String(), "advice", reason.Advice(), "err", err)
}

// trim forgets the oldest jobs whose windows are ordered, but the last ones.
func (o *Outbox) trim() {
	o.mu.Lock()
	defer o.mu.Unlock()
	over := -maxOrdered
	for _, j := range o.jobs {
		if j.status.State == StateOrdered {
			over++
		}
	}
	o.jobs = slices.DeleteFunc(o.jobs, func(j *job) bool {
		if over <= 0 || j.status.State != StateOrdered {
			return false
		}
		over--
		return true
	})
}
