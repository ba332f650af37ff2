package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-network/waybill/rollup"
)

// PutEvidence keeps a rollup that this member found valid, so that it can serve it to others; doing it again changes
// nothing. Errors: ErrPruned for an epoch below the watermark, ErrCorrupt for a header that does not decode.
func (s *Store) PutEvidence(id rollup.Hash, header, evidence []byte) error {
	h, err := rollup.ParseHeader(header)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := s.checkRetained(h.Epoch); err != nil {
		return err
	}
	if err := s.Err(); err != nil { // what is read below may never have become durable
		return err
	}
	if prior, err := s.get(idKey(keyHeader, id)); err == nil && bytes.Equal(prior, header) {
		return nil
	}
	return s.commit(func(b *pebble.Batch) error { return setRollup(b, h.Key(), id, header, evidence) }, pebble.Sync)
}

// HasEvidence reports whether the rollup with the given id is kept.
func (s *Store) HasEvidence(id rollup.Hash) (bool, error) {
	_, err := s.get(idKey(keyHeader, id))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Evidence returns the rollup with the given id; ok says whether it is kept. That of an own co-signed window is made from its
// acks and its client list. Error: ErrCorrupt when it can not.
func (s *Store) Evidence(id rollup.Hash) (header, evidence []byte, ok bool, err error) {
	kept, ok, err := s.sealed(id)
	if !ok || err != nil {
		return nil, nil, false, err
	}
	if evidence, err = kept.Evidence(); err != nil {
		return nil, nil, false, fmt.Errorf("%w: rollup %v: %w", ErrCorrupt, id, err)
	}
	return kept.Header, evidence, true, nil
}

// Lock binds this member to one rollup of a window, durably, before it signs. ok means that it is bound to id and may
// sign it, now and whenever it is asked again; otherwise prior is the rollup that it is bound to. When Lock fails the
// member may be bound or not; the reopened store says. Errors: ErrPruned for an epoch below the watermark, where locks
// are forgotten, ErrFailed.
func (s *Store) Lock(k rollup.WindowKey, id rollup.Hash) (prior rollup.Hash, ok bool, err error) {
	s.lockMu.Lock()
	defer s.lockMu.Unlock()
	if err := s.checkRetained(k.Epoch); err != nil {
		return prior, false, err
	}
	if err := s.Err(); err != nil { // what is read below may never have become durable
		return prior, false, err
	}
	prior, bound, err := s.Locked(k)
	if err != nil || bound {
		return prior, bound && prior == id, err
	}
	err = s.commit(func(b *pebble.Batch) error { return b.Set(windowKey(keyLock, k), id[:], nil) }, pebble.Sync)
	if err != nil {
		return prior, false, err
	}
	return id, true, nil
}

// Locked returns the rollup of the window that this member is bound to, if it is bound.
func (s *Store) Locked(k rollup.WindowKey) (id rollup.Hash, ok bool, err error) {
	id, err = s.hash(windowKey(keyLock, k))
	if errors.Is(err, ErrNotFound) {
		return id, false, nil
	}
	return id, err == nil, err
}

func (s *Store) checkRetained(epoch uint32) error {
	if w := s.watermark.Load(); epoch < w {
		return fmt.Errorf("%w: %d, the first kept is %d", ErrPruned, epoch, w)
	}
	return nil
}
