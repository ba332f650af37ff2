package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// TestVectorSnapshots compares a vector and all its snapshots with plain slices under random pushes
// and edits.
func TestVectorSnapshots(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var v vector[uint32, int]
	var plain []int
	var gen uint64
	type snapshot struct {
		v    vector[uint32, int]
		want []int
	}
	var snapshots []snapshot
	for range 20000 {
		switch n := rng.IntN(1000); {
		case n < 300 || len(plain) == 0:
			x := rng.Int()
			v.push(gen, x)
			plain = append(plain, x)
		case n < 990:
			i := rng.IntN(len(plain))
			plain[i] = rng.Int()
			*v.edit(gen, uint32(i)) = plain[i]
		default:
			snapshots = append(snapshots, snapshot{v, slices.Clone(plain)})
			gen++
		}
	}
	for i, s := range append(snapshots, snapshot{v, plain}) {
		if s.v.len() != len(s.want) || s.v.has(uint32(len(s.want))) {
			t.Fatalf("snapshot %d has %d elements, not %d", i, s.v.len(), len(s.want))
		}
		for k, want := range s.want {
			if got := *s.v.at(uint32(k)); got != want {
				t.Fatalf("snapshot %d, element %d: %d, not %d", i, k, got, want)
			}
		}
	}
}

// TestTrieSnapshots does the same for a trie, with digests that share long prefixes.
func TestTrieSnapshots(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	digests := make([][32]byte, 3000)
	for i := range digests {
		if i > 0 && i%3 == 0 {
			digests[i] = digests[rng.IntN(i)]
			digests[i][rng.IntN(32)] ^= byte(1 + rng.IntN(255))
		}
		if i%3 != 0 || slices.Contains(digests[:i], digests[i]) {
			digests[i] = blake3.Sum256(binary.LittleEndian.AppendUint32(nil, uint32(i)))
		}
	}
	const base = 1<<40 - 4000 // of the indices, which have 40 bits
	var tr trie
	var gen uint64
	snapshots := map[int]trie{}
	for i := range digests {
		if rng.IntN(50) == 0 {
			snapshots[i] = tr
			gen++
		}
		if found, ok := tr.find(&digests[i]); ok && digests[found-base] == digests[i] {
			t.Fatalf("digest %d is there before", i)
		}
		tr.insert(gen, &digests[i], base+uint64(i),
			func(k uint64) [32]byte { return digests[k-base] })
	}
	snapshots[len(digests)] = tr
	for n, s := range snapshots {
		for i := range digests {
			found, ok := s.find(&digests[i])
			there := ok && digests[found-base] == digests[i]
			if there != (i < n) || there && found != base+uint64(i) {
				t.Fatalf("snapshot of %d: digest %d found as %d (%v)", n, i, found, ok)
			}
		}
	}
}

// TestWindows compares sets of windows with maps, from both ends of the range.
func TestWindows(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var s spans
		plain := map[uint32]bool{}
		base := []uint32{0, 1 << 20, 1<<32 - 40}[rng.IntN(3)]
		for range rng.IntN(60) {
			w := base + uint32(rng.IntN(40))
			if s.has(w) != plain[w] {
				t.Fatalf("%v has %d: %v", s, w, s.has(w))
			}
			if plain[w] {
				continue
			}
			before := slices.Clone(s)
			after := s.with(w)
			if !slices.Equal(before, s) {
				t.Fatalf("%v became %v", before, s)
			}
			s, plain[w] = after, true
		}
		n := uint64(0)
		for i, x := range s {
			n += uint64(x.last-x.first) + 1
			if x.first > x.last || i > 0 && uint64(s[i-1].last)+1 >= uint64(x.first) {
				t.Fatalf("not a set: %v", s)
			}
		}
		if n != uint64(len(plain)) {
			t.Fatalf("%v has %d windows, not %d", s, n, len(plain))
		}
	}
}

// numbered returns a client for ever, whose key does not decode.
func numbered(i int) *client {
	c := &client{payer: 1, until: Forever, taken: Forever}
	c.key.bytes[0] = 0x80
	be.PutUint64(c.key.bytes[8:], uint64(i))
	return c
}

// registerMany registers n clients without their proofs, 1000 a block, with a view of every block.
func registerMany(s *State, n int) (views []*View) {
	for i := range n {
		if i%1000 == 0 {
			if s.open {
				s.End()
				views = append(views, s.View())
			}
			s.Begin(int64(i/1000+1), genesisTime)
		}
		s.addClient(numbered(i))
	}
	s.End()
	return append(views, s.View())
}

// TestManyClients checks that views of a growing registry stay right.
func TestManyClients(t *testing.T) {
	s := newState(t, testGenesis(1))
	views := registerMany(s, 20000)
	for i, v := range views {
		if v.Clients() != 1000*uint64(i+1) {
			t.Fatalf("view %d has %d clients", i, v.Clients())
		}
		for _, k := range []uint64{0, 999, v.Clients() - 1, v.Clients()} {
			key := BLSKey{0: 0x80}
			be.PutUint64(key[8:], k)
			index, ok := v.ClientByKey(key)
			if ok != (k < v.Clients()) || ok && index != k {
				t.Fatalf("view %d: client %d is %d, %v", i, k, index, ok)
			}
		}
	}
	if _, ok := views[0].Client(0); ok {
		t.Error("a key that does not decode was handed out")
	}
}

// TestViewsWhileWriting reads a view from several goroutines while blocks change the state; the
// race detector watches.
func TestViewsWhileWriting(t *testing.T) {
	g, s := scene(t)
	v, want, tx := s.View(), dump(&State{world: s.world}), goodTxs(g, s)[6]
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for range 20 {
				if d := diff(want, dump(&State{world: v.world})); d != "" {
					t.Errorf("a view changed:\n%s", d)
				}
				if c, ok := v.Client(0); !ok || BLSKey(c.Key.Bytes()) != identity("one").Key {
					t.Error("client 0 has another key")
				}
				if r := v.Check(tx); !r.OK() {
					t.Error(r.Err)
				}
			}
		})
	}
	later := s.clients.size() // no client of the view's, which would know of it
	for i := range 40 {
		s.Begin(int64(100+i), genesisTime.Add(time.Duration(301+20*i)*time.Second))
		for range 20 {
			c := &client{payer: 5, until: 9}
			c.key.bytes = BLSKey{0: 0x80, 1: byte(i), 2: byte(s.clients.size())}
			s.addClient(c)
			s.supply += 3
			s.pay(s.addAccount(Key{1, byte(i), byte(s.accounts.len())}), 3)
		}
		s.clients.revoke(later, uint32(8-i%2))
		s.touch(clientRecordKey(later))
		s.supply++
		s.pay(5, 1)
		c := rollup.Certificate{Header: *rollup.NewHeader(g.Network(),
			rollup.WindowKey{Node: 1, Epoch: s.epoch(), Window: uint32(2 * i)})}
		c.Header.Rows = goodRows
		(&Ticket{&c}).execute(s, 0, nil)
		s.End()
		s.View()
	}
	readers.Wait()
}

// BenchmarkRegister is the cost per client of registering 1000 of them in a block, proofs aside,
// with a view of each block, in a registry that has many already; it must hardly depend on how
// many.
func BenchmarkRegister(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(rollupCount(n), func(b *testing.B) {
			s := newState(b, testGenesis(1))
			registerMany(s, n)
			b.ReportAllocs()
			i := n
			for b.Loop() {
				if i%1000 == 0 {
					if s.open {
						s.End()
						s.View()
					}
					s.Begin(int64(i), genesisTime)
				}
				s.addClient(numbered(i))
				i++
			}
		})
	}
}

func rollupCount(n int) string {
	if n >= 1_000_000 {
		return "1M"
	}
	return map[int]string{10_000: "10k", 100_000: "100k"}[n]
}

// BenchmarkSnapshot is what the snapshot of a ledger with a million clients costs: to write and
// hash it, and to read it and restore the ledger.
func BenchmarkSnapshot(b *testing.B) {
	g := testGenesis(1)
	s, stored := newState(b, g), storage{}
	s.Begin(1, genesisTime)
	for i := range 1_000_000 {
		s.addClient(numbered(i))
	}
	stored.write(s.End().Records)
	var records []Record
	for k, v := range stored.all() {
		records = append(records, Record{k, v})
	}
	var stream bytes.Buffer
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			stream.Reset()
			w := snapshot.NewWriter(&stream)
			for _, r := range records {
				if err := w.Put(r.Key, r.Value); err != nil {
					b.Fatal(err)
				}
			}
			summary, _, err := w.End()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(summary.Bytes))
		}
		b.ReportMetric(float64(stream.Len())/1e6, "MB")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			_, err := Restore(g, func(yield func([]byte, []byte) bool) {
				for r, err := range snapshot.Records(bytes.NewReader(stream.Bytes())) {
					if err != nil || !yield(r.Key, r.Value) {
						return
					}
				}
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkApplyTicket is the cost of a ticket that was checked before, and of one that
// was not.
func BenchmarkApplyTicket(b *testing.B) {
	g, s := scene(b)
	for _, name := range []string{"checked", "unchecked"} {
		b.Run(name, func(b *testing.B) {
			key := rollup.WindowKey{Node: 2, Epoch: 4, Window: 7}
			tx := NewTicket(g.Network(), certificate(g, key, goodRows, 0, 1, 2))
			for b.Loop() {
				if name == "unchecked" {
					s.proven = newMemory(provenSlots)
				}
				if r := s.Check(tx); !r.OK() {
					b.Fatal(r.Err)
				}
			}
		})
	}
}

// BenchmarkCheckGrants is the cost of a grant in a full transaction, when it is seen first and when
// it was checked before.
func BenchmarkCheckGrants(b *testing.B) {
	g, s := scene(b)
	grants := make([]Grant, MaxGrants)
	for i := range grants {
		grants[i] = newGrant(g, "alice", 5, fmt.Sprint("many", i))
	}
	tx := NewGrants(g.Network(), grants)
	for _, name := range []string{"first", "again"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if name == "first" {
					clear(s.proven)
				}
				if r := s.Check(tx); !r.OK() {
					b.Fatal(r.Err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/MaxGrants, "µs/grant")
		})
	}
}
