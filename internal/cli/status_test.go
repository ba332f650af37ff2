package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/telemetry"
)

// TestStatusLines: what is over, unknown or not there is said so, and not as a number.
func TestStatusLines(t *testing.T) {
	if got := closesIn(-11 * time.Second); got != "now" {
		t.Errorf("a window whose time is over closes in %s", got)
	}
	if got := closesIn(17400 * time.Millisecond); got != "17s" {
		t.Errorf("a window closes in %s", got)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var s nodeStatus
	s.Taken, s.Started = now, now.Add(-time.Minute)
	var b strings.Builder
	s.print(&b)
	for _, want := range []string{", not registered, version", "no block yet",
		"none: the node is not registered"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("an observer before the first block lacks %q:\n%s", want, &b)
		}
	}
	s.Node.Registered, s.Node.Index, s.Node.Owner = true, 0, 6
	s.Chain.Height, s.Chain.BlockTime = 12, now.Add(-2*time.Second)
	s.Settlements = []telemetry.Settlement{{Epoch: 0, At: now.Add(-9 * time.Second)}}
	b.Reset()
	s.print(&b)
	for _, want := range []string{", node 0, version", "block 12, 2s old", "; 0 was settled 9s ago",
		"account 6, "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("a node lacks %q:\n%s", want, &b)
		}
	}
}
