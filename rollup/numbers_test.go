package rollup

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

// TestNumbers holds the pages to a map.
func TestNumbers(t *testing.T) {
	rng := newRand(t)
	type pair struct {
		client  uint64
		service uint32
	}
	want := make(map[pair]uint32)
	var n Numbers
	for range 20000 {
		p := pair{rng.Uint64N(MaxClients) >> rng.IntN(40), randomServices[rng.IntN(3)]}
		run := Run{p.client, p.service, rng.Uint32N(1 << 20), 1 + rng.Uint32N(5)}
		if got := n.Next(p.client, p.service); got != want[p] {
			t.Fatalf("%v: next is %d, not %d", p, got, want[p])
		}
		err := n.Check(run)
		if run.First < want[p] {
			wantError(t, err, ErrNumbers)
			continue
		}
		wantError(t, err, nil)
		n.Take(run)
		want[p] = uint32(run.End())
	}
	last := Run{7, 0, math.MaxUint32 - 1, 1}
	n.Take(last)
	wantError(t, n.Check(Run{7, 0, math.MaxUint32, 1}), nil)
	wantError(t, n.Check(last), ErrNumbers)
}

// TestNumbersMemory: a (client, service) costs little more than 4 bytes where clients are dense.
func TestNumbersMemory(t *testing.T) {
	const clients = 1 << 18
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var n Numbers
	for c := range uint64(clients) {
		n.Take(Run{c, 3, 0, 16})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := float64(after.HeapAlloc-before.HeapAlloc) / clients; each > 8 {
		t.Errorf("%.1f bytes a client", each)
	}
	runtime.KeepAlive(&n)
}

// BenchmarkNumbers checks and takes the 65,536 runs of a window in which each client has one.
func BenchmarkNumbers(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	runs := make([]Run, MaxAcks)
	client := uint64(0)
	for i := range runs {
		client += 1 + rng.Uint64N(30)
		runs[i] = Run{Client: client, Service: 1, Count: 1}
	}
	var n Numbers
	for b.Loop() {
		for i := range runs {
			if err := n.Check(runs[i]); err != nil {
				b.Fatal(err)
			}
		}
		for i := range runs {
			n.Take(runs[i])
			runs[i].First++
		}
	}
}
