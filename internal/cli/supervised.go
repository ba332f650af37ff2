package cli

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/telemetry"
)

// supervised tells the service manager that started the process how the node is (sd_notify(3)):
// that it is ready, why it is not, that it lives, and that it stops. Without a manager, which the
// environment variable NOTIFY_SOCKET tells, nothing is said.
type supervised struct {
	log      *slog.Logger
	interval time.Duration
	watchdog bool
	began    time.Time
	ready    bool   // the manager was told so
	status   string // that it was told last
	broken   bool   // the log says that it cannot be told
}

// managerWait is how long the manager waits for a node to become ready. One that is not by then
// says why, and counts as started: what it lacks is elsewhere, such as a committee that is down,
// and neither a restart nor a package manager that waits helps with that.
const managerWait = time.Minute

// supervise asks the environment whether there is a manager, and whether it expects signs of life.
func supervise(log *slog.Logger) *supervised {
	s := &supervised{log: log, interval: time.Second, began: time.Now()}
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the service manager's watchdog is not fed", "err", err)
	}
	if every > 0 {
		s.watchdog, s.interval = true, min(s.interval, every/3)
	}
	s.say("STATUS=starting")
	return s
}

// notifyReady tells the service manager, if there is one, that a process works.
func notifyReady() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) }

// run speaks of a node that works until the context ends. A snapshot asks every room of the node:
// when one of them hangs, so does this, and the watchdog is not fed any more.
func (s *supervised) run(ctx context.Context, snapshot func() telemetry.Snapshot) {
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		now := snapshot()
		if ctx.Err() != nil {
			return
		}
		s.look(now.Taken, telemetry.Checks(&now))
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// look says what changed. A fatal failure lasts until the process is restarted, so the watchdog,
// which does that, is not fed then.
func (s *supervised) look(now time.Time, checks []telemetry.Check) {
	var failing, warnings []string
	fatal := false
	for _, c := range checks {
		switch said := c.Name + ": " + c.Detail; {
		case !c.OK:
			failing = append(failing, said)
			fatal = fatal || c.Fatal
		case c.Warning:
			warnings = append(warnings, said)
		}
	}
	status := "ready"
	switch {
	case len(failing) > 0:
		status = "not ready: " + strings.Join(failing, "; ")
	case len(warnings) > 0:
		status = "ready; needs attention: " + strings.Join(warnings, "; ")
	}
	var lines []string
	if !s.ready && (len(failing) == 0 || now.Sub(s.began) >= managerWait) {
		s.ready = true
		lines = append(lines, daemon.SdNotifyReady)
	}
	if status != s.status {
		s.status = status
		lines = append(lines, "STATUS="+oneLine(status))
	}
	if s.watchdog && !fatal {
		lines = append(lines, daemon.SdNotifyWatchdog)
	}
	if len(lines) > 0 {
		s.say(lines...)
	}
}

// stopping says that the node goes, and for what reason if not on request.
func (s *supervised) stopping(err error) {
	why := "shutting down"
	if err != nil {
		why += ": " + err.Error()
	}
	s.say(daemon.SdNotifyStopping, "STATUS="+oneLine(why))
}

// say sends lines to the manager. A node goes on without one that cannot be told.
func (s *supervised) say(lines ...string) {
	_, err := daemon.SdNotify(false, strings.Join(lines, "\n"))
	if err != nil && !s.broken {
		s.log.Warn("the service manager cannot be told", "err", err)
	}
	s.broken = err != nil
}

// oneLine is text as one assignment of a notification, which ends with the line.
func oneLine(s string) string { return text.Line(strings.Join(strings.Fields(s), " ")) }
