//go:build linux

package crash

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/config"
)

// small is a file system of its own, which a ballast fills.
type small struct{ dir, ballast string }

// mountSmall mounts one in memory. It needs root: without it the test is skipped, unless
// REQUIRE_MOUNT is set.
func mountSmall(t *testing.T, size string) small {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("REQUIRE_MOUNT") != "" {
			t.Fatalf("no small file system: %v", err)
		}
		t.Skipf("no small file system without root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return small{dir, filepath.Join(dir, "ballast")}
}

// fill leaves so many bytes free, at most: others write meanwhile.
func (s small) fill(t *testing.T, free int64) {
	t.Helper()
	f, err := os.OpenFile(s.ballast, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		var st syscall.Statfs_t
		if err := syscall.Statfs(s.dir, &st); err != nil {
			t.Fatal(err)
		}
		more := int64(st.Bavail)*st.Bsize - free
		if more <= 0 {
			return
		}
		// What does not fit any more is what was to happen.
		if n, _ := f.Write(make([]byte, min(more, 1<<20))); n == 0 {
			return
		}
	}
}

func (s small) free(t *testing.T) {
	t.Helper()
	if err := os.Remove(s.ballast); err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk fills the disk of a node that takes acks, twice. Down to less than store.min_free
// the node refuses and says why, in its readiness and once in its log, and goes on by itself when
// there is room. Without a byte left it does not start after a kill, says what to do, and goes on
// when that is done. No ack that was answered is lost.
func TestFullDisk(t *testing.T) {
	Binary(t)
	ctx := deadline(t, 4*time.Minute, 0)
	disk := mountSmall(t, "300m")
	o := short()
	configure := o.Configure
	o.Configure = func(i int, c *config.Config) {
		configure(i, c)
		if i == 0 {
			c.Store.Path, c.Store.MinFree = filepath.Join(disk.dir, "store"), 32<<20
		}
	}
	n := Start(ctx, t, o)
	n.Deserved = append(n.Deserved, "no space left", "disk is full", "a write failed", "store: closed")
	p, err := n.Register(ctx, 3, 24)
	if err != nil {
		t.Fatal(err)
	}
	before, err := n.Balances(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	load, err := n.Load(ctx, p, 4, 16, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	node := n.Processes[0]
	// Its store is a new one, which begins with an epoch.
	n.awaitReadyz(ctx, t, 0, http.StatusOK, "")
	n.awaitAccepted(ctx, t, load, load.Books.Count()+100)

	disk.fill(t, 16<<20)
	n.awaitReadyz(ctx, t, 0, http.StatusServiceUnavailable, "disk")
	n.awaitLog(ctx, t, node, `msg="not ready"`, "disk: ")
	disk.free(t)
	n.awaitReadyz(ctx, t, 0, http.StatusOK, "")
	n.awaitLog(ctx, t, node, `msg="ready again"`, "disk")
	if lines := node.lines(t, `msg="not ready"`, "disk: "); len(lines) != 1 {
		t.Errorf("the log says that there is no room %d times: %q", len(lines), lines)
	}
	n.awaitAccepted(ctx, t, load, load.Books.Count()+200)

	// What it needs next it has already, so that it goes on for a while; a start needs more.
	disk.fill(t, 0)
	node.Kill()
	disk.fill(t, 0)
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	for node.Err() == nil {
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			t.Fatal("the node starts without a byte of disk")
		}
	}
	if text := node.LogTail(30); !strings.Contains(text, "store: the disk is full") ||
		!strings.Contains(text, "Next: free some disk, then start the node again") ||
		strings.Contains(text, "goroutine ") {
		t.Errorf("a node whose disk is full ends with:\n%s", text)
	}
	disk.free(t)
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(ctx, 0); err != nil {
		t.Fatal(err)
	}
	n.awaitAccepted(ctx, t, load, load.Books.Count()+200)
	if err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	audit, err := n.Audit(ctx, p, load.Books, before)
	if err != nil {
		t.Fatal(err)
	}
	if err := load.Close(); err != nil {
		t.Fatal(err)
	}
	n.Stop(ctx, t)
	t.Logf("%d deliveries accepted, %d sent again, %d acks in %d ordered rollups",
		load.Books.Tally.Accepted, load.Books.Tally.Again, len(audit.Ordered), audit.Rollups)
}

func (n *Network) awaitAccepted(ctx context.Context, t *testing.T, l *Load, count int) {
	t.Helper()
	if err := n.await(ctx, "acks", func() (bool, error) {
		return l.Books.Count() >= count, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// awaitReadyz waits until a node's readiness is a status, with a reason in it.
func (n *Network) awaitReadyz(ctx context.Context, t *testing.T, i, status int, reason string) {
	t.Helper()
	if err := n.await(ctx, "the node's readiness", func() (bool, error) {
		answer, err := http.Get(n.Nodes[i].Operator + "/readyz")
		if err != nil {
			return false, nil
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return err == nil && answer.StatusCode == status && strings.Contains(string(body), reason),
			nil
	}); err != nil {
		t.Fatal(err)
	}
}

// awaitLog waits for a line that has all of the words.
func (n *Network) awaitLog(ctx context.Context, t *testing.T, p *Process, words ...string) {
	t.Helper()
	if err := n.await(ctx, "the log", func() (bool, error) {
		return len(p.lines(t, words...)) > 0, nil
	}); err != nil {
		t.Fatalf("no line of %q: %v", words, err)
	}
}

// lines are those of the log that have all of the words.
func (p *Process) lines(t *testing.T, words ...string) (found []string) {
	t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
lines:
	for line := range strings.Lines(string(b)) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}
