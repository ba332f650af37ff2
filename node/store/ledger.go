package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// CommitLedger makes a block durable: height, app hash, and the records and local entries that it
// changed, in one write. One with a nil value is deleted.
func (s *Store) CommitLedger(height int64, hash rollup.Hash, records, local []ledger.Record) error {
	return s.commit(func(b *pebble.Batch) error {
		if err := errors.Join(putRecords(b, keyRecord, records),
			putRecords(b, keyLocal, local)); err != nil {
			return err
		}
		return b.Set([]byte{keyLedger}, append(binary.BigEndian.AppendUint64(nil, uint64(height)),
			hash[:]...), nil)
	}, pebble.Sync)
}

func putRecords(b *pebble.Batch, kind byte, records []ledger.Record) (err error) {
	var key []byte
	for i := 0; i < len(records) && err == nil; i++ {
		key = append(append(key[:0], kind), records[i].Key...)
		if records[i].Value == nil {
			err = b.Delete(key, nil)
		} else {
			err = b.Set(key, records[i].Value, nil)
		}
	}
	return err
}

// LoadLedger returns height and app hash of the last committed block, and all records in order of
// their keys; height 0 means that there is no block. The records are read while they are ranged
// over, once, and key and value are valid until the next. A loop that an error cuts short panics
// with it: half a ledger must not be taken for one.
func (s *Store) LoadLedger() (height int64, hash rollup.Hash, records iter.Seq2[[]byte, []byte],
	err error) {
	records = s.LedgerRecords(true)
	v, err := s.get([]byte{keyLedger})
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, hash, records, nil
	case err != nil:
		return 0, hash, nil, err
	case len(v) != 8+len(hash):
		return 0, hash, nil, fmt.Errorf("%w: ledger position of %d bytes", ErrCorrupt, len(v))
	}
	return int64(binary.BigEndian.Uint64(v)), rollup.Hash(v[8:]), records, nil
}

// LedgerRecords returns the records as LoadLedger does, with those of clients or without. It is a
// [ledger.Records].
func (s *Store) LedgerRecords(clients bool) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		on := true
		visit := func(key, value []byte) (bool, error) {
			on = yield(key[1:], value)
			return on, nil
		}
		from, end := []byte{keyRecord}, []byte{keyRecord + 1}
		var err error
		if !clients {
			err = s.scan(from, []byte{keyRecord, ledger.ClientRecords}, visit)
			from = []byte{keyRecord, ledger.ClientRecords + 1}
		}
		if err == nil && on {
			err = s.scan(from, end, visit)
		}
		if err != nil {
			panic(fmt.Errorf("store: ledger records: %w", err))
		}
	}
}

// Depot returns the store as the ledger's depot. What its commits leave is in CommitLedger.
func (s *Store) Depot() ledger.Depot { return depot{s} }

type depot struct{ *Store }

func (d depot) entry(kind byte, key []byte) ([]byte, error) {
	v, err := d.get(append(append(make([]byte, 0, 32), kind), key...))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// Record implements ledger.Depot.
func (d depot) Record(key []byte) ([]byte, error) { return d.entry(keyRecord, key) }

// Local implements ledger.Depot.
func (d depot) Local(key []byte) ([]byte, error) { return d.entry(keyLocal, key) }

// PutLocal implements ledger.Depot.
func (d depot) PutLocal(entries []ledger.Record) error {
	return d.commit(func(b *pebble.Batch) error { return putRecords(b, keyLocal, entries) },
		pebble.NoSync)
}

// ClearLocal implements ledger.Depot.
func (d depot) ClearLocal() error {
	return d.commit(func(b *pebble.Batch) error {
		return b.DeleteRange([]byte{keyLocal}, []byte{keyLocal + 1}, nil)
	}, pebble.NoSync)
}

// Moment is the ledger's records at one moment, whatever is written later. It must be closed, and
// the store's Close waits for that. It is not safe for concurrent use.
type Moment struct {
	s    *Store
	snap *pebble.Snapshot
}

// LedgerMoment returns the ledger's records as they are now: ErrClosed.
func (s *Store) LedgerMoment() (*Moment, error) {
	if !s.enter() {
		return nil, ErrClosed
	}
	return &Moment{s, s.db.NewSnapshot()}, nil
}

// Records yields all records in key order until yield fails; key and value are valid only inside.
func (m *Moment) Records(yield func(key, value []byte) error) (err error) {
	it, err := m.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{keyRecord},
		UpperBound: []byte{keyRecord + 1}})
	if err != nil {
		return fmt.Errorf("store: iterate: %w", err)
	}
	defer func() { err = errors.Join(err, damaged(it.Close())) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("store: iterate: %w", damaged(err))
		}
		if err := yield(it.Key()[1:], v); err != nil {
			return err
		}
	}
	return nil
}

// Close lets go of the moment.
func (m *Moment) Close() error {
	err := m.snap.Close()
	m.s.exit()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}
