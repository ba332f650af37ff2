// Package witness keeps, beside the ledger's state, what files for outsiders are made of: records
// with their certificates, where each rollup was ordered, what the registry was at each record, the
// tables of settlements. It is no part of what the chain agrees on.
//
// See registry.go for the registry's past, prune.go for what is forgotten.
package witness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/waybill-network/waybill/node/events"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Errors that callers branch on.
var (
	ErrMissing = errors.New("witness: no record is kept of this")
	// ErrUnsigned says that the committee has not signed the record yet: it does so within blocks.
	ErrUnsigned = errors.New("witness: the record of the block is being signed, try again later")
	// ErrBroken says that a block could not be executed: the state is no block's.
	ErrBroken = errors.New("witness: the ledger halted within a block")
)

// Witness keeps the entries below in a view of the store. It is safe for concurrent use, but blocks
// come one after the other.
//
//	'r' height              record (168) ‖ ids of the rollups (32 each)
//	'c' height              certificate of the record, as kind 8 carries it
//	'h' height              heads of the registry (144) ‖ entries of its proof keys (44 each)
//	'p' tree level index height   what the block replaced there in the registry, as it was
//	'q' height              what of 'p' the block replaced: tree level index, 10 bytes each
//	'o' epoch node window   height of the block that ordered the rollup
//	's' epoch               height of the block that settled the epoch ‖ rows (60 each)
//	't' epoch               that block's record (168) ‖ its certificate
//	'd' epoch               how seats were drawn, without who was ready or gone
//	'f' epoch               who was ready and gone, the rest of it empty
//	'm' term                the seats before the term, with their marks ‖ the hop to it
//
// Numbers in keys, and heights, are big-endian.
type Witness struct {
	kv      *store.KV
	events  *events.Log
	network rollup.Network
	seats   int // of the committee, 0 when it does not rotate

	// mu is held while a block is executed, and by who reads the state.
	mu       sync.Mutex
	state    *ledger.State
	open     bool              // a block began and did not end
	executed []ledger.Replaced // by a block that is not kept yet
}

// New returns what is kept in a store. From then on, blocks of the state are executed within
// Execute.
func New(s *store.Store, state *ledger.State) *Witness {
	view := state.View()
	w := &Witness{kv: s.KV("witness"), events: events.NewLog(s), state: state,
		network: view.Network()}
	if r := view.Params().Rotation; r != nil {
		w.seats = int(r.Seats)
	}
	return w
}

// Events returns what blocks did.
func (w *Witness) Events() *events.Log { return w.events }

// Execute executes a block. If it panics, the registry can be proven no longer.
func (w *Witness) Execute(block func() ledger.Block) ledger.Block {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = true
	b := block()
	w.open, w.executed = false, b.Replaced
	return b
}

// Keep notes what the block that was executed leaves, and what became of its transactions; the view
// is after it. The write is not synchronous: one of the ledger follows in the same store. When the
// process dies between both, the block is executed again, and this is written again.
func (w *Witness) Keep(view *ledger.View, b *ledger.Block, executed ...events.Executed) error {
	if err := w.events.Keep(view, b, executed); err != nil {
		return err
	}
	batch := w.kv.Batch()
	height := uint64(b.Height)
	if b.Record != nil {
		batch.Set(heightKey('r', height), appendRecord(nil, b.Record))
		batch.Set(heightKey('h', height), append(b.Heads.Append(nil), view.ProofKeyEntries()...))
	}
	var places []byte
	for i := range b.Replaced {
		place := placeOf(&b.Replaced[i])
		batch.Set(replacedKey(place, height), b.Replaced[i].Before)
		places = append(places, place[:]...)
	}
	if places != nil {
		batch.Set(heightKey('q', height), places)
	}
	at := binary.BigEndian.AppendUint64(nil, height)
	for _, event := range b.Events {
		switch e := event.(type) {
		case ledger.Ordered:
			batch.Set(orderedKey(e.Key), at)
		case ledger.Settled:
			table := e.Settlement.SettlementTable.Append(append([]byte(nil), at...))
			batch.Set(epochKey('s', e.Settlement.Epoch), table)
		case ledger.SeatsDrawn:
			batch.Set(epochKey('d', e.Epoch), e.Evidence.Append(nil))
		case ledger.SeatsFixed:
			end := rotation.Evidence{Ready: e.Ready, Gone: e.Gone}
			batch.Set(epochKey('f', e.Epoch), end.Append(nil))
		case ledger.HandedOver:
			batch.Set(epochKey('m', e.Committee.Term), e.Hop.Append(e.Before.Append(nil)))
		case ledger.RecordCertified:
			certificate := e.Record.Certificate.Append(nil)
			batch.Set(heightKey('c', e.Record.Record.Height), certificate)
			if epoch := e.Record.Record.SettledEpoch; epoch != rollup.NoEpoch {
				batch.Set(epochKey('t', epoch), append(e.Record.Record.Append(nil), certificate...))
			}
		}
	}
	if err := batch.Write(false); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.executed = nil
	return nil
}

func heightKey(kind byte, height uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, height)
}

// place is where something stands in the registry: tree u8 ‖ level of pages u8 ‖ index u64.
type place [1 + 1 + 8]byte

func placeOf(r *ledger.Replaced) (p place) {
	p[0], p[1] = byte(r.Tree), r.Height
	binary.BigEndian.PutUint64(p[2:], r.Index)
	return p
}

func replacedKey(p place, height uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{'p'}, p[:]...), height)
}

func orderedKey(k rollup.WindowKey) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'o'}, k.Epoch)
	b = binary.BigEndian.AppendUint32(b, k.Node)
	return binary.BigEndian.AppendUint32(b, k.Window)
}

func epochKey(kind byte, epoch uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, epoch)
}

func appendRecord(dst []byte, r *ledger.BlockRecord) []byte {
	dst = r.Record.Append(dst)
	for _, id := range r.Rollups {
		dst = append(dst, id[:]...)
	}
	return dst
}

// corrupt says that an entry cannot be what was written.
func corrupt(key []byte, err error) error {
	return fmt.Errorf("%w: witness %x: %v", store.ErrCorrupt, key, err)
}

var errSize = errors.New("of a wrong size")

// Anchor returns the part of a file that shows where a rollup was ordered: ErrMissing, ErrUnsigned,
// and rollup.ErrNotFound when the window's rollup that was ordered is another.
func (w *Witness) Anchor(h *rollup.Header) (*export.Anchor, error) {
	key := orderedKey(h.Key())
	at, err := w.kv.Get(key)
	switch {
	case err != nil:
		return nil, err
	case at == nil:
		return nil, fmt.Errorf("%w: %s", ErrMissing, h.Key())
	case len(at) != 8:
		return nil, corrupt(key, errSize)
	}
	x, ids, err := w.record(binary.BigEndian.Uint64(at))
	if err != nil {
		return nil, err
	}
	return export.NewAnchor(x, ids, h)
}

// Settlement returns the file of an epoch's settlement: ErrMissing, ErrUnsigned.
func (w *Witness) Settlement(epoch uint32) (*export.Settlement, error) {
	key := epochKey('s', epoch)
	table, err := w.kv.Get(key)
	switch {
	case err != nil:
		return nil, err
	case table == nil:
		return nil, fmt.Errorf("%w: epoch %d", ErrMissing, epoch)
	case len(table) < 8:
		return nil, corrupt(key, errSize)
	}
	file := new(export.Settlement)
	parsed, err := rollup.ParseSettlementTable(table[8:])
	if err != nil {
		return nil, corrupt(key, err)
	}
	file.SettlementTable = *parsed
	key = epochKey('t', epoch)
	signed, err := w.kv.Get(key)
	switch {
	case err != nil:
		return nil, err
	case signed == nil:
		return nil, fmt.Errorf("%w: block %d, which settled epoch %d", ErrUnsigned,
			binary.BigEndian.Uint64(table), epoch)
	case len(signed) < rollup.RecordSize:
		return nil, corrupt(key, errSize)
	}
	file.Witness, err = parse(signed[:rollup.RecordSize], signed[rollup.RecordSize:])
	if err != nil {
		return nil, corrupt(key, err)
	}
	return file, nil
}

// record returns the record of a height with its certificate, and the rollups that the block
// ordered: ErrMissing, ErrUnsigned.
func (w *Witness) record(height uint64) (x export.Witness, ids []rollup.Hash, err error) {
	key := heightKey('r', height)
	b, err := w.kv.Get(key)
	switch {
	case err != nil:
		return x, nil, err
	case b == nil:
		return x, nil, fmt.Errorf("%w: block %d", ErrMissing, height)
	case len(b) < rollup.RecordSize || (len(b)-rollup.RecordSize)%len(rollup.Hash{}) != 0:
		return x, nil, corrupt(key, errSize)
	}
	certificate, err := w.kv.Get(heightKey('c', height))
	switch {
	case err != nil:
		return x, nil, err
	case certificate == nil:
		return x, nil, fmt.Errorf("%w: block %d", ErrUnsigned, height)
	}
	if x, err = parse(b[:rollup.RecordSize], certificate); err != nil {
		return x, nil, corrupt(key, err)
	}
	for b = b[rollup.RecordSize:]; len(b) > 0; b = b[len(rollup.Hash{}):] {
		ids = append(ids, rollup.Hash(b[:len(rollup.Hash{})]))
	}
	return x, ids, nil
}

func parse(record, certificate []byte) (x export.Witness, err error) {
	if x.Record, err = rollup.ParseRecord(record); err != nil {
		return x, err
	}
	x.Certificate, err = rollup.ParseRecordCertificate(certificate)
	return x, err
}
