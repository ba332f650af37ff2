package committee

import (
	"math/rand/v2"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestBlockTime: epochs follow block time, the weighted median of the last precommits, nil ones
// among them. Less than a third of the power must not move it out of what the others say, whatever
// it votes for; half of it does, which shows that the test can fail.
func TestBlockTime(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	outside := 0
	for trial := range 2000 {
		n := 4 + r.IntN(9)
		v := newVoters(t, r, n)
		faulty := v.faulty(r, trial%2 == 0)
		commit, low, high := v.vote(r, faulty)
		got, err := state.MedianTime(commit, v.set)
		if err != nil {
			t.Fatal(err)
		}
		switch escaped := got.Before(low) || got.After(high); {
		case escaped && trial%2 == 0:
			t.Fatalf("trial %d: block time %v, honest members say %v to %v", trial, got, low, high)
		case escaped:
			outside++
		}
	}
	if outside == 0 {
		t.Error("half of the power never moved block time")
	}
}

// voters are members with different powers.
type voters struct {
	set   *types.ValidatorSet
	total int64
}

func newVoters(t *testing.T, r *rand.Rand, n int) *voters {
	var list []*types.Validator
	for i := range n {
		public := ledger.KeyOf(key(string(rune('a' + i))))
		list = append(list, types.NewValidator(cmted25519.PubKey(public[:]), 1+r.Int64N(100)))
	}
	set, err := types.ValidatorSetFromExistingValidators(list)
	if err != nil {
		t.Fatal(err)
	}
	return &voters{set, set.TotalVotingPower()}
}

// faulty picks members with less than a third of the power, or at least half of it.
func (v *voters) faulty(r *rand.Rand, few bool) map[int]bool {
	picked, power := map[int]bool{}, int64(0)
	for _, i := range r.Perm(v.set.Size()) {
		more := power + v.set.Validators[i].VotingPower
		if few && 3*more >= v.total || !few && 2*power > v.total {
			continue
		}
		picked[i], power = true, more
	}
	return picked
}

// vote has everybody precommit the block or nil: faulty members at an hour of their choice.
func (v *voters) vote(r *rand.Rand, faulty map[int]bool) (_ *types.Commit, low, high time.Time) {
	now := time.Unix(1_790_000_000, 0)
	c := &types.Commit{}
	lie := now.Add(time.Duration(1-2*r.IntN(2)) * 1000 * time.Hour)
	for i, m := range v.set.Validators {
		s := types.CommitSig{BlockIDFlag: types.BlockIDFlagCommit, ValidatorAddress: m.Address,
			Timestamp: lie}
		if r.IntN(3) == 0 {
			s.BlockIDFlag = types.BlockIDFlagNil
		}
		if !faulty[i] {
			s.Timestamp = now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
			if low.IsZero() || s.Timestamp.Before(low) {
				low = s.Timestamp
			}
			if s.Timestamp.After(high) {
				high = s.Timestamp
			}
		}
		c.Signatures = append(c.Signatures, s)
	}
	return c, low, high
}
