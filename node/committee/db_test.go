package committee

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	dbm "github.com/cometbft/cometbft-db"

	"github.com/waybill-network/waybill/node/store"
)

// TestDBAgainstMemDB makes the same random calls to the adapter, beside a neighbour that must not
// be seen, and to the engine's own in-memory database.
func TestDBAgainstMemDB(t *testing.T) {
	s, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, want := dbm.DB(db{kv: s.KV("a")}), dbm.DB(dbm.NewMemDB())
	neighbour := db{kv: s.KV("b")}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	random := func(n int) []byte {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = "\x00\x01a\xff"[r.IntN(4)]
		}
		return b
	}
	for step := range 2000 {
		k, v := random(4), random(3)
		if err := neighbour.Set(append([]byte{1}, k...), []byte("neighbour")); err != nil {
			t.Fatal(err)
		}
		var a, b error
		switch r.IntN(6) {
		case 0:
			a, b = got.Set(k, v), want.Set(k, v)
		case 1:
			a, b = got.SetSync(k, v), want.SetSync(k, v)
		case 2:
			a, b = got.Delete(k), want.Delete(k)
		case 3:
			a, b = got.Set(k, nil), want.Set(k, nil)
		default:
			ba, bb := got.NewBatch(), want.NewBatch()
			for range 5 {
				k, v := append([]byte{'a'}, random(4)...), random(3)
				if r.IntN(3) == 0 {
					ba.Delete(k)
					bb.Delete(k)
				} else {
					ba.Set(k, v)
					bb.Set(k, v)
				}
			}
			a, b = ba.WriteSync(), bb.WriteSync()
			if ba.Write() == nil || ba.Set([]byte("x"), []byte("x")) == nil ||
				ba.Delete([]byte("x")) == nil {
				t.Fatal("a batch was written twice")
			}
			ba.Close()
			bb.Close()
		}
		if (a == nil) != (b == nil) {
			t.Fatalf("step %d: %v, expected %v", step, a, b)
		}
		if step%20 == 0 {
			from, to := bound(random(3)), bound(random(3))
			for _, reverse := range []bool{false, true} {
				if a, b := walk(t, got, from, to, reverse),
					walk(t, want, from, to, reverse); a != b {
					t.Fatalf("step %d: [%x, %x) reverse %v:\n%s\nexpected\n%s", step, from, to,
						reverse, a, b)
				}
			}
		}
		x, errA := got.Get(k)
		y, errB := want.Get(k)
		hasX, _ := got.Has(k)
		hasY, _ := want.Has(k)
		if !bytes.Equal(x, y) || (x == nil) != (y == nil) || (errA == nil) != (errB == nil) ||
			hasX != hasY {
			t.Fatalf("step %d: get %x: %x %v %v, expected %x %v %v", step, k, x, hasX, errA, y,
				hasY, errB)
		}
	}
}

func bound(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func walk(t *testing.T, d dbm.DB, from, to []byte, reverse bool) string {
	t.Helper()
	open := d.Iterator
	if reverse {
		open = d.ReverseIterator
	}
	it, err := open(from, to)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var out bytes.Buffer
	for ; it.Valid(); it.Next() {
		fmt.Fprintf(&out, "%x=%x ", it.Key(), it.Value())
	}
	if err := it.Error(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDBAfterClose(t *testing.T) {
	s, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	d := db{kv: s.KV("a")}
	if err := d.SetSync([]byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err := d.Get([]byte("k")); v != nil || err != nil {
		t.Errorf("get: %x, %v", v, err)
	}
	if all := walk(t, d, nil, nil, false); all != "" {
		t.Errorf("iterator: %s", all)
	}
	if err := d.Set([]byte("k"), []byte("v")); err == nil {
		t.Error("a write into a closed store went well")
	}
}

// TestFailedWrite: whoever owns the engine hears of a write that failed, whatever the engine makes
// of the error.
func TestFailedWrite(t *testing.T) {
	s, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	var told []error
	d := db{s.KV("a"), func(err error) error { told = append(told, err); return err }}
	if err := d.SetSync([]byte("a"), []byte("b")); err != nil || told != nil {
		t.Fatal(err, told)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.SetSync([]byte("a"), []byte("c")); err == nil || len(told) != 1 {
		t.Errorf("%v, told %v", err, told)
	}
}
