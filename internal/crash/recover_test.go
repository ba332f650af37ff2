//go:build linux

package crash

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/committee"
)

// TestRecover loses two of four members for good. The other two go on as another network, from what
// they have: nobody's money changes but by what was ordered and had not settled, which settles.
func TestRecover(t *testing.T) {
	Binary(t)
	ctx := deadline(t, 4*time.Minute, 0)
	n := Start(ctx, t, short())
	p, err := n.Register(ctx, 3, 24)
	if err != nil {
		t.Fatal(err)
	}
	load, err := n.Load(ctx, p, 4, 16, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	n.awaitAccepted(ctx, t, load, 400)
	if err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.awaitOrdered(ctx, load.Books); err != nil {
		t.Fatal(err)
	}
	if err := load.Close(); err != nil {
		t.Fatal(err)
	}
	n.Processes[2].Kill()
	n.Processes[3].Kill()
	height := n.stands(ctx, t)
	before := n.accounts(ctx, t)
	for i := range 2 {
		if err := n.Processes[i].Terminate(ctx); err != nil {
			t.Fatal(err)
		}
	}

	file := func(name string) string { return filepath.Join(n.Dir, name) }
	draft, joined := file("draft.json"), file("recovered.json")
	copies := []string{file("copy0.json"), file("copy1.json")}
	n.waybill(ctx, t, "recover", "genesis", "--home", n.Nodes[0].Home, "--nodes", "1,0",
		"--chain-id", "recovered", "--out", draft)
	for i, name := range copies {
		n.waybill(ctx, t, "genesis", "sign", draft, "--home", n.Nodes[i].Home, "--out", name)
	}
	n.waybill(ctx, t, "genesis", "join", copies[0], copies[1], "--out", joined)
	apply := func(i int, more ...string) []string {
		return append([]string{"recover", "apply", "--home", n.Nodes[i].Home, "--genesis", joined},
			more...)
	}
	if out := n.fails(ctx, t, 1, apply(0)...); !strings.Contains(out, "two thirds of the stake") {
		t.Errorf("half of the stake: %s", out)
	}
	// One of them lost its store, and takes the other's state.
	n.waybill(ctx, t, "recover", "state", "--home", n.Nodes[0].Home, "--out", file("state"))
	n.waybill(ctx, t, apply(0, "--minority")...)
	n.waybill(ctx, t, apply(0, "--minority")...) // again, as after it was cut off
	n.waybill(ctx, t, apply(1, "--minority", "--state", file("state"))...)

	for i := range 2 {
		if err := n.Processes[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.await(ctx, "blocks of the new network", func() (bool, error) {
		s, err := n.Status(ctx, 1)
		return err == nil && s.Height > height+20, err
	}); err != nil {
		t.Fatal(err)
	}
	for i := range before {
		var now *api.GetAccountResponse
		if err := n.await(ctx, "the last epochs' settlement", func() (bool, error) {
			now, err = n.Account(ctx, 1, uint32(i))
			return err == nil && now.Committed == 0, err
		}); err != nil {
			t.Fatal(err)
		}
		had := before[i]
		if now.Key != had.Key || now.NextNonce != had.NextNonce || now.Reserve != had.Reserve ||
			now.Balance < had.Balance {
			t.Errorf("account %d had %v, and has %v", i, had, now)
		}
	}
	if a, b := total(before), total(n.accounts(ctx, t)); a != b {
		t.Errorf("accounts had %d together, and have %d", a, b)
	}
	n.neverAnew(ctx, t, apply(1, "--minority", "--state", file("state")))
}

// neverAnew runs a recovery again in a home that has signed since, and lost its record of votes:
// it is not made anew, nor is a store that is gone.
func (n *Network) neverAnew(ctx context.Context, t *testing.T, apply []string) {
	t.Helper()
	if out := n.fails(ctx, t, 1, "recover", "state", "--home", n.Nodes[1].Home, "--out",
		filepath.Join(n.Dir, "running")); !strings.Contains(out, "another process runs this node") {
		t.Errorf("the state of a node that runs: %s", out)
	}
	n.Processes[1].Kill()
	votes := committee.SignStateFile(filepath.Join(n.Nodes[1].Home, "consensus"))
	if err := os.Remove(votes); err != nil {
		t.Fatal(err)
	}
	n.waybill(ctx, t, apply...)
	if _, err := os.Stat(votes); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a record of votes that knows of none: %v", err)
	}
	store := filepath.Join(n.Nodes[1].Home, "data")
	if err := os.Rename(store, store+".lost"); err != nil {
		t.Fatal(err)
	}
	if out := n.fails(ctx, t, 1, apply...); !strings.Contains(out, "its store is gone since") {
		t.Errorf("a store that is gone: %s", out)
	}
}

// stands waits until no block comes any more, and returns the height of the last one.
func (n *Network) stands(ctx context.Context, t *testing.T) int64 {
	t.Helper()
	var height int64
	since := time.Now()
	if err := n.await(ctx, "the chain to stand still", func() (bool, error) {
		s, err := n.Status(ctx, 0)
		if err != nil {
			return false, err
		}
		if s.Height != height {
			height, since = s.Height, time.Now()
		}
		other, err := n.Status(ctx, 1)
		return err == nil && other.Height == height && time.Since(since) > 3*time.Second, err
	}); err != nil {
		t.Fatal(err)
	}
	return height
}

func (n *Network) accounts(ctx context.Context, t *testing.T) (all []*api.GetAccountResponse) {
	t.Helper()
	balances, err := n.Balances(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range balances {
		a, err := n.Account(ctx, 0, uint32(i))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

func total(accounts []*api.GetAccountResponse) (sum uint64) {
	for _, a := range accounts {
		sum += a.Balance + a.Reserve + a.Committed + a.Thawing
	}
	return sum
}
