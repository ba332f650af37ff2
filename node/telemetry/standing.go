package telemetry

import (
	"fmt"
	"time"

	"github.com/waybill-network/waybill/internal/text"
)

// MaxDoubleAge is how long two votes that exclude each other say that a member's keys are in two
// processes. While both run, a pair comes every few seconds.
const MaxDoubleAge = time.Minute

// BlockAge is how old the last block is: since it was executed, or, of one of an earlier run, by
// the chain's clock. ok is false before the first.
func (s *Snapshot) BlockAge() (age time.Duration, ok bool) {
	switch {
	case !s.Chain.Executed.IsZero():
		return s.Taken.Sub(s.Chain.Executed), true
	case s.Chain.Height > 0:
		return s.Taken.Sub(s.Chain.BlockTime), true
	}
	return 0, false
}

func blocksCheck(s *Snapshot) Check {
	age, ok := s.BlockAge()
	if !ok {
		return Check{Name: "blocks", Detail: "no block yet"}
	}
	detail := fmt.Sprintf("block %d is %v old, at most %v", s.Chain.Height,
		age.Round(time.Millisecond), MaxBlockAge)
	if s.Chain.Executed.IsZero() {
		detail += "; none came since the start"
	}
	return Check{Name: "blocks", OK: age <= MaxBlockAge, Warning: age > OldBlockAge, Detail: detail}
}

// clockCheck says what the last measurement was, and how old it is: blocks are what there is to
// measure with.
func clockCheck(s *Snapshot) Check {
	if s.Chain.SkewAt.IsZero() {
		return Check{Name: "clock", OK: true, Detail: "not measured yet: no block was made since " +
			"the start"}
	}
	skew := seconds(s.Chain.Skew)
	detail := fmt.Sprintf("%v from the chain's, at most %v", skew, MaxClockSkew)
	if age := s.Taken.Sub(s.Chain.SkewAt); age > OldBlockAge {
		detail += fmt.Sprintf(", measured %v ago", age.Round(time.Second))
	}
	return Check{Name: "clock", OK: skew.Abs() <= MaxClockSkew, Detail: detail}
}

// doubled says that the member's keys sign in two processes.
func (m *Member) doubled(now time.Time) bool {
	return !m.DoubledAt.IsZero() && now.Sub(m.DoubledAt) <= MaxDoubleAge
}

func (m *Member) doubling(now time.Time) string {
	return fmt.Sprintf("voted twice in one step, %s since the start, the last %v ago: two processes "+
		"have its keys", text.Plural(m.Doubles, "time"), now.Sub(m.DoubledAt).Round(time.Second))
}

// keysCheck fails while another process votes with this node's keys. It cannot know which of the
// two is the copy.
func keysCheck(s *Snapshot) Check {
	for i := range s.Committee {
		m := &s.Committee[i]
		if m.Self && m.doubled(s.Taken) {
			return Check{Name: "keys", Detail: fmt.Sprintf("another process votes with this node's "+
				"keys: seen %s since the start, the last %v ago; stop one of the two before they are "+
				"convicted", text.Plural(m.Doubles, "time"),
				s.Taken.Sub(m.DoubledAt).Round(time.Second))}
		}
	}
	return Check{Name: "keys", OK: true, Detail: "nobody else was seen to sign with them"}
}

// snapshotCheck warns when this member leaves the others to hand over.
func snapshotCheck(s *Snapshot) Check {
	if why := s.Chain.Snapshotless; why != "" {
		return Check{Name: "snapshot", OK: true, Warning: true,
			Detail: "this node does not sign the hand-over that waits: " + text.Line(why)}
	}
	return Check{Name: "snapshot", OK: true, Detail: "no hand-over waits for one of this node"}
}

// registrationCheck warns when a node that is to serve is not registered. A node that only follows
// the chain needs no place in the ledger.
func registrationCheck(s *Snapshot) Check {
	c := Check{Name: "registration", OK: true, Detail: s.Node.Place()}
	switch {
	case s.Node.Late:
		c.Warning = true
		c.Detail = fmt.Sprintf("registered as node %d since it started: it serves after a restart",
			s.Node.Index)
	case !s.Node.Registered && s.Node.Wanted:
		c.Warning = true
		c.Detail += ", so it takes no acks: 'waybill tx register-node', with the transport key " +
			s.Node.Key
	}
	return c
}

// Place says what the ledger knows of the node.
func (n *Node) Place() string {
	if !n.Registered {
		return "not registered"
	}
	return fmt.Sprintf("node %d", n.Index)
}

// Words says what the prover does.
func (p *Prover) Words() string {
	switch p.Stage {
	case "idle":
		return "the prover waits for its first window"
	case "loading":
		return "the prover loads its key"
	case "ready", "proved":
		return "the prover waits for a window"
	case "failed":
		return "the prover failed"
	case "proving":
		return "the prover is at work"
	}
	return "the prover: " + p.Stage
}

// upgradeCheck warns of an upgrade that this program does not know. It is OK: until then all is as
// it was.
func upgradeCheck(s *Snapshot) Check {
	r := &s.Rules
	next := r.Next
	if next == nil {
		return Check{Name: "upgrade", OK: true,
			Detail: fmt.Sprintf("version %d of the rules, and no other is planned", r.Version)}
	}
	detail := fmt.Sprintf("version %d of the rules holds from epoch %d on, in %s, in %s at the "+
		"earliest", next.Version, next.Epoch, text.Plural(int64(next.Epoch)-int64(s.Epoch.Number),
		"epoch"), ahead(next.At.Sub(s.Taken)))
	if next.Version <= r.Known {
		return Check{Name: "upgrade", OK: true, Detail: detail + ", and this program knows it"}
	}
	return Check{Name: "upgrade", OK: true, Warning: true, About: []string{next.Name},
		Detail: fmt.Sprintf("%s. THIS PROGRAM DOES NOT KNOW IT, and stops then: install %s", detail,
			text.Name(next.Name))}
}

// ahead writes how long something is ahead, by days when it is long.
func ahead(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return text.Plural(int(d/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return text.Plural(int(d/time.Hour), "hour")
	case d >= 2*time.Minute:
		return text.Plural(int(d/time.Minute), "minute")
	}
	return text.Plural(max(0, int(d/time.Second)), "second")
}
