package node

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestSurplus(t *testing.T) {
	const mib = 1 << 20
	before := heap{allocated: 1000 * mib, at: time.Unix(100, 0)}
	for name, c := range map[string]struct {
		now  heap
		want bool
	}{
		"after a peak":  {heap{allocated: 1001 * mib, live: 40 * mib, held: 200 * mib}, true},
		"at work":       {heap{allocated: 1100 * mib, live: 40 * mib, held: 200 * mib}, false},
		"little":        {heap{allocated: 1001 * mib, live: 40 * mib, held: 80 * mib}, false},
		"large, in use": {heap{allocated: 1001 * mib, live: 400 * mib, held: 510 * mib}, false},
	} {
		c.now.at = before.at.Add(memoryInterval)
		if got := c.now.surplus(before); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestReadHeap: what the runtime is asked for exists, and a peak that is over is seen.
func TestReadHeap(t *testing.T) {
	peak := make([]byte, 128<<20)
	for i := 0; i < len(peak); i += 4096 {
		peak[i] = 1
	}
	high := readHeap(time.Unix(100, 0))
	if high.allocated < 128<<20 || high.held < 128<<20 {
		t.Errorf("%+v", high)
	}
	runtime.KeepAlive(peak)
	after := readHeap(time.Unix(100, 0).Add(memoryInterval))
	debug.FreeOSMemory()
	low := readHeap(time.Unix(100, 0).Add(2 * memoryInterval))
	if low.held+100<<20 > after.held || low.live == 0 {
		t.Errorf("%+v, then %+v", after, low)
	}
}
