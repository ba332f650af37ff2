package committee

import (
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/rollup"
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

// votes remembers the last vote of each member, by node.
type votes struct {
	mu      sync.Mutex
	members map[uint32]*attendance
}

type attendance struct {
	Vote
	since time.Time // from when on votes are missing
}

func newVotes() *votes { return &votes{members: make(map[uint32]*attendance)} }

// carried notes the votes that a block carries, and those that it lacks of the committee that was
// to vote. A vote for no block counts: the member is there. Who has left the committee is
// forgotten.
func (v *votes) carried(
	req *abci.RequestFinalizeBlock, of *rollup.Committee, node func([]byte) (uint32, bool),
) {
	if len(req.DecidedLastCommit.Votes) == 0 {
		return // the first block
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	voted := make(map[uint32]bool)
	for _, vote := range req.DecidedLastCommit.Votes {
		if i, ok := node(vote.Validator.Address); ok {
			voted[i] = vote.BlockIdFlag != cmtproto.BlockIDFlagAbsent
		}
	}
	before := v.members
	v.members = make(map[uint32]*attendance, len(of.Members))
	for _, member := range of.Members {
		m := before[member.Node]
		if m == nil {
			m = new(attendance)
		}
		v.members[member.Node] = m
		switch {
		case voted[member.Node]:
			*m = attendance{Vote{Height: req.Height - 1, At: req.Time}, req.Time}
			continue
		case m.since.IsZero():
			m.since = req.Time
		}
		m.Missed++
		m.Silent = req.Time.Sub(m.since)
	}
}

// voted returns whose votes a block carries for the one before it: those that sign it, which the
// engine has verified.
func (a *app) voted(req *abci.RequestFinalizeBlock) (nodes []uint32) {
	for _, vote := range req.DecidedLastCommit.Votes {
		node, known := a.directory.node(vote.Validator.Address)
		if known && vote.BlockIdFlag == cmtproto.BlockIDFlagCommit {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// status returns what was seen of a committee's members, by position.
func (v *votes) status(of *rollup.Committee) (list []Vote) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, member := range of.Members {
		var seen Vote
		if m := v.members[member.Node]; m != nil {
			seen = m.Vote
		}
		list = append(list, seen)
	}
	return list
}
