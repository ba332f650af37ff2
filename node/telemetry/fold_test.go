package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// page is a log that is read while it is written.
type page struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// TestFold: of a message that comes again and again twenty lines a minute are written, and the
// number of the others, by whichever derived logger they came; another message, another level and
// the next minute have lines of their own; debugging sees everything.
func TestFold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out page
		debug := slog.HandlerOptions{Level: slog.LevelDebug}
		log := slog.New(newFold(slog.NewTextHandler(&out, &debug)))
		lines := func(want string, n int) {
			t.Helper()
			if got := strings.Count(out.String(), want); got != n {
				t.Errorf("%d lines with %q, want %d\n%s", got, want, n, out.String())
			}
		}
		for i := range 500 {
			log.With("height", i).Warn("proposal refused")
			log.Debug("step")
			time.Sleep(time.Millisecond)
		}
		log.Warn("disk full")
		log.Info("proposal refused")
		lines(`level=WARN msg="proposal refused"`, foldAfter)
		lines("step", 500)
		lines("disk full", 1)
		lines(`level=INFO msg="proposal refused"`, 1)
		time.Sleep(foldSpan)
		synctest.Wait()
		lines(`level=WARN msg="proposal refused" height`, foldAfter)
		lines("lines_left_out=480 in_about=1m0s", 1)

		for range 21 { // slower than that is no flood
			log.Warn("slow")
			time.Sleep(foldSpan / 20)
		}
		synctest.Wait()
		lines("slow", 21)
	})
}

// TestFoldTogether: loggers of one handler may be used at once.
func TestFoldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out page
		log := slog.New(newFold(slog.NewTextHandler(&out, nil)))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					log.Error("x")
				}
			})
		}
		wg.Wait()
		time.Sleep(foldSpan)
		synctest.Wait()
		if got := strings.Count(out.String(), "\n"); got != foldAfter+1 ||
			!strings.Contains(out.String(), "lines_left_out=780") {
			t.Errorf("%d lines\n%s", got, out.String())
		}
	})
}
