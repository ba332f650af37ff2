package vault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
)

// memory is what was signed with the duty key: for each slot what was said in it. Entries are
//
//	's' ‖ kind ‖ number u64 ‖ node u32 ‖ part u32 → what (32 bytes); zero: nothing may be said there
//	'b' ‖ kind → u64: slots with a lower number are forgotten, and nothing may be said in them
//
// with numbers in big-endian, so that they are in order.
type memory struct {
	mu    sync.Mutex
	store *store.Store
	kv    *store.KV
	below map[signer.Kind]uint64
}

const (
	keySlot  = 's'
	keyBelow = 'b'
	slotSize = 1 + 1 + 8 + 4 + 4
)

// kept is how far below the highest number of a kind each slot is remembered. A chain certifies
// within seconds; but after a standstill of many epochs, old rollups are certified beside new ones.
var kept = map[signer.Kind]uint64{signer.Record: 1 << 16, signer.HandOver: 1 << 12,
	signer.Rollup: 1 << 10, signer.Report: 1 << 12, signer.Reveal: 1 << 12, signer.Ready: 1 << 12}

// dropped is how many forgotten slots one statement takes away at most.
const dropped = 4096

// entry is a slot, and what was said in it.
type entry struct {
	slot signer.Slot
	what rollup.Hash
}

func openMemory(s *store.Store) (*memory, error) {
	m := &memory{store: s, kv: s.KV("signed"), below: make(map[signer.Kind]uint64)}
	for _, kind := range signer.Kinds() {
		v, err := m.kv.Get(belowKey(kind))
		switch {
		case err != nil:
			return nil, err
		case v == nil:
		case len(v) != 8:
			return nil, fmt.Errorf("%w: bound of %s: %x", store.ErrCorrupt, kind, v)
		default:
			m.below[kind] = binary.BigEndian.Uint64(v)
		}
	}
	return m, nil
}

func belowKey(kind signer.Kind) []byte { return []byte{keyBelow, byte(kind)} }

func slotKey(s signer.Slot) []byte {
	b := append(make([]byte, 0, slotSize), keySlot, byte(s.Kind))
	b = binary.BigEndian.AppendUint64(b, s.Number)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, s.Node), s.Part)
}

func parseSlot(b []byte) (signer.Slot, error) {
	if len(b) != slotSize || b[0] != keySlot {
		return signer.Slot{}, fmt.Errorf("%w: slot %x", store.ErrCorrupt, b)
	}
	return signer.Slot{Kind: signer.Kind(b[1]), Number: binary.BigEndian.Uint64(b[2:]),
		Node: binary.BigEndian.Uint32(b[10:]), Part: binary.BigEndian.Uint32(b[14:])}, nil
}

// said returns what was said in a slot.
func (m *memory) said(s signer.Slot) (what rollup.Hash, there bool, err error) {
	v, err := m.kv.Get(slotKey(s))
	if v == nil || err != nil {
		return what, false, err
	}
	if len(v) != len(what) {
		return what, false, fmt.Errorf("%w: %s: %x", store.ErrCorrupt, s, v)
	}
	return rollup.Hash(v), true, nil
}

// say remembers what is about to be said, all of it or none. When it returns nil it is on the disk.
// Errors: signer.ErrSigned, signer.ErrBelow, the store's.
func (m *memory) say(entries []entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.store.Err(); err != nil { // what is read below may never have become durable
		return err
	}
	fresh := make(map[signer.Slot]rollup.Hash)
	for _, e := range entries {
		what, there, err := m.said(e.slot)
		if err != nil {
			return err
		}
		if !there {
			what, there = fresh[e.slot]
		}
		switch {
		case there && (what != e.what || what == rollup.Hash{}):
			return fmt.Errorf("%w: %s", signer.ErrSigned, e.slot)
		case there:
		case e.slot.Number < m.below[e.slot.Kind]:
			return fmt.Errorf("%w: %s, and the lowest is %d", signer.ErrBelow, e.slot,
				m.below[e.slot.Kind])
		default:
			fresh[e.slot] = e.what
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return m.write(fresh)
}

// write adds slots, and forgets what is far below them.
func (m *memory) write(fresh map[signer.Slot]rollup.Hash) error {
	batch := m.kv.Batch()
	below := make(map[signer.Kind]uint64)
	for slot, what := range fresh {
		batch.Set(slotKey(slot), what[:])
		if n := kept[slot.Kind]; slot.Number > n && slot.Number-n > m.below[slot.Kind] {
			below[slot.Kind] = max(below[slot.Kind], slot.Number-n)
		}
	}
	for kind, number := range below {
		batch.Set(belowKey(kind), binary.BigEndian.AppendUint64(nil, number))
		if err := m.drop(batch, kind, number); err != nil {
			return err
		}
	}
	if err := batch.Write(true); err != nil {
		return err
	}
	for kind, number := range below {
		m.below[kind] = number
	}
	return nil
}

// drop takes forgotten slots out, the lowest first.
func (m *memory) drop(batch *store.Batch, kind signer.Kind, below uint64) error {
	it, err := m.kv.Iterator(slotKey(signer.Slot{Kind: kind}),
		slotKey(signer.Slot{Kind: kind, Number: below}), false)
	if err != nil {
		return err
	}
	for n := 0; it.Valid() && n < dropped; n++ {
		batch.Delete(it.Key())
		it.Next()
	}
	return errors.Join(it.Error(), it.Close())
}

// all returns everything that is remembered, in order.
func (m *memory) all() (list []entry, err error) {
	it, err := m.kv.Iterator([]byte{keySlot}, []byte{keySlot + 1}, false)
	if err != nil {
		return nil, err
	}
	for ; it.Valid() && err == nil; it.Next() {
		var e entry
		v := it.Value()
		if e.slot, err = parseSlot(it.Key()); err != nil || copy(e.what[:], v) != len(e.what) {
			err = errors.Join(err, fmt.Errorf("%w: %s: %x", store.ErrCorrupt, e.slot, v))
			break
		}
		if e.slot.Number >= m.below[e.slot.Kind] { // others wait to be dropped
			list = append(list, e)
		}
	}
	return list, errors.Join(err, it.Error(), it.Close())
}

// merge adds what another memory knows, in one durable step, and never takes anything away. Where
// the two say different things, nothing may be said from then on. It returns how many slots were
// added, and how many are such.
func (m *memory) merge(entries []entry, below map[signer.Kind]uint64) (added, closed int,
	err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.store.Err(); err != nil {
		return 0, 0, err
	}
	batch := m.kv.Batch()
	seen := make(map[signer.Slot]rollup.Hash)
	for _, e := range entries {
		what, there, err := m.said(e.slot)
		if err != nil {
			return 0, 0, err
		}
		if in, twice := seen[e.slot]; twice {
			what, there = in, true
		}
		switch {
		case !there:
			what, added = e.what, added+1
		case what == e.what:
			continue
		default:
			if what != (rollup.Hash{}) {
				closed++
			}
			what = rollup.Hash{}
		}
		seen[e.slot] = what
		batch.Set(slotKey(e.slot), what[:])
	}
	raised := make(map[signer.Kind]uint64)
	for kind, number := range below {
		if number > m.below[kind] {
			raised[kind] = number
			batch.Set(belowKey(kind), binary.BigEndian.AppendUint64(nil, number))
		}
	}
	if err := batch.Write(true); err != nil {
		return 0, 0, err
	}
	for kind, number := range raised {
		m.below[kind] = number
	}
	return added, closed, nil
}
