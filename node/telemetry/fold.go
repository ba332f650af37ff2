package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// foldAfter is how many lines with one message are written in foldSpan. What others do at every
	// block or on every connection must not fill the disk, and hide all else.
	foldAfter = 20
	foldSpan  = time.Minute
	// foldKinds bounds the messages that are counted. They are constants of the program, and the
	// engine's; those beyond are all written.
	foldKinds = 4096
)

// fold is a handler that writes the first lines of each level and message in a span, and then, once
// the span is over, one more with the number of those it left out. Debug lines pass: who asks for
// them wants them all. Handlers that are derived from it count together.
type fold struct {
	slog.Handler
	counts *counts
}

// counts is what a fold has seen in the spans that run.
type counts struct {
	root slog.Handler // without the attributes of one of the lines
	mu   sync.Mutex
	seen map[kind]*span
}

type kind struct {
	level   slog.Level
	message string
}

type span struct {
	ends    time.Time
	written int
	left    int // out
}

func newFold(h slog.Handler) slog.Handler {
	return fold{h, &counts{root: h, seen: make(map[kind]*span)}}
}

// Handle implements slog.Handler.
func (f fold) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo && !f.passes(r) {
		return nil
	}
	return f.Handler.Handle(ctx, r)
}

// passes counts a record, and reports whether it is to be written.
func (f fold) passes(r slog.Record) bool {
	c := f.counts
	k := kind{r.Level, r.Message}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.seen[k]
	if s == nil || s.left == 0 && !r.Time.Before(s.ends) {
		if s == nil && len(c.seen) >= foldKinds {
			return true
		}
		s = &span{ends: r.Time.Add(foldSpan)}
		c.seen[k] = s
	}
	if s.written < foldAfter {
		s.written++
		return true
	}
	if s.left++; s.left == 1 {
		time.AfterFunc(s.ends.Sub(r.Time), func() { c.tell(k) })
	}
	return false
}

// tell ends a span, and writes how many lines of its kind it left out.
func (c *counts) tell(k kind) {
	c.mu.Lock()
	left := c.seen[k].left
	delete(c.seen, k)
	c.mu.Unlock()
	r := slog.NewRecord(time.Now(), k.level, k.message, 0)
	r.AddAttrs(slog.Int("lines_left_out", left), slog.Duration("in_about", foldSpan))
	// A log that cannot be written has nobody to tell.
	_ = c.root.Handle(context.Background(), r)
}

// WithAttrs implements slog.Handler.
func (f fold) WithAttrs(attrs []slog.Attr) slog.Handler {
	return fold{f.Handler.WithAttrs(attrs), f.counts}
}

// WithGroup implements slog.Handler.
func (f fold) WithGroup(name string) slog.Handler {
	return fold{f.Handler.WithGroup(name), f.counts}
}
