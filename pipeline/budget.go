package pipeline

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// budget bounds how many acks are admitted and not yet answered, and the memory that they hold. A
// source may hold as much as is free besides: alone it gets half, n busy sources get 1/(n+1)
// each, and one share always stays free for the next that comes, without anyone knowing how many
// sources there are (the dynamic thresholds of Choudhury and Hahne).
//
// There is one for each class: sources that are not established share the small one,
// so opening many connections at once gains nothing.
type budget struct {
	maxAcks  int
	maxBytes int64

	mu    sync.Mutex
	acks  int
	bytes int64
}

// share is what one source holds of a budget; it is guarded by the budget's lock.
type share struct {
	acks  int
	bytes int64
}

// reserve grants up to want acks in a chunk of the given size; zero means that the source must
// wait.
func (b *budget) reserve(s *share, want int, bytes int64) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.bytes+bytes > b.maxBytes-b.bytes-bytes {
		return 0
	}
	granted := min(want, (b.maxAcks-b.acks-s.acks+1)/2)
	if granted <= 0 {
		return 0
	}
	b.acks += granted
	b.bytes += bytes
	s.acks += granted
	s.bytes += bytes
	return granted
}

func (b *budget) release(s *share, acks int, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acks -= acks
	b.bytes -= bytes
	s.acks -= acks
	s.bytes -= bytes
}

func (b *budget) used() (acks int, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acks, b.bytes
}

// rate measures acks per second of one worker's time, as a moving average over batches.
type rate struct {
	perSecond atomic.Uint64 // the bits of a float64
}

func (r *rate) record(acks int, took time.Duration) {
	if acks == 0 || took <= 0 {
		return
	}
	now := float64(acks) / took.Seconds()
	for {
		bits := r.perSecond.Load()
		average := math.Float64frombits(bits)
		if bits == 0 {
			average = now
		}
		// A batch counts by its size: small ones say little about a busy node.
		average += (now - average) * min(0.25, float64(acks)/16384)
		if r.perSecond.CompareAndSwap(bits, math.Float64bits(average)) {
			return
		}
	}
}

// delay returns after how long n acks will have been verified by some workers, within sensible
// bounds.
func (r *rate) delay(n, workers int) time.Duration {
	perSecond := math.Float64frombits(r.perSecond.Load())
	if perSecond == 0 {
		return time.Second
	}
	d := time.Duration(float64(n) / perSecond / float64(workers) * float64(time.Second))
	return min(max(d, 20*time.Millisecond), 5*time.Second)
}
