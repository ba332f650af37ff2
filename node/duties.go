package node

import (
	"context"

	"github.com/waybill-network/waybill/node/duty"
)

// startDuties does what a committee that rotates expects of a registered node, until Stop.
func (n *Node) startDuties(context.Context) error {
	if !n.id.rotates() || !n.known {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.onStop(cancel)
	n.tasks.Go(func() {
		duty.Run(ctx, duty.Config{Chain: n.chain, Node: n.index, BLS: n.id.BLS,
			Consensus: n.id.Consensus, Health: &duty.Answers{Self: n.index, Ask: n.answers},
			Able: n.engine.Able, Logger: n.log})
	})
	return nil
}

// answers calls a node at its peer port.
func (n *Node) answers(ctx context.Context, node uint32) error {
	_, err := n.members.Contact(ctx, node)
	return err
}
