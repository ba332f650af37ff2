package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
)

// migrations take a store from the version of their index to the next. Each runs in a program that
// the operator started on purpose, and may be cut off at any point: the version is raised after it.
//
// 2 → 3: the keys of a fence and of quiet came. Nothing is rewritten; the version keeps programs
// away that would not heed them.
var migrations = map[uint32]func(s *Store) error{
	2: func(s *Store) error { return s.markPlace() },
}

// checkFormat says what a store of another version is, or makes it one of this.
func (s *Store) checkFormat() error {
	v, err := s.get([]byte{keyFormat})
	switch {
	case errors.Is(err, ErrNotFound):
		if !s.pristine() {
			return fmt.Errorf("%w: %s holds no version", ErrFormat, s.dir)
		}
		if err := s.markPlace(); err != nil {
			return err
		}
		return s.setFormat(FormatVersion)
	case err != nil:
		return err
	case len(v) != 4:
		return fmt.Errorf("%w: %s holds version %x", ErrFormat, s.dir, v)
	}
	version := binary.BigEndian.Uint32(v)
	for ; version != FormatVersion; version++ {
		migrate := migrations[version]
		if migrate == nil {
			return s.unknownFormat(version)
		}
		if err := migrate(s); err != nil {
			return fmt.Errorf("store: migration from version %d: %w", version, err)
		}
		if err := s.setFormat(version + 1); err != nil {
			return err
		}
		s.log.Info("store migrated", "from", version, "to", version+1)
	}
	return s.loadEpochs()
}

func (s *Store) setFormat(version uint32) error {
	return s.put([]byte{keyFormat}, binary.BigEndian.AppendUint32(nil, version))
}

func (s *Store) unknownFormat(version uint32) error {
	by := "a later version of the program wrote it; run that one"
	if version < FormatVersion {
		by = "no version of the program after it can read it"
	}
	return fmt.Errorf("%w: %s holds version %d, this program knows %d: %s", ErrFormat, s.dir,
		version, FormatVersion, by)
}

func (s *Store) pristine() bool {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return false
	}
	empty := !it.First() && it.Error() == nil
	return it.Close() == nil && empty
}

// markPlace marks the place of a store on the system's disk.
func (s *Store) markPlace() error {
	if !s.placed {
		return nil
	}
	return MarkPlace(s.dir)
}

// checkPlace refuses a copy, or makes it the store itself. A store without a mark is a copy, too:
// what lists the files of a database for itself leaves the mark behind.
func (s *Store) checkPlace(adopt bool) error {
	if !s.placed || s.failed.Load() != nil {
		return nil
	}
	if adopt {
		return s.markPlace()
	}
	err := CheckPlace(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %s has no file %s", ErrCopied, s.dir, placeFile)
	}
	return err
}

// opening sorts Pebble's reasons not to open a database. Of most of them it has no more than words:
// what the system did not answer is about what the files hold.
func opening(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist): // a file that others name
		return fmt.Errorf("%w: a file is missing: %w", ErrCorrupt, err)
	case errors.As(err, new(syscall.Errno)), strings.Contains(err.Error(), "lock held by"):
		return err
	case strings.Contains(err.Error(), "unknown format major version"):
		return fmt.Errorf("%w: a later version of the program wrote it: %w", ErrFormat, err)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// damaged says of Pebble's errors of a file's contents that the store is corrupt.
func damaged(err error) error {
	if err == nil || errors.Is(err, ErrCorrupt) {
		return err
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, record.ErrInvalidChunk) ||
		errors.Is(err, record.ErrZeroedChunk) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
