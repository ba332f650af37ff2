package committee

import (
	"slices"
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
// hears of later says how late it is, and nothing of its clock; and so does one that it judged
// late, after a pause, so that of the last measurements the least counts: delays only add. The
// first block's time is the genesis file's.
type clock struct {
	recent [measured]time.Duration // by the chain's only routine
	count  int
	last   atomic.Pointer[Clock]
}

// measured is how many measurements are compared.
const measured = 5

func (c *clock) measure(view *ledger.View, live int64, now time.Time) {
	if live != view.Height() || view.Height() < 2 {
		return
	}
	c.recent[c.count%measured] = now.Sub(view.Time())
	c.count++
	c.last.Store(&Clock{Skew: slices.Min(c.recent[:min(c.count, measured)]), At: now})
}

func (c *clock) status() Clock {
	if last := c.last.Load(); last != nil {
		return *last
	}
	return Clock{}
}
