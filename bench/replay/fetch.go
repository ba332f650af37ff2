package replay

import (
	"context"
	"fmt"
	"sync"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/route"
)

// candidates are how many nodes a content is asked of.
const candidates = 3

// Ready returns when every node knows all parties that are registered, and has said who it is. From
// then on visits are possible.
func (r *Replay) Ready(ctx context.Context) error {
	r.enroll()
	var group sync.WaitGroup
	errs := make([]error, len(r.servers))
	for i, s := range r.servers {
		group.Go(func() {
			errs[i] = s.client.WaitForHeight(ctx, r.height)
			if errs[i] == nil && s.own == nil {
				errs[i] = r.identify(ctx, s)
			}
		})
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("node %s: %w", r.servers[i].url, err)
		}
	}
	return nil
}

// enroll has the registered parties be known by their indices.
func (r *Replay) enroll() {
	all := make(map[uint64]*customer, len(r.parties))
	for _, c := range r.parties {
		all[c.index] = c
	}
	r.byIndex.Store(&all)
}

// Visit is one client's stay at one payer's site: it fetches contents from the nodes, and its acks
// pay for them. Close it.
type Visit struct {
	*client.Fetcher
	Client  uint64
	Payer   uint32
	Service uint32
}

// Visit begins one of the client of a delivery. All visits share the replay's connections and its
// book, as those of one program do.
func (r *Replay) Visit(d *workload.Delivery) (*Visit, error) {
	c, ok := r.parties[partyOf(d)]
	if !ok {
		return nil, fmt.Errorf("replay: client %s of %s is not registered", d.Address, d.Payer)
	}
	v := &Visit{Client: c.index, Payer: c.payer, Service: r.services[d.Service]}
	var err error
	v.Fetcher, err = client.NewFetcher(client.FetchConfig{Router: router{r}, Client: c.index,
		Key: c.secret, Service: v.Service})
	return v, err
}

// router finds the nodes of a content by rendezvous: each content is at home at few nodes.
type router struct{ *Replay }

// Route implements client.Router.
func (r router) Route(_ context.Context, root rollup.Hash) (found []*client.Client, err error) {
	nodes := make([]route.Node, len(r.servers))
	for i, s := range r.servers {
		nodes[i] = route.Node{Index: s.pin.Node, Stake: r.stake(s.pin.Node)}
	}
	for _, index := range route.Candidates(root, nodes, candidates) {
		for _, s := range r.servers {
			if s.pin.Node == index {
				found = append(found, s.own)
			}
		}
	}
	return found, nil
}

// stake is what a member has staked; others count as the least of them does.
func (r *Replay) stake(node uint32) uint64 {
	if m, is := r.cfg.Genesis.Member(node); is {
		return m.Stake
	}
	return 1
}
