package content

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/rollup"
)

// Scanned says what an integrity scan found.
type Scanned struct {
	Contents int           `json:"contents"`
	Bytes    int64         `json:"bytes"`
	Damaged  []rollup.Hash `json:"damaged"` // removed from the store, pinned ones too
}

// Scan reads all contents and verifies each against its root, tree included. Damaged ones are
// removed, so that the next fetch brings them again. pace is how many bytes a second are read at
// most; 0 for no bound.
func (s *Store) Scan(ctx context.Context, pace int64) (Scanned, error) {
	var scanned Scanned
	for _, info := range s.List() {
		began := time.Now()
		err := s.verify(ctx, info.Root)
		switch {
		case errors.Is(err, ReasonAbsent): // evicted meanwhile
			continue
		case errors.Is(err, ReasonDamaged):
			scanned.Damaged = append(scanned.Damaged, info.Root)
			if err := s.drop(info.Root); err != nil {
				return scanned, err
			}
		case err != nil:
			return scanned, err
		}
		scanned.Contents++
		scanned.Bytes += info.Size
		if pace > 0 {
			due := time.Duration(float64(info.Size) / float64(pace) * float64(time.Second))
			if err := retry.Pause(ctx, due-time.Since(began)); err != nil {
				return scanned, err
			}
		}
	}
	return scanned, nil
}

// scanGroups is how many groups are verified between two looks at the context.
const scanGroups = 4096

// verify reads a content as a whole. It is no use of it.
func (s *Store) verify(ctx context.Context, root rollup.Hash) error {
	s.mu.Lock()
	e := s.entries[root]
	if e == nil {
		s.mu.Unlock()
		return absent(root)
	}
	c, err := s.open(e)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	defer c.Close()
	for g := int64(0); g < c.Groups(); g += scanGroups {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := c.Verify(g, min(g+scanGroups, c.Groups())); err != nil {
			return err
		}
	}
	return nil
}

// drop removes a damaged content.
func (s *Store) drop(root rollup.Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[root]
	if e == nil {
		return nil
	}
	s.counts.Damaged++
	s.o.Log.Warn("content is damaged and removed", "root", root)
	return s.remove(e)
}
