package peer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// standing is what the ledger says about a caller. Places are divided among callers of one
// standing, so that whoever has less at stake takes nothing from those who have more.
type standing uint8

const (
	stakeless standing = iota // registered
	staked                    // with a stake that would be one unit of power, or more
	seated                    // a member of a committee that judges something
	standings
)

func standingOf(view *ledger.View, key TransportKey) standing {
	node, ok := view.NodeByKey(ledger.Key(key))
	if !ok {
		return stakeless
	}
	if view.Judges(node.Index) {
		return seated
	}
	if node.Stake >= ledger.StakePerPower {
		return staked
	}
	return stakeless
}

// room is where pushes wait for their turn to be verified. A push takes a place when all of it has
// been read. Places are divided by standing, and among callers of one standing in fair shares.
//
// Turns go to the standing with the least service for its weight, and in it to the caller that has
// the fewest turns, then to the one that waited longest since its last. Nodes without stake never
// have all turns where there are several.
type room struct {
	places [standings]*door.Shares[TransportKey]

	mu      sync.Mutex
	turns   int // that are free
	spare   int // turns that nodes without stake may take besides those they have
	waiting [standings][]*place
	served  [standings]float64 // turns taken, divided by the weight
	running map[TransportKey]int
	last    map[TransportKey]uint64 // the number of the caller's last turn
	number  uint64
}

// weights are how the standings share the turns when all of them wait.
var weights = [standings]float64{stakeless: 1, staked: 3, seated: 6}

// place is one push in the room.
type place struct {
	caller   TransportKey
	standing standing
	called   chan struct{} // closed when it is its turn
	turn     bool          // it has its turn
}

// newRoom returns a room with some turns at once, and places for those who wait besides: for
// members of the committee as many as given, for all others a fixed number.
func newRoom(turns, members int) *room {
	r := &room{turns: turns, spare: max(1, turns-1), running: make(map[TransportKey]int),
		last: make(map[TransportKey]uint64)}
	for s, places := range [standings]int{stakeless: 8, staked: 16, seated: members} {
		r.places[s] = door.NewShares[TransportKey](int64(turns + places))
	}
	return r
}

// enter takes a place, and reports whether there was one; leave must follow.
func (r *room) enter(caller TransportKey, s standing) (*place, bool) {
	if !r.places[s].Take(caller, 1) {
		return nil, false
	}
	return &place{caller: caller, standing: s, called: make(chan struct{})}, true
}

func (r *room) leave(p *place) {
	r.mu.Lock()
	r.yield(p)
	r.mu.Unlock()
	r.places[p.standing].Give(p.caller, 1)
}

// rest ends a push's turn. It keeps its place.
func (r *room) rest(p *place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.yield(p)
}

// await returns when it is the push's turn, or with ctx's error.
func (r *room) await(ctx context.Context, p *place) error {
	r.mu.Lock()
	r.waiting[p.standing] = append(r.waiting[p.standing], p)
	r.call()
	r.mu.Unlock()
	select {
	case <-p.called:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		r.yield(p)
		return ctx.Err()
	}
}

// yield ends a push's turn, or its wait for one. The caller holds r.mu.
func (r *room) yield(p *place) {
	i := slices.Index(r.waiting[p.standing], p)
	switch {
	case i >= 0:
		r.waiting[p.standing] = slices.Delete(r.waiting[p.standing], i, i+1)
	case p.turn:
		p.turn = false
		r.turns++
		if p.standing == stakeless {
			r.spare++
		}
		if r.running[p.caller]--; r.running[p.caller] == 0 {
			delete(r.running, p.caller)
		}
		r.call()
	}
}

// call gives the free turns to those who wait. The caller holds r.mu.
func (r *room) call() {
	for r.turns > 0 {
		s, ok := r.neediest()
		if !ok {
			if r.idle() { // order among callers matters only while some wait
				clear(r.last)
			}
			return
		}
		p := slices.MinFunc(r.waiting[s], func(a, b *place) int {
			if d := r.running[a.caller] - r.running[b.caller]; d != 0 {
				return d
			}
			return int(int64(r.last[a.caller]) - int64(r.last[b.caller]))
		})
		r.waiting[s] = slices.DeleteFunc(r.waiting[s],
			func(other *place) bool { return other == p })
		r.turns--
		if s == stakeless {
			r.spare--
		}
		r.number++
		r.served[s] += 1 / weights[s]
		r.running[p.caller]++
		r.last[p.caller] = r.number
		p.turn = true
		close(p.called)
	}
}

// neediest returns the standing whose turn it is. One that nobody waited in has saved nothing up.
func (r *room) neediest() (best standing, ok bool) {
	for s := range standings {
		if s == stakeless && r.spare == 0 {
			continue
		}
		if len(r.waiting[s]) > 0 && (!ok || r.served[s] <= r.served[best]) {
			best, ok = s, true
		}
	}
	if ok {
		for s := range standings {
			r.served[s] = max(r.served[s], r.served[best])
		}
	}
	return best, ok
}

func (r *room) idle() bool { return len(r.running) == 0 }

// Penalties after pushes that are at fault.
const (
	penaltyFirst  = time.Second
	penaltyLast   = 5 * time.Minute
	penaltyForget = 10 * time.Minute // without a fault, beyond the wait, one fault is forgotten
	maxPenalties  = 4096             // callers that are remembered
)

// penalties make a caller whose pushes are at fault wait, twice as long each time. A push that is
// signed takes back one fault, and so does time. It is safe for concurrent use.
type penalties struct {
	first time.Duration

	mu     sync.Mutex
	caller map[TransportKey]*penalty
}

type penalty struct {
	faults int
	until  time.Time
}

func newPenalties(first time.Duration) *penalties {
	return &penalties{first: first, caller: make(map[TransportKey]*penalty)}
}

// wait returns how long a caller has to wait before its pushes are read again.
func (p *penalties) wait(caller TransportKey, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if entry := p.caller[caller]; entry != nil {
		return max(0, entry.until.Sub(now))
	}
	return 0
}

// fault notes a push that was at fault, and returns the wait that follows.
func (p *penalties) fault(caller TransportKey, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	entry := p.caller[caller]
	if entry == nil {
		p.makeRoom()
		entry = new(penalty)
		p.caller[caller] = entry
	} else if quiet := now.Sub(entry.until); quiet > 0 {
		entry.faults = max(0, entry.faults-int(quiet/penaltyForget))
	}
	entry.faults++
	wait := penaltyLast
	if shift := entry.faults - 1; shift < 20 {
		wait = min(wait, p.first<<shift)
	}
	if until := now.Add(wait); until.After(entry.until) {
		entry.until = until
	}
	return wait
}

// good notes a push that was signed.
func (p *penalties) good(caller TransportKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if entry := p.caller[caller]; entry != nil {
		if entry.faults--; entry.faults <= 0 {
			delete(p.caller, caller)
		}
	}
}

// makeRoom forgets the caller whose wait ends first, when there are too many.
func (p *penalties) makeRoom() {
	if len(p.caller) < maxPenalties {
		return
	}
	var first TransportKey
	for caller, entry := range p.caller {
		if best := p.caller[first]; best == nil || entry.until.Before(best.until) {
			first = caller
		}
	}
	delete(p.caller, first)
}
