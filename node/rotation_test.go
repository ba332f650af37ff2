package node

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// TestRotationSnapshot: who said what of whom, why a node cannot be drawn, and what its odds are,
// follow from the chain. Three members call node 3 unhealthy, and one calls node 1 so.
func TestRotationSnapshot(t *testing.T) {
	start := time.Unix(1_900_000_000, 0)
	now := start
	net, err := pipelinetest.New(pipelinetest.Config{Members: 4, Clients: 1, EpochSeconds: 1000,
		GraceSeconds: 1, Stake: 100 * ledger.StakePerPower, Start: start,
		Clock: func() time.Time { return now },
		Rotation: &ledger.Rotation{Seats: 16, TermEpochs: 4, MinStake: ledger.StakePerPower,
			StakeCap: 1 << 40, JailWithhold: 3, SlashWithhold: 100, JailAbsent: 2, EvidenceEpochs: 168,
			EvidenceSeconds: 24 * 60 * 60, EvidenceBlocks: 50_000, Reward: 5_000}})
	if err != nil {
		t.Fatal(err)
	}
	of := func(node uint32) *telemetry.Rotation {
		s := telemetry.Snapshot{Node: telemetry.Node{Registered: true, Index: node}}
		new(Node).fillRotation(&s, net.View())
		return s.Rotation
	}
	if r := of(0); r.Phase != "idle" || len(r.Said) > 0 || len(r.Odds) > 0 || r.Nodes[3].Epoch != 0 {
		t.Errorf("before the first draw: %+v", r)
	}
	now = now.Add(1000 * time.Second)
	net.Block()
	if r := of(1); r.Epoch != 1 || r.Phase != "reports" || r.Candidates != 4 || len(r.Nodes) != 4 ||
		r.Nodes[2].Standing != "candidate" {
		t.Errorf("while reports are collected: %+v", r)
	}
	ill := [][]uint32{{1, 3}, {3}, {3}, nil}
	for i, m := range net.Members {
		v, err := rotation.NewVerdicts(4, ill[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := net.SubmitTx(context.Background(), ledger.NewReport(net.ID, m.BLS, 1, uint32(i), v,
			rollup.Hash{}, nil)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(500 * time.Second)
	net.Block()
	net.Block()
	r := of(3)
	if r.Phase != "reveals" || r.Done.Announced != 4 || r.Candidates != 3 {
		t.Fatalf("reports are not counted: %+v", r)
	}
	if x := r.Nodes[1]; x.Epoch != 1 || !slices.Equal(x.Healthy, []uint32{1, 2, 3}) ||
		!slices.Equal(x.Unhealthy, []uint32{0}) {
		t.Errorf("of node 1 was said: %+v", x)
	}
	if !strings.Contains(r.Obstacle, "members did not find it healthy in epoch 1") ||
		len(r.Odds) > 0 {
		t.Errorf("node 3 can be drawn: %q, %v", r.Obstacle, r.Odds)
	}
	if d := r.Duties; len(d) == 0 || d[0].Epoch != 1 || d[0].Settled || !d[0].Asked ||
		!d[0].Reported || d[0].Reward != 0 {
		t.Errorf("duties: %+v", d)
	}
	if !strings.HasPrefix(r.Needed, "it has seats") {
		t.Errorf("a member may be stopped: %q", r.Needed)
	}
	for i, s := range r.Said {
		if s.Member != uint32(i) || s.Healthy != (i == 3) || s.Epoch != 1 || s.Seats == 0 ||
			s.Answered != nil {
			t.Errorf("of node 3 was said: %+v", s)
		}
	}
	// Only its engine is missing in this test: what is before that holds.
	if r := of(0); !strings.HasPrefix(r.Obstacle, "it catches up") || len(r.Conditions) != 8 {
		t.Errorf("node 0 cannot be drawn: %q", r.Obstacle)
	}
	// Three candidates of the same weight: the chances of an epoch's four seats add up to four in the
	// mean over all turns, and no node can do better than certain.
	r = of(0)
	var seats int
	for i, o := range r.Odds {
		if o.Epoch != uint32(i)+1 || o.Seats != 4 || o.Chance < 0 || o.Chance > 1 {
			t.Errorf("odds: %+v", o)
		}
		seats += o.Seats
	}
	if seats != 16 {
		t.Errorf("%d seats are drawn in %d epochs", seats, len(r.Odds))
	}
	for i, seat := range r.Sits {
		if seat.Holder == nil || seat.Moves || seat.Drawn < 1 || seat.Drawn > 4 ||
			i%4 != int(seat.Drawn+1)%4 {
			t.Errorf("seat %d: %+v", i, seat)
		}
	}
}

// TestOdds: odds are those of rotation.Candidates.Draw, over many seeds.
func TestOdds(t *testing.T) {
	list := []rotation.Candidate{{Node: 1, Weight: 300_000_000}, {Node: 4, Weight: 100_000_000},
		{Node: 7, Weight: 600_000_000}}
	net, err := pipelinetest.New(pipelinetest.Config{Members: 4, Clients: 1, EpochSeconds: 1000,
		GraceSeconds: 1, Stake: 100 * ledger.StakePerPower,
		Rotation: &ledger.Rotation{Seats: 16, TermEpochs: 4, MinStake: ledger.StakePerPower,
			StakeCap: 1 << 40, JailWithhold: 3, SlashWithhold: 100, JailAbsent: 2, EvidenceEpochs: 168,
			EvidenceSeconds: 24 * 60 * 60, EvidenceBlocks: 50_000, Reward: 5_000}})
	if err != nil {
		t.Fatal(err)
	}
	candidates, err := rotation.NewCandidates(list)
	if err != nil {
		t.Fatal(err)
	}
	r := &ledger.RotationView{Epoch: 5, Phase: ledger.PhaseReports, Candidates: list,
		Seats: make(rotation.Seats, 16)}
	const seeds = 2000
	for _, node := range []uint32{1, 4, 7} {
		for _, o := range odds(net.View(), r, node) {
			var won int
			for i := range seeds {
				seed := rollup.Hash{byte(i), byte(i >> 8)}
				drawn, err := r.Seats.DrawAll(candidates, seed, o.Epoch, 4)
				if err != nil {
					t.Fatal(err)
				}
				if slices.ContainsFunc(drawn,
					func(d rotation.Drawn) bool { return d.Due && d.Winner == node }) {
					won++
				}
			}
			if got := float64(won) / seeds; math.Abs(got-o.Chance) > 0.05 {
				t.Errorf("node %d wins in epoch %d with %.3f, told were %.3f", node, o.Epoch, got, o.Chance)
			}
		}
	}
	if got := odds(net.View(), r, 2); len(got) > 0 {
		t.Errorf("who is no candidate has odds: %v", got)
	}
}
