package committee

import (
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
)

// Vote is what the chain shows of a member: the last block that it voted on. A block carries the
// votes on the block before it.
type Vote struct {
	Height int64     // of that block; 0 when this engine has seen none since it started
	At     time.Time // of the block that carries the vote, by the chain's clock
	Missed int64     // blocks since, without a vote of the member
	// Silent is how long, by the chain's clock, the member's votes have been missing. It stands
	// still when the chain does.
	Silent time.Duration
}

// votes remembers the last vote of each member, by position.
type votes struct {
	mu      sync.Mutex
	members []Vote
	since   []time.Time // from when on votes are missing
}

func newVotes(members int) *votes {
	return &votes{members: make([]Vote, members), since: make([]time.Time, members)}
}

// carried notes the votes that a block carries. A vote for no block counts: the member is there.
func (v *votes) carried(req *abci.RequestFinalizeBlock, position map[string]int) {
	if len(req.DecidedLastCommit.Votes) == 0 {
		return // the first block
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	voted := make([]bool, len(v.members))
	for _, vote := range req.DecidedLastCommit.Votes {
		if i, ok := position[string(vote.Validator.Address)]; ok {
			voted[i] = vote.BlockIdFlag != cmtproto.BlockIDFlagAbsent
		}
	}
	for i := range v.members {
		m := &v.members[i]
		switch {
		case voted[i]:
			*m, v.since[i] = Vote{Height: req.Height - 1, At: req.Time}, req.Time
			continue
		case v.since[i].IsZero():
			v.since[i] = req.Time
		}
		m.Missed++
		m.Silent = req.Time.Sub(v.since[i])
	}
}

func (v *votes) status() []Vote {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]Vote(nil), v.members...)
}
