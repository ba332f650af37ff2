package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-network/waybill/node/committee"
)

// MaxUnreachable is how long the committee's majority may be out of reach before a node says that
// it is not ready. Members that restart take a second or two.
const MaxUnreachable = 5 * time.Second

// peersCheck says which members have no connection to this node, since when and why. It fails when
// those that have one, with this node, are not enough to decide a block.
func peersCheck(s *Snapshot) Check {
	var total, reached uint64
	var missing []string
	var latest time.Time // when the last of them went
	for _, m := range s.Committee {
		total += m.Power
		p, ok := memberPeer(s, m.Node)
		if m.Self || ok && p.Connected {
			reached += m.Power
			continue
		}
		missing = append(missing, unreached(s, m.Node, p))
		if ok && p.Since.After(latest) {
			latest = p.Since
		}
	}
	if len(missing) == 0 {
		return Check{Name: "peers", OK: true, Detail: "every member of the committee is connected"}
	}
	detail := "no connection to " + strings.Join(missing, "; ")
	if reached > total*2/3 {
		return Check{Name: "peers", OK: true, Warning: true, Detail: detail}
	}
	return Check{Name: "peers", OK: s.Taken.Sub(latest) <= MaxUnreachable, Warning: true,
		Detail: "too few members to decide a block: " + detail}
}

func memberPeer(s *Snapshot, node uint32) (committee.PeerStatus, bool) {
	i := slices.IndexFunc(s.Chain.Network, func(p committee.PeerStatus) bool {
		return p.Member && p.Node == node
	})
	if i < 0 {
		return committee.PeerStatus{}, false
	}
	return s.Chain.Network[i], true
}

func unreached(s *Snapshot, node uint32, p committee.PeerStatus) string {
	text := fmt.Sprintf("node %d", node)
	if p.Address != "" {
		text += " at " + p.Address
	}
	if !p.Since.IsZero() {
		text += fmt.Sprintf(" for %v", s.Taken.Sub(p.Since).Round(time.Second))
	}
	if p.Reason != "" {
		text += " (" + p.Reason + ")"
	}
	return text
}
