package cli

import (
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
	for _, want := range []string{"reserve    1.500000", "thawing    0.500000, free when epoch",
		"3.000000 from epoch", "may spend."} {
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
