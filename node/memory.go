package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The runtime keeps the memory of a peak until its next collection, which a node at rest runs every
// two minutes, and gives it back slowly then. After a flood that is most of what the node has. So a
// node at rest collects and gives back at once what is worth it.
const (
	memoryInterval = 5 * time.Second
	// bytes allocated a second; more is work, which will need its memory again
	memoryAtRest = 8 << 20
	memoryWorth  = 32 << 20 // bytes that are held and not in use
)

// heap is what the runtime says about its memory at one instant.
type heap struct {
	allocated uint64 // bytes, ever
	live      uint64 // bytes that the last collection left
	held      uint64 // bytes of heap and stacks that the system counts as the process's
	at        time.Time
}

// surplus reports whether enough is held beyond what is in use, and nobody allocates much.
func (h heap) surplus(before heap) bool {
	seconds := h.at.Sub(before.at).Seconds()
	atRest := float64(h.allocated-before.allocated) <= memoryAtRest*seconds
	return atRest && h.held > h.live+h.live/4+memoryWorth
}

func readHeap(now time.Time) heap {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(samples)
	h := heap{allocated: samples[0].Value.Uint64(), live: samples[1].Value.Uint64(), at: now}
	for _, s := range samples[2:] {
		h.held += s.Value.Uint64()
	}
	return h
}

// startMemory gives surplus memory back now and then. What it could not give back, since it is in
// use after all, is not tried again before more is held.
func (n *Node) startMemory(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	n.onStop(cancel)
	n.tasks.Go(func() {
		ticker := time.NewTicker(memoryInterval)
		defer ticker.Stop()
		before, kept := readHeap(time.Now()), uint64(0)
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			now := readHeap(time.Now())
			if now.surplus(before) && now.held > kept+memoryWorth/2 {
				debug.FreeOSMemory()
				now = readHeap(time.Now())
				kept = now.held
			}
			kept, before = min(kept, now.held), now
		}
	})
	return nil
}
