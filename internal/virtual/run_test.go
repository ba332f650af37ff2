package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// childEnv names, to a process of this test's program, the world that it is to be: its kind, its
// seed and a folder for its homes.
const childEnv = "WAYBILL_VIRTUAL"

// patience is how long a world may take of real time on a busy machine.
const patience = 15 * time.Minute

// kinds of worlds.
var kinds = map[string]func(seed uint64, dir string) error{"fixed": fixed}

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

// run makes a world in a process of its own, and returns what it printed.
func run(ctx context.Context, kind string, seed uint64, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	c := exec.CommandContext(ctx, self, "-test.run=^TestChild$", "-test.timeout=0")
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGQUIT) } // it says where it stands
	c.WaitDelay = 10 * time.Second
	c.Stdout, c.Stderr = &out, &out
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", childEnv, kind, seed, dir))
	err = c.Run()
	return out.String(), errors.Join(err, ctx.Err())
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

// TestFixed: four nodes of a committee that stays take acks and settle them.
func TestFixed(t *testing.T) {
	if os.Getenv("WAYBILL_VIRTUAL_SEEDS") == "" {
		t.Skip("make virtual")
	}
	out, err := run(t.Context(), "fixed", 1, filepath.Join(memoryDir(t), "net"))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Log(out)
}
