package ledger

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/waybill-network/waybill/rollup/registry"
)

// Depot is where a state keeps what grows with the number of clients: their records, and local
// entries, which follow from the records of clients and are nobody else's business. It answers what
// the last block left that was stored. It is safe for concurrent use.
type Depot interface {
	// Record returns the value of a record, nil when there is none. Nobody changes it.
	Record(key []byte) ([]byte, error)
	// Local returns the value of a local entry likewise.
	Local(key []byte) ([]byte, error)
	// PutLocal writes local entries, while a state is opened. They need be durable no sooner than the
	// next block.
	PutLocal(entries []Record) error
	// ClearLocal removes all local entries. It may forget some when the process dies.
	ClearLocal() error
}

// Local entries: a letter, and what they are of.
const (
	localHead = 'h' // → number of clients, u64; there when all others are
	localKey  = 'k' // digest of a client's key → owner
	localPage = 'p' // height u8, index u64 → page of the tree of clients
)

// ClientRecords is with what the keys of clients' records begin.
const ClientRecords = prefixClient

// DepotError says that a depot could not be read, or that what it has is not what was stored. What
// is executed cannot go on, and panics with it; views answer that a client is unknown.
type DepotError struct {
	Key []byte
	Err error
}

func (e *DepotError) Error() string { return fmt.Sprintf("ledger: entry %x: %v", e.Key, e.Err) }

func (e *DepotError) Unwrap() error { return e.Err }

// depotError returns the error of a depot with which something panicked, nil without any. With
// anything else it goes on.
func depotError(panicked any) error {
	switch e := panicked.(type) {
	case nil:
		return nil
	case *DepotError:
		return e
	default:
		panic(e)
	}
}

// memoryDepot is a depot in memory, of states that nobody stores: some 400 bytes a client. The
// state stores its blocks there by itself.
type memoryDepot struct {
	mu             sync.RWMutex
	records, local map[string][]byte
}

func newMemoryDepot() *memoryDepot {
	return &memoryDepot{records: make(map[string][]byte), local: make(map[string][]byte)}
}

func (d *memoryDepot) get(m map[string][]byte, key []byte) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return m[string(key)], nil
}

func (d *memoryDepot) Record(key []byte) ([]byte, error) { return d.get(d.records, key) }

func (d *memoryDepot) Local(key []byte) ([]byte, error) { return d.get(d.local, key) }

func (d *memoryDepot) PutLocal(entries []Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range entries {
		if r.Value == nil {
			delete(d.local, string(r.Key))
		} else {
			d.local[string(r.Key)] = r.Value
		}
	}
	return nil
}

func (d *memoryDepot) ClearLocal() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.local)
	return nil
}

// store keeps those of a block's records that are asked for.
func (d *memoryDepot) store(records []Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range records {
		if r.Key[0] == prefixClient {
			d.records[string(r.Key)] = r.Value
		}
	}
}

// pages are the pages of the tree of clients, in a depot, and above them those that are not stored
// yet. They implement registry.Store.
type pages struct {
	depot Depot
	fresh map[registry.PageID][]byte // nil: gone
}

func pageKey(id registry.PageID) []byte {
	return be.AppendUint64([]byte{localPage, id.Height}, id.Index)
}

func (p *pages) Page(id registry.PageID) ([]byte, error) {
	data, ok := p.fresh[id]
	if ok {
		return data, nil
	}
	return p.depot.Local(pageKey(id))
}

func (p *pages) Write(id registry.PageID, data []byte) { p.fresh[id] = slices.Clone(data) }

func (p *pages) Delete(id registry.PageID) { p.fresh[id] = nil }

// local returns the local entries that what is fresh leaves.
func (s *State) local() []Record {
	if len(s.clients.fresh.keys) == 0 && len(s.pages.fresh) == 0 {
		return nil
	}
	entries := make([]Record, 0, len(s.clients.fresh.keys)+len(s.pages.fresh)+1)
	for d, o := range s.clients.fresh.keys { // order-free: each has its own key
		entries = append(entries, Record{Key: d.local(), Value: o.append(nil)})
	}
	for id, data := range s.pages.fresh { // order-free: likewise
		entries = append(entries, Record{Key: pageKey(id), Value: data})
	}
	return append(entries, s.localHead())
}

func (s *State) localHead() Record {
	return Record{Key: []byte{localHead}, Value: be.AppendUint64(nil, s.clients.count)}
}

// stored says that the depot has what was fresh.
func (s *State) stored() {
	s.clients.stored()
	if len(s.pages.fresh) > 0 {
		s.pages.fresh = make(map[registry.PageID][]byte)
	}
}

// build puts clients that are fresh, and follow those of before, into the tree and the depot.
func (s *State) build() error {
	fresh := s.clients.fresh
	if len(fresh.clients) == 0 {
		return nil
	}
	indices, leaves := slices.Sorted(maps.Keys(fresh.clients)), []byte(nil)
	for _, i := range indices {
		leaves = s.appendLeaf(leaves, TreeClients, i)
	}
	if err := s.registers.trees[TreeClients].Set(indices, leaves); err != nil {
		return err
	}
	if s.own != nil {
		for _, i := range indices {
			key := clientRecordKey(i)
			s.own.store([]Record{{Key: []byte(key), Value: s.encode(key)}})
		}
	}
	entries := s.local()
	if err := s.clients.depot.PutLocal(entries[:len(entries)-1]); err != nil { // without the head
		return err
	}
	s.stored()
	return nil
}
