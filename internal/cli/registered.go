package cli

import (
	"context"
	"iter"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// entry is what a registration created in the registry.
type entry struct {
	Kind  string `json:"kind"` // client, service or node
	Index uint64 `json:"index"`
	Name  string `json:"name"` // a client's key, a service's unit, a node's address
}

// registered returns what an executed registration of an account created; other transactions create
// nothing.
func registered(ctx context.Context, c *client.Client, sender ledger.Key,
	b []byte) (entries []entry, err error) {
	tx, err := ledger.ParseTx(b)
	if err != nil {
		return nil, err
	}
	switch body := tx.Body.(type) {
	case *ledger.ServiceRegistration:
		owner, err := client.Call(ctx, c.Ledger().GetAccount,
			&api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: sender.String()}})
		if err != nil {
			return nil, err
		}
		for s, err := range pages(func(from uint32) ([]*api.Service, uint32, error) {
			page, err := client.Call(ctx, c.Ledger().GetServices,
				&api.GetServicesRequest{From: from})
			return page.GetServices(), page.GetTotal(), err
		}) {
			if err != nil {
				return nil, err
			}
			if s.Owner == owner.GetIndex() && s.Unit == body.Unit { // of several the newest
				entries = []entry{{"service", uint64(s.Index), s.Unit}}
			}
		}
	case *ledger.NodeRegistration:
		for n, err := range pages(func(from uint32) ([]*api.Node, uint32, error) {
			page, err := client.Call(ctx, c.Ledger().GetNodes, &api.GetNodesRequest{From: from})
			return page.GetNodes(), page.GetTotal(), err
		}) {
			if err != nil {
				return nil, err
			}
			if n.TransportKey == body.TransportKey.String() {
				entries = []entry{{"node", uint64(n.Index), n.PeerAddress}}
			}
		}
	}
	return entries, nil
}

// pages yields the entries of a list that a node answers page by page.
func pages[T any](
	page func(from uint32) (entries []T, total uint32, err error),
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for from := uint32(0); ; {
			entries, total, err := page(from)
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if from += uint32(len(entries)); from >= total || len(entries) == 0 {
				return
			}
		}
	}
}
