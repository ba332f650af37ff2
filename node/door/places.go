package door

import "sync"

// Places bounds the connections of a port that no net.Listener has, such as those of QUIC: in all
// and by address, as a Listener does it, but that nothing gives way. It is safe for concurrent use.
type Places struct {
	bounds Bounds
	shares *Shares[string]

	mu    sync.Mutex
	held  map[string]int
	stats ListenerStats
}

// NewPlaces returns places within bounds, of which Idle is not looked at.
func NewPlaces(bounds Bounds) *Places {
	return &Places{bounds: bounds, shares: NewShares[string](int64(bounds.Most)),
		held: make(map[string]int)}
}

// Enter takes a place for a connection from a remote address; false: there is none. Leave gives it
// back, once.
func (p *Places) Enter(remote string) (leave func(), ok bool) {
	address := AddressOf(remote)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[address] >= p.bounds.OfOne || !p.shares.Take(address, 1) {
		p.stats.Refused++
		return nil, false
	}
	p.held[address]++
	p.stats.Accepted++
	p.stats.Open++
	return sync.OnceFunc(func() { p.leave(address) }), true
}

func (p *Places) leave(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shares.Give(address, 1)
	if p.held[address]--; p.held[address] == 0 {
		delete(p.held, address)
	}
	p.stats.Open--
}

// Stats returns the counts.
func (p *Places) Stats() ListenerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}
