//go:build linux

package crash

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/prooftest"
	"github.com/waybill-network/waybill/rollup"
)

// TestCrashProving kills, in turn, a node's prover and the node itself while a proof is being made.
// The other node that takes acks makes none. Rollups of both rungs are settled, and the statements
// of all of them are held by a second node.
func TestCrashProving(t *testing.T) {
	Binary(t)
	ctx := deadline(t, 5*time.Minute, time.Minute)
	o := short()
	o.Proofs = []keys.Pair{prooftest.Keys(t, 256)}
	configure := o.Configure
	o.Configure = func(i int, c *config.Config) {
		configure(i, c)
		c.Proofs.Enabled, c.Proofs.Wait = i == 0, 3*time.Second
	}
	n := Start(ctx, t, o)
	parties, err := n.Register(ctx, 3, 24)
	if err != nil {
		t.Fatal(err)
	}
	before, err := n.Balances(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	load, err := n.Load(ctx, parties, 2, 8, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds(t) {
		if err := n.AwaitProving(ctx, 0); err != nil {
			t.Fatal(err)
		}
		children, err := n.Processes[0].Children()
		if err != nil || len(children) == 0 {
			t.Fatalf("the prover is no child of the node: %v", err)
		}
		if round%2 == 0 {
			t.Logf("killing the prover, %v", children)
			for _, pid := range children {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil &&
					!errors.Is(err, syscall.ESRCH) {
					t.Fatal(err)
				}
			}
		} else {
			t.Log("killing the node")
			n.Processes[0].Kill()
		}
		for _, pid := range children {
			if err := n.await(ctx, "the end of the prover",
				func() (bool, error) { return gone(pid), nil }); err != nil {
				t.Fatal(err)
			}
		}
		if round%2 != 0 {
			if err := n.Processes[0].Start(); err != nil {
				t.Fatal(err)
			}
			if err := n.Ready(ctx, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.progress(ctx, load); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.AwaitProving(ctx, 0); err != nil { // in its last life, too
		t.Fatal(err)
	}
	if err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := n.AwaitProved(ctx, 0); err != nil {
		t.Fatal(err)
	}
	audit, err := n.Audit(ctx, parties, load.Books, before)
	if err := errors.Join(err, load.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d deliveries accepted; %d rollups, by rung %v; %d acks under statements",
		load.Books.Tally.Accepted, audit.Rollups, audit.Rungs, audit.Stated)
	if audit.Rungs[rollup.RungStatements] == 0 || audit.Rungs[rollup.RungProof] == 0 {
		t.Error("not both rungs were settled")
	}
	for node := range Serving {
		held, err := n.AuditHolders(ctx, node)
		if err != nil || held == 0 {
			t.Errorf("node %d: statements of %d rollups are held by others, %v", node, held, err)
		}
	}
	n.Stop(ctx, t)
}
