package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// bounds has a payer reserve, thaw and set an allowance, and looks at its wallet.
func (n *network) bounds(t *testing.T, node []string, payer, account string) {
	t.Helper()
	with := func(args ...string) []string { return append(args, node...) }
	tx := func(args ...string) []string {
		return with(append(append([]string{"tx"}, args...), "--key", payer)...)
	}
	must(t, tx("reserve", "2")...)
	must(t, tx("thaw", "0.5")...)
	must(t, tx("allowance", "3")...)
	fails(t, 1, "insufficient_balance", tx("reserve", "1000000")...)
	fails(t, 1, "insufficient_reserve", tx("thaw", "1000")...)
	fails(t, 1, "out_of_range", tx("reserve", "0")...)
	fails(t, 1, "unknown_service", tx("lower-price", "77", "1")...)
	fails(t, 2, "want its index", tx("lower-price", "x", "1")...)
	fails(t, 2, "micro-credits per", tx("lower-price", "0", "x")...)
	out := must(t, with("wallet", account, "--clients")...)
	// The allowance holds from the next epoch on, which may have begun.
	for _, want := range []string{"reserve    1.500000", "thawing    0.500000, free when epoch",
		" 3.000000 ", "may spend."} {
		if !strings.Contains(out, want) {
			t.Errorf("the wallet lacks %q:\n%s", want, out)
		}
	}
	out = must(t, with("wallet", account, "--json")...)
	for _, want := range []string{`"reserve": "1500000"`, `"thawing": "500000"`, `"committed": "0"`,
		`"owes": []`} {
		if !strings.Contains(out, want) {
			t.Errorf("the wallet lacks %q:\n%s", want, out)
		}
	}
	fails(t, 2, "64 hexadecimal digits, or its index", with("wallet", "nobody")...)
	fails(t, 1, "account 4000000000 of", with("wallet", "4000000000")...)
}

// stakes has an owner register a node, add to its stake, and take all of it.
func (n *network) stakes(t *testing.T, node []string, owner, account string) {
	t.Helper()
	with := func(args ...string) []string { return append(args, node...) }
	tx := func(args ...string) []string {
		return with(append(append([]string{"tx"}, args...), "--key", owner)...)
	}
	blsKey, transport := filepath.Join(n.dir, "edge.bls"), filepath.Join(n.dir, "edge.transport")
	must(t, "keys", "new", "--light", "--kind", "bls12-381", blsKey)
	must(t, "keys", "new", "--light", transport)
	must(t, tx("register-node", "--bls-key", blsKey, "--transport-key", transport, "--address",
		"127.0.0.1:1", "--stake", "1")...)
	must(t, tx("stake", "1", "0.25")...)
	fails(t, 1, "insufficient_stake", tx("unstake", "1", "1")...)
	fails(t, 1, "not_owner", tx("unstake", "0", "1")...)
	fails(t, 1, "unknown_node", tx("withdraw", "9")...)
	fails(t, 2, "want its index", tx("withdraw", "x")...)
	fails(t, 2, "want its index", tx("stake", "x", "1")...)
	life := func(args ...string) []string {
		return with(append(append([]string{"node"}, args...), "--key", owner)...)
	}
	fails(t, 1, "no_rotation", life("stand", "1", "--consensus-key", transport, "--address",
		"127.0.0.1:2")...)
	fails(t, 1, "no_rotation", life("unjail", "1")...)
	fails(t, 2, "is required", life("stand", "1")...)
	fails(t, 2, "--address is required", life("stand", "1", "--consensus-key", transport)...)
	fails(t, 2, "takes no arguments", life("leave", "1")...)
	fails(t, 1, "not_owner", life("leave")...) // the node that is asked is another's
	must(t, tx("unstake", "1", "1.25")...)
	fails(t, 1, "node_left", tx("stake", "1", "0.25")...)
	fails(t, 1, "too_early", tx("withdraw", "1")...)
	out := must(t, with("wallet", account)...)
	for _, want := range []string{"This account's nodes:", "0.000000  until epoch ", "1.250000",
		", once epoch "} {
		if !strings.Contains(out, want) {
			t.Errorf("the wallet lacks %q:\n%s", want, out)
		}
	}
	out = must(t, with("wallet", account, "--json")...)
	if !strings.Contains(out, `"leaving": "1250000"`) {
		t.Errorf("the wallet lacks what leaves:\n%s", out)
	}
}
