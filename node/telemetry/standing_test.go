package telemetry

import (
	"strings"
	"testing"
	"time"
)

// TestAges: what a check knows from long ago it says with its age.
func TestAges(t *testing.T) {
	old := func(s *Snapshot) {
		s.Chain.Executed, s.Chain.SkewAt = s.Taken.Add(-20*time.Second), s.Taken.Add(-20*time.Second)
	}
	for _, c := range []struct {
		check, says string
		warns       bool
		change      func(*Snapshot)
	}{
		{"clock", "200ms from the chain's, at most 5s", false, func(*Snapshot) {}},
		{"clock", "200ms from the chain's, at most 5s, measured 20s ago", false, old},
		{"clock", "not measured yet", false, func(s *Snapshot) { s.Chain.SkewAt = time.Time{} }},
		{"snapshot", "no hand-over waits for one of this node", false,
			func(s *Snapshot) { s.Rotation = new(Rotation) }},
		{"snapshot", "this node does not sign the hand-over that waits: no space left on device", true,
			func(s *Snapshot) {
				s.Rotation, s.Chain.Snapshotless = new(Rotation), "no space left on device"
			}},
		{"blocks", "block 10 is 20s old, at most 30s", true, old},
		{"blocks", "block 10 is 12s old, at most 30s; none came since the start", true,
			func(s *Snapshot) {
				s.Chain.Executed, s.Chain.BlockTime = time.Time{}, s.Taken.Add(-12*time.Second)
			}},
		{"upgrade", "version 3 of the rules holds from epoch 30 on, in 30 epochs, in 29 hours at the " +
			"earliest, and this program knows it", false, func(*Snapshot) {}},
		{"upgrade", "version 4 of the rules holds from epoch 30 on, in 1 epoch, in 3 days at the " +
			"earliest. THIS PROGRAM DOES NOT KNOW IT, and stops then: install waybill\\u202e4", true,
			func(s *Snapshot) {
				s.Epoch.Number = 29
				s.Rules.Next = &Upgrade{Version: 4, Epoch: 30, Name: "waybill\u202e4",
					At: s.Taken.Add(73 * time.Hour)}
			}},
		{"upgrade", "version 3 of the rules, and no other is planned", false,
			func(s *Snapshot) { s.Rules = Rules{Version: 3} }},
		{"registration", "node 0", false, func(s *Snapshot) { s.Node.Registered = true }},
		{"registration", "not registered", false, func(*Snapshot) {}},
		{"registration", "not registered, so it takes no acks: 'waybill tx register-node', " +
			"with the transport key ab", true,
			func(s *Snapshot) { s.Node.Wanted, s.Node.Key = true, "ab" }},
		{"registration", "registered as node 7 since it started: it serves after a restart", true,
			func(s *Snapshot) { s.Node.Index, s.Node.Registered, s.Node.Late = 7, true, true }},
	} {
		s := healthy()
		c.change(&s)
		for _, check := range Checks(&s) {
			if check.Name == c.check && (!check.OK || check.Warning != c.warns ||
				!strings.HasPrefix(check.Detail, c.says)) {
				t.Errorf("%+v, not %q", check, c.says)
			}
		}
	}
}

// TestProverWords: every stage of the child process is a sentence.
func TestProverWords(t *testing.T) {
	for _, stage := range []string{"idle", "loading", "ready", "proving", "proved", "failed"} {
		p := Prover{Stage: stage}
		if words := p.Words(); strings.Contains(words, ":") || !strings.HasPrefix(words, "the prover") {
			t.Errorf("%s: %q", stage, words)
		}
	}
}
