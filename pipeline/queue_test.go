package pipeline

import "testing"

// TestSetApart: what a source queued before it turned out to be suspect does not hold up what
// others queued.
func TestSetApart(t *testing.T) {
	var q queue
	q.init()
	flood, other := &Source{}, &Source{}
	push := func(s *Source, acks int) {
		q.push(&chunk{source: s, at: make([]uint32, acks), class: classNew})
	}
	for range 8 {
		push(flood, maxChunk)
	}
	push(other, 10)
	take := func(wantLane int, from *Source, wantAcks int) {
		t.Helper()
		batch, class := q.take(nil, 8*maxChunk)
		acks := 0
		for _, c := range batch {
			acks += len(c.at)
			if c.source != from {
				t.Error("the batch has acks of both sources")
			}
		}
		if class != wantLane || acks != wantAcks {
			t.Fatalf("%d acks from class %d, want %d from %d", acks, class, wantAcks, wantLane)
		}
	}
	take(classNew, flood, maxChunk) // no more, as long as nobody knows whether they are good
	flood.bad.Store(sourceBad)
	take(classNew, other, 10)
	for range 7 {
		take(classSuspect, flood, maxChunk)
		q.done(classSuspect)
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
			q.push(&chunk{source: s, at: make([]uint32, maxChunk),
				class: classEstablished})
		}
	}
	q.push(&chunk{source: &Source{}, at: make([]uint32, 1), class: classNew})
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

// TestTurns: new sources, however many, take turns with established ones, and never more than one
// worker is busy with them while established ones wait.
func TestTurns(t *testing.T) {
	var q queue
	q.init()
	push := func(class, acks int) {
		s := &Source{}
		if class == classEstablished {
			s.good.Store(goodConduct)
		}
		if class == classSuspect {
			s.bad.Store(sourceBad)
		}
		q.push(&chunk{source: s, at: make([]uint32, acks), class: class})
	}
	for range 50 {
		push(classNew, maxChunk)
	}
	for range 3 {
		push(classEstablished, maxChunk)
		push(classSuspect, suspectChunk)
	}
	take := func(want int) {
		t.Helper()
		if _, class := q.take(nil, maxChunk); class != want {
			t.Fatalf("a batch of class %d, want %d", class, want)
		}
	}
	take(classEstablished)
	take(classNew)
	q.done(classNew)
	take(classEstablished)
	take(classNew) // and stays busy
	take(classSuspect)
	take(classEstablished)
	push(classEstablished, maxChunk)
	take(classEstablished)
	take(classNew) // nobody else waits
	take(classNew)
	push(classEstablished, maxChunk)
	take(classEstablished)
	q.done(classNew)
	q.done(classNew)
	q.done(classNew)
	take(classNew)
	q.done(classSuspect)
	take(classSuspect)
}
