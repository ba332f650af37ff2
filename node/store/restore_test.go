package store

import (
	"errors"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestRestoreFromSnapshot: what a restore wrote is there when it ended, and gone when it did not.
func TestRestoreFromSnapshot(t *testing.T) {
	dir := t.TempDir()
	reopen := func(s *Store) *Store {
		t.Helper()
		if s != nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	count := func(s *Store) (n int, height int64) {
		t.Helper()
		height, _, records, err := s.LoadLedger()
		if err != nil {
			t.Fatal(err)
		}
		for range records {
			n++
		}
		return n, height
	}
	s := reopen(nil)
	defer func() { _ = s.Close() }()
	ok(t, s.Begin(5))
	ok(t, s.KV("committee").SetSync([]byte("genesis"), []byte("of before")))
	keys, values := [][]byte{[]byte("a"), []byte("b")}, [][]byte{[]byte("1"), {}}
	for _, end := range []bool{false, true} {
		ok(t, s.BeginRestore())
		ok(t, s.PutRecords(keys, values))
		ok(t, s.KV("engine").Set([]byte("state"), []byte("here")))
		ok(t, s.Depot().PutLocal([]ledger.Record{{Key: []byte("h"), Value: []byte("1")}}))
		if err := s.BeginRestore(); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("while it runs: %v", err)
		}
		if end {
			ok(t, s.EndRestore(9, rollup.Hash{1}))
		}
		s = reopen(s)
		n, height := count(s)
		state, err := s.KV("engine").Get([]byte("state"))
		if err != nil || end != (n == 2) || end != (height == 9) || end != (state != nil) {
			t.Errorf("ended: %v; %d records of height %d, a view with %q", end, n, height, state)
		}
		if head, err := s.Depot().Local([]byte("h")); err != nil || end != (head != nil) {
			t.Errorf("ended: %v; local entries: %q, %v", end, head, err)
		}
		if since, known := s.Since(); !known || since != 5 {
			t.Errorf("what it signed is forgotten: %d, %v", since, known)
		}
	}
	if err := s.BeginRestore(); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a store with a ledger: %v", err)
	}
}
