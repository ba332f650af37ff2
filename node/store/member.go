package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-network/waybill/rollup"
)

// PutEvidence keeps a rollup that this member found valid, so that it can serve it to others;
// doing it again changes nothing. Evidence of rung 3 and of a lower one are kept side by side.
// Errors: ErrPruned for an epoch below the watermark, ErrCorrupt for a header or evidence that
// does not decode.
func (s *Store) PutEvidence(id rollup.Hash, header, evidence []byte) error {
	h, err := rollup.ParseHeader(header)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	rung, err := rollup.RungOf(evidence)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := s.checkRetained(h.Epoch); err != nil {
		return err
	}
	if err := s.Err(); err != nil { // what is read below may never have become durable
		return err
	}
	kind := byte(keyEvidence)
	if rung == rollup.RungProof {
		kind = keyProof
	}
	for _, there := range []byte{kind, keyArchive} { // from an own window's archive everything is made
		if has, err := s.has(idKey(there, id)); has || err != nil {
			return err
		}
	}
	return s.commit(func(b *pebble.Batch) error {
		return errors.Join(setHeader(b, h.Key(), id, header), b.Set(idKey(kind, id), evidence, nil))
	}, pebble.Sync)
}

// HasEvidence reports whether evidence of a rollup is kept, of a rung, or of any when that is 0.
func (s *Store) HasEvidence(id rollup.Hash, rung rollup.Rung) (bool, error) {
	switch rung {
	case 0:
		return s.has(idKey(keyHeader, id))
	case rollup.RungProof:
		return s.has(idKey(keyProof, id))
	}
	has, err := s.has(idKey(keyEvidence, id))
	if !has && err == nil {
		has, err = s.has(idKey(keyArchive, id))
	}
	return has, err
}

func (s *Store) has(key []byte) (bool, error) {
	_, err := s.get(key)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Evidence returns the rollup with the given id and its evidence of a rung, of the highest that
// is kept when that is 0; ok says whether it is there. That of an own co-signed window is made
// from its acks, its client list and its proof. Error: ErrCorrupt when it can not.
func (s *Store) Evidence(id rollup.Hash,
	rung rollup.Rung) (header, evidence []byte, ok bool, err error) {
	if own, err := s.has(idKey(keyArchive, id)); own || err != nil {
		if err != nil {
			return nil, nil, false, err
		}
		return s.ownEvidence(id, rung)
	}
	if header, err = s.get(idKey(keyHeader, id)); err == nil {
		err = ErrNotFound
		if rung == 0 || rung == rollup.RungProof {
			evidence, err = s.get(idKey(keyProof, id))
		}
		if rung != rollup.RungProof && errors.Is(err, ErrNotFound) {
			evidence, err = s.get(idKey(keyEvidence, id))
		}
	}
	if errors.Is(err, ErrNotFound) {
		return nil, nil, false, nil
	}
	if err == nil && rung != 0 {
		var got rollup.Rung
		got, err = rollup.RungOf(evidence)
		ok = got == rung
	} else {
		ok = err == nil
	}
	return header, evidence, ok, err
}

// ownEvidence makes the evidence of an own co-signed window.
func (s *Store) ownEvidence(id rollup.Hash, rung rollup.Rung) (header, evidence []byte, ok bool,
	err error) {
	a, err := s.archive(id)
	if err != nil {
		return nil, nil, false, err
	}
	evidence, err = a.Evidence(rung)
	switch header = a.Header.Append(nil); {
	case errors.Is(err, ErrNotFound):
		return header, nil, false, nil
	case err != nil:
		return header, nil, false, fmt.Errorf("%w: rollup %v: %w", ErrCorrupt, id, err)
	}
	return header, evidence, true, nil
}

// Lock binds this member to one rollup of a window, durably, before it signs. ok means that it is
// bound to id and may sign it, now and whenever it is asked again; otherwise prior is the rollup
// that it is bound to. When Lock fails the member may be bound or not; the reopened store says.
// Errors: ErrPruned for an epoch below the watermark, where locks are forgotten, ErrFailed.
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
	err = s.commit(func(b *pebble.Batch) error { return b.Set(windowKey(keyLock, k), id[:], nil) },
		pebble.Sync)
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
