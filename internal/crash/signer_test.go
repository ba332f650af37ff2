//go:build linux

package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSigner takes a member's keys to a signer, kills that under load, several times and once for
// long enough that the member says so, and starts it again: the member votes, no ack is lost, and
// nobody sees two votes of it. A second signer in the folder does not start, and a backup of the
// member has neither key.
func TestSigner(t *testing.T) {
	Binary(t)
	ctx := deadline(t, 5*time.Minute, 0)
	n := Start(ctx, t, short())
	n.Deserved = append(n.Deserved, "this node's signature of a record")
	p, err := n.Register(ctx, 3, 24)
	if err != nil {
		t.Fatal(err)
	}
	const member = 3
	home := n.Nodes[member].Home
	start := n.handKeys(ctx, t, member)
	kill := n.signer(ctx, t, start...)
	n.revive(t, member)
	if err := n.Ready(ctx, member); err != nil {
		t.Fatal(err)
	}
	n.awaitReadyz(ctx, t, member, 200, "ok") // the signer has its folder by now
	if out := n.fails(ctx, t, 1, start...); !strings.Contains(out, "another process runs") {
		t.Errorf("a second signer: %s", out)
	}
	load, err := n.Load(ctx, p, 4, 16, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		n.awaitAccepted(ctx, t, load, load.Books.Count()+20)
		kill()
		kill = n.signer(ctx, t, start...)
	}
	kill()
	n.awaitReadyz(ctx, t, member, 503, "out of reach at unix://")
	kill = n.signer(ctx, t, start...)
	n.awaitReadyz(ctx, t, member, 200, "ok")
	n.awaitVote(ctx, t, member)

	archive := filepath.Join(n.Dir, "member.wbk")
	n.waybill(ctx, t, "backup", "--home", home, "--keys", archive)
	for _, file := range []string{"keys/consensus.json", "keys/bls.json",
		"consensus/data/priv_validator_state.json"} {
		if _, err := os.Stat(filepath.Join(home, file)); err == nil {
			t.Error("the home has", file)
		}
	}
	if err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	audit, err := n.AuditAcks(ctx, load.Books)
	if err != nil {
		t.Fatal(err)
	}
	if err := load.Close(); err != nil {
		t.Fatal(err)
	}
	n.awaitVote(ctx, t, member)
	n.Stop(ctx, t)
	kill()
	t.Logf("%d deliveries accepted, %d acks in %d ordered rollups", load.Books.Tally.Accepted,
		len(audit.Ordered), audit.Rollups)
}

// handKeys stops a node and gives its keys to a signer, and returns what starts that.
func (n *Network) handKeys(ctx context.Context, t *testing.T, i int) (start []string) {
	t.Helper()
	vault := filepath.Join(n.Dir, "signer")
	init := []string{"signer", "init", "--home", vault, "--from", n.Nodes[i].Home, "--light",
		"--listen", "unix://" + filepath.Join(n.Dir, "s")}
	n.fails(ctx, t, 1, init...) // it runs
	n.Processes[i].Kill()
	n.waybill(ctx, t, init...)
	return []string{"signer", "start", "--home", vault, "--password-file",
		filepath.Join(n.Dir, "password")}
}

// signer starts a signer that is killed when the returned function is called, or with this process.
func (n *Network) signer(ctx context.Context, t *testing.T, args ...string) (kill func()) {
	t.Helper()
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(filepath.Join(n.Dir, "signer.log"),
		os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		b, _ := os.ReadFile(log.Name())
		t.Logf("the signer's log:\n%s", b)
	})
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

// shown is what node 0 shows of a member.
type shown struct {
	Node    uint32 `json:"node"`
	Voted   int64  `json:"voted_height"`
	Doubles uint64 `json:"double_votes"`
}

func (n *Network) shown(i int) (height int64, m shown, err error) {
	r, err := http.Get(n.Nodes[0].Operator + "/api/snapshot")
	if err != nil {
		return 0, m, err
	}
	defer r.Body.Close()
	var s struct {
		Chain struct {
			Height int64 `json:"height"`
		} `json:"chain"`
		Committee []shown `json:"committee"`
	}
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil || len(s.Committee) <= i {
		return 0, m, fmt.Errorf("a snapshot of %d members: %w", len(s.Committee), err)
	}
	return s.Chain.Height, s.Committee[i], nil
}

// awaitVote waits until the chain carries a vote of a member on a block that comes after now.
func (n *Network) awaitVote(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	now, _, err := n.shown(i)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.await(ctx, "a vote of the member", func() (bool, error) {
		_, m, err := n.shown(i)
		if m.Doubles > 0 {
			return false, fmt.Errorf("%d pairs of votes that exclude each other", m.Doubles)
		}
		return m.Voted > now+2, err
	}); err != nil {
		t.Fatal(err)
	}
}
