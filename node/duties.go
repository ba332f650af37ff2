package node

import (
	"context"

	"github.com/waybill-network/waybill/node/duty"
	"github.com/waybill-network/waybill/node/health"
)

// startDuties does what a committee that rotates expects of a registered node, until Stop.
func (n *Node) startDuties(context.Context) error {
	if !n.id.rotates() || !n.known {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.onStop(cancel)
	n.prober = health.NewProber(health.Config{Chain: n.chain, Self: n.index, Key: n.id.Transport,
		Ask: n.members.Probe, Store: n.store, Logger: n.log})
	n.tasks.Go(func() {
		duty.Run(ctx, duty.Config{Chain: n.chain, Node: n.index, Keys: n.signer, Health: n.prober,
			Able: n.engine.Able, Logger: n.log})
	})
	return nil
}
