package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/waybill-network/waybill/node/telemetry"
)

const (
	watchInterval = time.Second
	// startTime is how long a node may need until it is ready for the first time, before its log
	// warns of that.
	startTime = 30 * time.Second
)

// elsewhere are the checks whose warnings are logged, in more detail, by the rooms they are about.
var elsewhere = map[string]bool{"peers": true, "proofs": true, "stuck": true}

// watch logs when checks begin to fail or to warn, and when they hold again: one line for what
// changed between two snapshots.
type watch struct {
	log     *slog.Logger
	started time.Time
	ready   bool // it was, once
	late    bool // the log says that the start takes long
	unready time.Time
	since   map[string]time.Time // when a check left the state "holds"
	failed  map[string]bool      // of since, those that fail
	about   map[string][]string  // what the last warning of a check was about
}

func newWatch(log *slog.Logger, started time.Time) *watch {
	return &watch{log: log, started: started,
		since: map[string]time.Time{}, failed: map[string]bool{},
		about: map[string][]string{}}
}

// startWatch looks at the checks every second until Stop.
func (n *Node) startWatch(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	n.onStop(cancel)
	n.tasks.Go(func() { newWatch(n.log, n.started).run(ctx, n.Snapshot, n.ready.Store) })
	return nil
}

// run looks until ctx ends, and tells whether the node is ready.
func (w *watch) run(ctx context.Context, snapshot func() telemetry.Snapshot, ready func(bool)) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		s := snapshot()
		checks := telemetry.Checks(&s)
		ready(!slices.ContainsFunc(checks, func(c telemetry.Check) bool { return !c.OK }))
		if !s.ShuttingDown { // the operator knows
			w.look(s.Taken, checks)
		}
	}
}

// look compares the checks with those before. Reasons keep the order of the checks.
func (w *watch) look(now time.Time, checks []telemetry.Check) {
	var failing, fails, warns, holds []string
	level := slog.LevelWarn
	for _, c := range checks {
		said := c.Name + ": " + c.Detail
		bad := !c.OK || c.Warning && !elsewhere[c.Name]
		before, known := w.since[c.Name]
		joined := w.joins(c, bad)
		if !c.OK {
			failing = append(failing, said)
		}
		switch {
		case !c.OK && !w.failed[c.Name]:
			fails = append(fails, said)
			if c.Fatal {
				level = slog.LevelError
			}
		case c.OK && bad && (!known || w.failed[c.Name] || joined):
			warns = append(warns, said)
		case !bad && known:
			holds = append(holds, fmt.Sprintf("%s after %v", c.Name, lasted(now, before)))
		}
		w.note(c.Name, now, bad, !c.OK)
	}
	if !w.ready {
		w.starting(now, failing, warns)
		return
	}
	w.say(now, level, failing, fails, warns, holds)
}

// joins reports whether a warning is about something that the last one was not about.
func (w *watch) joins(c telemetry.Check, bad bool) bool {
	before := w.about[c.Name]
	if w.about[c.Name] = c.About; !bad {
		w.about[c.Name] = nil
	}
	return slices.ContainsFunc(c.About, func(a string) bool { return !slices.Contains(before, a) })
}

func (w *watch) note(check string, now time.Time, bad, fails bool) {
	switch _, known := w.since[check]; {
	case !bad:
		delete(w.since, check)
	case !known:
		w.since[check] = now
	}
	w.failed[check] = fails
}

// starting speaks of a node that was not ready yet. What fails then is part of a start, unless it
// takes long.
func (w *watch) starting(now time.Time, failing, warns []string) {
	took := lasted(now, w.started)
	switch {
	case len(failing) == 0:
		w.ready = true
		w.log.Info("ready", "after", took)
	case took >= startTime && !w.late:
		w.late = true
		w.log.Warn("not ready since the start", "for", took, "why", join(failing))
	}
	if len(warns) > 0 {
		w.log.Warn("needs attention", "why", join(warns))
	}
}

func (w *watch) say(now time.Time, level slog.Level, failing, fails, warns, holds []string) {
	wasReady := w.unready.IsZero()
	if len(fails) > 0 {
		if wasReady {
			w.unready = now
		}
		w.log.Log(context.Background(), level, "not ready", "why", join(fails))
	}
	if len(warns) > 0 {
		w.log.Warn("needs attention", "why", join(warns))
	}
	switch what := strings.Join(holds, ", "); {
	case len(failing) == 0 && !wasReady:
		w.log.Info("ready again", "after", lasted(now, w.unready), "holds", what)
		w.unready = time.Time{}
	case len(holds) > 0:
		w.log.Info("holds again", "what", what)
	}
}

func join(reasons []string) string { return strings.Join(reasons, "; ") }

func lasted(now, since time.Time) time.Duration { return now.Sub(since).Round(time.Second) }
