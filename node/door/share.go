package door

import (
	"context"
	"sync"
)

// Shares divides a capacity among callers. A caller may hold as much as is free besides: alone it
// gets half, n busy callers 1/(n+1) each, and one share stays free for the next that comes,
// without anyone knowing how many callers there are (the dynamic thresholds of Choudhury and
// Hahne). A caller that holds nothing gets what it asks for while there is any room. It is safe
// for concurrent use.
type Shares[K comparable] struct {
	capacity int64

	mu    sync.Mutex
	used  int64
	held  map[K]int64
	freed chan struct{} // closed at the next Give, when somebody waits
}

// NewShares returns shares of a capacity.
func NewShares[K comparable](capacity int64) *Shares[K] {
	return &Shares[K]{capacity: capacity, held: make(map[K]int64)}
}

// Take grants n more to a caller, or nothing.
func (s *Shares[K]) Take(caller K, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(caller, n)
}

func (s *Shares[K]) take(caller K, n int64) bool {
	held, free := s.held[caller], s.capacity-s.used
	if n > free || held > 0 && held+n > free-n {
		return false
	}
	if n > 0 {
		s.used += n
		s.held[caller] = held + n
	}
	return true
}

// Wait is Take once it grants n, or ctx's error.
func (s *Shares[K]) Wait(ctx context.Context, caller K, n int64) error {
	for {
		s.mu.Lock()
		if s.take(caller, n) {
			s.mu.Unlock()
			return nil
		}
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Give takes back n of what a caller holds.
func (s *Shares[K]) Give(caller K, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	if s.held[caller] -= n; s.held[caller] == 0 {
		delete(s.held, caller)
	}
	if s.freed != nil && n > 0 {
		close(s.freed)
		s.freed = nil
	}
}

// Used returns how much is granted.
func (s *Shares[K]) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Held returns how much a caller holds.
func (s *Shares[K]) Held(caller K) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[caller]
}
