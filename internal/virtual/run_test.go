package virtual

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// childEnv names, to a process of this test's program, the world that it is to be: its kind, its
// seed and a folder for its homes.
const childEnv = "WAYBILL_VIRTUAL"

// patience is how long four epochs may take of real time on a busy machine.
const patience = 15 * time.Minute

// kinds of worlds.
var kinds = map[string]func(seed uint64, dir string) error{
	"fixed": fixed, "forgetful": forgetful,
	"story": tell,
}

// until is the epoch with whose beginning faults are over, unless more of them are wanted.
const until = 4

// epochs returns it.
func epochs() (uint32, error) {
	s := os.Getenv("WAYBILL_VIRTUAL_UNTIL")
	if s == "" {
		return until, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < 2 {
		return 0, fmt.Errorf("WAYBILL_VIRTUAL_UNTIL=%s: want a number from 2 on", s)
	}
	return uint32(n), nil
}

func tell(seed uint64, dir string) error {
	until, err := epochs()
	if err != nil {
		return err
	}
	report, err := Tell(seed, until, dir, logs(seed))
	if report != nil {
		b, err := json.Marshal(report)
		if err != nil {
			return err
		}
		fmt.Println(string(b))
	}
	return err
}

// logs returns where nodes log to, if that is wanted.
func logs(seed uint64) func(machine, life int) *slog.Logger {
	dir := os.Getenv("WAYBILL_VIRTUAL_LOGS")
	if dir == "" {
		return nil
	}
	return func(machine, life int) *slog.Logger {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d-%d-%d.log", seed, machine, life)))
		if err != nil {
			panic(err)
		}
		return slog.New(slog.NewTextHandler(f, nil))
	}
}

// TestChild is the inside of a process that run began.
func TestChild(t *testing.T) {
	kind, rest, _ := strings.Cut(os.Getenv(childEnv), " ")
	if kind == "" {
		t.Skip("the inside of other tests")
	}
	number, dir, _ := strings.Cut(rest, " ")
	seed, err := strconv.ParseUint(number, 10, 64)
	if err != nil || kinds[kind] == nil {
		t.Fatalf("%s=%q: %v", childEnv, os.Getenv(childEnv), err)
	}
	Prepare()
	synctest.Test(t, func(*testing.T) {
		code := 0
		if err := kinds[kind](seed, dir); err != nil {
			fmt.Println(err)
			code = 1
		}
		// The engine leaves a routine behind with every log that it closes, and a bubble cannot be
		// left before all that it began has ended. The process can.
		syscall.Exit(code)
	})
}

// run makes a world in a process of its own, and returns what it printed, and the processor time.
func run(ctx context.Context, kind string, seed uint64, dir string) (string, time.Duration, error) {
	n, err := epochs()
	if err != nil {
		return "", 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience*time.Duration(max(1, n/until)))
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return "", 0, err
	}
	var out bytes.Buffer
	c := exec.CommandContext(ctx, self, "-test.run=^TestChild$", "-test.timeout=0")
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGQUIT) } // it says where it stands
	c.WaitDelay = 10 * time.Second
	c.Stdout, c.Stderr = &out, &out
	// One processor: worlds run beside each other, and goroutines take turns with fewer surprises.
	c.Env = append(os.Environ(), "GOMAXPROCS=1",
		fmt.Sprintf("%s=%s %d %s", childEnv, kind, seed, dir))
	err = errors.Join(c.Run(), ctx.Err())
	used := time.Duration(0)
	if c.ProcessState != nil {
		used = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	}
	return out.String(), used, err
}

// memoryDir returns a folder in memory, where the system has one: homes are small, and their files
// are synced with every vote.
func memoryDir(t *testing.T) string {
	const shared = "/dev/shm"
	if os.Getenv("TMPDIR") == "" {
		if dir, err := os.MkdirTemp(shared, "virtual"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) }) // of this test alone
			return dir
		}
	}
	return t.TempDir()
}

// wanted returns how many seeds are to be tried, from which one on.
func wanted(t *testing.T) (count, first uint64) {
	number := func(name string, otherwise uint64) uint64 {
		s := os.Getenv(name)
		if s == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	if count = number("WAYBILL_VIRTUAL_SEEDS", 0); count == 0 {
		t.Skip("make virtual")
	}
	return count, number("WAYBILL_VIRTUAL_FIRST", 1)
}

// TestFixed: four nodes of a committee that stays take acks and settle them, and clients who know
// something else are believed. TestForgetful is the companion of all that is about disks.
func TestFixed(t *testing.T)     { alone(t, "fixed") }
func TestForgetful(t *testing.T) { alone(t, "forgetful") }

func alone(t *testing.T, kind string) {
	wanted(t)
	out, _, err := run(t.Context(), kind, 1, filepath.Join(memoryDir(t), "net"))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Log(out)
}

// failed are seeds that once found something. They are tried with any others.
var failed = []uint64{}

// TestSeeds tells the stories of many seeds, as many at a time as there are processors.
func TestSeeds(t *testing.T) {
	count, first := wanted(t)
	seeds := slices.Clone(failed)
	for seed := first; seed < first+count; seed++ {
		if !slices.Contains(seeds, seed) {
			seeds = append(seeds, seed)
		}
	}
	dir := memoryDir(t)
	next := make(chan uint64)
	go func() {
		defer close(next)
		for _, seed := range seeds {
			next <- seed
		}
	}()
	var all sum
	var tasks sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		tasks.Go(func() {
			for seed := range next {
				home := filepath.Join(dir, strconv.FormatUint(seed, 10))
				out, used, err := run(t.Context(), "story", seed, home)
				_ = os.RemoveAll(home) // of a world that is over
				all.add(t, seed, out, used, err)
			}
		})
	}
	tasks.Wait()
	t.Log(&all)
	if len(all.failed) > 0 {
		slices.Sort(all.failed)
		t.Errorf("%d of %d seeds fail: %v; the first again, with the nodes' logs: "+
			"make virtual FIRST=%d SEEDS=1 LOGS=folder", len(all.failed), len(seeds), all.failed,
			all.failed[0])
	}
}

// sum adds up what came of stories.
type sum struct {
	mu        sync.Mutex
	stories   int
	virtual   time.Duration
	used      time.Duration
	handovers int
	blocks    int64
	acks      uint64
	bills     int
	excused   int
	failed    []uint64
}

func (s *sum) add(t *testing.T, seed uint64, out string, used time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line, rest, _ := strings.Cut(out, "\n")
	var r Report
	if json.Unmarshal([]byte(line), &r) == nil {
		rest = r.String() + "\n" + rest
	} else {
		rest = out
	}
	if err != nil {
		s.failed = append(s.failed, seed)
		t.Logf("seed %d: %v\n%s", seed, err, rest)
		return
	}
	s.stories++
	s.virtual, s.used = s.virtual+r.Virtual, s.used+used
	s.handovers, s.blocks, s.acks = s.handovers+r.Handovers, s.blocks+r.Blocks, s.acks+r.Taken
	s.bills, s.excused = s.bills+r.Bills, s.excused+r.Excused
	t.Logf("seed %d: ok, %v, %d hand-overs, %d acks, %d of %d bills excused, in %v", seed,
		r.Virtual.Round(time.Second), r.Handovers, r.Taken, r.Excused, r.Bills,
		used.Round(time.Second))
}

func (s *sum) String() string {
	seconds := max(s.used.Seconds(), 1)
	return fmt.Sprintf("%d stories: %v of networks, %d blocks, %d hand-overs, %d acks, %d of %d "+
		"bills excused, in %v of processor time: %.1f times as fast as a clock, %.1f hand-overs a "+
		"minute", s.stories, s.virtual.Round(time.Second), s.blocks, s.handovers, s.acks, s.excused,
		s.bills, s.used.Round(time.Second),
		s.virtual.Seconds()/seconds, 60*float64(s.handovers)/seconds)
}
