package committee

import (
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// Clock compares this machine's clock with the chain's.
type Clock struct {
	Skew time.Duration // this clock minus the chain's, when a block came
	At   time.Time     // when that was, by this clock; zero when it was never measured
}

// clock is measured at blocks that this node judged while they were proposed. One that it only
// hears of later says how late it is, and nothing of its clock.
type clock struct{ last atomic.Pointer[Clock] }

func (c *clock) measure(view *ledger.View, live int64, now time.Time) {
	if live == view.Height() {
		c.last.Store(&Clock{Skew: now.Sub(view.Time()), At: now})
	}
}

func (c *clock) status() Clock {
	if last := c.last.Load(); last != nil {
		return *last
	}
	return Clock{}
}
