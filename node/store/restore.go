package store

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-network/waybill/rollup"
)

// ErrNotEmpty says that a store has a ledger already.
var ErrNotEmpty = errors.New("store: it has a ledger")

// BeginRestore begins to fill an empty store from a snapshot: records by PutRecords, and views by
// themselves. Until EndRestore, a program that opens the store finds none of it: ErrNotEmpty.
func (s *Store) BeginRestore() error {
	for _, key := range []byte{keyLedger, keyRestoring} {
		there, err := s.has([]byte{key})
		if err != nil {
			return err
		}
		if there {
			return ErrNotEmpty
		}
	}
	if err := s.clear(); err != nil { // a view may name a genesis
		return err
	}
	return s.put([]byte{keyRestoring}, nil)
}

// PutRecords writes records of the ledger, not durably.
func (s *Store) PutRecords(keys, values [][]byte) error {
	return s.commit(func(b *pebble.Batch) error {
		var key []byte
		for i := range keys {
			key = append(append(key[:0], keyRecord), keys[i]...)
			if err := b.Set(key, values[i], nil); err != nil {
				return err
			}
		}
		return nil
	}, pebble.NoSync)
}

// EndRestore makes all that was written since BeginRestore durable, as the state after a block with
// its application hash.
func (s *Store) EndRestore(height int64, hash rollup.Hash) error {
	return s.commit(func(b *pebble.Batch) error {
		position := append(binary.BigEndian.AppendUint64(nil, uint64(height)), hash[:]...)
		return errors.Join(b.Set([]byte{keyLedger}, position, nil),
			b.Delete([]byte{keyRestoring}, nil))
	}, pebble.Sync)
}

// dropHalf removes what a restore left that did not end.
func (s *Store) dropHalf() error {
	if there, err := s.has([]byte{keyRestoring}); err != nil || !there {
		return err
	}
	if err := s.clear(); err != nil {
		return err
	}
	return s.commit(func(b *pebble.Batch) error { return b.Delete([]byte{keyRestoring}, nil) },
		pebble.Sync)
}

// clear removes the ledger's records and local entries, and views.
func (s *Store) clear() error {
	return s.commit(func(b *pebble.Batch) error {
		return errors.Join(b.DeleteRange([]byte{keyRecord}, []byte{keyRecord + 1}, nil),
			b.DeleteRange([]byte{keyLocal}, []byte{keyLocal + 1}, nil),
			b.DeleteRange([]byte{keyKV}, []byte{keyKV + 1}, nil))
	}, pebble.Sync)
}
