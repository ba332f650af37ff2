package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-network/waybill/rollup"
)

// Fence says that a home was moved: nothing is signed from it any more.
type Fence struct {
	To string    `json:"to"` // whom the archive that left was encrypted to
	At time.Time `json:"at"`
}

// Fenced returns the fence of a store whose home was moved, nil when it was not.
func (s *Store) Fenced() (*Fence, error) {
	v, err := s.optional([]byte{keyFence})
	if v == nil || err != nil {
		return nil, err
	}
	f := new(Fence)
	if err := json.Unmarshal(v, f); err != nil {
		return nil, fmt.Errorf("%w: fence: %w", ErrCorrupt, err)
	}
	return f, nil
}

// PutFence fences a store. It is durable. A store has one fence: another one's is ErrMoved, the
// same one's again changes nothing.
func (s *Store) PutFence(f Fence) error {
	s.lockMu.Lock()
	defer s.lockMu.Unlock()
	prior, err := s.Fenced()
	switch {
	case err != nil:
		return err
	case prior != nil && prior.To != f.To:
		return fmt.Errorf("%w: at %s, to %s", ErrMoved, prior.At.Format(time.RFC3339), prior.To)
	case prior != nil:
		return nil
	}
	v, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("store: fence: %w", err)
	}
	return s.put([]byte{keyFence}, v)
}

// LiftFence makes the store of a home that arrived one that may sign, with all that it knows. It is
// durable.
func (s *Store) LiftFence() error {
	return s.commit(func(b *pebble.Batch) error { return b.Delete([]byte{keyFence}, nil) },
		pebble.Sync)
}

// Quiet reports whether the node's consensus key must not vote, because a store or a home before
// this one may have voted. See Forget.
func (s *Store) Quiet() (bool, error) { return s.has([]byte{keyQuiet}) }

// PutQuiet says whether the node's consensus key must not vote. It is durable.
func (s *Store) PutQuiet(quiet bool) error {
	if quiet {
		return s.put([]byte{keyQuiet}, nil)
	}
	return s.commit(func(b *pebble.Batch) error { return b.Delete([]byte{keyQuiet}, nil) },
		pebble.Sync)
}

// Distrust says that another process has the node's keys: nothing is taken, signed or voted from
// here before an epoch that begins after a restart. It is durable.
func (s *Store) Distrust() error {
	s.lockMu.Lock()
	defer s.lockMu.Unlock()
	s.begin.Store(-1)
	return s.commit(func(b *pebble.Batch) error {
		return errors.Join(b.Delete([]byte{keyBegin}, nil), b.Set([]byte{keyQuiet}, nil, nil))
	}, pebble.Sync)
}

// Owns reports whether this store sealed a window.
func (s *Store) Owns(k rollup.WindowKey) (bool, error) { return s.has(windowKey(keyOwn, k)) }

// Forgotten says what Forget took out of a store.
type Forgotten struct {
	Acks    int // that were in no rollup yet
	Windows int // that they were in
}

// Forget makes this the store of a node of which it does not know all that it said: one that comes
// from a backup. What it holds of sealed windows, of certificates and of the chain stays. Acks that
// are in no rollup go: another home may have sealed them since, in a rollup with more of them, and
// two rollups of a window convict the node. Nothing is taken or signed before an epoch that begins
// under the store's eyes, see Begin, and no vote is cast, see Quiet. A fence falls: what it held
// off is held off by that. It is durable, in one step.
func (s *Store) Forget() (f Forgotten, err error) {
	windows, err := s.PoolWindows()
	if err != nil {
		return f, err
	}
	f.Windows = len(windows)
	for _, k := range windows {
		err := s.ReadPool(k, func(frames []byte, _ bool) error {
			f.Acks += len(frames) / rollup.AckSize
			return nil
		})
		if err != nil && !errors.Is(err, ErrCorrupt) { // what is malformed goes as well
			return f, err
		}
	}
	s.lockMu.Lock()
	defer s.lockMu.Unlock()
	err = s.commit(func(b *pebble.Batch) error {
		return errors.Join(
			b.DeleteRange([]byte{keyPool}, []byte{keyPool + 1}, nil),
			b.Delete([]byte{keyBegin}, nil),
			b.Delete([]byte{keyFence}, nil),
			b.Set([]byte{keyQuiet}, nil, nil))
	}, pebble.Sync)
	if err == nil {
		s.begin.Store(-1)
	}
	return f, err
}

// Checkpoint makes a copy of the store as it is now in dir, which must not exist and has to be on
// the same file system: tables are linked and not copied. The store goes on meanwhile. The copy has
// no place, see MarkPlace.
func (s *Store) Checkpoint(dir string) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.exit()
	if err := s.Err(); err != nil {
		return err
	}
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("store: checkpoint: %w", diskFull(err))
	}
	return s.Err() // failures are kept from Pebble, see guardedFS
}
