package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-network/waybill/rollup"
)

// AppendAcks adds acks to the pools of their windows: one entry per chunk, one synced write for all
// of them. An entry taken on account ends in one more byte.
func (s *Store) AppendAcks(chunks []rollup.Chunk) error {
	return s.commit(func(b *pebble.Batch) error {
		for _, c := range chunks {
			if len(c.Frames) == 0 || len(c.Frames)%rollup.AckSize != 0 {
				return fmt.Errorf("store: %d bytes are not whole acks", len(c.Frames))
			}
			key := binary.BigEndian.AppendUint32(windowKey(keyPool, c.Key), c.First)
			size := len(c.Frames)
			if c.OnAccount {
				size++
			}
			op := b.SetDeferred(len(key), size)
			copy(op.Key, key)
			if copy(op.Value, c.Frames); c.OnAccount {
				op.Value[len(c.Frames)] = poolOnAccount
			}
			if err := op.Finish(); err != nil {
				return err
			}
		}
		return nil
	}, pebble.Sync)
}

// poolOnAccount ends an entry whose acks were not verified when they were taken.
const poolOnAccount = 1

// PoolWindows lists the windows that have acks and are not sealed. It reads one key per window.
func (s *Store) PoolWindows() ([]rollup.WindowKey, error) {
	var list []rollup.WindowKey
	for from := []byte{keyPool}; from != nil; {
		var next []byte
		err := s.scan(from, []byte{keyPool + 1}, func(key, _ []byte) (bool, error) {
			k, err := parseWindowKey(key)
			if err == nil {
				list = append(list, k)
				next = after(windowKey(keyPool, k))
			}
			return false, err
		})
		if err != nil {
			return nil, err
		}
		from = next
	}
	return list, nil
}

// ReadPool yields the acks of a window in order, and whether they were taken on account. Frames are
// valid until yield returns.
func (s *Store) ReadPool(k rollup.WindowKey,
	yield func(frames []byte, onAccount bool) error) error {
	prefix := windowKey(keyPool, k)
	next := uint32(0)
	return s.scan(prefix, after(prefix), func(key, frames []byte) (bool, error) {
		n := len(frames) / rollup.AckSize * rollup.AckSize
		onAccount := len(frames) == n+1 && frames[n] == poolOnAccount
		if onAccount {
			frames = frames[:n]
		}
		if len(key) != len(prefix)+4 || len(frames)%rollup.AckSize != 0 {
			return false, fmt.Errorf("%w: pool of %v: key %x, %d bytes", ErrCorrupt, k, key, len(frames))
		}
		if first := binary.BigEndian.Uint32(key[len(prefix):]); first != next {
			return false, fmt.Errorf("%w: pool of %v: ack %d where %d belongs", ErrCorrupt, k, first, next)
		}
		next += uint32(len(frames) / rollup.AckSize)
		return true, yield(frames, onAccount)
	})
}

// NextWindow returns the number above all that the pool and the sealed windows of the epoch used.
func (s *Store) NextWindow(node, epoch uint32) (uint32, error) {
	if !s.enter() {
		return 0, ErrClosed
	}
	defer s.exit()
	next := uint32(0)
	for _, kind := range []byte{keyPool, keyOwn} {
		k, ok, err := s.last(windowKey(kind, rollup.WindowKey{Epoch: epoch, Node: node})[:9])
		if err != nil {
			return 0, err
		}
		if ok {
			next = max(next, k.Window+1)
		}
	}
	return next, nil
}

// last returns the window of the last key with the prefix.
func (s *Store) last(prefix []byte) (k rollup.WindowKey, ok bool, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return k, false, fmt.Errorf("store: iterate: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.Last() {
		return k, false, it.Error()
	}
	k, err = parseWindowKey(it.Key())
	return k, err == nil, err
}

// PutSealed replaces the pool of a window by its rollup, in one step. It is durable, and binds this
// node to the rollup: what it says about the window afterwards is about this one. Error: ErrSealed
// for a second rollup.
func (s *Store) PutSealed(a *rollup.Archive) error {
	k, id := a.Key(), a.Header.ID()
	s.lockMu.Lock()
	defer s.lockMu.Unlock()
	if err := s.Err(); err != nil { // what is read below may never have become durable
		return err
	}
	prior, err := s.hash(windowKey(keyOwn, k))
	switch {
	case err == nil && prior != id:
		return fmt.Errorf("%w %v: %v, not %v", ErrSealed, k, prior, id)
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	return s.commit(func(b *pebble.Batch) error {
		pool := windowKey(keyPool, k)
		return errors.Join(
			b.Set(windowKey(keyOwn, k), id[:], nil),
			b.Set(windowKey(keyUnordered, k), nil, nil),
			setRuns(b, k, a.Acks),
			setArchive(b, k, id, a),
			setUnheld(b, k, a),
			b.DeleteRange(pool, after(pool), nil),
		)
	}, pebble.Sync)
}

// setArchive keeps an own rollup: with its evidence, or with what the evidence is made from.
func setArchive(b *pebble.Batch, k rollup.WindowKey, id rollup.Hash, a *rollup.Archive) error {
	header := a.Header.Append(nil)
	if !a.Stated() {
		return setRollup(b, k, id, header, a.Acks)
	}
	return errors.Join(
		setHeader(b, k, id, header),
		b.Set(idKey(keyArchive, id), a.Acks, nil),
		b.Set(idKey(keyList, id), a.List.Append(nil), nil),
	)
}

func setUnheld(b *pebble.Batch, k rollup.WindowKey, a *rollup.Archive) error {
	if !a.Stated() {
		return nil
	}
	return b.Set(windowKey(keyUnheld, k), nil, nil)
}

func setHeader(b *pebble.Batch, k rollup.WindowKey, id rollup.Hash, header []byte) error {
	return errors.Join(
		b.Set(idKey(keyHeader, id), header, nil),
		b.Set(append(windowKey(keyByWindow, k), id[:]...), nil, nil),
	)
}

func setRollup(b *pebble.Batch, k rollup.WindowKey, id rollup.Hash, header, evidence []byte) error {
	return errors.Join(setHeader(b, k, id, header), b.Set(idKey(keyEvidence, id), evidence, nil))
}

// PutProof keeps the proof of an own rollup, in place of an earlier one. Error: ErrPruned for an
// epoch below the watermark.
func (s *Store) PutProof(k rollup.WindowKey, proof []byte) error {
	if err := s.Err(); err != nil { // what is read below may never have become durable
		return err
	}
	id, err := s.hash(windowKey(keyOwn, k))
	if err != nil {
		return err
	}
	s.lockMu.Lock() // a prune must not overtake it
	defer s.lockMu.Unlock()
	if has, err := s.HasEvidence(id, 0); err != nil || !has {
		return errors.Join(err, s.checkRetained(k.Epoch))
	}
	return s.put(idKey(keyProof, id), proof)
}

// Unheld lists the own rollups with a statements part for which there was no PutHolder.
func (s *Store) Unheld() ([]rollup.WindowKey, error) { return s.windows(keyUnheld) }

// PutHolder remembers which other node has the statements of an own rollup. It is durable.
func (s *Store) PutHolder(k rollup.WindowKey, node uint32) error {
	return s.commit(func(b *pebble.Batch) error {
		return errors.Join(b.Delete(windowKey(keyUnheld, k), nil),
			b.Set(windowKey(keyHolder, k), binary.BigEndian.AppendUint32(nil, node), nil))
	}, pebble.Sync)
}

// Holder returns which node besides this one holds the statements of its rollup, or ErrNotFound.
func (s *Store) Holder(k rollup.WindowKey) (node uint32, err error) {
	b, err := s.get(windowKey(keyHolder, k))
	if err == nil && len(b) != 4 {
		err = fmt.Errorf("%w: holder of %v: %x", ErrCorrupt, k, b)
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

// Unordered lists the own rollups that are not marked as ordered, oldest first.
func (s *Store) Unordered() ([]rollup.WindowKey, error) { return s.windows(keyUnordered) }

// IsUnordered reports whether a window is among those.
func (s *Store) IsUnordered(k rollup.WindowKey) (bool, error) {
	return s.has(windowKey(keyUnordered, k))
}

// Sealed returns what PutSealed kept of a window, with its proof when there is one. Errors:
// ErrNotFound when there was no PutSealed, ErrPruned for a window whose rollup is dropped,
// ErrCorrupt for one that does not decode.
func (s *Store) Sealed(k rollup.WindowKey) (*rollup.Archive, error) {
	id, err := s.hash(windowKey(keyOwn, k))
	if err != nil {
		return nil, err
	}
	a, err := s.Archive(id)
	if errors.Is(err, ErrNotFound) {
		if err = s.checkRetained(k.Epoch); err == nil {
			err = fmt.Errorf("%w: no evidence for %v", ErrCorrupt, k)
		}
	}
	return a, err
}

// Header returns the header of a window that PutSealed kept: what it bills, for a few hundred
// bytes. Errors: those of Sealed.
func (s *Store) Header(k rollup.WindowKey) (*rollup.Header, error) {
	id, err := s.hash(windowKey(keyOwn, k))
	if err != nil {
		return nil, err
	}
	encoded, err := s.get(idKey(keyHeader, id))
	if errors.Is(err, ErrNotFound) {
		if err = s.checkRetained(k.Epoch); err == nil {
			err = fmt.Errorf("%w: no header for %v", ErrCorrupt, k)
		}
	}
	if err != nil {
		return nil, err
	}
	h, err := rollup.ParseHeader(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: header of %v: %w", ErrCorrupt, k, err)
	}
	return h, nil
}

// hash reads a value that is a hash.
func (s *Store) hash(key []byte) (rollup.Hash, error) {
	v, err := s.get(key)
	if err != nil {
		return rollup.Hash{}, err
	}
	if len(v) != len(rollup.Hash{}) {
		return rollup.Hash{}, fmt.Errorf("%w: %x → %x", ErrCorrupt, key, v)
	}
	return rollup.Hash(v), nil
}

// MarkOrdered removes a window from Unordered. A crash may undo it.
func (s *Store) MarkOrdered(k rollup.WindowKey) error {
	return s.commit(func(b *pebble.Batch) error { return b.Delete(windowKey(keyUnordered, k), nil) },
		pebble.NoSync)
}
