package outsider

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestInvoices checks the project's invoices, and that a lie in one is refused for what it is.
func TestInvoices(t *testing.T) {
	g, err := ParseGenesis(read(t, filepath.Join(testdata, "genesis.json")))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"invoice.csv", "invoice.json"} {
		file := read(t, filepath.Join(testdata, name))
		said, err := g.Verify(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %s", name, said)
		every := make([]int, len(file))
		for i := range every {
			every[i] = i
		}
		refuseMutations(t, g, name, file, every, 0x01)
		lines := strings.SplitAfter(string(file), "\n")
		first := 1 // of CSV: after the names of the columns
		if name == "invoice.json" {
			first = 5
		}
		for what, lie := range map[string]string{
			"moved": strings.Join(lines[:first], "") + lines[first+1] + lines[first] +
				strings.Join(lines[first+2:], ""),
			"omitted": strings.Join(lines[:first], "") + strings.Join(lines[first+1:], ""),
			"changed": strings.Replace(string(file), "34331", "34330", 1),
		} {
			if _, err := g.Verify([]byte(lie)); err == nil ||
				!strings.Contains(err.Error(), "is not the settlement's") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}
