package bench

import (
	"fmt"

	"github.com/waybill-network/waybill/internal/text"
)

// Price is what a machine costs its owner. What is 0 is not said.
type Price struct {
	PerHour float64 `json:"per_hour,omitempty"` // dollars
	Watts   float64 `json:"watts,omitempty"`    // of the machine under this load
}

// Answer says how many acks a second this machine will do, and what they cost: the whole pipeline,
// from the door to the sealed window, with every signature verified.
type Answer struct {
	Clients   int      `json:"clients"` // who signed them
	Cores     int      `json:"cores"`   // that were measured
	PerSecond Interval `json:"acks_per_second"`
	PerCore   Interval `json:"acks_per_second_and_core"`
	Daily     float64  `json:"acks_per_day"`
	// at the price, and at the machine's full throughput; 0 where there is none
	PerDollar   float64 `json:"acks_per_dollar,omitempty"`
	PerWattHour float64 `json:"acks_per_watt_hour,omitempty"`
}

// answer reads it from the comparison of the pipeline on the most cores; nil when that was not
// measured.
func (r *Report) answer() *Answer {
	var best *Result
	for i := range r.Results {
		res := &r.Results[i]
		if res.Pipeline > 0 && (best == nil || res.Cores >= best.Cores) {
			best = res
		}
	}
	if best == nil {
		return nil
	}
	took := best.Samples[len(best.Samples)-1].Time
	a := &Answer{Clients: best.Pipeline, Cores: best.Cores, PerSecond: took.inverse(1e9),
		PerCore: took.inverse(1e9 / float64(best.Cores)), Daily: 86400 * 1e9 / took.Center}
	if r.Price.PerHour > 0 {
		a.PerDollar = 3600 * a.PerSecond.Center / r.Price.PerHour
	}
	if r.Price.Watts > 0 {
		a.PerWattHour = 3600 * a.PerSecond.Center / r.Price.Watts
	}
	return a
}

// String says it in a sentence or two.
func (a *Answer) String() string {
	whole := func(v float64) string { return text.Grouped(int(v)) }
	cores := "one core"
	if a.Cores > 1 {
		cores = fmt.Sprintf("%d cores, %s a core", a.Cores, whole(a.PerCore.Center))
	}
	s := fmt.Sprintf("This machine takes %s acks a second (%s) on %s: from the door to sealed "+
		"windows on disk, with each signature of %d clients verified.",
		whole(a.PerSecond.Center), a.PerSecond.span(whole), cores, a.Clients)
	if a.PerDollar > 0 {
		s += fmt.Sprintf(" %s acks a dollar.", whole(a.PerDollar))
	}
	if a.PerWattHour > 0 {
		s += fmt.Sprintf(" %s acks a watt-hour.", whole(a.PerWattHour))
	}
	return s
}
