package committee

import (
	"sync"
	"time"

	"github.com/cometbft/cometbft/types"
)

// Doubles is what this node saw of a member that voted for two blocks at one step: two processes
// have its keys, and both run.
type Doubles struct {
	Count uint64    // pairs of votes seen since the start
	At    time.Time // the last one, by this machine's clock; zero when there was none
}

// doubles counts by position in the committee. The engine says so in its log only.
type doubles struct {
	position map[string]int // by engine address

	mu      sync.Mutex
	members []Doubles
}

func newDoubles(position map[string]int) *doubles {
	return &doubles{position: position, members: make([]Doubles, len(position))}
}

// saw notes two votes that exclude each other.
func (d *doubles) saw(votes *types.ErrVoteConflictingVotes) {
	i, ok := d.position[string(votes.VoteA.ValidatorAddress)]
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.members[i].Count++
	d.members[i].At = time.Now()
}

func (d *doubles) status() []Doubles {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Doubles(nil), d.members...)
}
