package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// GoneError says that a cursor lies before what is kept.
type GoneError struct {
	First uint64 // height of the first block whose events are kept
}

// Error implements error.
func (e *GoneError) Error() string {
	return fmt.Sprintf("events: what blocks before %d did is kept no longer", e.First)
}

// Log keeps the events of blocks in a view of the store. It is safe for concurrent use, but blocks
// come one after the other.
//
//	'e' height   the block's events, as an EventsResponse; no entry for a block without
//	'f'          height of the first block of which all are kept
type Log struct{ kv *store.KV }

// NewLog returns what is kept in a store.
func NewLog(s *store.Store) *Log { return &Log{s.KV("events")} }

var firstKey = []byte{'f'}

func heightKey(height uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'e'}, height)
}

// Keep notes the events of a block. The write is not synchronous: one of the ledger follows in the
// same store. When the process dies between both, the block is executed again, and this is written
// again.
func (l *Log) Keep(view *ledger.View, b *ledger.Block, executed []Executed) error {
	batch := l.kv.Batch()
	first, err := l.First()
	if err != nil {
		return err
	}
	if first == 0 {
		batch.Set(firstKey, binary.BigEndian.AppendUint64(nil, uint64(b.Height)))
	}
	if list := Of(view, b, executed); len(list) > 0 {
		value, err := proto.MarshalOptions{Deterministic: true}.Marshal(
			&api.EventsResponse{Events: list})
		if err != nil {
			return fmt.Errorf("events: block %d: %w", b.Height, err)
		}
		batch.Set(heightKey(uint64(b.Height)), value)
	}
	return batch.Write(false)
}

// First returns the height of the first block whose events are kept, 0 when none are.
func (l *Log) First() (uint64, error) {
	b, err := l.kv.Get(firstKey)
	switch {
	case err != nil || b == nil:
		return 0, err
	case len(b) != 8:
		return 0, fmt.Errorf("%w: events: a height of %d bytes", store.ErrCorrupt, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

// Prune forgets what blocks before a height did.
func (l *Log) Prune(before uint64) (err error) {
	first, err := l.First()
	if err != nil || before <= first {
		return err
	}
	batch := l.kv.Batch()
	batch.Set(firstKey, binary.BigEndian.AppendUint64(nil, before))
	it, err := l.kv.Iterator(heightKey(0), heightKey(before), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ; it.Valid(); it.Next() {
		batch.Delete(it.Key())
	}
	if err := it.Error(); err != nil {
		return err
	}
	return batch.Write(false)
}

// Cursor is the place of an event.
type Cursor struct {
	Height uint64 // of the block
	Index  uint32 // in the block
}

// look is how many events one Read looks at, at most, and up to a block more: a filter that lets
// little pass must not keep a caller waiting for all that is kept.
const look = 1 << 14

// Read returns up to count events from a cursor on that a filter lets pass, of blocks up to head,
// and the cursor behind what it looked at. It may look at less than there is: then the cursor is
// not behind head. The error is a *GoneError when the cursor lies before what is kept.
func (l *Log) Read(from Cursor, head uint64, filter *Filter, count int) (list []*api.Event,
	next Cursor, err error) {
	from.Height = max(from.Height, 1) // no block is before
	first, err := l.First()
	if err != nil {
		return nil, from, err
	}
	if first == 0 {
		first = head + 1
	}
	if from.Height < first {
		return nil, from, &GoneError{first}
	}
	it, err := l.kv.Iterator(heightKey(from.Height), heightKey(head+1), false)
	if err != nil {
		return nil, from, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for seen := 0; it.Valid(); it.Next() {
		key := it.Key()
		var block api.EventsResponse
		if err := proto.Unmarshal(it.Value(), &block); err != nil || len(key) != 1+8 {
			return nil, from, fmt.Errorf("%w: events %x: %v", store.ErrCorrupt, key, err)
		}
		height := binary.BigEndian.Uint64(key[1:])
		for _, e := range block.Events {
			if height == from.Height && e.Index < from.Index {
				continue
			}
			if len(list) == count || seen >= look && e.Index == 0 {
				return list, Cursor{height, e.Index}, nil
			}
			seen++
			if filter.Passes(e) {
				list = append(list, e)
			}
		}
	}
	if err := it.Error(); err != nil {
		return nil, from, err
	}
	if from.Height > head {
		return list, from, nil
	}
	return list, Cursor{Height: head + 1}, nil
}

// Filter chooses events. A list that is empty lets all pass.
type Filter struct {
	Payers []uint32 // accounts
	Nodes  []uint32
	Kinds  []string
}

// Passes reports whether an event is one that was asked for.
func (f *Filter) Passes(e *api.Event) bool {
	named := func(list []uint32, v *uint32) bool { return v != nil && slices.Contains(list, *v) }
	return (len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind)) &&
		(len(f.Nodes) == 0 || named(f.Nodes, e.Node)) &&
		(len(f.Payers) == 0 || named(f.Payers, e.Payer) || named(f.Payers, e.Account))
}
