package mainjob

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Guard ends a job that stands still: when the phase and everything else that it watches are the
// same for Patience, it cancels the job's context with an error that names the phase.
type Guard struct {
	Patience time.Duration

	mu    sync.Mutex
	phase string
	watch func() string // renders what moves while the job does; nil: the phase alone
}

// Enter says what the job does now.
func (g *Guard) Enter(phase string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.phase = phase
}

// Observe says what moves, from now on. The function is called from another goroutine.
func (g *Guard) Observe(watch func() string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watch = watch
}

func (g *Guard) state() (phase, detail string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.watch == nil {
		return g.phase, ""
	}
	return g.phase, g.watch()
}

// Start watches until the returned function is called, which waits for the watcher.
func (g *Guard) Start(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		tick := time.NewTicker(g.Patience / 20)
		defer tick.Stop()
		lastPhase, last := g.state()
		moved := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			phase, now := g.state()
			if phase != lastPhase || now != last {
				lastPhase, last, moved = phase, now, time.Now()
			}
			if time.Since(moved) > g.Patience {
				cancel(&stillError{phase, now, g.Patience})
				return
			}
		}
	})
	return func() { end(); watcher.Wait() }
}

// stillError says what a job was doing when it stood still.
type stillError struct {
	phase, state string
	patience     time.Duration
}

func (e *stillError) Error() string {
	text := fmt.Sprintf("the job was to %s, but nothing moved for %v", e.phase, e.patience)
	if e.state != "" {
		text += ": " + e.state
	}
	return text
}
