package committee

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// metrics are the engine's own. CometBFT's register with the process-wide registry, where two nodes would collide.
type metrics struct {
	height            prometheus.Gauge
	epoch             prometheus.Gauge
	round             prometheus.Gauge
	interval          prometheus.Histogram
	refused           prometheus.Counter
	refusedExtensions prometheus.Counter

	lastCommit time.Time // touched by Commit only
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "waybill", Subsystem: "chain", Name: name, Help: help}
	}
	return &metrics{
		height: prometheus.NewGauge(prometheus.GaugeOpts(opts("height", "Height of the last committed block."))),
		epoch:  prometheus.NewGauge(prometheus.GaugeOpts(opts("epoch", "Current epoch."))),
		round: prometheus.NewGauge(prometheus.GaugeOpts(
			opts("round", "Round that decided the block before the last one; 0 unless a proposer was late or refused."))),
		interval: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "waybill", Subsystem: "chain", Name: "block_interval_seconds",
			Help:    "Time between two commits on this node.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts(
			opts("proposals_refused_total", "Proposals of other members that this node refused."))),
		refusedExtensions: prometheus.NewCounter(prometheus.CounterOpts(
			opts("vote_extensions_refused_total", "Votes of other members refused for their settlement signature."))),
	}
}

// collectors returns all metrics, those read from a running engine included.
func (m *metrics) collectors(e *Engine) []prometheus.Collector {
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "waybill", Subsystem: "chain", Name: name, Help: help,
		}, read)
	}
	return []prometheus.Collector{
		m.height, m.epoch, m.round, m.interval, m.refused, m.refusedExtensions,
		gauge("peers", "Connected consensus peers.", func() float64 { return float64(e.peers()) }),
		gauge("mempool_transactions", "Transactions that wait for a block.",
			func() float64 { return float64(e.node.Mempool().Size()) }),
		gauge("lag_seconds", "Age of the last committed block.", func() float64 { return e.Status().Lag.Seconds() }),
	}
}

func (m *metrics) committed(view *ledger.View) {
	now := time.Now()
	if !m.lastCommit.IsZero() {
		m.interval.Observe(now.Sub(m.lastCommit).Seconds())
	}
	m.lastCommit = now
	m.height.Set(float64(view.Height()))
	m.epoch.Set(float64(view.Epoch()))
}
