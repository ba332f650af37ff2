package outsider

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const lies = testdata + "/lies"

// TestLies checks the project's file of every lie: it convicts the liar, and with any byte changed,
// cut off or added nobody.
func TestLies(t *testing.T) {
	g, err := ParseGenesis(read(t, filepath.Join(lies, "genesis.json")))
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(lies, "*.wbx"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	seen := map[byte]bool{}
	for _, name := range names {
		file := read(t, name)
		name = filepath.Base(name)
		said, err := g.Verify(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s (%d bytes): %s", name, len(file), said)
		kind := file[41]
		liar := "members [1 3]"
		switch {
		case kind == 1, kind > 15 && kind < 20:
			liar = "node 2"
		case kind > 20:
			liar = "client 3"
		case strings.Contains(name, "share"):
			liar = "members [3]"
		}
		if said != fmt.Sprintf("lie %d: %s", kind, liar) {
			t.Errorf("%s: %s, and the liar is %s", name, said, liar)
		}
		if len(file) > 4096 {
			t.Errorf("%s: %d bytes", name, len(file))
		}
		var every []int
		for i := range file {
			every = append(every, i)
		}
		if seen[kind] { // one of each in full
			every = slices.DeleteFunc(every, func(i int) bool { return i%17 != 0 })
		}
		seen[kind] = true
		refuseMutations(t, g, name, file, every, 0x01)
		for i := range file {
			if _, err := g.Verify(file[:i]); err == nil {
				t.Errorf("%s: its first %d bytes are accepted", name, i)
			}
		}
		if _, err := g.Verify(append(slices.Clone(file), 0)); err == nil {
			t.Errorf("%s: accepted with a byte more", name)
		}
	}
	for _, kind := range []byte{1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 21, 22} {
		if !seen[kind] {
			t.Errorf("no file of lie %d", kind)
		}
	}
}
