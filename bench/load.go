package bench

import "time"

// Load is what became of one rate at which acks were offered to a network.
type Load struct {
	Epoch   uint32         `json:"epoch"`             // in which it was
	Seconds float64        `json:"seconds"`           // for which acks were offered
	Rate    float64        `json:"rate"`              // offered, acks a second
	Offered int            `json:"offered"`           // acks that had their moment
	Sent    int            `json:"sent"`              // of them: taken by a connection in time
	Taken   int            `json:"accepted"`          // of them: durable, and answered so
	Refused map[string]int `json:"refused,omitempty"` // answers, by code; the same ack may come again
	// acks in rollups that a quorum certified, that the chain ordered, and that its epoch's
	// certified settlement pays
	Certified int `json:"certified"`
	Ordered   int `json:"ordered"`
	Settled   int `json:"settled"`

	TakenRate     float64     `json:"accepted_per_second"`  // until the last answer
	CertifiedRate float64     `json:"certified_per_second"` // until the last certificate
	ToAnswer      Percentiles `json:"to_answer"`            // from an ack's moment
	ToCertified   Percentiles `json:"to_certified"`

	Processes []Process `json:"processes"`
	// processors that were busy while acks were offered: those of the network and the generator,
	// and of the whole machine
	Busy    float64 `json:"busy_cores"`
	Machine float64 `json:"machine_busy_cores"`
	// of the network's processes, from the first ack until all that was taken is ordered
	NodesCPU time.Duration `json:"nodes_cpu_ns"`
}

// Bends reports whether the network took less than what was offered, by a twentieth in the time for
// which it was, or by a tenth until the last answer.
func (l *Load) Bends() bool {
	return float64(l.Sent) < 0.95*float64(l.Offered) || l.TakenRate < 0.9*l.Rate
}

// Roles of processes.
const (
	RoleMember    = "member"
	RoleFeeding   = "feeding node"
	RoleGenerator = "load generator"
)

// Process is what a process used while acks were offered.
type Process struct {
	Name  string  `json:"name"`
	Role  string  `json:"role"`
	Cores float64 `json:"cores"`
	Peak  int64   `json:"peak_memory,omitempty"` // bytes, since it began
}

// Percentiles are of times in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Cores is how many processors the processes of a role used together.
func (l *Load) Cores(role string) (cores float64) {
	for _, p := range l.Processes {
		if p.Role == role {
			cores += p.Cores
		}
	}
	return cores
}

// Count is how many processes have a role.
func (l *Load) Count(role string) (n int) {
	for _, p := range l.Processes {
		if p.Role == role {
			n++
		}
	}
	return n
}
