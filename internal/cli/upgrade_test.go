package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlanParts gathers the signatures of a committee of four: three of them are enough, two are
// not, and a part that is not what it says is named.
func TestPlanParts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	must(t, "testnet", "--dir", dir, "--nodes", "4", "--base-port", "0")
	t.Setenv("WAYBILL_PASSWORD", strings.TrimSpace(read(t, filepath.Join(dir, "password"))))
	genesis := filepath.Join(dir, "genesis.json")
	plan := func(name string, more ...string) string {
		out := filepath.Join(dir, name+".json")
		must(t, append([]string{"upgrade", "plan", "--genesis", genesis, "--number", "0", "--name",
			name, "--out", out}, more...)...)
		return out
	}
	part := func(member int, plan string) string {
		out := filepath.Join(dir, fmt.Sprintf("%d-%s.part", member, filepath.Base(plan)))
		said := must(t, "upgrade", "sign", plan, "--genesis", genesis, "--home",
			filepath.Join(dir, fmt.Sprintf("node%d", member)), "--out", out)
		if !strings.Contains(said, fmt.Sprintf("signed as member %d\nplan 0 of network", member)) {
			t.Error(said)
		}
		return out
	}
	tx := filepath.Join(dir, "plan.tx")
	join := func(parts ...string) []string {
		return append([]string{"upgrade", "submit", "--genesis", genesis, "--out", tx}, parts...)
	}
	three := plan("three", "--to", "3", "--epoch", "30")
	a, b, c := part(0, three), part(2, three), part(3, three)
	fails(t, 1, "more than two thirds are needed: members 1, 3 have not signed", join(a, b, a)...)
	later := plan("later", "--to", "3", "--epoch", "31")
	fails(t, 1, "signs another plan than", join(a, b, part(3, later))...)
	spoilt := write(t, filepath.Join(dir, "spoilt"),
		strings.Replace(read(t, c), `"epoch": 30`, `"epoch": 31`, 1))
	fails(t, 1, "the signature of member 3: it does not verify", join(spoilt, a, b)...)
	stranger := write(t, filepath.Join(dir, "stranger"),
		strings.Replace(read(t, c), `"node": 3`, `"node": 4`, 1))
	fails(t, 1, "node 4 is no member", join(a, b, stranger)...)
	fails(t, 1, "none of a plan", join(genesis, a)...)
	must(t, join(a, b, c)...)
	if out := must(t, "tx", "show", tx); !strings.Contains(out, `"epoch": 30`) {
		t.Error(out)
	}
	part(1, plan("no more", "--cancel"))
	for _, bad := range [][]string{{"--to", "2", "--epoch", "30"}, {"--to", "3", "--epoch",
		"23"}, {"--to", "0", "--epoch", "0"}, {"--cancel", "--to", "3", "--epoch", "30"},
		{"--to", "3"}, {}, {"--to", "3", "--epoch", "30", "--name", "a\n"}} {
		if code, out, _ := cli(t, append([]string{"upgrade", "plan", "--genesis", genesis, "--number",
			"0", "--name", "bad", "--out", tx}, bad...)...); code != 2 {
			t.Errorf("%v: exit code %d, %s", bad, code, out)
		}
	}
}

// TestPlan plans an upgrade on a running network, and cancels it.
func TestPlan(t *testing.T) {
	n := newNetwork(t, "3600")
	stop := n.start(t)
	defer stop()
	submit := func(number string, more ...string) []string {
		plan, part := filepath.Join(n.dir, "plan"), filepath.Join(n.dir, "part")
		must(t, append([]string{"upgrade", "plan", "--genesis", n.genesis, "--number", number,
			"--name", "waybill 3", "--out", plan}, more...)...)
		must(t, "upgrade", "sign", plan, "--genesis", n.genesis, "--home", n.home, "--out", part)
		return []string{"upgrade", "submit", part, "--genesis", n.genesis, "--node", n.url}
	}
	fails(t, 1, "bad_nonce", submit("1", "--to", "3", "--epoch", "24")...)
	if out := must(t, submit("0", "--to", "3", "--epoch", "24")...); !strings.Contains(out,
		"version 3 holds from epoch 24 on: waybill 3") {
		t.Error(out)
	}
	if out := must(t, submit("1", "--cancel")...); !strings.Contains(out,
		"no upgrade is planned any more") {
		t.Error(out)
	}
	if out := must(t, append(submit("2", "--to", "4", "--epoch", "30"), "--json")...); !strings.
		Contains(out, `"version": 4`) {
		t.Error(out)
	}
}
