package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows how far a phase is: one line that is rewritten on a terminal, and elsewhere a line every few seconds.
type progress struct {
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

func newProgress(w io.Writer, name, unit string) *progress {
	f, ok := w.(*os.File)
	now := time.Now()
	return &progress{w: w, name: name, unit: unit, interactive: ok && term.IsTerminal(int(f.Fd())), started: now, at: now, shown: now}
}

// set records progress and shows it when it is time to.
func (p *progress) set(done, total int, note string) {
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
	line := fmt.Sprintf("%-9s%s %s/%s %s, %s/s  %s", p.name, bar(done, total), grouped(uint64(done)), grouped(uint64(total)), p.unit, grouped(uint64(p.rate)), note)
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

// follow calls state for the display until the returned function is called.
func (p *progress) follow(state func() (done, total int, note string)) (stop func()) {
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
				p.set(state())
			}
		}
	})
	return sync.OnceFunc(func() { close(quit); wg.Wait() })
}

// end replaces the line by a summary with the whole phase's duration; with none it only clears the line.
func (p *progress) end(summary string) {
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
		fmt.Fprintf(p.w, "%-9s%s in %.1f s\n", p.name, summary, took.Seconds())
	}
}
