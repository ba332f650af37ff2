package store

import (
	"fmt"
	"sync"
	"time"
)

// Usage says how much disk the store takes and how much is left, in bytes.
type Usage struct {
	Store uint64 // held by the store
	Free  uint64 // available on its file system
	Total uint64 // size of its file system
}

// Usage measures disk usage. It takes Pebble's lock for a moment: for a probe every few seconds,
// not for every ack.
func (s *Store) Usage() (Usage, error) {
	if !s.enter() {
		return Usage{}, ErrClosed
	}
	defer s.exit()
	u := Usage{Store: s.db.Metrics().DiskSpaceUsage()}
	disk, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return u, fmt.Errorf("store: disk usage: %w", err)
	}
	u.Free, u.Total = disk.AvailBytes, disk.TotalBytes
	return u, nil
}

// SyncLatency says how long synced writes took.
type SyncLatency struct {
	Count   uint64        // synced writes since Open
	Last    time.Duration // the latest
	Average time.Duration // moving, over about the last 16
	Max     time.Duration // since Open
}

// SyncLatency returns the latency of synced writes so far.
func (s *Store) SyncLatency() SyncLatency {
	s.syncs.mu.Lock()
	defer s.syncs.mu.Unlock()
	return s.syncs.SyncLatency
}

type syncProbe struct {
	mu sync.Mutex
	SyncLatency
}

func (p *syncProbe) record(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Count++; p.Count == 1 {
		p.Average = d
	}
	p.Last, p.Max = d, max(p.Max, d)
	p.Average += (d - p.Average) / 16
}
