package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// KV is a key-value view of its own within the store, in which the consensus engine keeps its
// blocks and state. After the store is closed, reads find nothing and iterators are empty, because
// a gossip routine of the engine still reads for a moment after it was stopped; writes answer
// ErrClosed.
type KV struct {
	s      *Store
	prefix []byte
}

// KV returns the view with the given name, of 1 to 255 bytes. Views with different names share
// nothing.
func (s *Store) KV(name string) *KV {
	if len(name) < 1 || len(name) > 255 {
		panic(fmt.Sprintf("store: view name of %d bytes", len(name)))
	}
	return &KV{s: s, prefix: append([]byte{keyKV, byte(len(name))}, name...)}
}

func (kv *KV) key(key []byte) []byte {
	return append(append(make([]byte, 0, len(kv.prefix)+len(key)), kv.prefix...), key...)
}

// Get returns a copy of the value, nil if there is none. A value that is there is never nil.
func (kv *KV) Get(key []byte) ([]byte, error) {
	v, err := kv.s.get(kv.key(key))
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrClosed) {
		return nil, nil
	}
	return v, err
}

// Has reports whether there is a value.
func (kv *KV) Has(key []byte) (bool, error) {
	v, err := kv.Get(key)
	return v != nil, err
}

// Set writes a value; a crash may lose it.
func (kv *KV) Set(key, value []byte) error { return kv.set(key, value, pebble.NoSync) }

// SetSync writes a value durably.
func (kv *KV) SetSync(key, value []byte) error { return kv.set(key, value, pebble.Sync) }

func (kv *KV) set(key, value []byte, o *pebble.WriteOptions) error {
	return kv.s.commit(func(b *pebble.Batch) error { return b.Set(kv.key(key), value, nil) }, o)
}

// Delete removes a value, if there is one, as durably as Set.
func (kv *KV) Delete(key []byte) error { return kv.delete(key, pebble.NoSync) }

// DeleteSync removes a value, if there is one, durably.
func (kv *KV) DeleteSync(key []byte) error { return kv.delete(key, pebble.Sync) }

func (kv *KV) delete(key []byte, o *pebble.WriteOptions) error {
	return kv.s.commit(func(b *pebble.Batch) error { return b.Delete(kv.key(key), nil) }, o)
}

// Batch returns an empty batch of writes that take effect together. A batch is not safe for
// concurrent use.
func (kv *KV) Batch() *Batch { return &Batch{kv: kv} }

// Batch collects writes.
type Batch struct {
	kv  *KV
	ops []op
}

type op struct {
	key, value []byte // value nil: delete
}

// Set adds a write. Key and value are not copied and must stay as they are until Write.
func (b *Batch) Set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	b.ops = append(b.ops, op{key, value})
}

// Delete adds a removal.
func (b *Batch) Delete(key []byte) { b.ops = append(b.ops, op{key: key}) }

// Write applies the batch, durably if sync is set, and empties it.
func (b *Batch) Write(sync bool) error {
	ops := b.ops
	b.ops = nil
	o := pebble.NoSync
	if sync {
		o = pebble.Sync
	}
	return b.kv.s.commit(func(pb *pebble.Batch) error {
		for _, op := range ops {
			var err error
			if op.value == nil {
				err = pb.Delete(b.kv.key(op.key), nil)
			} else {
				err = pb.Set(b.kv.key(op.key), op.value, nil)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, o)
}

// Iterator walks over entries of a view as they were when it was made. It must be closed, and the
// store's Close waits for that. It is not safe for concurrent use.
type Iterator struct {
	kv      *KV
	it      *pebble.Iterator // nil: the store was closed, or the iterator is
	reverse bool
	valid   bool
}

// Iterator returns an iterator at the first entry of [start, end), or at the last if reverse is
// set. A nil bound is none.
func (kv *KV) Iterator(start, end []byte, reverse bool) (*Iterator, error) {
	from, to := kv.key(start), after(kv.prefix)
	if end != nil {
		to = kv.key(end)
	}
	i := &Iterator{kv: kv, reverse: reverse}
	if bytes.Compare(from, to) >= 0 || !kv.s.enter() {
		return i, nil
	}
	it, err := kv.s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		kv.s.exit()
		return nil, fmt.Errorf("store: iterate: %w", err)
	}
	i.it = it
	if reverse {
		i.valid = it.Last()
	} else {
		i.valid = it.First()
	}
	return i, nil
}

// Valid reports whether the iterator is at an entry.
func (i *Iterator) Valid() bool { return i.valid }

// Next moves to the next entry in the iterator's direction; the iterator must be valid.
func (i *Iterator) Next() {
	if i.reverse {
		i.valid = i.it.Prev()
	} else {
		i.valid = i.it.Next()
	}
}

// Key returns a copy of the key, without the view's prefix.
func (i *Iterator) Key() []byte { return bytes.Clone(i.it.Key()[len(i.kv.prefix):]) }

// Value returns a copy of the value, never nil.
func (i *Iterator) Value() []byte { return append([]byte{}, i.it.Value()...) }

// Error returns what ended the iteration early, if anything did.
func (i *Iterator) Error() error {
	if i.it == nil {
		return nil
	}
	return i.it.Error()
}

// Close releases the iterator. A second Close does nothing.
func (i *Iterator) Close() error {
	if i.it == nil {
		return nil
	}
	err := i.it.Close()
	i.it, i.valid = nil, false
	i.kv.s.exit()
	return err
}
