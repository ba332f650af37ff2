package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/rpc"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// registered names the registry indices that an executed registration created, a line each; other transactions have none.
func registered(ctx context.Context, c *ingest.Client, sender ledger.Key, b []byte) (lines []string, err error) {
	tx, err := ledger.ParseTx(b)
	if err != nil {
		return nil, err
	}
	switch body := tx.Body.(type) {
	case *ledger.ClientRegistration:
		req := &rpc.GetClientsRequest{}
		for _, p := range body.Clients {
			req.Keys = append(req.Keys, p.Key.String())
		}
		found, err := ingest.Call(ctx, c.Ledger().GetClients, req)
		if err != nil {
			return nil, err
		}
		for i, client := range found.Clients {
			lines = append(lines, fmt.Sprintf("client %d: %s", client.GetIndex(), shortHashes(req.Keys[i])))
		}
	case *ledger.ServiceRegistration:
		owner, err := ingest.Call(ctx, c.Ledger().GetAccount, &rpc.GetAccountRequest{By: &rpc.GetAccountRequest_Key{Key: sender.String()}})
		if err != nil {
			return nil, err
		}
		for s, err := range pages(func(from uint32) ([]*rpc.Service, uint32, error) {
			page, err := ingest.Call(ctx, c.Ledger().GetServices, &rpc.GetServicesRequest{From: from})
			return page.GetServices(), page.GetTotal(), err
		}) {
			if err != nil {
				return nil, err
			}
			if s.Owner == owner.GetIndex() && s.Unit == body.Unit { // of several the newest
				lines = []string{fmt.Sprintf("service %d: %s", s.Index, s.Unit)}
			}
		}
	case *ledger.NodeRegistration:
		for n, err := range pages(func(from uint32) ([]*rpc.Node, uint32, error) {
			page, err := ingest.Call(ctx, c.Ledger().GetNodes, &rpc.GetNodesRequest{From: from})
			return page.GetNodes(), page.GetTotal(), err
		}) {
			if err != nil {
				return nil, err
			}
			if n.TransportKey == body.TransportKey.String() {
				lines = []string{fmt.Sprintf("node %d: %s", n.Index, n.PeerAddress)}
			}
		}
	}
	return lines, nil
}

// pages yields the entries of a list that a node answers page by page.
func pages[T any](page func(from uint32) (entries []T, total uint32, err error)) iter.Seq2[T, error] {
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
