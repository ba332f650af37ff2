package node

import (
	"path/filepath"
	"time"

	"github.com/waybill-network/waybill/node/telemetry"
)

// pastFile is the file in a node's home that keeps what the page shows of the last hours.
const pastFile = "past"

// openPast reads the past of earlier processes. It is there, in memory, also when it returns an
// error.
func (n *Node) openPast() (err error) {
	now := time.Now()
	n.past, err = telemetry.OpenPast(filepath.Join(n.cfg.HomeDir(), pastFile), now)
	n.past.Begin(now, n.counters(), 0, 0)
	n.onStop(func() {
		if err := n.past.Close(); err != nil {
			n.log.Warn("the file of the last hours did not close cleanly", "err", err)
		}
	})
	return err
}

// notePast makes a point of a span that is over. That one could not be written is told by the
// disk's own checks.
func (n *Node) notePast() {
	if !n.past.Due(time.Now()) {
		return
	}
	s := n.Snapshot()
	if err := n.past.Note(&s, countersOf(n.chain.View(), &s.Pipeline, &s.Certify)); err != nil {
		n.log.Debug("a point of the past is not kept", "err", err)
	}
}
