package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestNodeRequest: a node whose owner's key is elsewhere asks, and the owner signs without the
// node's keys and without a network. What it asked for is of no use to others.
func TestNodeRequest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	must(t, "testnet", "--dir", dir, "--nodes", "4", "--seats", "16", "--base-port", "0")
	password := filepath.Join(dir, "password")
	t.Setenv("WAYBILL_PASSWORD", strings.TrimSpace(read(t, password)))
	genesis, home := filepath.Join(dir, "genesis.json"), filepath.Join(dir, "new")
	must(t, "init", "--home", home)
	g, err := ledger.ParseGenesis([]byte(read(t, genesis)))
	if err != nil {
		t.Fatal(err)
	}
	state, err := ledger.New(g)
	if err != nil {
		t.Fatal(err)
	}
	owner := filepath.Join(dir, "treasury.json") // any account's key is as good
	file := func(name string) string { return filepath.Join(dir, name) }
	state.Begin(1, g.GenesisTime.Add(time.Second))
	apply := func(args ...string) {
		t.Helper()
		out := file("tx" + args[len(args)-1])
		must(t, append(append([]string{}, args[:len(args)-1]...), "--key", owner, "--genesis", genesis,
			"--nonce", args[len(args)-1], "--out", out)...)
		tx, err := readTx(out)
		if err != nil {
			t.Fatal(err)
		}
		if r := state.Apply(tx); !r.OK() {
			t.Fatalf("%v: %v", args, r.Err)
		}
	}
	key, err := loadEd25519(owner, password)
	if err != nil {
		t.Fatal(err)
	}
	if r := state.Apply(ledger.NewDeposit(g.Network(), key, 0, g.Treasury, 1_000_000_000)); !r.OK() {
		t.Fatal(r.Err)
	}
	ask := func(what string, more ...string) []string {
		return append([]string{"node", "request", what, "--home", home, "-g", genesis, "--owner",
			g.Treasury.String(), "--out", file(what)}, more...)
	}
	if said := must(t, ask("register", "--address", "new.example:7401")...); !strings.Contains(said,
		"waybill tx register-node --request") {
		t.Error(said)
	}
	apply("tx", "register-node", "--request", file("register"), "--stake", "500", "0")
	must(t, ask("stand", "--address", "new.example:7402", "--index", "4", "--nonce", "1")...)
	apply("node", "stand", "4", "--request", file("stand"), "1")
	state.End()
	if node, _ := state.View().Node(4); node.PeerAddress != "new.example:7401" {
		t.Errorf("registered is %+v", node)
	}

	sign := func(file, key, nonce string) []string {
		return []string{"node", "stand", "--request", file, "--key", key, "--genesis", genesis,
			"--nonce", nonce, "--out", filepath.Join(dir, "bad")}
	}
	fails(t, 1, "ask again with --nonce 2", sign(file("stand"), owner, "2")...)
	stranger := filepath.Join(dir, "node0", "keys", "owner.json")
	fails(t, 1, "is for the owner", sign(file("stand"), stranger, "1")...)
	fails(t, 3, "unknown field", "tx", "register-node", "--request", file("stand"),
		"--key", owner, "--genesis", genesis, "--nonce", "0", "--out", file("bad"))
	fails(t, 3, "no such file", sign("nosuch", owner, "1")...)
	fails(t, 2, "is for node 4", "node", "stand", "3", "--request", file("stand"), "--key", owner,
		"--genesis", genesis, "--nonce", "1", "--out", file("bad"))
	fails(t, 2, "--owner and --out are required", "node", "request", "register", "--home", home)
	fails(t, 2, "--index and --nonce are required", ask("stand")...)
}
