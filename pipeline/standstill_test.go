package pipeline_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// TestStandstill: a chain that stands still, for half an epoch or for more than the grace, wherever
// in an epoch it stops, loses no window that was sealed or certified: what is paid is what was
// accepted, as without the stop.
func TestStandstill(t *testing.T) {
	const epoch = 60 * time.Second
	for _, at := range []time.Duration{20 * time.Second, 50 * time.Second, 62 * time.Second} {
		for _, stop := range []time.Duration{0, epoch / 2, epoch, 4 * epoch} {
			t.Run(fmt.Sprintf("at %v for %v", at, stop), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { standstill(t, epoch, at, stop) })
			})
		}
	}
}

func standstill(t *testing.T, epoch, at, stop time.Duration) {
	f := newFixture(t, pipelinetest.Config{Members: 4, Clients: 3,
		EpochSeconds: uint32(epoch / time.Second), GraceSeconds: uint32(3 * epoch / time.Second),
		GraceBlocks: 100})
	var stands atomic.Bool
	f.net.Refuse = func([]byte) error {
		if stands.Load() {
			return errors.New("the chain makes no blocks")
		}
		return nil
	}
	f.start(nil)
	blocks := f.blocks()
	defer f.p.Close()
	start := f.net.View().EpochStart()
	accepted := 0
	take := func(n int) {
		t.Helper()
		f.want(f.submit(f.acks(n)...), all(rollup.CodeAccepted, n)...)
		accepted += n
	}
	take(6)
	time.Sleep(at - 4*time.Second - time.Since(start))
	take(9) // their window is open, and ordered after the stop
	stands.Store(true)
	time.Sleep(at - time.Since(start)) // their epoch may end before the chain stops
	blocks()
	time.Sleep(stop)
	stands.Store(false)
	defer f.blocks()()
	time.Sleep(10 * time.Second)
	take(3)
	f.settled()
	time.Sleep(10 * epoch) // whatever epoch the last ones fell into
	acks, paid := 0, uint64(0)
	for number := range f.net.View().NextToSettle() {
		if table, ok := f.net.View().Settlement(number); ok {
			for _, row := range table.Rows {
				acks += int(row.Acks)
				paid += row.Units
			}
		}
	}
	if want := uint64(1+2+3+4+5+6) + 45 + 6; acks != accepted || paid != want {
		t.Errorf("%d acks with %d units are settled, %d with %d were accepted", acks, paid, accepted,
			want)
	}
}
