package mainjob

import (
	"maps"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/bench/replay"
)

func TestReconcile(t *testing.T) {
	a, b := replay.Account{Node: 1}, replay.Account{Node: 2}
	books := map[replay.Account]replay.Sum{a: {Acks: 3, Units: 30}, b: {Acks: 1, Units: 5}}
	if differs := Reconcile(books, maps.Clone(books)); len(differs) > 0 {
		t.Errorf("equal books differ: %q", differs)
	}
	for what, spoil := range map[string]func(settled map[replay.Account]replay.Sum){
		"nothing was settled": func(s map[replay.Account]replay.Sum) { delete(s, a) },
		"settled were {Acks:3 U": func(s map[replay.Account]replay.Sum) {
			s[a] = replay.Sum{Acks: 3, Units: 31}
		},
		"settled were {Acks:2 U": func(s map[replay.Account]replay.Sum) {
			s[b] = replay.Sum{Acks: 2, Units: 5}
		},
		"the books have nothing": func(
			s map[replay.Account]replay.Sum) {
			s[replay.Account{Node: 3}] = replay.Sum{}
		},
	} {
		settled := maps.Clone(books)
		spoil(settled)
		if differs := Reconcile(books, settled); len(differs) != 1 ||
			!strings.Contains(differs[0], what) {
			t.Errorf("%q: %q", what, differs)
		}
	}
}
