package outsider

import (
	"bytes"
	"testing"
)

// TestRewards recomputes what a recorded settlement gave the committee, and finds each lie about
// it by itself, without the root that binds it.
func TestRewards(t *testing.T) {
	g := rotatingGenesis(t, true)
	r := &reader{b: read(t, recorded+"settlement.wbx")[41:]}
	if _, err := r.witness(); err != nil {
		t.Fatal(err)
	}
	rows, err := r.table(80)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.table(68); err != nil {
		t.Fatal(err)
	}
	duties, err := g.duties(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.rewards(rows, duties); err != nil {
		t.Fatal(err)
	}
	silent, earned := 0, 0
	for _, b := range duties {
		points, reward := (&reader{b: b[8:]}).uint(8), (&reader{b: b[25:]}).uint(8)
		if points == 0 && reward == 0 {
			silent++
		}
		if reward > 0 {
			earned++
		}
	}
	if silent == 0 || earned < 2 {
		t.Fatalf("%d silent members, %d that earned", silent, earned)
	}
	for i := range duties {
		for at, value := range map[int]byte{24: 16, 25: duties[i][25] + 1} { // flags, reward
			lie := bytes.Clone(duties[i])
			lie[at] = value
			changed := append([][]byte(nil), duties...)
			changed[i] = lie
			if g.rewards(rows, changed) == nil {
				t.Errorf("duty %d with %d at %d is accepted", i, value, at)
			}
		}
	}
}
