package outsider

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRecovered reads the genesis of a network that goes on from the state of another one: its
// members are nodes of that, who signed all that the file says.
func TestRecovered(t *testing.T) {
	file := read(t, filepath.Join(testdata, "rotating/recovered.json"))
	g, err := ParseGenesis(file)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []uint32
	for _, m := range g.members {
		nodes = append(nodes, m.node)
	}
	if !slices.Equal(nodes, []uint32{1, 2, 4, 5}) {
		t.Errorf("members are %d", nodes)
	}
	for _, m := range g.terms[0].members {
		if !slices.Contains(nodes, m.node) {
			t.Errorf("node %d has seats", m.node)
		}
	}
	for _, change := range [][2]string{{`"height": `, `"height": 1`}, {"      4,", "      3,"},
		{`"nodes": [`, `"nodes": [0, `}, {"      5\n", "      4\n"}, {`"app_hash"`, `"app"`}} {
		bad := strings.Replace(string(file), change[0], change[1], 1)
		if bad == string(file) {
			t.Fatalf("the file has no %q", change[0])
		}
		if _, err := ParseGenesis([]byte(bad)); err == nil {
			t.Errorf("%q for %q is taken", change[1], change[0])
		}
	}
}
