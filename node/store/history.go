package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-network/waybill/rollup"
)

// PutCertificate keeps the certificate of a rollup, of this node's or another's. It is durable.
func (s *Store) PutCertificate(k rollup.WindowKey, certificate []byte) error {
	return s.put(windowKey(keyCertificate, k), certificate)
}

// Certificate returns the certificate of the window's rollup, or ErrNotFound.
func (s *Store) Certificate(k rollup.WindowKey) ([]byte, error) {
	return s.get(windowKey(keyCertificate, k))
}

func (s *Store) put(key, value []byte) error {
	return s.commit(func(b *pebble.Batch) error { return b.Set(key, value, nil) }, pebble.Sync)
}

// Rollup returns which rollup of a window counts: the certified one, or else this node's own, or
// else the one that this member signed. The certificate is nil when there is none. Error:
// ErrNotFound when none of them is there.
func (s *Store) Rollup(k rollup.WindowKey) (id rollup.Hash, certificate []byte, err error) {
	certificate, err = s.Certificate(k)
	switch {
	case err == nil:
		c, err := rollup.ParseCertificate(certificate)
		if err != nil {
			return id, nil, fmt.Errorf("%w: certificate of %v: %w", ErrCorrupt, k, err)
		}
		return c.Header.ID(), certificate, nil
	case !errors.Is(err, ErrNotFound):
		return id, nil, err
	}
	if id, err = s.hash(windowKey(keyOwn, k)); errors.Is(err, ErrNotFound) {
		id, err = s.hash(windowKey(keyLock, k))
	}
	return id, nil, err
}

// Rung returns the highest rung of which there is evidence of a rollup, 0 when there is none.
func (s *Store) Rung(id rollup.Hash) (rollup.Rung, error) {
	for _, at := range []struct {
		kind byte
		rung rollup.Rung
	}{{keyProof, rollup.RungProof}, {keyArchive, rollup.RungStatements}} {
		if has, err := s.has(idKey(at.kind, id)); has || err != nil {
			return at.rung, err
		}
	}
	evidence, err := s.get(idKey(keyEvidence, id))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return rollup.RungOf(evidence)
}

// Recent returns the windows of the latest certificates, newest epoch first, within an epoch by
// node and window descending, at most limit.
func (s *Store) Recent(limit int) ([]rollup.WindowKey, error) {
	return s.recent(keyCertificate, limit)
}

// RecentOwn is Recent for the windows that this node sealed, certified or not.
func (s *Store) RecentOwn(limit int) ([]rollup.WindowKey, error) { return s.recent(keyOwn, limit) }

func (s *Store) recent(kind byte, limit int) ([]rollup.WindowKey, error) {
	var list []rollup.WindowKey
	err := s.scanBack([]byte{kind}, limit, func(key []byte) error {
		k, err := parseWindowKey(key)
		list = append(list, k)
		return err
	})
	return list, err
}

// scanBack yields the last keys with the prefix, last first, at most limit.
func (s *Store) scanBack(prefix []byte, limit int, yield func(key []byte) error) (err error) {
	if !s.enter() {
		return ErrClosed
	}
	defer s.exit()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return fmt.Errorf("store: iterate: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.Last(); ok && limit > 0; ok = it.Prev() {
		if err := yield(it.Key()); err != nil {
			return err
		}
		limit--
	}
	return it.Error()
}

// Prune forgets evidence, headers and locks of the epochs before the given one, and returns how
// many rollups it forgot. Certificates stay, and so does whatever this node
// sealed that is not ordered yet. From then on Sign and PutEvidence refuse those epochs, so a
// forgotten lock cannot be taken for a free window. The watermark never moves back.
func (s *Store) Prune(before uint32) (int, error) {
	s.lockMu.Lock()
	defer s.lockMu.Unlock()
	if before <= s.watermark.Load() {
		return 0, nil
	}
	keep := make(map[rollup.WindowKey]bool)
	unordered, err := s.Unordered()
	if err != nil {
		return 0, err
	}
	for _, k := range unordered {
		keep[k] = true
	}
	pruned := 0
	err = s.commit(func(b *pebble.Batch) error {
		from, to := []byte{keyByWindow}, epochKey(keyByWindow, before)
		err := s.scan(from, to, func(key, _ []byte) (bool, error) {
			k, err := parseWindowKey(key)
			if err != nil || len(key) != 13+32 {
				return false, fmt.Errorf("%w: key %x", ErrCorrupt, key)
			}
			if keep[k] {
				return true, nil
			}
			pruned++
			id := rollup.Hash(key[13:])
			err = b.Delete(key, nil)
			for _, kind := range []byte{keyHeader, keyEvidence, keyArchive, keyList, keyProof} {
				err = errors.Join(err, b.Delete(idKey(kind, id), nil))
			}
			for _, kind := range []byte{keyUnheld, keyHolder} {
				err = errors.Join(err, b.Delete(windowKey(kind, k), nil))
			}
			return true, err
		})
		return errors.Join(err,
			b.DeleteRange([]byte{keyLock}, epochKey(keyLock, before), nil),
			b.DeleteRange([]byte{keyBilled}, epochKey(keyBilled, before), nil),
			b.DeleteRange([]byte{keyRuns}, epochKey(keyRuns, before), nil),
			b.Set([]byte{keyWatermark}, binary.BigEndian.AppendUint32(nil, before), nil))
	}, pebble.Sync)
	if err == nil {
		s.watermark.Store(before)
	}
	return pruned, err
}

// Retained returns the first epoch that is not pruned.
func (s *Store) Retained() uint32 { return s.watermark.Load() }
