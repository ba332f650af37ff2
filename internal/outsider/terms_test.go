package outsider

import "testing"

const recorded = testdata + "/rotating/"

// rotatingGenesis is the genesis of a recorded network, with the terms of its hand-overs.
func rotatingGenesis(t *testing.T, terms bool) *Genesis {
	t.Helper()
	g, err := ParseGenesis(read(t, recorded+"genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	if terms {
		said, err := g.Verify(read(t, recorded+"hand-overs.wbx"))
		if err != nil {
			t.Fatal(err)
		}
		t.Log(said)
	}
	return g
}

// some is all of a file's beginning, and of what comes in the same form again and again every
// eleventh byte.
func some(file []byte) (positions []int) {
	for i := range file {
		if i < 300 || i%11 == 0 {
			positions = append(positions, i)
		}
	}
	return positions
}

// TestTerms follows a recorded network whose committee rotates from its genesis, draws every seat
// again, and checks what a later committee signed. With one byte changed nothing holds.
func TestTerms(t *testing.T) {
	bare, g := rotatingGenesis(t, false), rotatingGenesis(t, true)
	if len(g.terms) < 6 {
		t.Fatalf("%d terms", len(g.terms))
	}
	for _, name := range []string{"draws.wbx", "settlement.wbx"} {
		file := read(t, recorded+name)
		said, err := g.Verify(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Log(said)
		refused(t, bare, name+" without hand-overs", "term", file)
		refuseMutations(t, g, name, file, some(file), 0x01)
	}
	overs := read(t, recorded+"hand-overs.wbx")
	refuseMutations(t, bare, "hand-overs", overs, some(overs), 0x01)
	if len(bare.terms) != 1 {
		t.Errorf("after lies %d terms are known", len(bare.terms))
	}
	for i := range overs {
		if _, err := bare.Verify(overs[:i]); err == nil {
			t.Errorf("the first %d bytes of the hand-overs are accepted", i)
		}
	}
}
