package store

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/registry"
)

var (
	manyClients = flag.Uint64("clients", 1<<16, "clients of BenchmarkClients, a multiple of 64")
	made        = flag.Bool("made", false,
		"records of clients are made when they are read, where the disk has no room for 137 bytes each")
)

// population is a ledger with so many clients, as records.
type population struct {
	genesis *ledger.Genesis
	payer   ed25519.PrivateKey
	records map[string][]byte // but for those of clients
	count   uint64
	index   uint32 // account of the payer
}

// populate makes one: a state of one block, and clients that were granted in it. Their keys are no
// points.
func populate(tb testing.TB, count uint64) *population {
	n, err := pipelinetest.Start(pipelinetest.Config{})
	ok(tb, err)
	p := &population{genesis: n.Genesis, payer: pipelinetest.Key("payer", 0), count: count,
		records: map[string][]byte{}}
	state, err := ledger.New(p.genesis)
	ok(tb, err)
	state.Begin(1, n.Genesis.GenesisTime.Add(time.Second))
	for _, tx := range [][]byte{
		ledger.NewDeposit(n.ID, n.Treasury, 0, ledger.Key(p.payer[32:]), 1<<40),
		ledger.NewRegisterService(n.ID, p.payer, 0, &ledger.ServiceRegistration{Price: 1,
			UnitCap: 1 << 20, Unit: "byte"})} {
		r := state.Apply(tx)
		ok(tb, r.Err)
	}
	for _, r := range state.End().Records {
		p.records[string(r.Key)] = r.Value
	}
	account, _ := state.View().AccountByKey(ledger.Key(p.payer[32:]))
	p.index = account.Index
	heads := state.View().Heads()
	heads.Clients = p.head(tb)
	root := heads.Root()
	copy(p.records["m"][32:], root[:]) // behind the digest of the genesis
	return p
}

// keyOf returns the key of a client.
func keyOf(client uint64) (k ledger.BLSKey) {
	digest := blake3.Sum256(binary.LittleEndian.AppendUint64(nil, client))
	for i := 0; i < len(k); i += len(digest) {
		copy(k[i:], digest[:])
	}
	return k
}

func (p *population) client(i uint64) registry.Client {
	return registry.Client{Key: keyOf(i), Payer: p.index, Until: 1000, Numbers: 1 << 20,
		Services: ledger.Services(0)}
}

// record returns the record of a client.
func (p *population) record(i uint64) []byte {
	c := p.client(i)
	b := bytes.Clone(c.Key[:])
	for _, v := range [...]uint32{c.Payer, c.Since, c.Until, c.Until, c.Numbers, c.Services[0],
		c.Services[1], c.Services[2]} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// nothing keeps no page: a tree to which whole pages are appended reads none.
type nothing struct{}

func (nothing) Page(id registry.PageID) ([]byte, error) { return nil, fmt.Errorf("%v is read", id) }

func (nothing) Write(registry.PageID, []byte) {}

func (nothing) Delete(registry.PageID) {}

func (p *population) head(tb testing.TB) registry.Head {
	tree := registry.New(registry.Clients, nothing{})
	const batch = 1 << 14
	for from := uint64(0); from < p.count; from += batch {
		indices, leaves := make([]uint64, 0, batch), make([]byte, 0, batch*registry.ClientSize)
		for i := from; i < min(from+batch, p.count); i++ {
			c := p.client(i)
			indices, leaves = append(indices, i), c.Append(leaves)
		}
		ok(tb, tree.Set(indices, leaves))
	}
	return tree.Head()
}

// all yields the records as a snapshot has them.
func (p *population) all(clients bool) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for _, k := range slices.Sorted(maps.Keys(p.records)) {
			if k[0] > ledger.ClientRecords && clients {
				clients = false
				for i := range p.count {
					if !yield(clientKey(i), p.record(i)) {
						return
					}
				}
			}
			if !yield([]byte(k), p.records[k]) {
				return
			}
		}
	}
}

func clientKey(i uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{ledger.ClientRecords}, i)
}

// making is a depot that makes the records of clients that it does not have.
type making struct {
	ledger.Depot
	p *population
}

func (m making) Record(key []byte) ([]byte, error) {
	v, err := m.Depot.Record(key)
	if v == nil && err == nil && key[0] == ledger.ClientRecords {
		v = m.p.record(binary.BigEndian.Uint64(key[1:]))
	}
	return v, err
}

// fill restores a population into a store, as a join does, and returns how long that took.
func (p *population) fill(tb testing.TB, s *Store) time.Duration {
	depot, start := s.Depot(), time.Now()
	if *made {
		depot = making{depot, p}
	}
	ok(tb, s.BeginRestore())
	var keys, values [][]byte
	put := func() {
		ok(tb, s.PutRecords(keys, values))
		keys, values = keys[:0], values[:0]
	}
	state, err := ledger.Open(p.genesis, depot, func(bool) iter.Seq2[[]byte, []byte] {
		return func(yield func(k, v []byte) bool) {
			for k, v := range p.all(true) {
				if k[0] != ledger.ClientRecords || !*made {
					if keys, values = append(keys, bytes.Clone(k)), append(values, v); len(keys) == 1<<15 {
						put()
					}
				}
				if !yield(k, v) {
					return
				}
			}
		}
	})
	ok(tb, err)
	put()
	ok(tb, s.EndRestore(1, state.View().AppHash()))
	return time.Since(start)
}

// TestManyClients restores a ledger into a store, opens it again without reading its clients, and
// lets blocks change it; so do a store that is closed behind each of them, and memory.
func TestManyClients(t *testing.T) {
	p := populate(t, 8_064)
	dir := t.TempDir()
	open := func() *Store {
		s, err := Open(dir, Options{})
		ok(t, err)
		return s
	}
	s := open()
	p.fill(t, s)
	state, err := ledger.Open(p.genesis, s.Depot(), s.LedgerRecords)
	ok(t, err)
	plain, err := ledger.Restore(p.genesis, p.all(true))
	ok(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	for height := int64(2); height < 6; height++ {
		var clients []uint64
		for range 100 {
			clients = append(clients, rng.Uint64N(p.count))
		}
		slices.Sort(clients)
		tx := ledger.NewRevoke(plain.View().Network(), p.payer, uint64(height-1),
			slices.Compact(clients))
		want, got := p.block(t, plain, height, tx), p.block(t, state, height, tx)
		if want.AppHash != got.AppHash || want.Heads != got.Heads {
			t.Fatalf("block %d differs from that in memory", height)
		}
		ok(t, s.CommitLedger(height, got.AppHash, got.Records, got.Local))
		ok(t, s.Close())
		s = open()
		state, err = ledger.Open(p.genesis, s.Depot(), func(clients bool) iter.Seq2[[]byte, []byte] {
			if clients {
				t.Fatal("all clients are read")
			}
			return s.LedgerRecords(false)
		})
		ok(t, err)
		view := state.View()
		for i := range p.count {
			if view.Revoked(i) != plain.View().Revoked(i) {
				t.Fatalf("block %d: client %d: revoked %v", height, i, view.Revoked(i))
			}
		}
	}
	ok(t, s.Close())
}

func (p *population) block(tb testing.TB, s *ledger.State, height int64,
	txs ...[]byte) ledger.Block {
	tb.Helper()
	s.Begin(height, p.genesis.GenesisTime.Add(time.Duration(height)*time.Second))
	s.Verify(txs)
	for _, tx := range txs {
		if r := s.Apply(tx); !r.OK() {
			tb.Fatal(r.Err)
		}
	}
	return s.End()
}

// BenchmarkClients is what a ledger with -clients clients costs a member: to fill a store with it,
// to start with it, its memory (resident, the store's included), a client that is looked for at
// random, a key that no client has, and a block that revokes 1,024 clients.
func BenchmarkClients(b *testing.B) {
	p := populate(b, *manyClients)
	dir := filepath.Join(b.TempDir(), "store")
	s, err := Open(dir, Options{})
	ok(b, err)
	took := p.fill(b, s)
	b.Run("fill", func(b *testing.B) {
		for b.Loop() {
		}
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(resident(b), "MiB-resident")
		b.ReportMetric(diskUsed(b, dir)/float64(p.count), "B/client-on-disk")
	})
	ok(b, s.Close())
	s, err = Open(dir, Options{})
	ok(b, err)
	depot := s.Depot()
	if *made {
		depot = making{depot, p}
	}
	start := time.Now()
	state, err := ledger.Open(p.genesis, depot, s.LedgerRecords)
	ok(b, err)
	took = time.Since(start)
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
		}
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(resident(b), "MiB-resident")
	})
	rng := rand.New(rand.NewPCG(1, 2))
	view := state.View()
	b.Run("client", func(b *testing.B) {
		for b.Loop() {
			view.Revoked(rng.Uint64N(p.count))
		}
		b.ReportMetric(resident(b), "MiB-resident")
	})
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			i := rng.Uint64N(p.count)
			if got, found := view.ClientByKey(keyOf(i)); !found || got != i {
				b.Fatal(got, found)
			}
		}
	})
	b.Run("unknown", func(b *testing.B) {
		for b.Loop() {
			if _, found := view.ClientByKey(keyOf(p.count + rng.Uint64())); found {
				b.Fatal("found")
			}
		}
	})
	height := int64(2)
	b.Run("revoke", func(b *testing.B) {
		for b.Loop() {
			chosen := map[uint64]bool{}
			for len(chosen) < ledger.MaxGrants {
				chosen[rng.Uint64N(p.count)] = true
			}
			block := p.block(b, state, height, ledger.NewRevoke(view.Network(), p.payer, uint64(height-1),
				slices.Sorted(maps.Keys(chosen))))
			ok(b, s.CommitLedger(height, rollup.Hash(block.AppHash), block.Records, block.Local))
			height++
		}
		b.ReportMetric(resident(b), "MiB-resident")
	})
	ok(b, s.Close())
}

// resident returns the process's memory after a collection, in MiB.
func resident(tb testing.TB) float64 {
	runtime.GC()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0 // another system
	}
	var kib float64
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS:") {
			_, err = fmt.Sscanf(line, "VmRSS: %f kB", &kib)
			ok(tb, err)
		}
	}
	return kib / 1024
}

func diskUsed(tb testing.TB, dir string) (bytes float64) {
	entries, err := os.ReadDir(dir)
	ok(tb, err)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			bytes += float64(info.Size())
		}
	}
	return bytes
}
