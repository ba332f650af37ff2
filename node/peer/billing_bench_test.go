package peer

import (
	"runtime"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

// runsOf is a full window of clients whose indices are so far apart, from number first on.
func runsOf(clients int, apart uint64, first uint32) []rollup.Run {
	runs := make([]rollup.Run, clients)
	for i := range runs {
		runs[i] = rollup.Run{Client: uint64(i) * apart, First: first, Count: 1}
	}
	return runs
}

// BenchmarkBill checks and takes the runs of a full window, each of another client of a million.
func BenchmarkBill(b *testing.B) {
	for _, c := range []struct {
		name  string
		apart uint64
	}{{"dense", 1}, {"of a million", 15}} {
		b.Run(c.name, func(b *testing.B) {
			var numbers rollup.Numbers
			for from := uint64(0); from < 1<<20; from++ {
				numbers.Take(rollup.Run{Client: from, Count: 1})
			}
			runs := runsOf(rollup.MaxAcks, c.apart, 1)
			b.ReportAllocs()
			for b.Loop() {
				if err := numbers.CheckAll(runs); err != nil {
					b.Fatal(err)
				}
				numbers.TakeAll(runs)
				for i := range runs {
					runs[i].First++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/window")
		})
	}
}

// TestTableSize: what a million clients take of a member's memory, for each node whose rollups it
// signs.
func TestTableSize(t *testing.T) {
	const clients = 1 << 20
	var before, after runtime.MemStats
	var numbers rollup.Numbers
	runtime.GC()
	runtime.ReadMemStats(&before)
	numbers.TakeAll(runsOf(clients, 1, 0))
	runtime.GC()
	runtime.ReadMemStats(&after)
	perRun := float64(after.HeapAlloc-before.HeapAlloc) / clients
	t.Logf("%.1f bytes a client and service", perRun)
	if perRun > 8 || numbers.Next(clients-1, 0) != 1 {
		t.Errorf("%.1f bytes a client and service", perRun)
	}
}
