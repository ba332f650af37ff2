package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/pipeline/certify"
)

// TestJudgeMembers: a member is healthy while it is connected, votes, and takes pushes; what was
// seen long ago speaks neither for nor against it.
func TestJudgeMembers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Snapshot, *Member, *committee.PeerStatus)
		says   string // empty for a healthy member
		warns  string // by the check of votes
	}{
		{"there", func(*Snapshot, *Member, *committee.PeerStatus) {}, "", ""},
		{"just killed", func(s *Snapshot, _ *Member, p *committee.PeerStatus) {
			p.Connected, p.Since, p.Reason = false, s.Taken.Add(-2*time.Second), "refused"
		}, "not connected for 2s (refused)", ""},
		{"a slow vote", func(_ *Snapshot, m *Member, _ *committee.PeerStatus) {
			m.Missed, m.Silent = 20, 4
		}, "", ""},
		{"few blocks", func(_ *Snapshot, m *Member, _ *committee.PeerStatus) {
			m.Missed, m.Silent = 2, 40
		}, "", ""},
		{"mute", func(s *Snapshot, m *Member, _ *committee.PeerStatus) {
			m.Missed, m.Silent, m.Voted, m.VotedAt = 12, 6, 88, s.Taken.Add(-7*time.Second)
		}, "no vote in the last 12 blocks, the last on block 88, 7s ago", "node 3: no vote"},
		{"mute since the start", func(_ *Snapshot, m *Member, _ *committee.PeerStatus) {
			m.Missed, m.Silent = 12, 6
		}, "no vote in the last 12 blocks", "node 3: no vote"},
		{"mute itself", func(_ *Snapshot, m *Member, _ *committee.PeerStatus) {
			m.Missed, m.Silent, m.Self = 12, 6, true
		}, "no vote in the last 12 blocks", "this node: no vote"},
		{"failed push", func(s *Snapshot, m *Member, _ *committee.PeerStatus) {
			m.LastError, m.LastFailure = "timeout", s.Taken.Add(-3*time.Second)
		}, "did not take a rollup 3s ago: timeout", ""},
		{"failed push of long ago", func(s *Snapshot, m *Member, _ *committee.PeerStatus) {
			m.LastError, m.LastFailure = "timeout", s.Taken.Add(-time.Minute)
		}, "", ""},
		{"twice", func(s *Snapshot, m *Member, _ *committee.PeerStatus) {
			m.Doubles, m.DoubledAt = 5, s.Taken.Add(-2*time.Second)
		}, "voted twice in one step, 5 times since the start, the last 2s ago: " +
			"two processes have its keys", "node 3: voted twice"},
		{"twice, of long ago", func(s *Snapshot, m *Member, _ *committee.PeerStatus) {
			m.Doubles, m.DoubledAt = 5, s.Taken.Add(-2*time.Minute)
		}, "", ""},
	} {
		s := Snapshot{Taken: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
		s.Committee = []Member{{Member: certify.Member{Node: 3}, Power: 1}}
		s.Chain.Network = []committee.PeerStatus{{Node: 3, Member: true, Connected: true}}
		c.change(&s, &s.Committee[0], &s.Chain.Network[0])
		s.JudgeMembers()
		m, check := s.Committee[0], votesCheck(&s)
		if m.Healthy != (c.says == "") || m.Trouble != c.says {
			t.Errorf("%s: healthy %t, %q", c.name, m.Healthy, m.Trouble)
		}
		if check.Warning != (c.warns != "") || !strings.HasPrefix(check.Detail, c.warns) || !check.OK {
			t.Errorf("%s: %+v", c.name, check)
		}
	}
}
