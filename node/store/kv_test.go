package store

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestKV holds views against maps, over random operations.
func TestKV(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := open(t, vfs.NewMem())
	names := []string{"a", "ab", "b", "a\xff"} // none is another's prefix, although the strings are
	model := map[string]map[string]string{}
	for _, name := range names {
		model[name] = map[string]string{}
	}
	some := func() []byte {
		b := make([]byte, rng.IntN(4))
		for i := range b {
			b[i] = []byte{0, 1, 'a', 'b', 0xff}[rng.IntN(5)]
		}
		return b
	}
	for step := range 2000 {
		name := names[rng.IntN(len(names))]
		kv, m := s.KV(name), model[name]
		k, v := some(), some()
		switch rng.IntN(8) {
		case 0:
			ok(t, kv.Set(k, v))
			m[string(k)] = string(v)
		case 1:
			ok(t, kv.SetSync(k, v))
			m[string(k)] = string(v)
		case 2:
			ok(t, kv.Delete(k))
			delete(m, string(k))
		case 3:
			ok(t, kv.DeleteSync(k))
			delete(m, string(k))
		case 4:
			b := kv.Batch()
			for range rng.IntN(4) {
				k, v := some(), some()
				if rng.IntN(3) == 0 {
					b.Delete(k)
					delete(m, string(k))
				} else {
					b.Set(k, v)
					m[string(k)] = string(v)
				}
			}
			b.Set(k, nil)
			m[string(k)] = ""
			ok(t, b.Write(rng.IntN(2) == 0))
		case 5:
			got, err := kv.Get(k)
			ok(t, err)
			has, err := kv.Has(k)
			ok(t, err)
			want, there := m[string(k)]
			if has != there || there != (got != nil) || string(got) != want {
				t.Fatalf("view %q, key %x: %x, want %x, %v", name, k, got, want, there)
			}
		default:
			var start, end []byte
			if rng.IntN(3) > 0 {
				start = some()
			}
			if rng.IntN(3) > 0 {
				end = some()
			}
			wantEntries(t, kv, m, start, end, rng.IntN(2) == 0)
		}
		if step == 1000 {
			s = reopen(t, s)
		}
	}
}

func wantEntries(t *testing.T, kv *KV, m map[string]string, start, end []byte, reverse bool) {
	t.Helper()
	var want []string
	for k := range m {
		if k >= string(start) && (end == nil || k < string(end)) {
			want = append(want, k)
		}
	}
	slices.Sort(want)
	if reverse {
		slices.Reverse(want)
	}
	it, err := kv.Iterator(start, end, reverse)
	ok(t, err)
	var got []string
	for ; it.Valid(); it.Next() {
		got = append(got, string(it.Key()))
		if v := it.Value(); v == nil || string(v) != m[string(it.Key())] {
			t.Errorf("%x → %x, want %x", it.Key(), v, m[string(it.Key())])
		}
	}
	ok(t, it.Error())
	ok(t, it.Close())
	ok(t, it.Close())
	if it.Valid() || !slices.Equal(got, want) {
		t.Fatalf("from %x to %x, reverse %v: %x, want %x", start, end, reverse, got, want)
	}
}

// TestIteratorSnapshot: an iterator does not see later writes, and what it returned is the
// caller's.
func TestIteratorSnapshot(t *testing.T) {
	s := open(t, vfs.NewMem())
	kv := s.KV("v")
	ok(t, kv.Set([]byte("a"), []byte("1")))
	it, err := kv.Iterator(nil, nil, false)
	ok(t, err)
	ok(t, kv.Set([]byte("b"), []byte("2")))
	k, v := it.Key(), it.Value()
	k[0], v[0] = 'x', 'x'
	if !bytes.Equal(it.Key(), []byte("a")) || !bytes.Equal(it.Value(), []byte("1")) {
		t.Error("the iterator's memory was handed out")
	}
	if it.Next(); it.Valid() {
		t.Errorf("%x was written later", it.Key())
	}
	ok(t, it.Close())
	for _, name := range []string{"", string(make([]byte, 256))} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a view with a name of %d bytes", len(name))
				}
			}()
			s.KV(name)
		}()
	}
}
