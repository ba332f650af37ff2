package bench

import (
	"errors"
	"testing"
)

// TestCosignSuite: the parts follow each other, and what is measured can fail.
func TestCosignSuite(t *testing.T) {
	c, err := newCrowd(40)
	if err != nil {
		t.Fatal(err)
	}
	a := &asking{crowd: c, clients: 40}
	comparison := a.comparison(7)
	runOnce(t, comparison)
	if len(a.offers) != 7 || len(a.answers) != 7 || len(a.signatures) != 40*48 {
		t.Errorf("%d offers, %d answers", len(a.offers), len(a.answers))
	}
	a.frames[5*128+45] ^= 1 // what a client remembers
	if err := a.check(7); !errors.Is(err, errDeclined) {
		t.Errorf("a statement about another ack: %v", err)
	}
	a.frames[5*128+45] ^= 1
	copy(a.signatures[48:], a.signatures[:48])
	if err := errors.Join(a.check(7), a.verify(7)); err == nil {
		t.Error("another client's signature passes")
	}
}
