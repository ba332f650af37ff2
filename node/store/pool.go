package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
)

// AppendAcks implements [pipeline.Store]: one entry per run of frames, one synced write for all of them.
func (s *Store) AppendAcks(runs []pipeline.Run) error {
	return s.commit(func(b *pebble.Batch) error {
		for _, run := range runs {
			if len(run.Frames) == 0 || len(run.Frames)%rollup.AckSize != 0 {
				return fmt.Errorf("store: %d bytes are not whole acks", len(run.Frames))
			}
			key := binary.BigEndian.AppendUint32(windowKey(keyPool, run.Key), run.First)
			op := b.SetDeferred(len(key), len(run.Frames))
			copy(op.Key, key)
			copy(op.Value, run.Frames)
			if err := op.Finish(); err != nil {
				return err
			}
		}
		return nil
	}, pebble.Sync)
}

// PoolWindows implements [pipeline.Store]. It reads one key per window.
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

// ReadPool implements [pipeline.Store].
func (s *Store) ReadPool(k rollup.WindowKey, yield func(frames []byte) error) error {
	prefix := windowKey(keyPool, k)
	next := uint32(0)
	return s.scan(prefix, after(prefix), func(key, frames []byte) (bool, error) {
		if len(key) != len(prefix)+4 || len(frames)%rollup.AckSize != 0 {
			return false, fmt.Errorf("%w: pool of %v: key %x, %d bytes", ErrCorrupt, k, key, len(frames))
		}
		if first := binary.BigEndian.Uint32(key[len(prefix):]); first != next {
			return false, fmt.Errorf("%w: pool of %v: ack %d where %d belongs", ErrCorrupt, k, first, next)
		}
		next += uint32(len(frames) / rollup.AckSize)
		return true, yield(frames)
	})
}

// NextWindow implements [pipeline.Store].
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

// PutSealed implements [pipeline.Store].
func (s *Store) PutSealed(k rollup.WindowKey, id rollup.Hash, kept pipeline.Sealed) error {
	return s.commit(func(b *pebble.Batch) error {
		pool := windowKey(keyPool, k)
		return errors.Join(
			b.Set(windowKey(keyOwn, k), id[:], nil),
			b.Set(windowKey(keyUnordered, k), nil, nil),
			setSealed(b, k, id, kept),
			setUnheld(b, k, kept),
			b.DeleteRange(pool, after(pool), nil),
		)
	}, pebble.Sync)
}

// setSealed keeps an own rollup: with its evidence, or with what the evidence is made from.
func setSealed(b *pebble.Batch, k rollup.WindowKey, id rollup.Hash, kept pipeline.Sealed) error {
	if kept.Clients == nil {
		return setRollup(b, k, id, kept.Header, kept.Acks)
	}
	return errors.Join(
		setHeader(b, k, id, kept.Header),
		b.Set(idKey(keyArchive, id), kept.Acks, nil),
		b.Set(idKey(keyClients, id), kept.Clients, nil),
	)
}

func setUnheld(b *pebble.Batch, k rollup.WindowKey, kept pipeline.Sealed) error {
	if kept.Clients == nil {
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

// PutProof implements [pipeline.Store]. Error: ErrPruned for an epoch below the watermark.
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

// Unheld implements [pipeline.Store].
func (s *Store) Unheld() ([]rollup.WindowKey, error) { return s.windows(keyUnheld) }

// PutHolder implements [pipeline.Store].
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

// Unordered implements [pipeline.Store].
func (s *Store) Unordered() ([]rollup.WindowKey, error) { return s.windows(keyUnordered) }

// Sealed implements [pipeline.Store]. Error: ErrPruned for a window whose rollup is forgotten.
func (s *Store) Sealed(k rollup.WindowKey) (pipeline.Sealed, error) {
	id, err := s.hash(windowKey(keyOwn, k))
	if err != nil {
		return pipeline.Sealed{}, err
	}
	kept, ok, err := s.sealed(id)
	if err == nil && !ok {
		if err = s.checkRetained(k.Epoch); err == nil {
			err = fmt.Errorf("%w: no evidence for %v", ErrCorrupt, k)
		}
	}
	return kept, err
}

// sealed reads what is kept of an own rollup; ok says whether it is there.
func (s *Store) sealed(id rollup.Hash) (kept pipeline.Sealed, ok bool, err error) {
	if kept.Header, err = s.get(idKey(keyHeader, id)); err == nil {
		kept.Acks, err = s.get(idKey(keyArchive, id))
		if errors.Is(err, ErrNotFound) {
			kept.Acks, err = s.get(idKey(keyEvidence, id))
		} else if err == nil {
			kept.Clients, err = s.get(idKey(keyClients, id))
		}
	}
	if errors.Is(err, ErrNotFound) {
		return pipeline.Sealed{}, false, nil
	}
	if err == nil && kept.Clients != nil {
		if kept.Proof, err = s.get(idKey(keyProof, id)); errors.Is(err, ErrNotFound) {
			err = nil
		}
	}
	return kept, err == nil, err
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

// MarkOrdered implements [pipeline.Store].
func (s *Store) MarkOrdered(k rollup.WindowKey) error {
	return s.commit(func(b *pebble.Batch) error { return b.Delete(windowKey(keyUnordered, k), nil) }, pebble.NoSync)
}
