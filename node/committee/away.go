package committee

import (
	"errors"
	"math"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/node/signer"
)

// attend looks after a key that may be out of reach until the engine stops: when it is there again
// it casts the votes that the engine could not. The engine asks for each vote once, and where a
// quorum waits for this one there is no next.
func (v *voter) attend(stopped <-chan struct{}) {
	for {
		changed, away := v.votes.Reach()
		if changed == nil {
			return
		}
		if away == nil {
			v.back()
		}
		select {
		case <-changed:
		case <-stopped:
			return
		}
	}
}

// owe notes votes to be cast when the key is there again, which may be by now.
func (v *voter) owe(votes ...cmtproto.Vote) {
	v.mu.Lock()
	v.owed = append(v.owed, votes...)
	v.mu.Unlock()
	if _, away := v.votes.Reach(); away == nil {
		go v.back()
	}
}

// back casts the votes that are owed.
func (v *voter) back() {
	last, known := v.votes.Last()
	v.mu.Lock()
	if known && v.upTo == unknown { // the first time
		v.upTo = last
	}
	owed := v.owed
	v.owed = nil
	v.mu.Unlock()
	for i := range owed {
		vote := &owed[i]
		if v.quiet.Load() {
			return
		}
		err := v.votes.SignVote(v.chain, vote)
		if errors.Is(err, signer.ErrAway) {
			v.owe(owed[i:]...)
			return
		}
		if err != nil { // the engine has voted since, in a later round
			continue
		}
		if signed, err := types.VoteFromProto(vote); err == nil {
			v.deliver(signed)
		}
	}
}

// unknown is upTo while nobody can say what was voted: any vote may be of an earlier run.
const unknown = math.MaxInt64
