package committee

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the engine's own. CometBFT's register with the process-wide registry, where two nodes
// would collide.
type metrics struct {
	round             prometheus.Gauge
	interval          prometheus.Histogram
	refused           prometheus.Counter
	refusedExtensions prometheus.Counter
	ownExtensions     prometheus.Counter
	unsignedHandOvers prometheus.Counter

	lastCommit time.Time // touched by Commit only
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "waybill", Subsystem: "chain", Name: name, Help: help}
	}
	return &metrics{
		round: prometheus.NewGauge(prometheus.GaugeOpts(
			opts("round", "Round that decided the block before the last one; 0 unless a proposer "+
				"was late or refused."))),
		interval: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "waybill", Subsystem: "chain", Name: "block_interval_seconds",
			Help:    "Time between two commits on this node.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts(
			opts("proposals_refused_total", "Proposals of other members that this node refused."))),
		refusedExtensions: prometheus.NewCounter(prometheus.CounterOpts(
			opts("vote_extensions_refused_total",
				"Votes of other members refused for their signatures of records."))),
		ownExtensions: prometheus.NewCounter(prometheus.CounterOpts(
			opts("vote_extensions_withheld_total",
				"Votes of this node without its signatures of records, which did not verify."))),
		unsignedHandOvers: prometheus.NewCounter(prometheus.CounterOpts(
			opts("hand_overs_unsigned_total",
				"Votes of this node without its signature of a hand-over, as it has no snapshot."))),
	}
}

// collectors returns all metrics. What Status tells is left to whoever asks it.
func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.round, m.interval, m.refused, m.refusedExtensions,
		m.ownExtensions, m.unsignedHandOvers}
}

func (m *metrics) committed() {
	now := time.Now()
	if !m.lastCommit.IsZero() {
		m.interval.Observe(now.Sub(m.lastCommit).Seconds())
	}
	m.lastCommit = now
}
