package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/telemetry"
)

// manager is a service manager's end of the notification socket.
type manager struct{ *net.UnixConn }

func newManager(t *testing.T) manager {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return manager{c}
}

// heard are the assignments of the next notification.
func (m manager) heard(t *testing.T) []string {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := m.Read(b)
	if err != nil {
		t.Fatal("nothing is said:", err)
	}
	return strings.Split(string(b[:n]), "\n")
}

// until collects what is said until a notification with this line.
func (m manager) until(t *testing.T, line string) (said []string) {
	t.Helper()
	for !slices.Contains(said, line) {
		said = append(said, m.heard(t)...)
	}
	return said
}

func (m manager) expect(t *testing.T, lines ...string) {
	t.Helper()
	got := m.heard(t)
	if strings.Join(got, "|") != strings.Join(lines, "|") {
		t.Errorf("said %q, want %q", got, lines)
	}
}

var (
	good   = telemetry.Check{Name: "store", OK: true, Detail: "taking writes", Fatal: true}
	broke  = telemetry.Check{Name: "store", Detail: "input/\noutput error", Fatal: true}
	behind = telemetry.Check{Name: "sync", Detail: "catching up, at block 7"}
	warned = telemetry.Check{Name: "votes", OK: true, Warning: true, Detail: "member 2 is silent"}
)

func TestSupervised(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("WATCHDOG_USEC", "1500000")
	s := supervise(slog.New(slog.DiscardHandler))
	if s.interval != 500*time.Millisecond {
		t.Errorf("a watchdog of 1.5 s is fed every %v", s.interval)
	}
	at := s.began
	m.expect(t, "STATUS=starting")
	s.look(at, []telemetry.Check{good, behind})
	m.expect(t, "STATUS=not ready: sync: catching up, at block 7", "WATCHDOG=1")
	s.look(at, []telemetry.Check{good, behind})
	m.expect(t, "WATCHDOG=1")
	s.look(at, []telemetry.Check{good})
	m.expect(t, "READY=1", "STATUS=ready", "WATCHDOG=1")
	s.look(at, []telemetry.Check{good, warned})
	m.expect(t, "STATUS=ready; needs attention: votes: member 2 is silent", "WATCHDOG=1")
	s.look(at, []telemetry.Check{broke}) // not fed any more
	m.expect(t, "STATUS=not ready: store: input/ output error")
	s.stopping(nil)
	m.expect(t, "STOPPING=1", "STATUS=shutting down")
	s.stopping(errors.New("no\nmore"))
	m.expect(t, "STOPPING=1", "STATUS=shutting down: no more")
}

// A node that lacks something elsewhere counts as started after a while, and says what it lacks.
func TestManagerWait(t *testing.T) {
	m := newManager(t)
	s := supervise(slog.New(slog.DiscardHandler))
	m.expect(t, "STATUS=starting")
	s.look(s.began.Add(managerWait-1), []telemetry.Check{behind})
	m.expect(t, "STATUS=not ready: sync: catching up, at block 7")
	s.look(s.began.Add(managerWait), []telemetry.Check{behind})
	m.expect(t, "READY=1")
}

// A room that hangs does not answer a snapshot. From then on the watchdog is not fed.
func TestWatchdogStarves(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	s := supervise(slog.New(slog.DiscardHandler))
	m.expect(t, "STATUS=starting")
	asked, hangs := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n := 0
		s.run(ctx, func() telemetry.Snapshot {
			if n++; n == 3 {
				close(asked)
				<-hangs
			}
			return telemetry.Snapshot{Taken: time.Now()}
		})
	}()
	fed := 0
	for range 2 {
		for _, line := range m.heard(t) {
			if line == "WATCHDOG=1" {
				fed++
			}
		}
	}
	<-asked
	cancel()
	close(hangs)
	<-done
	if err := m.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Read(make([]byte, 4096)); err == nil || fed != 2 {
		t.Errorf("fed %d times, and %d bytes more", fed, n)
	}
}

// Without a manager nothing is said, and nothing is logged; one that went away is logged once.
func TestUnsupervised(t *testing.T) {
	var said strings.Builder
	log := slog.New(slog.NewTextHandler(&said, nil))
	t.Setenv("NOTIFY_SOCKET", "")
	s := supervise(log)
	s.look(time.Now(), []telemetry.Check{good})
	if s.watchdog || said.Len() > 0 {
		t.Errorf("logged %q", said.String())
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	s.look(time.Now(), []telemetry.Check{behind})
	s.look(time.Now(), []telemetry.Check{good})
	if n := strings.Count(said.String(), "cannot be told"); n != 1 {
		t.Errorf("logged %d times: %s", n, said.String())
	}
}
