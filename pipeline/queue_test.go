package pipeline

import "testing"

// TestSetApart: what a source queued before it turned out to be suspect does not hold up what others queued.
func TestSetApart(t *testing.T) {
	var q queue
	q.init()
	flood, other := &Source{}, &Source{}
	push := func(s *Source, acks int) {
		q.push(&chunk{source: s, window: &window{}, at: make([]uint32, acks)})
	}
	for range 8 {
		push(flood, maxChunk)
	}
	push(other, 10)
	take := func(wantLane int, from *Source, wantAcks int) {
		t.Helper()
		batch, lane := q.take(nil, 8*maxChunk)
		acks := 0
		for _, c := range batch {
			acks += len(c.at)
			if c.source != from {
				t.Error("the batch has acks of both sources")
			}
		}
		if lane != wantLane || acks != wantAcks {
			t.Fatalf("%d acks from lane %d, want %d from %d", acks, lane, wantAcks, wantLane)
		}
	}
	take(laneNormal, flood, maxChunk) // no more, as long as nobody knows whether they are good
	flood.bad.Store(sourceBad)
	take(laneNormal, other, 10)
	for range 7 {
		take(laneSuspect, flood, maxChunk)
		q.suspectsDone()
	}
	if n := q.len(); n != 0 {
		t.Errorf("%d acks left", n)
	}
}

// TestProvenBatches: sources with good acks share a large batch, a new one waits for the next.
func TestProvenBatches(t *testing.T) {
	var q queue
	q.init()
	for range 3 {
		s := &Source{}
		s.good.Store(goodConduct)
		for range 2 {
			q.push(&chunk{source: s, window: &window{}, at: make([]uint32, maxChunk)})
		}
	}
	q.push(&chunk{source: &Source{}, window: &window{}, at: make([]uint32, 1)})
	for _, want := range []int{3 * maxChunk, 1, 3 * maxChunk} {
		batch, _ := q.take(nil, 8*maxChunk)
		acks := 0
		for _, c := range batch {
			acks += len(c.at)
		}
		if acks != want {
			t.Fatalf("a batch of %d acks, want %d", acks, want)
		}
	}
}
