package pipeline

import "testing"

// TestSetApart: what a source queued before it turned out to be suspect does not hold up what others queued.
func TestSetApart(t *testing.T) {
	var q queue
	q.init()
	flood, other := &Source{}, &Source{}
	push := func(s *Source, acks int) {
		q.push(&chunk{source: s, window: &window{}, at: make([]uint32, acks), lane: laneNew})
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
	take(laneNew, flood, maxChunk) // no more, as long as nobody knows whether they are good
	flood.bad.Store(sourceBad)
	take(laneNew, other, 10)
	for range 7 {
		take(laneSuspect, flood, maxChunk)
		q.done(laneSuspect)
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
	q.push(&chunk{source: &Source{}, window: &window{}, at: make([]uint32, 1), lane: laneNew})
	for _, want := range []int{6 * maxChunk, 1} {
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

// TestTurns: new sources, however many, take turns with proven ones, and never more than one worker is busy with them
// while proven ones wait.
func TestTurns(t *testing.T) {
	var q queue
	q.init()
	push := func(lane, acks int) {
		s := &Source{}
		if lane == laneProven {
			s.good.Store(goodConduct)
		}
		if lane == laneSuspect {
			s.bad.Store(sourceBad)
		}
		q.push(&chunk{source: s, window: &window{}, at: make([]uint32, acks), lane: lane})
	}
	for range 50 {
		push(laneNew, maxChunk)
	}
	for range 3 {
		push(laneProven, maxChunk)
		push(laneSuspect, suspectChunk)
	}
	take := func(want int) {
		t.Helper()
		if _, lane := q.take(nil, maxChunk); lane != want {
			t.Fatalf("a batch of lane %d, want %d", lane, want)
		}
	}
	take(laneProven)
	take(laneNew)
	q.done(laneNew)
	take(laneProven)
	take(laneNew) // and stays busy
	take(laneSuspect)
	take(laneProven)
	push(laneProven, maxChunk)
	take(laneProven)
	take(laneNew) // nobody else waits
	take(laneNew)
	push(laneProven, maxChunk)
	take(laneProven)
	q.done(laneNew)
	q.done(laneNew)
	q.done(laneNew)
	take(laneNew)
	q.done(laneSuspect)
	take(laneSuspect)
}
