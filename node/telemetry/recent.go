package telemetry

import (
	"sync"
	"time"
)

// A node notes its counters at every SampleInterval, so that Recent looks back about RecentSpan.
const (
	SampleInterval = time.Second
	RecentSpan     = 10 * time.Second
)

// Counters are those whose recent growth a snapshot tells.
type Counters struct {
	Accepted uint64 `json:"accepted"` // acks
	Refused  uint64 `json:"refused"`  // acks, for whatever reason
	Ordered  uint64 `json:"ordered"`  // rollups of this node
	Blocks   uint64 `json:"blocks"`   // executed
}

// Recent is by how much counters grew in the last seconds before a snapshot, or since the start
// if that is later.
type Recent struct {
	Seconds float64 `json:"seconds"`
	Counters
}

// PerSecond makes a rate of one of its counters.
func (r Recent) PerSecond(grown uint64) float64 {
	if r.Seconds <= 0 {
		return 0
	}
	return float64(grown) / r.Seconds
}

// History remembers the counters of the last seconds. The zero value is empty; it is safe for
// concurrent use.
type History struct {
	mu      sync.Mutex
	samples []sample // oldest first, at most one older than RecentSpan
}

type sample struct {
	at time.Time
	Counters
}

// Note remembers counters, which are not smaller than those before.
func (h *History) Note(at time.Time, c Counters) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.samples) > 1 && at.Sub(h.samples[1].at) >= RecentSpan {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, sample{at, c})
}

// Recent returns how counters have grown until now.
func (h *History) Recent(at time.Time, c Counters) Recent {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == 0 {
		return Recent{}
	}
	old := h.samples[0]
	for _, s := range h.samples[1:] {
		if at.Sub(s.at) >= RecentSpan {
			old = s
		}
	}
	return Recent{at.Sub(old.at).Seconds(), Counters{c.Accepted - old.Accepted,
		c.Refused - old.Refused, c.Ordered - old.Ordered, c.Blocks - old.Blocks}}
}
