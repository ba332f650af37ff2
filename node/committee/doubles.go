package committee

import (
	"sync"
	"time"

	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/rollup"
)

// Doubles is what this node saw of a member that voted for two blocks at one step: two processes
// have its keys, and both run.
type Doubles struct {
	Count uint64    // pairs of votes seen since the start
	At    time.Time // the last one, by this machine's clock; zero when there was none
}

// doubles counts by node. The engine says so in its log only.
type doubles struct {
	node func(address []byte) (uint32, bool)

	mu      sync.Mutex
	members map[uint32]Doubles
}

func newDoubles(node func(address []byte) (uint32, bool)) *doubles {
	return &doubles{node: node, members: make(map[uint32]Doubles)}
}

// saw notes two votes that exclude each other.
func (d *doubles) saw(votes *types.ErrVoteConflictingVotes) {
	node, ok := d.node(votes.VoteA.ValidatorAddress)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.members[node] = Doubles{d.members[node].Count + 1, time.Now()}
}

// status returns what was seen of a committee's members, by position.
func (d *doubles) status(of *rollup.Committee) (list []Doubles) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range of.Members {
		list = append(list, d.members[m.Node])
	}
	return list
}
