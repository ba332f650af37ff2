package virtual

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// links is what faults make of the way between two machines.
type links struct {
	base   map[[2]netip.Addr]Link // one way or the other
	active []*effect
}

// effect is a fault that the network has now.
type effect struct {
	kind   Kind
	who    map[netip.Addr]bool
	share  float64
	extend time.Duration
}

// newLinks draws distances: machines of a site, of a country, or of the world.
func newLinks(seed uint64, addresses []netip.Addr) *links {
	rng := rand.New(rand.NewPCG(seed, 3))
	far := []time.Duration{time.Millisecond, 10 * time.Millisecond, 60 * time.Millisecond}[rng.IntN(3)]
	l := &links{base: make(map[[2]netip.Addr]Link)}
	for i, a := range addresses {
		for _, b := range addresses[:i] {
			way := Link{Latency: time.Duration(rng.Int64N(int64(far))), Jitter: far / 5}
			l.base[[2]netip.Addr{a, b}], l.base[[2]netip.Addr{b, a}] = way, way
		}
	}
	return l
}

// snapshot returns a function of the links as they are now.
func (l *links) snapshot() func(from, to netip.Addr) Link {
	active := slices.Clone(l.active)
	return func(from, to netip.Addr) Link {
		way := l.base[[2]netip.Addr{from, to}]
		for _, e := range active {
			switch e.kind {
			case Partition, Newcomers:
				way.Cut = way.Cut || e.who[from] != e.who[to]
			case Deaf:
				way.Cut = way.Cut || e.who[to]
			case Dumb:
				way.Cut = way.Cut || e.who[from]
			case Loss:
				way.Loss = max(way.Loss, e.share)
			case Slow:
				way.Latency += e.extend
				way.Jitter += e.extend / 2
			}
		}
		return way
	}
}

func (l *links) add(e *effect) { l.active = append(l.active, e) }

func (l *links) remove(e *effect) {
	l.active = slices.DeleteFunc(l.active, func(x *effect) bool { return x == e })
}
