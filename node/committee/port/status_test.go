package port

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFlapping: a peer that comes and goes is told of, and not for ever.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := newBoard([]Target{{ID: "a", Who: Identity{Node: 3, Registered: true, Member: true}}},
			slog.New(slog.NewTextHandler(&log, nil)))
		said := func() (lines int, all string) {
			all = log.String()
			log.Reset()
			return strings.Count(all, "\n"), all
		}
		e := b.find("a")
		for range 20 {
			b.mu.Lock()
			e.Connected, e.Since = true, time.Now()
			b.say(e, "consensus peer connected")
			b.mu.Unlock()
			time.Sleep(3 * time.Second)
			b.lose(e, ReasonClosed)
			time.Sleep(3 * time.Second)
		}
		if n, all := said(); n != 2*maxFlaps ||
			strings.Count(all, "comes and goes") != 1 || !strings.Contains(all, `peer="node 3"`) {
			t.Errorf("20 short connections are %d lines:\n%s", n, all)
		}
		b.mu.Lock()
		e.Connected, e.Since = true, time.Now()
		b.mu.Unlock()
		time.Sleep(time.Minute)
		b.lose(e, ReasonClosed)
		if n, all := said(); n != 1 || !strings.Contains(all, "consensus peer lost") {
			t.Errorf("the end of a long one is %d lines:\n%s", n, all)
		}
	})
}
