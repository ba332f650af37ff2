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

// CommitLedger makes a block durable: height, app hash and the records that it changed, in one
// write. A record with a nil value is deleted.
func (s *Store) CommitLedger(height int64, hash rollup.Hash, records []ledger.Record) error {
	return s.commit(func(b *pebble.Batch) error {
		var key []byte
		for _, r := range records {
			key = append(append(key[:0], keyRecord), r.Key...)
			var err error
			if r.Value == nil {
				err = b.Delete(key, nil)
			} else {
				err = b.Set(key, r.Value, nil)
			}
			if err != nil {
				return err
			}
		}
		return b.Set([]byte{keyLedger}, append(binary.BigEndian.AppendUint64(nil, uint64(height)),
			hash[:]...), nil)
	}, pebble.Sync)
}

// LoadLedger returns height and app hash of the last committed block, and all records in order of
// their keys; height 0 means that there is no block. The records are read while they are ranged
// over, once, and key and value are valid until the next. A loop that an error cuts short panics
// with it: half a ledger must not be taken for one.
func (s *Store) LoadLedger() (height int64, hash rollup.Hash, records iter.Seq2[[]byte, []byte],
	err error) {
	records = func(yield func(k, v []byte) bool) {
		err := s.scan([]byte{keyRecord}, []byte{keyRecord + 1}, func(key, value []byte) (bool, error) {
			return yield(key[1:], value), nil
		})
		if err != nil {
			panic(fmt.Errorf("store: ledger records: %w", err))
		}
	}
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
