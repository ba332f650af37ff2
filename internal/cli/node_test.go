package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/telemetry"
)

// TestNodeStatusLines: what an operator asks first is said in words, and what others wrote cannot
// move the lines.
func TestNodeStatusLines(t *testing.T) {
	two, six := uint32(2), 6
	n := &nodeStanding{Node: telemetry.Node{Name: "edge", Registered: true, Index: 2, Owner: 7,
		Earned: 2_500_000, Balance: 9_000_000},
		Epoch: telemetry.Epoch{Start: time.Unix(0, 0), End: time.Unix(20, 0)},
		Rotation: &telemetry.Rotation{Epoch: 9, Phase: "reports", Term: 3, Seats: 4, Held: 1,
			Next: new(int), TermEpochs: 4, Candidates: 5,
			Sits:     []telemetry.Seat{{Holder: &two, Drawn: 11}, {}, {}, {}},
			Obstacle: "members did not find it healthy: see why",
			Conditions: []telemetry.Condition{{Name: "stands", Value: "at a\x1b[2Jb", OK: true},
				{Name: "healthy", Value: "no", Advice: "see why"}},
			Duties: []telemetry.DutyDone{{Epoch: 9, Points: 30, Possible: 44, Blocks: 22, Asked: true},
				{Epoch: 8, Points: 44, Possible: 44, Blocks: 22, Asked: true, Reported: true, Settled: true,
					Counts: true, Reward: 70_000}},
			Said: []telemetry.Said{{Epoch: 9, Member: 4, Seats: 2, Height: 12345, Answered: &six}},
		},
		Settlements: []telemetry.Settlement{{Epoch: 8, ToNode: 1_250_000}}}
	print := func() string {
		var b strings.Builder
		n.print(&b)
		return b.String()
	}
	got := print()
	for _, want := range []string{"edge, node 2 of account 7", "epoch 9 of 20s: members report on 5",
		"NO: members did not find it healthy: see why",
		"1, drawn anew: 1 in epoch 11; 0 from the next term on", "none as long as it is not eligible",
		"2.500000 credits since it started, 0.000000 of them for duties",
		"duties; 1.250000 in epoch 8", "UNHEALTHY",
		"30 of 44", "MISSING", "none so far", "0.070000",
		"12\u202f345"} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Errorf("an address of others reaches the terminal: %q", got)
	}
	n.Rotation.Obstacle = ""
	n.Rotation.Odds = []telemetry.Odds{{Epoch: 9, Seats: 1, Chance: 0.25}}
	got = print()
	if !strings.Contains(got, "a seat with 25 % in epoch 9; each epoch draws 1 seat ") {
		t.Errorf("its turn:\n%s", got)
	}
	n.Node.Registered = false
	if got := print(); !strings.Contains(got, "edge, not registered") ||
		strings.Contains(got, "eligible ") {
		t.Errorf("not registered:\n%s", got)
	}
	n.Rotation = nil
	if got := print(); !strings.Contains(got, "stays as it is") {
		t.Errorf("without rotation:\n%s", got)
	}
}
