// Package status is the form in which the rooms that an ack passes say what they do: windows,
// stages and counts. What they mean, and the names of the states, stages and reasons in them,
// belong to the room that sets them. Metrics, the operator's commands, JSON and the dashboard
// read these values as they are. In JSON, durations are seconds, and absent times are left out.
package status

import (
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// State is where a window is on its way: one of pipeline.States or certify.States. The values are
// also those of the metric label "state".
type State string

// Window is what is known about a window of this node. Times are zero until they come.
type Window struct {
	Node   uint32 `json:"node"`
	Epoch  uint32 `json:"epoch"`
	Window uint32 `json:"window"`
	State  State  `json:"state"`

	Acks    int    `json:"acks"`
	MaxAcks int    `json:"max_acks"`
	Units   uint64 `json:"units,string"`
	Rows    int    `json:"rows"`

	ID         rollup.Hash `json:"id,omitzero"`   // of the rollup, from sealing on
	Root       rollup.Hash `json:"root,omitzero"` // of the acks part, zero when there is none
	Statements int         `json:"statements"`    // in the tree, from sealing on
	Cosigned   int         `json:"cosigned"`      // acks under co-signed statements, from sealing on

	Rung     rollup.Rung `json:"rung"`     // of the best evidence that is kept, from sealing on
	Segments int         `json:"segments"` // that it is cut into to be proved, once that has begun
	Proven   int         `json:"proven"`   // of them, those that are proved
	// ProofFailure is why there will be no proof, one of certify.ProofFailures.
	ProofFailure string `json:"proof_failure,omitzero"`

	Power  uint64 `json:"power"`  // of the members whose shares are there
	Quorum uint64 `json:"quorum"` // least power that makes a quorum, once shares are collected

	// Of a stuck window: one of certify.Reasons, what exactly happened, and what can be done.
	Reason string `json:"reason,omitzero"`
	Error  string `json:"error,omitzero"`
	Advice string `json:"advice,omitzero"`

	Opened    time.Time `json:"opened,omitzero"`
	Closes    time.Time `json:"closes,omitzero"` // when it stops taking new acks at the latest
	Sealed    time.Time `json:"sealed,omitzero"`
	Proved    time.Time `json:"proved,omitzero"`
	Certified time.Time `json:"certified,omitzero"`
	Ordered   time.Time `json:"ordered,omitzero"`
}

// Of returns the status of a window of which nothing but its name is known.
func Of(key rollup.WindowKey, state State) Window {
	return Window{Node: key.Node, Epoch: key.Epoch, Window: key.Window, State: state,
		MaxAcks: rollup.MaxAcks}
}

// Key names the window.
func (w *Window) Key() rollup.WindowKey {
	return rollup.WindowKey{Node: w.Node, Epoch: w.Epoch, Window: w.Window}
}

// Describe takes what a header says. The rung is that of evidence without a proof.
func (w *Window) Describe(h *rollup.Header) {
	acks, units := h.Totals()
	w.ID, w.Root, w.Rows = h.ID(), h.AckRoot, len(h.Rows)
	w.Acks, w.Units = int(acks), units
	w.Statements, w.Cosigned = int(h.StatementCount), int(acks)-int(h.AckCount)
	if w.Rung = rollup.RungAcks; h.StatementCount > 0 {
		w.Rung = rollup.RungStatements
	}
}

// Stage counts acks in one stage. A batch is a batch of acks, or a window, as the stage says.
type Stage struct {
	Name string `json:"name"` // also the value of the metric label "stage"
	// Answered says that acks in this stage have had their answer: nobody waits for them.
	Answered bool `json:"answered"`

	Acks    uint64 `json:"acks"`    // counter: that went on to the next stage
	Refused uint64 `json:"refused"` // counter: that the stage refused
	Batches uint64 `json:"batches"` // counter

	Queued int     `json:"queued"`         // acks waiting or in work
	Oldest float64 `json:"oldest_seconds"` // age of what waits longest, 0 when nothing does
	Size   int     `json:"batch_acks"`     // acks in the last batch
	Busy   float64 `json:"busy_seconds"`   // counter: time spent on batches, over all workers
	Last   float64 `json:"last_seconds"`   // duration of the last batch
}

// Count is a counter with a name from a small closed set: a code, a reason, a state.
type Count struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Counters are what a stage writes. They are safe for concurrent use.
type Counters struct {
	passed, refused, batches atomic.Uint64
	busy, last, size         atomic.Int64
}

// Settle counts acks that went on and acks that were refused.
func (c *Counters) Settle(passed, refused int) {
	c.passed.Add(uint64(passed))
	c.refused.Add(uint64(refused))
}

// Batch counts a batch.
func (c *Counters) Batch(size int, took time.Duration) {
	c.batches.Add(1)
	c.busy.Add(int64(took))
	c.last.Store(int64(took))
	c.size.Store(int64(size))
}

// Stage returns what was counted.
func (c *Counters) Stage(name string, answered bool) Stage {
	return Stage{Name: name, Answered: answered,
		Acks: c.passed.Load(), Refused: c.refused.Load(), Batches: c.batches.Load(),
		Busy: time.Duration(c.busy.Load()).Seconds(), Last: time.Duration(c.last.Load()).Seconds(),
		Size: int(c.size.Load()),
	}
}

// Queue notes what waits in a stage, since when. The zero time stands for now.
func (s *Stage) Queue(acks int, since, now time.Time) {
	s.Queued += acks
	if !since.IsZero() {
		s.Oldest = max(s.Oldest, now.Sub(since).Seconds())
	}
}
