package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestProofKeyParts gathers the signatures of a committee of four: three of them are enough, two
// are not, and a part that is not what it says is named.
func TestProofKeyParts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	must(t, "testnet", "--dir", dir, "--nodes", "4", "--base-port", "0")
	t.Setenv("WAYBILL_PASSWORD", strings.TrimSpace(read(t, filepath.Join(dir, "password"))))
	genesis := filepath.Join(dir, "genesis.json")
	part := func(member int, until string) string {
		out := filepath.Join(dir, fmt.Sprintf("%d-%s.part", member, until))
		said := must(t, "tx", "proof-key", "sign", "--genesis", genesis, "--home",
			filepath.Join(dir, fmt.Sprintf("node%d", member)), "--statements", "1024",
			"--proof-key", strings.Repeat("5f", 32), "--from", "30", "--until", until, "--out", out)
		if !strings.Contains(said, fmt.Sprintf("signed as member %d of network", member)) ||
			!strings.Contains(said, "for 1024 statements, epochs 30 to before "+until) {
			t.Error(said)
		}
		return out
	}
	tx := filepath.Join(dir, "key.tx")
	join := func(parts ...string) []string {
		return append([]string{"tx", "proof-key", "join", "--genesis", genesis, "--out", tx},
			parts...)
	}
	a, b, c := part(0, "99"), part(2, "99"), part(3, "99")
	fails(t, 1, "more than two thirds are needed: members 1, 3 have not signed", join(a, b)...)
	fails(t, 1, "more than two thirds are needed: members 1, 3 have not signed", join(a, b, a)...)
	fails(t, 1, "signs another key, size or epochs than", join(a, b, part(3, "98"))...)
	spoilt := write(t, filepath.Join(dir, "spoilt"),
		strings.Replace(read(t, c), `"until": 99`, `"until": 100`, 1))
	fails(t, 1, "the signature of member 3: it does not verify", join(a, b, spoilt)...)
	stranger := write(t, filepath.Join(dir, "stranger"),
		strings.Replace(read(t, c), `"node": 3`, `"node": 4`, 1))
	fails(t, 1, "node 4 is no member", join(a, b, stranger)...)
	later := write(t, filepath.Join(dir, "later"),
		strings.Replace(read(t, c), `"term": 0`, `"term": 1`, 1))
	fails(t, 1, "the committee of term 1", join(a, b, later)...)
	fails(t, 1, "no part", join(genesis, a)...)
	must(t, join(a, b, c)...)
	if out := must(t, "tx", "show", tx); !strings.Contains(out, `"until": 99`) {
		t.Error(out)
	}

	g, err := ledger.ParseGenesis([]byte(read(t, genesis)))
	if err != nil {
		t.Fatal(err)
	}
	state, err := ledger.New(g)
	if err != nil {
		t.Fatal(err)
	}
	state.Begin(1, g.GenesisTime.Add(time.Second))
	b1, err := readTx(tx)
	if err != nil {
		t.Fatal(err)
	}
	if r := state.Apply(b1); !r.OK() {
		t.Errorf("a ledger of these members refuses it: %v", r.Err)
	}
}

// TestProofKeyRotates: where the committee rotates, the genesis file does not say who signs.
func TestProofKeyRotates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	must(t, "testnet", "--dir", dir, "--nodes", "4", "--seats", "16", "--base-port", "0")
	t.Setenv("WAYBILL_PASSWORD", strings.TrimSpace(read(t, filepath.Join(dir, "password"))))
	genesis := filepath.Join(dir, "genesis.json")
	sign := []string{"tx", "proof-key", "sign", "--genesis", genesis, "--home",
		filepath.Join(dir, "node0"), "--statements", "1024", "--proof-key", strings.Repeat("5f", 32),
		"--from", "30", "--until", "99", "--out", filepath.Join(dir, "part")}
	fails(t, 2, "--terms is required", sign...)
	const other = "../../rollup/testdata/rotating/hand-overs.wbx" // of another network
	fails(t, 3, "hand-overs.wbx", append(sign, "--terms", other)...)
	fails(t, 2, "--terms is required", "tx", "proof-key", "join", "--genesis", genesis, "--out",
		filepath.Join(dir, "tx"), "nosuch")
}

// TestProofKey names a proof key on a running network, and ends it.
func TestProofKey(t *testing.T) {
	n := newNetwork(t, "3600")
	stop := n.start(t)
	defer stop()
	change := func(from, until string) (tx string) {
		part := filepath.Join(n.dir, "part")
		tx = filepath.Join(n.dir, "key.tx")
		must(t, "tx", "proof-key", "sign", "--genesis", n.genesis, "--home", n.home,
			"--statements", "1024", "--proof-key", strings.Repeat("5f", 32), "--from", from,
			"--until", until, "--out", part)
		must(t, "tx", "proof-key", "join", "--genesis", n.genesis, "--out", tx, part)
		return tx
	}
	fails(t, 1, "too_early", "tx", "send", change("3", "99"), "--node", n.url)
	tx := change("30", "99")
	if out := must(t, "tx", "send", tx, "--node", n.url); !strings.Contains(out,
		"for 1024 statements is accepted in epochs 30 to before 99") {
		t.Error(out)
	}
	fails(t, 1, "out_of_range", "tx", "send", tx, "--node", n.url) // it is there
	if out := must(t, "tx", "send", change("30", "40"), "--node", n.url, "--json"); !strings.Contains(
		out, `"until": 40`) {
		t.Error(out)
	}
}
