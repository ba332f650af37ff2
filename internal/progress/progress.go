// Package progress shows how far a phase of a command is.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/waybill-network/waybill/internal/text"
)

// Bar shows how far a phase is: one line that is rewritten on a terminal, elsewhere a line every
// few seconds. Its methods are safe for concurrent use.
type Bar struct {
	w           io.Writer
	name, unit  string
	interactive bool

	mu      sync.Mutex
	started time.Time
	shown   time.Time
	done    int
	total   int
	ended   bool
	rate    float64 // smoothed
	at      time.Time
	before  int
}

// Intervals between updates.
const (
	redraw   = 100 * time.Millisecond
	logEvery = 3 * time.Second
	barWidth = 28
)

// New starts a phase. What is counted has a unit in the plural, "acks".
func New(w io.Writer, name, unit string) *Bar {
	f, ok := w.(*os.File)
	now := time.Now()
	interactive := ok && term.IsTerminal(int(f.Fd()))
	return &Bar{w: w, name: name, unit: unit, interactive: interactive, started: now, at: now,
		shown: now}
}

// Set records progress and shows it when it is time to.
func (p *Bar) Set(done, total int, note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if dt := now.Sub(p.at).Seconds(); dt >= 0.5 {
		r := float64(done-p.before) / dt
		if p.rate == 0 {
			p.rate = r
		} else {
			p.rate += 0.4 * (r - p.rate)
		}
		p.at, p.before = now, done
	}
	p.done, p.total = done, total
	every := logEvery
	if p.interactive {
		every = redraw
	}
	if p.ended || now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	line := fmt.Sprintf("%-9s%s %s/%s %s, %s/s  %s", p.name, bar(done, total), text.Grouped(done),
		text.Grouped(total), p.unit, text.Grouped(int(p.rate)), text.Line(note))
	if p.interactive {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

func bar(done, total int) string {
	filled := 0
	if total > 0 {
		filled = min(barWidth, barWidth*done/total)
	}
	return strings.Repeat("█", filled) + strings.Repeat("░", barWidth-filled)
}

// Follow calls state for the display until the returned function is called.
func (p *Bar) Follow(state func() (done, total int, note string)) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				p.Set(state())
			}
		}
	})
	return sync.OnceFunc(func() { close(quit); wg.Wait() })
}

// End replaces the line by a summary with the whole phase's duration; with none it only clears the
// line.
func (p *Bar) End(summary string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	if p.interactive {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	if summary != "" {
		took := time.Since(p.started)
		fmt.Fprintf(p.w, "%-9s%s in %.1f s\n", p.name, text.Line(summary), took.Seconds())
	}
}
