package committee

import (
	"errors"
	"fmt"

	dbm "github.com/cometbft/cometbft-db"

	"github.com/waybill-network/waybill/node/store"
)

var (
	errEmptyKey = errors.New("committee: empty key")
	errNilValue = errors.New("committee: nil value")
	errWritten  = errors.New("committee: the batch was written or closed")
)

// db is the engine's view of the node's store. Closing it does nothing: the store is its owner's to
// close, and a view of a closed store finds nothing, which suits the engine's gossip routines that
// read for a moment after Stop.
type db struct {
	kv *store.KV
	// failed is told why a write failed, and returns what the engine hears; nil: just that
	failed func(error) error
}

var _ dbm.DB = db{}

func (d db) Get(key []byte) ([]byte, error) {
	if len(key) == 0 {
		return nil, errEmptyKey
	}
	return d.kv.Get(key)
}

func (d db) Has(key []byte) (bool, error) {
	value, err := d.Get(key)
	return value != nil, err
}

func (d db) Set(key, value []byte) error     { return d.write(false, set(key, value)) }
func (d db) SetSync(key, value []byte) error { return d.write(true, set(key, value)) }
func (d db) Delete(key []byte) error         { return d.write(false, remove(key)) }
func (d db) DeleteSync(key []byte) error     { return d.write(true, remove(key)) }

// edit is one write of a batch.
type edit func(dbm.Batch) error

func set(key, value []byte) edit { return func(b dbm.Batch) error { return b.Set(key, value) } }
func remove(key []byte) edit     { return func(b dbm.Batch) error { return b.Delete(key) } }

func (d db) write(sync bool, e edit) error {
	b := d.NewBatch()
	defer b.Close()
	if err := e(b); err != nil {
		return err
	}
	if sync {
		return b.WriteSync()
	}
	return b.Write()
}

func (d db) Iterator(start, end []byte) (dbm.Iterator,
	error) {
	return d.iterate(start, end, false)
}
func (d db) ReverseIterator(start, end []byte) (dbm.Iterator, error) {
	return d.iterate(start, end, true)
}

func (d db) iterate(start, end []byte, reverse bool) (dbm.Iterator, error) {
	if (start != nil && len(start) == 0) || (end != nil && len(end) == 0) {
		return nil, errEmptyKey
	}
	it, err := d.kv.Iterator(start, end, reverse)
	if err != nil {
		return nil, err
	}
	return &iterator{Iterator: it, start: start, end: end}, nil
}

func (d db) NewBatch() dbm.Batch       { return &batch{d.kv.Batch(), d.failed} }
func (d db) Close() error              { return nil }
func (d db) Print() error              { return nil }
func (d db) Stats() map[string]string  { return nil }
func (d db) Compact(_, _ []byte) error { return nil } // the store compacts by itself

type iterator struct {
	*store.Iterator
	start, end []byte
}

func (i *iterator) Domain() (start, end []byte) { return i.start, i.end }

// batch is good for one write.
type batch struct {
	b      *store.Batch
	failed func(error) error
}

func (b *batch) Set(key, value []byte) error {
	switch {
	case len(key) == 0:
		return errEmptyKey
	case value == nil:
		return errNilValue
	case b.b == nil:
		return errWritten
	}
	b.b.Set(key, value)
	return nil
}

func (b *batch) Delete(key []byte) error {
	switch {
	case len(key) == 0:
		return errEmptyKey
	case b.b == nil:
		return errWritten
	}
	b.b.Delete(key)
	return nil
}

func (b *batch) Write() error     { return b.write(false) }
func (b *batch) WriteSync() error { return b.write(true) }

func (b *batch) write(sync bool) error {
	if b.b == nil {
		return errWritten
	}
	written := b.b
	b.b = nil
	err := written.Write(sync)
	if err != nil && b.failed != nil {
		err = b.failed(fmt.Errorf("committee: the engine's records: %w", err))
	}
	return err
}

func (b *batch) Close() error {
	b.b = nil
	return nil
}
