//go:build linux

package crash

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestSeats is the life of members whose seats are dealt anew. One has its keys in a signer, which
// is killed when a hand-over is certified and again when it has happened, through two of them: it
// votes on. One that takes acks leaves for good: it serves until nothing needs it, none of its acks
// is lost, and its owner gets the stake back. What members earn is what the blocks say.
func TestSeats(t *testing.T) {
	Binary(t)
	ctx := deadline(t, 8*time.Minute, 0)
	o := short()
	o.Nodes, o.Seats = 6, 16
	o.Params = func(p *ledger.Params) {
		p.UnbondSeconds, p.Rotation.EvidenceSeconds = 5, 5
		p.Rotation.EvidenceBlocks, p.Rotation.EvidenceEpochs = 20, 1
	}
	configure := o.Configure
	o.Configure = func(i int, c *config.Config) {
		configure(i, c)
		c.Store.Retention = 0
	}
	n := Start(ctx, t, o)
	n.Deserved = append(n.Deserved, "this node's signature of", "this node does not")
	f := &faults{n, t, ctx, nil, map[string][]time.Duration{}}
	p, err := n.Register(ctx, 0, 24)
	if err != nil {
		t.Fatal(err)
	}
	before, err := n.Balances(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	const remote, leaver = 5, 1
	start := n.handKeys(ctx, t, remote)
	kill := n.signer(ctx, t, start...)
	n.revive(t, remote)
	n.awaitReadyz(ctx, t, remote, 200, "ok")
	load, err := n.Load(ctx, p, 2, 8, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		v := f.certified()
		kill()
		kill = n.signer(ctx, t, start...)
		over := f.over(0, v)
		kill()
		kill = n.signer(ctx, t, start...)
		f.votes(remote, over)
	}
	if err := n.progress(ctx, load); err != nil {
		t.Fatal(err)
	}
	if err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	owner := []string{"--key", filepath.Join(n.Nodes[leaver].Home, "keys", homes.OwnerKeyFile),
		"--password-file", filepath.Join(n.Dir, homes.PasswordFile)}
	out := n.waybill(ctx, t, append([]string{"node", "leave", "--wait", "--node",
		n.Nodes[leaver].Ingest}, owner...)...)
	if !strings.Contains(out, "do not stop node 1 yet: it has") ||
		!strings.Contains(out, "may be stopped") {
		t.Errorf("a member that leaves: %s", out)
	}
	audit, err := n.Audit(ctx, p, load.Books, before)
	if err := errors.Join(err, load.Close()); err != nil {
		t.Fatal(err)
	}
	term := f.handOvers(ctx)
	f.honest(ctx)
	n.leaves(f, owner, leaver)
	for i, node := range n.Processes {
		if i == leaver {
			continue
		}
		if err := node.Terminate(ctx); err != nil {
			t.Errorf("node %d, asked to stop: %v", i, err)
		}
	}
	kill()
	chain, err := n.AuditChains(audit)
	if err != nil {
		t.Fatal(err)
	}
	earned := uint64(0)
	for _, duties := range audit.Duties {
		for i := range duties {
			earned += duties[i].Reward
		}
	}
	if earned == 0 {
		t.Error("no member earned anything")
	}
	t.Logf("%d hand-overs, %d blocks, %d acks in %d rollups, %d settlements; members earned %d",
		term, len(chain), len(audit.Ordered), audit.Rollups, len(audit.Rows), earned)
}

// votes waits until blocks of an epoch carry votes of a member that has seats, or of the next one.
func (f *faults) votes(i int, over *view) {
	f.t.Helper()
	f.awaitView(i, "its vote", func(v *view) bool {
		for _, d := range v.Rotation.Duties {
			if d.Epoch >= over.Rotation.Epoch && d.Points > 0 {
				return true
			}
		}
		return false
	})
}

// leaves stops a node that nothing needs, and has its owner take the stake back: the chain goes on.
func (n *Network) leaves(f *faults, owner []string, i int) {
	f.t.Helper()
	if v := f.awaitView(i, "a view", func(*view) bool { return true }); v.Rotation.Held != 0 {
		f.t.Errorf("a node that may be stopped holds %d seats", v.Rotation.Held)
	}
	had, err := n.Account(f.ctx, 0, uint32(1+i))
	if err != nil {
		f.t.Fatal(err)
	}
	if err := n.Processes[i].Terminate(f.ctx); err != nil {
		f.t.Errorf("node %d, asked to stop: %v", i, err)
	}
	top := f.awaitView(0, "a view", func(*view) bool { return true }).Chain.Height
	f.height(0, top+5)
	var out string
	withdraw := append([]string{"tx", "withdraw", fmt.Sprint(i), "--node", n.Nodes[0].Ingest},
		owner...)
	if err := n.await(f.ctx, "the stake to be free", func() (bool, error) {
		text, err := n.run(f.ctx, f.t, withdraw...)
		out = text
		if err != nil {
			return false, fmt.Errorf("%w: %s", errNotYet, text)
		}
		return true, nil
	}); err != nil {
		f.t.Fatal(err)
	}
	has, err := n.Account(f.ctx, 0, uint32(1+i))
	if err != nil {
		f.t.Fatal(err)
	}
	if has.Balance != had.Balance+homes.Stake {
		f.t.Errorf("its owner had %d, and has %d, not a stake of %d more: %s", had.Balance, has.Balance,
			uint64(homes.Stake), out)
	}
}
