package port

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// limits bound what callers and peers may have.
type limits struct {
	strangers, members gates
	followers          int     // peers that are registered and no members
	metered            float64 // messages a second on the metered channel, of each of them
}

// gates are the limits of one class of addresses.
type gates struct {
	waiting, waitingEach int           // callers whose first bytes have not come: all, by address
	shaking, shakingEach int           // handshakes
	rate, rateEach       float64       // handshakes a second
	burst, burstEach     float64       // at once, after a pause
	patience             time.Duration // within which nobody loses its place
}

// defaults hold for all networks. A handshake costs a third of a millisecond of processor time, so
// strangers can take one per cent of a processor, and a member's address two; what waits costs
// about 8 kB, and a handshake at most 1 MiB.
var defaults = limits{
	followers: 64, metered: 200,
	strangers: gates{
		waiting: 256, waitingEach: 64, shaking: 16, shakingEach: 4,
		rate: 30, burst: 60, rateEach: 3, burstEach: 10, patience: 100 * time.Millisecond,
	},
	members: gates{
		waiting: 1024, waitingEach: 128, shaking: 128, shakingEach: 32,
		rate: 500, burst: 1000, rateEach: 60, burstEach: 120, patience: 100 * time.Millisecond,
	},
}

// block is what counts as one address: of IPv6 one customer's network.
func block(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is4() {
		return a
	}
	return netip.PrefixFrom(a, 64).Masked().Addr()
}

// places are a bounded number of places, also by address. When they are taken, the address that
// holds most loses its oldest; so a flood displaces itself.
type places struct {
	all, each int
	patience  time.Duration

	mu     sync.Mutex
	taken  int
	holder map[netip.Addr][]*caller // in the order of arrival
}

func newPlaces(all, each int, patience time.Duration) *places {
	return &places{all: all, each: each, patience: patience, holder: map[netip.Addr][]*caller{}}
}

// enter takes a place. The caller that lost its own for it, if any, is closed.
func (p *places) enter(c *caller) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	crowd := c.address
	switch {
	case len(p.holder[c.address]) >= p.each:
	case p.taken >= p.all:
		crowd = p.largest()
	default:
		p.put(c)
		return true
	}
	oldest := p.holder[crowd][0]
	if time.Since(oldest.came) < p.patience {
		return false
	}
	oldest.drop()
	p.remove(oldest)
	p.put(c)
	return true
}

func (p *places) put(c *caller) {
	c.came = time.Now()
	p.holder[c.address] = append(p.holder[c.address], c)
	p.taken++
}

// largest returns the address with most places, of several that with the oldest.
func (p *places) largest() (address netip.Addr) {
	most := 0
	for a, held := range p.holder {
		if len(held) > most || len(held) == most && held[0].came.Before(p.holder[address][0].came) {
			address, most = a, len(held)
		}
	}
	return address
}

// leave gives a place back, if it was not lost.
func (p *places) leave(c *caller) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(c)
}

func (p *places) remove(c *caller) {
	held := p.holder[c.address]
	i := slices.Index(held, c)
	if i < 0 {
		return
	}
	p.taken--
	if len(held) == 1 {
		delete(p.holder, c.address)
		return
	}
	p.holder[c.address] = slices.Delete(held, i, i+1)
}

// bucket holds tokens.
type bucket struct {
	tokens float64
	filled time.Time
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	if b.filled.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+rate*now.Sub(b.filled).Seconds())
	}
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// rates bound how often something happens, by key and, unless all is 0, together.
type rates[K comparable] struct {
	each, burstEach float64
	all, burst      float64

	mu    sync.Mutex
	keys  map[K]*bucket
	total bucket
}

// maxRates is how many keys have a bucket. Full ones are forgotten first.
const maxRates = 4096

// take says whether it may happen now. A key without tokens takes none of all.
func (r *rates[K]) take(key K) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.keys[key]
	if b == nil {
		if r.keys == nil {
			r.keys = map[K]*bucket{}
		}
		if len(r.keys) >= maxRates && !r.forget(now) {
			return false
		}
		b = new(bucket)
		r.keys[key] = b
	}
	if !b.take(now, r.each, r.burstEach) {
		return false
	}
	return r.all == 0 || r.total.take(now, r.all, r.burst)
}

// forget drops the buckets that are full by now, and says whether there were any.
func (r *rates[K]) forget(now time.Time) bool {
	before := len(r.keys)
	for key, b := range r.keys {
		if b.tokens+r.each*now.Sub(b.filled).Seconds() >= r.burstEach {
			delete(r.keys, key)
		}
	}
	return len(r.keys) < before
}

// addresses are those of members.
type addresses struct {
	mu  sync.Mutex
	set map[netip.Addr]time.Time // when it was last seen
}

// maxAddresses bounds them: of a member that moves all the time the older ones go.
const maxAddresses = 4096

func newAddresses() *addresses { return &addresses{set: map[netip.Addr]time.Time{}} }

func (a *addresses) add(address netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set[block(address)] = time.Now()
	if len(a.set) <= maxAddresses {
		return
	}
	var oldest netip.Addr
	for other, seen := range a.set {
		if !oldest.IsValid() || seen.Before(a.set[oldest]) {
			oldest = other
		}
	}
	delete(a.set, oldest)
}

func (a *addresses) has(address netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.set[block(address)]
	return ok
}
