package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/pipeline/certify"
)

// TestPeersCheck: one member of four may be away with a warning that names it; with two away no
// block is decided, and after a moment the node is not ready.
func TestPeersCheck(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	member := func(node uint32, connected bool, for_ time.Duration) committee.PeerStatus {
		p := committee.PeerStatus{Node: node, Registered: true, Member: true, Connected: connected,
			Address: "h:1", Since: now.Add(-for_)}
		if !connected {
			p.Reason = "timeout"
		}
		return p
	}
	for _, c := range []struct {
		name        string
		network     []committee.PeerStatus
		ok, warning bool
		says        string
	}{
		{"all", []committee.PeerStatus{member(1, true, 0), member(2, true, 0), member(3, true, 0)},
			true, false, "every member"},
		{"one away", []committee.PeerStatus{member(1, true, 0), member(2, false, time.Minute),
			member(3, true, 0)},
			true, true, "node 2 at h:1 for 1m0s (timeout)"},
		{"two away, just now", []committee.PeerStatus{member(1, false, time.Second),
			member(2, false, time.Minute),
			member(3, true, 0)}, true, true, "node 1 at h:1 for 1s (timeout); node 2"},
		{"two away", []committee.PeerStatus{member(1, false, 6*time.Second),
			member(2, false, time.Minute),
			member(3, true, 0)}, false, true, "too few members"},
		{"another node with a member's number", []committee.PeerStatus{{Node: 1, Connected: true}},
			false, true, "node 1; node 2; node 3"},
	} {
		s := Snapshot{Taken: now, Chain: Chain{Network: c.network}}
		for i := range uint32(4) {
			s.Committee = append(s.Committee, Member{Member: certify.Member{Node: i}, Power: 10,
				Self: i == 0})
		}
		got := peersCheck(&s)
		if got.OK != c.ok || got.Warning != c.warning || !strings.Contains(got.Detail, c.says) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
