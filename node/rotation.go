package node

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// fillRotation says how the seats of the committee are held and drawn, and how this node stands.
func (n *Node) fillRotation(s *telemetry.Snapshot, view *ledger.View) {
	r, rotates := view.Rotation()
	if !rotates {
		return
	}
	out := &telemetry.Rotation{Term: view.Committee().Term, Epoch: r.Epoch,
		Phase: r.Phase.String(), Seats: len(r.Seats), Candidates: len(r.Candidates)}
	if n.known {
		out.Held = r.Seats.Held(n.index)
		if r.Next != nil {
			next := r.Next.Held(n.index)
			out.Next = &next
		}
		out.Obstacle = obstacle(view, r.Candidates, n.index)
	}
	if n.prober != nil {
		if found, ok := n.prober.Found(); ok {
			for _, m := range found.Measured {
				out.Probed = append(out.Probed, telemetry.Probed{Node: m.Node, Asked: m.Asked,
					Answered: m.Answered, Median: m.Median, Healthy: m.Healthy, Why: m.Why})
			}
		}
	}
	s.Rotation = out
}

// obstacle says why a node cannot be drawn, and what ends that; "" when it can be.
func obstacle(view *ledger.View, candidates []rotation.Candidate, node uint32) string {
	standing, stands := view.Standing(node)
	x, _ := view.Node(node)
	least := view.Params().Rotation.MinStake
	isCandidate := slices.ContainsFunc(candidates,
		func(c rotation.Candidate) bool { return c.Node == node })
	switch {
	case x.Until != ledger.Forever:
		return "it leaves: its stake was taken back"
	case !stands:
		return "it does not stand: its owner says so with waybill tx stand"
	case standing.Jailed > view.Epoch():
		return fmt.Sprintf("it is jailed: its owner can take it out from epoch %d on, with waybill tx "+
			"unjail", standing.Jailed)
	case standing.Jailed > 0:
		return "it is jailed, and its owner can take it out now, with waybill tx unjail"
	case x.Stake < least:
		return fmt.Sprintf("its stake of %s is below the %s that a candidate has",
			text.Credits(x.Stake), text.Credits(least))
	case !isCandidate:
		return "it stands since this epoch began, and is a candidate in the next one"
	}
	return ""
}
