//go:build linux

package crash

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// dutiful is a network of two members with 3 and 1 seats, its chain of three blocks in two epochs,
// and what the first one's settlement says of it.
func dutiful() (*Network, []*committee.PastBlock, *Audit) {
	n := new(Network)
	n.Network = newGenesis()
	at := func(seconds int) time.Time {
		return n.Genesis.GenesisTime.Add(time.Duration(seconds) * time.Second)
	}
	vote := func(i int, power int64, voted bool) committee.PastVote {
		return committee.PastVote{Address: committee.VoteAddress(n.Genesis.Members[i].ConsensusKey),
			Power: power, Voted: voted}
	}
	chain := []*committee.PastBlock{{Height: 1, Time: at(0)},
		{Height: 2, Time: at(5), Votes: []committee.PastVote{vote(0, 3, true), vote(1, 1, true)}},
		{Height: 3, Time: at(9), Votes: []committee.PastVote{vote(0, 3, true), vote(1, 1, false)}},
		{Height: 4, Time: at(10), Votes: []committee.PastVote{vote(0, 3, true), vote(1, 1, true)}}}
	a := &Audit{Rows: [][]rollup.SettlementRow{{{Paid: 1000, ToNode: 800, ToService: 99}}},
		Duties: [][]rollup.DutyRow{{
			{Node: 0, Blocks: 2, Points: 6, Possible: 6, Reward: 42}, // of 50, by 6 of 7 points
			{Node: 1, Blocks: 2, Points: 1, Possible: 2, Reward: 7}}}}
	return n, chain, a
}

// TestDutiesCanFail: a reward that is not what it should be, or points that no block has, are seen.
func TestDutiesCanFail(t *testing.T) {
	audit := func(spoil func([]*committee.PastBlock, *Audit)) error {
		n, chain, a := dutiful()
		spoil(chain, a)
		counted, err := n.count(chain, nil)
		if err == nil {
			err = a.comparePoints(counted)
		}
		if err == nil {
			err = a.compareRewards(n.Genesis.Params.Rotation)
		}
		return err
	}
	if err := audit(func([]*committee.PastBlock, *Audit) {}); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func([]*committee.PastBlock, *Audit){
		"node 0 got 43 for its duties, should have 42 of 50": func(_ []*committee.PastBlock, a *Audit) {
			a.Duties[0][0].Reward++
		},
		"node 1 got 7 for its duties, should have 0 of 50": func(_ []*committee.PastBlock, a *Audit) {
			a.Duties[0][0].Reward, a.Duties[0][1].Flags = 50, rollup.DutyAsked
		},
		"node 1 has 1 of 2 points on 2 blocks, and blocks carry 2 of 2 on 2": func(
			chain []*committee.PastBlock, _ *Audit) {
			chain[2].Votes[1].Voted = true
		},
		"node 0 has 6 of 6 points on 2 blocks, and blocks carry 3 of 3 on 1": func(
			chain []*committee.PastBlock, _ *Audit) {
			chain[2].Time = chain[3].Time
		},
		"a vote of nobody": func(chain []*committee.PastBlock, _ *Audit) {
			chain[1].Votes[0].Address[0]++
		},
		"epoch 0: duties of 1 nodes, where 2 had some": func(_ []*committee.PastBlock, a *Audit) {
			a.Duties[0] = a.Duties[0][:1]
		},
		"epoch 2 is settled, and no block is of it": func(_ []*committee.PastBlock, a *Audit) {
			a.Duties = append(a.Duties, nil, nil)
		},
	} {
		if err := audit(spoil); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%q is not what the audit says: %v", what, err)
		}
	}
}

func newGenesis() *homes.Network {
	g := &ledger.Genesis{GenesisTime: time.Unix(1_800_000_000, 0).UTC(),
		Members: []ledger.Member{{ConsensusKey: ledger.Key{1}}, {ConsensusKey: ledger.Key{2}}}}
	g.Params.EpochSeconds, g.Params.Rotation = 10, ledger.DefaultRotation(4)
	return &homes.Network{Genesis: g}
}
