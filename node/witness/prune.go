package witness

import (
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
)

// Prune forgets records of epochs before one, and what only they need. Settlements and
// hand-overs stay.
func (w *Witness) Prune(before uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, err := w.lastBefore(before)
	if err != nil {
		return err
	}
	// What was replaced up to the last one says nothing about the records behind it. The records go
	// last: they tell the next prune what there is.
	if err := w.dropReplaced(last); err != nil {
		return err
	}
	for _, kind := range []byte{'c', 'h', 'q', 'r'} {
		if err := w.drop(heightKey(kind, 0), heightKey(kind, last+1)); err != nil {
			return err
		}
	}
	for _, kind := range []byte{'d', 'f'} {
		if err := w.drop([]byte{kind}, epochKey(kind, before)); err != nil {
			return err
		}
	}
	if err := w.events.Prune(last + 1); err != nil {
		return err
	}
	return w.drop([]byte{'o'}, epochKey('o', before))
}

// lastBefore returns the height of the last record of the epochs before one, 0 when there is none.
func (w *Witness) lastBefore(epoch uint32) (height uint64, err error) {
	it, err := w.kv.Iterator([]byte{'r'}, []byte{'r' + 1}, false)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ; it.Valid(); it.Next() {
		value := it.Value()
		if len(value) < rollup.RecordSize {
			return 0, corrupt(it.Key(), errSize)
		}
		r, err := rollup.ParseRecord(value[:rollup.RecordSize])
		if err != nil {
			return 0, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
		if r.Epoch >= epoch {
			break
		}
		height = r.Height
	}
	return height, it.Error()
}

// drop deletes a range of keys.
func (w *Witness) drop(from, to []byte) (err error) {
	it, err := w.kv.Iterator(from, to, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	batch := w.kv.Batch()
	for ; it.Valid(); it.Next() {
		batch.Delete(it.Key())
	}
	if err := it.Error(); err != nil {
		return err
	}
	return batch.Write(false)
}

// dropReplaced deletes what blocks up to a height replaced.
func (w *Witness) dropReplaced(height uint64) (err error) {
	it, err := w.kv.Iterator(heightKey('q', 0), heightKey('q', height+1), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	batch := w.kv.Batch()
	for ; it.Valid(); it.Next() {
		at, places := it.Key(), it.Value()
		if len(at) != 1+8 || len(places)%len(place{}) != 0 {
			return corrupt(at, errSize)
		}
		for ; len(places) > 0; places = places[len(place{}):] {
			batch.Delete(append(append([]byte{'p'}, places[:len(place{})]...), at[1:]...))
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	return batch.Write(false)
}
