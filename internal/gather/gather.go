// Package gather has the work of concurrent callers done together, where many things take less time
// than each of them alone. What comes while a batch is done is the next batch: batches form where
// there is load, and who comes alone waits for nobody.
package gather

import "sync"

// Group does things for concurrent callers. It is safe for concurrent use.
type Group[T any] struct {
	do   func([]T)
	turn chan struct{} // holds one while a batch is done

	mu   sync.Mutex
	next *batch[T] // that others may join; nil when none waits
}

// batch is what is done together.
type batch[T any] struct {
	things []T
	done   chan struct{}
}

// New returns a group whose batches do does, one at a time, on a goroutine of a caller.
func New[T any](do func([]T)) *Group[T] {
	return &Group[T]{do: do, turn: make(chan struct{}, 1)}
}

// Do returns when a thing was done. The first of a batch does it for the others.
func (g *Group[T]) Do(thing T) {
	g.mu.Lock()
	if b := g.next; b != nil {
		b.things = append(b.things, thing)
		g.mu.Unlock()
		<-b.done
		return
	}
	b := &batch[T]{things: []T{thing}, done: make(chan struct{})}
	g.next = b
	g.mu.Unlock()
	defer close(b.done)
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	g.mu.Lock()
	g.next = nil
	g.mu.Unlock()
	g.do(b.things)
}
