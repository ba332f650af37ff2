package node

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/pipeline/certify"
)

// script are snapshots of a node, each for some seconds.
type script []struct {
	seconds int
	damage  func(*telemetry.Snapshot)
	says    []string // the lines of the log at the end, without their times
}

func sound() telemetry.Snapshot {
	s := telemetry.Snapshot{Taken: time.Now()}
	s.Chain.Height, s.Chain.Executed = 7, time.Now()
	s.Store.Free = 1 << 30
	return s
}

// play runs a watch over a script and compares what is logged after each of its lines.
func play(t *testing.T, lines script) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards log and damage: the race detector knows no time in a bubble
		var log bytes.Buffer
		damage := func(*telemetry.Snapshot) {}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWatch(plainLog(locked{&mu, &log}), time.Now())
		snapshot := func() telemetry.Snapshot {
			s := sound()
			mu.Lock()
			defer mu.Unlock()
			damage(&s)
			return s
		}
		var ready atomic.Bool
		go w.run(ctx, snapshot, ready.Store)
		time.Sleep(watchInterval / 2) // between two looks
		for i, line := range lines {
			mu.Lock()
			damage = line.damage
			mu.Unlock()
			time.Sleep(time.Duration(line.seconds) * time.Second)
			synctest.Wait()
			mu.Lock()
			got, want := strings.TrimSpace(log.String()), strings.Join(line.says, "\n")
			log.Reset()
			mu.Unlock()
			s := snapshot()
			fails := func(c telemetry.Check) bool { return !c.OK }
			if bad := slices.ContainsFunc(telemetry.Checks(&s), fails); ready.Load() == bad {
				t.Errorf("line %d: ready %v, where a check fails: %v", i, ready.Load(), bad)
			}
			if got != want {
				t.Errorf("line %d: the log says\n%s\nnot\n%s", i, got, want)
			}
		}
	})
}

// locked is a writer under a lock.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// plainLog writes lines without their times.
func plainLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
}

func sane(*telemetry.Snapshot)      {}
func syncing(s *telemetry.Snapshot) { s.Chain.CatchingUp = true }
func full(s *telemetry.Snapshot)    { s.Store.MinFree = 2 << 30 }
func broken(s *telemetry.Snapshot)  { full(s); s.Store.Failure = "sync: input/output error" }
func stands(age time.Duration) func(*telemetry.Snapshot) {
	return func(s *telemetry.Snapshot) { s.Chain.Executed = s.Taken.Add(-age) }
}

// TestWatch: one line when a check begins to fail, none while it does, one when it holds again.
func TestWatch(t *testing.T) {
	const disk = "disk: 1 GiB free, at least 2 GiB wanted"
	play(t, script{
		{3, syncing, nil}, // a start
		{2, sane, []string{"level=INFO msg=ready after=4s"}},
		{9, full, []string{`level=WARN msg="not ready" why="` + disk + `"`}},
		{5, broken, []string{`level=ERROR msg="not ready" why="store: sync: input/output error"`}},
		{5, full, []string{`level=INFO msg="holds again" what="store after 5s"`}},
		{5, sane, []string{`level=INFO msg="ready again" after=19s holds="disk after 19s"`}},
		{60, sane, nil},
	})
}

// TestWatchBlocks: blocks that stop are a warning first, and then a failure.
func TestWatchBlocks(t *testing.T) {
	const at = "blocks: block 7 is "
	play(t, script{
		{1, sane, []string{"level=INFO msg=ready after=1s"}},
		{2, stands(12 * time.Second),
			[]string{`level=WARN msg="needs attention" why="` + at + `12s old, at most 30s"`}},
		{2, stands(31 * time.Second),
			[]string{`level=WARN msg="not ready" why="` + at + `31s old, at most 30s"`}},
		{2, sane, []string{`level=INFO msg="ready again" after=2s holds="blocks after 4s"`}},
		{2, stands(12 * time.Second),
			[]string{`level=WARN msg="needs attention" why="` + at + `12s old, at most 30s"`}},
		{2, sane, []string{`level=INFO msg="holds again" what="blocks after 2s"`}},
	})
}

// TestWatchJoins: a member that stops to vote while another does is a line of its own.
func TestWatchJoins(t *testing.T) {
	mute := func(members ...int) func(*telemetry.Snapshot) {
		return func(s *telemetry.Snapshot) {
			s.Committee = make([]telemetry.Member, 4)
			for i := range s.Committee {
				s.Committee[i].Node, s.Committee[i].Self = uint32(i), true
			}
			for _, i := range members {
				s.Committee[i].Self, s.Committee[i].Missed, s.Committee[i].Silent = false, 9, 6
			}
			s.Chain.Network = nil
			for i := range uint32(4) {
				s.Chain.Network = append(s.Chain.Network,
					committee.PeerStatus{Node: i, Member: true, Connected: true})
			}
		}
	}
	const away = ": no vote in the last 9 blocks"
	play(t, script{
		{1, mute(), []string{"level=INFO msg=ready after=1s"}},
		{5, mute(1), []string{`level=WARN msg="needs attention" why="votes: node 1` + away + `"`}},
		{5, mute(1, 2), []string{`level=WARN msg="needs attention" why="votes: node 1` + away +
			`; node 2` + away + `"`}},
		{5, mute(2), nil},
		{5, mute(), []string{`level=INFO msg="holds again" what="votes after 15s"`}},
	})
}

// TestWatchStart: a start that takes long is told once, and so is its end.
func TestWatchStart(t *testing.T) {
	play(t, script{
		{29, syncing, nil},
		{60, syncing, []string{
			`level=WARN msg="not ready since the start" for=30s why="sync: catching up, at block 7"`}},
		{1, sane, []string{"level=INFO msg=ready after=1m30s"}},
	})
}

// TestWatchLeavesToOthers: a member that is away is the consensus port's to tell, unless too few
// members are left; a stop is the operator's own.
func TestWatchLeavesToOthers(t *testing.T) {
	members := func(away int) func(*telemetry.Snapshot) {
		return func(s *telemetry.Snapshot) {
			for i := range uint32(4) {
				m := telemetry.Member{Member: certify.Member{Node: i}, Power: 1}
				m.Self = int(i) >= away
				s.Committee = append(s.Committee, m)
			}
		}
	}
	const few = "peers: too few members to decide a block: no connection to node 0; node 1"
	play(t, script{
		{1, members(0), []string{"level=INFO msg=ready after=1s"}},
		{5, members(1), nil},
		{5, members(2), []string{`level=WARN msg="not ready" why="` + few + `"`}},
		{5, members(1), []string{`level=INFO msg="ready again" after=5s holds="peers after 5s"`}},
		{5, func(s *telemetry.Snapshot) { s.ShuttingDown = true }, nil},
	})
}
