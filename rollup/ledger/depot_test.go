package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup/registry"
)

// testDepot is a depot of maps, with the records of a whole state, that can fail.
type testDepot struct {
	storage
	local  storage
	fails  error
	clears int
}

func newDepot() *testDepot { return &testDepot{storage: storage{}, local: storage{}} }

func (d *testDepot) read(m storage, key []byte) ([]byte, error) { return m[string(key)], d.fails }

func (d *testDepot) Record(key []byte) ([]byte, error) { return d.read(d.storage, key) }

func (d *testDepot) Local(key []byte) ([]byte, error) { return d.read(d.local, key) }

func (d *testDepot) PutLocal(entries []Record) error {
	d.local.write(entries)
	return d.fails
}

func (d *testDepot) ClearLocal() error {
	d.clears++
	clear(d.local)
	return nil
}

// commit stores a block.
func (d *testDepot) commit(b Block) {
	d.write(b.Records)
	d.local.write(b.Local)
}

func (d *testDepot) records(clients bool) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for k, v := range d.all() {
			if (clients || k[0] != prefixClient) && !yield(k, v) {
				return
			}
		}
	}
}

// opens checks that what a depot has opens to a state.
func (d *testDepot) opens(t *testing.T, g *Genesis, want *State, clears int) *State {
	t.Helper()
	before := d.clears
	got, err := Open(g, d, d.records)
	if err != nil {
		t.Fatal(err)
	}
	if diff := diff(dump(want), dump(got)); diff != "" {
		t.Fatalf("opened:\n%s", diff)
	}
	if got.heads != want.heads {
		t.Fatal("another registry")
	}
	if d.clears-before != clears {
		t.Fatalf("local entries are made anew %d times, not %d", d.clears-before, clears)
	}
	return got
}

// TestDepot lets the same history happen in memory and over a depot, which is opened again and
// again: as it is, with the local entries of an earlier block, without them, with some of them, and
// with a page that is damaged. Hashes, states, registries and answers are the same.
func TestDepot(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	g := testGenesis(1)
	net, alice := g.Network(), accountKey("alice")
	plain, depot := newState(t, g), newDepot()
	over := depot.opens(t, g, plain, 1)
	var old storage
	nonce, granted := uint64(1), 0
	for height := int64(1); height <= 90; height++ {
		var txs [][]byte
		if height == 1 {
			txs = append(txs, NewDeposit(net, accountKey("treasury"), 0, accountOf("alice"), 1000),
				NewRegisterService(net, alice, 0, &ServiceRegistration{Price: 1, UnitCap: 9, Unit: "x"}))
		} else {
			payer, _ := plain.accountByKey(accountOf("alice"))
			grants := make([]Grant, 1+rng.IntN(4))
			for i := range grants {
				grants[i] = newGrant(g, "alice", payer, fmt.Sprint("c", granted), func(g *Grant) {
					g.Until = plain.epoch() + 2
				})
				granted++
			}
			if height%5 == 0 { // of a key that had a client before
				grants[0] = newGrant(g, "alice", payer, fmt.Sprint("c", rng.IntN(granted)),
					func(g *Grant) { g.Until = plain.epoch() + 2 })
			}
			txs = append(txs, NewGrants(net, grants))
			if n := plain.clients.size(); n > 0 {
				txs = append(txs, NewRevoke(net, alice, nonce, []uint64{rng.Uint64N(n)}))
				nonce++
			}
		}
		at := genesisTime.Add(time.Duration(height) * 20 * time.Second)
		a, b := step(t, plain, height, at, txs), step(t, over, height, at, txs)
		if a.AppHash != b.AppHash || a.Heads != b.Heads {
			t.Fatalf("block %d: another hash", height)
		}
		view, before := over.View(), dump(over)
		depot.commit(b)
		if got := dump(&State{world: view.world}); diff(before, got) != "" {
			t.Fatalf("block %d: the view changed when it was stored:\n%s", height, diff(before, got))
		}
		switch height % 9 {
		case 1:
			over = depot.opens(t, g, plain, 0)
		case 2:
			old = maps.Clone(depot.local)
		case 4:
			depot.local = maps.Clone(old)
			over = depot.opens(t, g, plain, 1)
		case 5:
			clear(depot.local)
			over = depot.opens(t, g, plain, 1)
		case 6: // a build was cut off: no head, and some that are to be made again
			delete(depot.local, string(rune(localHead)))
			for k := range depot.local {
				if rng.IntN(2) == 0 {
					delete(depot.local, k)
				}
			}
			over = depot.opens(t, g, plain, 1)
		case 7:
			for k, v := range depot.local {
				if k[0] == localPage && k[1] > 0 {
					v[0] ^= 1
				}
			}
			if plain.clients.size() > 64 {
				over = depot.opens(t, g, plain, 1)
			}
		}
	}
	if plain.clients.size() < 150 || plain.epoch() < 4 {
		t.Fatalf("a dull history: %d clients, epoch %d", plain.clients.size(), plain.epoch())
	}
}

// step executes a block.
func step(t *testing.T, s *State, height int64, at time.Time, txs [][]byte) Block {
	t.Helper()
	s.Begin(height, at)
	s.Verify(txs)
	for _, tx := range txs {
		s.Apply(tx)
	}
	return s.End()
}

// manyOver returns a state over a depot with more clients than are cached.
func manyOver(t *testing.T, n int) (*State, *testDepot) {
	t.Helper()
	g, depot := testGenesis(1), newDepot()
	s, err := Open(g, depot, depot.records)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; {
		s.Begin(s.height+1, genesisTime)
		for range 1000 {
			s.addClient(numbered(i))
			i++
		}
		depot.commit(s.End())
	}
	return s, depot
}

// TestCacheIsBounded asks for all clients of a state, several times, in memory that does not grow
// with them; what is revoked is so wherever it is read from.
func TestCacheIsBounded(t *testing.T) {
	const n = 20_000
	s, depot := manyOver(t, n)
	if s.clients.cache = newClientCache(minCached); len(s.clients.fresh.clients) != 1000 {
		t.Fatalf("%d are fresh", len(s.clients.fresh.clients))
	}
	s.Begin(s.height+1, genesisTime)
	s.clients.cache = newClientCache(minCached) // it grew with them
	for i := range uint64(n / 100) {
		s.clients.revoke(i*100, 1)
		s.touch(clientRecordKey(i * 100))
	}
	depot.commit(s.End())
	for round := range 3 {
		for i := range uint64(n) {
			c := s.clients.at(i)
			if revoked := i%100 == 0; c.index != i || (c.until == 1) != revoked ||
				c.key.bytes != numbered(int(i)).key.bytes {
				t.Fatalf("round %d: client %d is %d, until %d", round, i, c.index, c.until)
			}
			if o, ok := s.clients.byKey(&c.key.bytes); !ok || o.index != i {
				t.Fatalf("client %d is %d by its key", i, o.index)
			}
		}
		s.stored()
		s.clients.cache = newClientCache(minCached)
	}
	if n := len(s.clients.cache.sets) * cacheWays; n != minCached {
		t.Errorf("%d are cached", n)
	}
}

// TestCacheWhileRevoking reads clients from several goroutines while blocks revoke them: once a
// block was stored, a view of it never shows what was before, whatever was read meanwhile.
func TestCacheWhileRevoking(t *testing.T) {
	s := newState(t, testGenesis(1))
	registerMany(s, 2000)
	stop := make(chan struct{})
	done := make(chan struct{}, 3)
	view := s.View()
	for seed := range uint64(3) {
		go func() {
			defer func() { done <- struct{}{} }()
			rng := rand.New(rand.NewPCG(seed, 1))
			for {
				select {
				case <-stop:
					return
				default:
					view.clients.at(rng.Uint64N(2000))
				}
			}
		}()
	}
	for until := uint32(2000); until > 1500; until-- {
		s.Begin(s.height+1, genesisTime)
		i := uint64(until) % 20
		s.clients.revoke(i, until)
		s.touch(clientRecordKey(i))
		s.End()
		s.Begin(s.height+1, genesisTime) // it was stored
		if got := s.clients.at(i).until; got != until {
			t.Fatalf("client %d is until %d, not %d", i, got, until)
		}
		s.End()
	}
	close(stop)
	for range 3 {
		<-done
	}
	for i := range uint64(20) {
		value, _ := s.own.Record([]byte(clientRecordKey(i)))
		if c := s.clients.at(i); !bytes.Equal(value, c.append(nil)) {
			t.Errorf("client %d is cached as it is not stored", i)
		}
	}
}

// TestDepotFails lets reads fail: what is executed panics with the error, views know nobody and
// refuse, and opening says why.
func TestDepotFails(t *testing.T) {
	s, depot := manyOver(t, 3000)
	s.Begin(s.height+1, genesisTime)
	depot.commit(s.End())
	view := s.View()
	s.clients.cache.sets = newClientCache(minCached).sets
	depot.fails = errors.New("the disk is broken")
	if _, ok := view.Client(7); ok {
		t.Error("a client that could not be read is known")
	}
	if _, ok := view.ClientByKey(numbered(7).key.bytes); ok || view.Revoked(7) {
		t.Error("a client that could not be read is known by its key, or revoked")
	}
	tx := NewRevoke(s.id, accountKey("alice"), 0, []uint64{7})
	if r := view.Check(tx); r.OK() {
		t.Error("a transaction passes")
	}
	view.Verify([][]byte{tx})
	if _, _, err := s.Prove(TreeClients, &s.heads, noHistory, []uint64{7}); err == nil {
		t.Error("a client is proven")
	}
	panics := func(name string, f func()) {
		t.Helper()
		defer func() {
			err, ok := recover().(*DepotError)
			if !ok || !errors.Is(err, depot.fails) || !strings.Contains(err.Error(), "broken") {
				t.Errorf("%s: %v", name, err)
			}
		}()
		f()
	}
	panics("client", func() { s.Client(7) })
	panics("key", func() { s.taken(&numbered(7).key.bytes) })
	if _, err := Open(testGenesis(1), depot, depot.records); !errors.Is(err, depot.fails) {
		t.Errorf("open: %v", err)
	}
	depot.fails = nil
	depot.storage[clientRecordKey(7)] = []byte{1}
	panics7 := func() (err error) {
		defer func() { err = depotError(recover()) }()
		s.clients.at(7)
		return nil
	}
	if err := panics7(); !errors.Is(err, errClient) {
		t.Errorf("a record that is cut: %v", err)
	}
}

func noHistory(RegistryTree, registry.PageID) ([]Replaced, error) { return nil, nil }
