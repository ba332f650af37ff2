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
	kind, err := evidenceKind(evidence)
	if err != nil {
		return err
	}
	if err := s.checkRetained(h.Epoch); err != nil {
		return err
	}
	if err := s.Err(); err != nil { // what is read below may never have become durable
		return err
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

// evidenceKind returns under what kind of key evidence is kept.
func evidenceKind(evidence []byte) (byte, error) {
	rung, err := rollup.RungOf(evidence)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case rung == rollup.RungProof:
		return keyProof, nil
	}
	return keyEvidence, nil
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

// Archive returns what is kept of a rollup, this node's or another's. Errors: ErrNotFound,
// ErrCorrupt for one that does not decode.
func (s *Store) Archive(id rollup.Hash) (*rollup.Archive, error) {
	header, err := s.get(idKey(keyHeader, id))
	if err != nil {
		return nil, err
	}
	acks, err := s.get(idKey(keyArchive, id))
	if errors.Is(err, ErrNotFound) {
		return s.received(id, header)
	}
	var list, proof []byte
	if err == nil {
		list, err = s.get(idKey(keyList, id))
	}
	if err == nil {
		proof, err = s.optional(idKey(keyProof, id))
	}
	if err != nil {
		return nil, err
	}
	a, err := rollup.ParseArchive(header, acks, list, proof)
	return decoded(id, a, err)
}

// received returns the archive of a rollup of which there is evidence as it came, or the acks.
func (s *Store) received(id rollup.Hash, header []byte) (*rollup.Archive, error) {
	evidence, err := s.optional(idKey(keyEvidence, id))
	if err != nil {
		return nil, err
	}
	proof, err := s.optional(idKey(keyProof, id))
	switch {
	case err != nil:
		return nil, err
	case evidence == nil && proof == nil:
		return nil, ErrNotFound
	}
	a, err := rollup.ReceivedArchive(header, evidence, proof)
	return decoded(id, a, err)
}

// optional returns nil for what is not there.
func (s *Store) optional(key []byte) ([]byte, error) {
	b, err := s.get(key)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return b, err
}

// decoded says of an archive that does not decode that the store is corrupt.
func decoded(id rollup.Hash, a *rollup.Archive, err error) (*rollup.Archive, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: rollup %v: %w", ErrCorrupt, id, err)
	}
	return a, nil
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

// Locks calls visit with every window that this member is bound to, and the rollup.
func (s *Store) Locks(visit func(k rollup.WindowKey, id rollup.Hash) error) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.exit()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyLock},
		UpperBound: []byte{keyLock + 1}})
	if err != nil {
		return fmt.Errorf("store: iterate: %w", err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var k rollup.WindowKey
		if k, err = parseWindowKey(it.Key()); err != nil {
			break
		}
		id := it.Value()
		if len(id) != len(rollup.Hash{}) {
			err = fmt.Errorf("%w: lock of %v: %x", ErrCorrupt, k, id)
			break
		}
		err = visit(k, rollup.Hash(id))
	}
	return errors.Join(err, it.Error(), it.Close())
}
