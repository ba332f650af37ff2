//go:build linux

package crash

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
)

// TestKeep takes a network's homes to other places under load, by the commands that operators have:
// a member comes back from a backup that was made while it ran, after a kill; a node that takes
// acks moves. No ack is lost, nothing is signed twice, and a copy made by hand does not start.
// Last, the member that was believed dead comes back beside the one that was restored, and ends.
func TestKeep(t *testing.T) {
	Binary(t)
	ctx := deadline(t, 5*time.Minute, 0)
	n := Start(ctx, t, short())
	// Until it signs again, a restored member says why not, and nodes that ask it complain.
	n.Deserved = append(n.Deserved, "can not know what it signed in this epoch")
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
	const server, member = 0, 3
	old, archive := n.Nodes[member].Home, filepath.Join(n.Dir, "member.wbk")
	n.waybill(ctx, t, "backup", "--home", old, "--keys", archive)

	copied := old + "-copied"
	cp := exec.CommandContext(ctx, "cp", "-a", n.Nodes[1].Home, copied)
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out := n.fails(ctx, t, 3, "start", "--home", copied); !strings.Contains(out,
		"waybill restore --home") {
		t.Errorf("a copy of a home that runs: %s", out)
	}

	n.Processes[member].Kill()
	n.inhabit(ctx, t, member, old+"-restored", "restore", archive, "--home", old+"-restored")
	n.move(ctx, t, server)
	n.awaitVotes(ctx, t, member)

	// What was believed dead: its record of votes is older than the chain.
	n.Processes[member].Kill()
	if out := n.fails(ctx, t, 1, "start", "--home", old); !strings.Contains(out,
		"another process votes") {
		t.Errorf("the old home, back: %s", out)
	}
	if err := n.Processes[member].Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(ctx, member); err != nil {
		t.Fatal(err)
	}
	if err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	audit, err := n.Audit(ctx, p, load.Books, before)
	if err := errors.Join(err, load.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := client.Call(ctx, n.Clients[1].Ledger().GetNodes, &api.GetNodesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range r.Nodes {
		if node.Convictions != 0 {
			t.Errorf("node %d is convicted", node.Index)
		}
	}
	n.Stop(ctx, t)
	t.Logf("%d deliveries accepted, %d acks in %d ordered rollups", load.Books.Tally.Accepted,
		len(audit.Ordered), audit.Rollups)
}

// waybill runs a command that must succeed.
func (n *Network) waybill(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	out, err := n.run(ctx, t, args...)
	if err != nil {
		t.Fatalf("waybill %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// run runs a command.
func (n *Network) run(ctx context.Context, t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(ctx, Binary(t), args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// fails runs a command that must end with a code.
func (n *Network) fails(ctx context.Context, t *testing.T, code int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, Binary(t), args...).CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Fatalf("waybill %s: %v, want code %d\n%s", strings.Join(args, " "), err, code, out)
	}
	return string(out)
}

// inhabit makes another home of a node that is dead, and starts it there.
func (n *Network) inhabit(ctx context.Context, t *testing.T, i int, home string,
	command ...string) {
	t.Helper()
	n.waybill(ctx, t, command...)
	n.Nodes[i].Home, n.Nodes[i].Config = home, filepath.Join(home, "config.toml")
	n.Processes[i].Node = n.Nodes[i]
	if err := n.Processes[i].Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(ctx, i); err != nil {
		t.Fatal(err)
	}
}

// move takes a node to another home while clients wait for it.
func (n *Network) move(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	old := n.Nodes[i].Home
	there, sent := old+"-moved", filepath.Join(n.Dir, "moved.wbm")
	address := n.waybill(ctx, t, "move", "address", "--home", there)
	if out := n.fails(ctx, t, 1, "move", "send", "--home", old, "--to", address,
		sent); !strings.Contains(out, "stop it first") {
		t.Errorf("a node that runs: %s", out)
	}
	n.Processes[i].Kill() // it may be killed, too
	n.waybill(ctx, t, "move", "send", "--home", old, "--to", address, sent)
	n.inhabit(ctx, t, i, there, "move", "receive", "--home", there, sent)
	if out := n.fails(ctx, t, 3, "start", "--home", old); !strings.Contains(out, "was moved") {
		t.Errorf("the home that moved away: %s", out)
	}
}

// awaitVotes waits until the chain carries votes of a restored member, as its own log says.
func (n *Network) awaitVotes(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	err := n.await(ctx, "a vote of the restored member", func() (bool, error) {
		b, err := os.ReadFile(n.Processes[i].log)
		_, after, released := strings.Cut(string(b), "votes from now on")
		return released && strings.Contains(after, "votes after"), err
	})
	if err != nil {
		t.Fatal(err)
	}
}
