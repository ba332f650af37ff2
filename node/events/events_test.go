package events_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/events"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestLog: what was kept is there after a restart, a block that is executed again changes nothing,
// and what is pruned is said to be gone.
func TestLog(t *testing.T) {
	n := testnet.New(t, []string{"127.0.0.1:1"}, 2)
	dir := t.TempDir()
	open := func() *store.Store {
		s, err := store.Open(dir, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	kept := open()
	keep := func(s *store.Store, height int64, epochs ...uint32) {
		b := &ledger.Block{Height: height}
		for _, e := range epochs {
			b.Events = append(b.Events, ledger.EpochStarted{Epoch: e})
		}
		if err := events.NewLog(s).Keep(n.View(), b, nil); err != nil {
			t.Fatal(err)
		}
	}
	keep(kept, 5, 1, 2)
	keep(kept, 6)
	keep(kept, 7, 3)
	keep(kept, 7, 3) // again, after a crash between two writes
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}
	kept = open()
	defer func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	}()
	l := events.NewLog(kept)
	read := func(from events.Cursor, head uint64, want events.Cursor, epochs ...uint32) {
		t.Helper()
		list, next, err := l.Read(from, head, &events.Filter{}, 10)
		if err != nil || next != want || len(list) != len(epochs) {
			t.Fatalf("from %v to %d: %v, next %v, %v", from, head, list, next, err)
		}
		for i, e := range list {
			if e.GetEpoch() != epochs[i] {
				t.Errorf("from %v: %v, not epoch %d", from, e, epochs[i])
			}
		}
	}
	read(events.Cursor{Height: 5}, 7, events.Cursor{Height: 8}, 1, 2, 3)
	read(events.Cursor{Height: 5, Index: 1}, 7, events.Cursor{Height: 8}, 2, 3)
	read(events.Cursor{Height: 5, Index: 2}, 6, events.Cursor{Height: 7}) // not yet committed
	read(events.Cursor{Height: 8, Index: 4}, 7, events.Cursor{Height: 8, Index: 4})
	gone := func(height, first uint64) {
		t.Helper()
		_, _, err := l.Read(events.Cursor{Height: height}, 7, &events.Filter{}, 10)
		var e *events.GoneError
		if !errors.As(err, &e) || e.First != first {
			t.Errorf("from block %d: %v", height, err)
		}
	}
	gone(4, 5) // before the node kept events
	if err := l.Prune(7); err != nil {
		t.Fatal(err)
	}
	if err := l.Prune(6); err != nil { // never back
		t.Fatal(err)
	}
	gone(6, 7)
	read(events.Cursor{Height: 7}, 7, events.Cursor{Height: 8}, 3)
}

// TestRefused: what a block carried in vain is told with the reason and with who meant it.
func TestRefused(t *testing.T) {
	n := testnet.New(t, []string{"127.0.0.1:1"}, 2)
	payer := n.Members[0].Owner
	tx := ledger.NewTransfer(n.ID, payer, 2, ledger.KeyOf(testnet.Key("to", 0)), 1<<60)
	result := n.View().Check(tx)
	list := events.Of(n.View(), &ledger.Block{Height: 9}, []events.Executed{{Tx: tx, Result: result},
		{Tx: []byte("nonsense"), Result: n.View().Check([]byte("nonsense"))}})
	want := func(e *api.Event, index uint32, kind, code string, payer *uint32) {
		t.Helper()
		if e.Kind != events.KindRefused || e.Height != 9 || e.Index != index ||
			e.GetTxKind() != kind || e.GetCode() != code || len(e.GetTx()) != 64 ||
			(e.Payer == nil) != (payer == nil) || e.GetPayer() != *orZero(payer) {
			t.Errorf("%v, want %s of a %q", e, code, kind)
		}
	}
	if len(list) != 2 {
		t.Fatal(list)
	}
	want(list[0], 0, "transfer", "insufficient_balance", proto.Uint32(1))
	want(list[1], 1, "", "malformed", nil)
}

func orZero(v *uint32) *uint32 {
	if v == nil {
		return new(uint32)
	}
	return v
}

// TestEveryEvent: each event of the ledger has a kind here, and each kind is one that may be asked
// for.
func TestEveryEvent(t *testing.T) {
	source, err := os.ReadFile("events.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../rollup/ledger/*.go")
	if err != nil {
		t.Fatal(err)
	}
	event, seen := regexp.MustCompile(`(?m)^func \((\w+)\) event\(\)`), 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range event.FindAllSubmatch(content, -1) {
			seen++
			if !strings.Contains(string(source), "\tcase ledger."+string(m[1])+":\n") {
				t.Errorf("%s has no kind", m[1])
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d events were found", seen)
	}
	for _, m := range regexp.MustCompile(`\tKind\w+ += "(\w+)"`).FindAllSubmatch(source, -1) {
		if !slices.Contains(events.Kinds, string(m[1])) {
			t.Errorf("%s is not among the kinds", m[1])
		}
	}
}
