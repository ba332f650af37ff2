package committee

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// recovered makes another network of what a stopped member has, with that member alone, and its
// store in a folder.
func recovered(t *testing.T, before *network, from, to string, begins time.Time) *network {
	t.Helper()
	s, err := store.Open(filepath.Join(from, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, _, records, err := s.LoadLedger()
	if err != nil {
		t.Fatal(err)
	}
	state, err := ledger.Restore(before.genesis, records)
	if err != nil {
		t.Fatal(err)
	}
	after := *before
	after.members = before.members[:1]
	if end := state.View().EpochEnd(); begins.Before(end) {
		begins = end
	}
	if after.genesis, err = state.Recovery(before.genesis, "recovered", begins,
		[]uint32{0}); err != nil {
		t.Fatal(err)
	}
	after.genesis.Sign(0, after.members[0].bls, after.members[0].transport)
	_, _, records, err = s.LoadLedger()
	if err != nil {
		t.Fatal(err)
	}
	height, hash, all, _, err := ledger.Recover(before.genesis, after.genesis, records)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	into, err := store.Open(filepath.Join(to, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(into.Begin(0), into.CommitLedger(height, hash, all, nil), into.Close(),
		os.WriteFile(filepath.Join(to, "genesis.json"), after.genesis.Encode(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return &after
}

// TestRecovered: a chain begins above the blocks of the one before it, with its ledger, and goes on
// when the process dies at any step of its first block.
func TestRecovered(t *testing.T) {
	if dir, start, addresses, ok := parseChildSpec(t); ok {
		net := newNetwork(t, "first", 2, 1, 1, addresses, start)
		b, err := os.ReadFile(filepath.Join(dir, "genesis.json"))
		if err != nil {
			t.Fatal(err)
		}
		if net.genesis, err = ledger.ParseGenesis(b); err != nil {
			t.Fatal(err)
		}
		net.members = net.members[:1]
		n := net.start(t, 0, dir)
		above := net.genesis.InitialHeight()
		n.wait(t, "blocks", func(v *ledger.View) bool { return v.Height() >= above+1 })
		return
	}
	start := time.Now().UTC().Truncate(time.Second)
	addresses := freeAddresses(t, 2)
	net := newNetwork(t, "first", 2, 1, 1, addresses, start)
	dirs := []string{t.TempDir(), t.TempDir()}
	var nodes []*running
	for i, dir := range dirs {
		nodes = append(nodes, net.start(t, i, dir))
	}
	tx, to := net.deposit(0)
	if err := nodes[0].SubmitTx(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	nodes[0].wait(t, "a deposit", funded(to))
	for _, n := range nodes {
		n.Stop()
	}
	if err := nodes[0].store.Close(); err != nil {
		t.Fatal(err)
	}
	// What a member has whose store was not recovered is refused.
	dir := t.TempDir()
	after := recovered(t, net, dirs[0], dir, time.Now().UTC().Truncate(time.Second))
	empty, err := store.Open(filepath.Join(t.TempDir(), "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), after.config(0, t.TempDir(), empty)); !errors.Is(err,
		ErrNotRecovered) {
		t.Errorf("without the state: %v", err)
	}
	if err := empty.Close(); err != nil {
		t.Fatal(err)
	}
	base := after.genesis.Checkpoint.Height
	for _, point := range []int{1, 2, 4, 5, 7} {
		dir := t.TempDir()
		recovered(t, net, dirs[0], dir, after.genesis.GenesisTime)
		cmd := childCommand(t, "TestRecovered", []string{fmt.Sprintf("FAIL_TEST_INDEX=%d", point)},
			dir, strconv.FormatInt(start.Unix(), 10), addresses[0], addresses[1])
		if _, err := cmd.Output(); err == nil || errors.As(err, new(*exec.Error)) {
			t.Fatalf("crash point %d: %v", point, err)
		}
		n := after.start(t, 0, dir)
		n.wait(t, "blocks", func(v *ledger.View) bool { return v.Height() >= base+2 })
		if v := n.View(); !funded(to)(v) || v.Network() != after.genesis.Network() {
			t.Errorf("crash point %d: the deposit is lost", point)
		}
		n.Stop()
	}
}
