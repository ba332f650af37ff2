package telemetry

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Limits of what is known about members.
const (
	// MaxMissed blocks in a row may go without a vote of a member, or any number within MaxSilent:
	// a block waits for two thirds of the votes, and the slow ones come too late at times.
	MaxMissed = 3
	MaxSilent = 5 * time.Second
	// MaxFailureAge is how long a push that failed speaks against a member. While there is
	// something to push it is tried again sooner.
	MaxFailureAge = 30 * time.Second
)

// JudgeMembers sets Healthy and Trouble of every member from what else the snapshot says.
func (s *Snapshot) JudgeMembers() {
	for i := range s.Committee {
		m := &s.Committee[i]
		var trouble []string
		if p, ok := memberPeer(s, m.Node); ok && !m.Self && !p.Connected {
			trouble = append(trouble, fmt.Sprintf("not connected for %v (%s)",
				s.Taken.Sub(p.Since).Round(time.Second), cmp.Or(p.Reason, "not reached yet")))
		}
		if m.mute() {
			trouble = append(trouble, m.muteness(s.Taken))
		}
		if age := s.Taken.Sub(m.LastFailure); m.LastError != "" && age <= MaxFailureAge {
			trouble = append(trouble, fmt.Sprintf("did not take a rollup %v ago: %s",
				age.Round(time.Second), m.LastError))
		}
		if m.doubled(s.Taken) {
			trouble = append(trouble, m.doubling(s.Taken))
		}
		m.Healthy, m.Trouble = len(trouble) == 0, strings.Join(trouble, ", ")
	}
}

// mute says that blocks go on without the member's votes.
func (m *Member) mute() bool { return m.Missed >= MaxMissed && seconds(m.Silent) > MaxSilent }

func (m *Member) muteness(now time.Time) string {
	text := fmt.Sprintf("no vote in the last %d blocks", m.Missed)
	if m.VotedAt.IsZero() {
		return text
	}
	return text + fmt.Sprintf(", the last on block %d, %v ago", m.Voted,
		now.Sub(m.VotedAt).Round(time.Second))
}

// votesCheck warns of members whose votes the chain does without, this node's own among them, and
// of others that vote twice.
func votesCheck(s *Snapshot) Check {
	var wrong, about []string
	for i := range s.Committee {
		m := &s.Committee[i]
		who := fmt.Sprintf("node %d", m.Node)
		if m.Self {
			who = "this node"
		}
		switch {
		case m.mute():
			wrong = append(wrong, who+": "+m.muteness(s.Taken))
		case m.doubled(s.Taken) && !m.Self:
			wrong = append(wrong, who+": "+m.doubling(s.Taken))
		default:
			continue
		}
		about = append(about, who)
	}
	if len(wrong) == 0 {
		return Check{Name: "votes", OK: true, Detail: "the chain carries every member's votes"}
	}
	return Check{Name: "votes", OK: true, Warning: true, Detail: strings.Join(wrong, "; "),
		About: about}
}
