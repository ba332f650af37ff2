package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
)

// server is one serving node, and what it was given.
type server struct {
	url    string
	client *client.Client
	node   uint32 // its registry index
	known  bool   // that it is of the network, and its index: it has answered

	// Of the deliveries that run, or ran last.
	queue   *queue
	signers map[uint32]*customer // by index

	undelivered uint64 // guarded by Replay.mu while deliveries run
	failed      error  // why it was given up; set between deliveries
	cosignErr   error  // guarded by Replay.mu
}

// Undelivered is how many deliveries a node was not given, or has not answered.
type Undelivered struct {
	Node string `json:"node"` // its URL
	Acks uint64 `json:"acks"`
}

// Undelivered lists the nodes that deliveries are missing at. It is called between deliveries.
func (r *Replay) Undelivered() []Undelivered {
	var list []Undelivered
	for _, s := range r.servers {
		if s.undelivered > 0 {
			list = append(list, Undelivered{s.url, s.undelivered})
		}
	}
	return list
}

// connect makes a client for each node, and asks the nodes who they are. Those that do not answer
// are asked again when something is to be delivered to them, unless no node answers.
func (r *Replay) connect(ctx context.Context) error {
	for i, url := range r.cfg.Nodes {
		others := slices.Delete(slices.Clone(r.cfg.Nodes), i, i+1)
		c, err := client.New(client.Config{URL: url, Others: others, Batch: r.cfg.Batch,
			Patience: r.cfg.Patience, Cosign: r.cosign(), Logger: r.cfg.Logger})
		if err != nil {
			return err
		}
		r.servers = append(r.servers, &server{url: url, client: c})
	}
	errs := make([]error, len(r.servers))
	var asking sync.WaitGroup
	for i, s := range r.servers {
		asking.Go(func() { errs[i] = r.identify(ctx, s) })
	}
	asking.Wait()
	answered := slices.ContainsFunc(r.servers, func(s *server) bool { return s.known })
	var wrong []error
	for _, err := range errs {
		if err != nil && !silent(err) {
			wrong = append(wrong, err)
		}
	}
	switch {
	case len(wrong) > 0:
		return errors.Join(wrong...)
	case !answered:
		return fmt.Errorf("replay: no node answers: %w", errors.Join(errs...))
	}
	return nil
}

// silent reports whether a node said nothing, rather than something wrong.
func silent(err error) bool {
	return client.Temporary(err) || errors.Is(err, client.ErrNoAnswer)
}

// identify asks a node, and no other, who it is. From then on its clients co-sign.
func (r *Replay) identify(ctx context.Context, s *server) error {
	own, err := client.New(client.Config{URL: s.url, Patience: r.cfg.Patience})
	if err != nil {
		return err
	}
	defer own.Close()
	// One call first, which fails soon: Windows waits for a node that is not there.
	if _, err := client.Call(ctx, own.Ledger().GetStatus, &api.GetStatusRequest{}); err != nil {
		return own.Explain(err)
	}
	var open client.OpenWindow
	err = own.Windows(ctx, func(w client.OpenWindow) bool { open = w; return false })
	switch {
	case err != nil:
		return own.Explain(err)
	case open.Network != r.cfg.Network:
		return fmt.Errorf("node %s is of network %s, not %s", s.url, open.Network, r.cfg.Network)
	}
	s.node, s.known = open.Key.Node, true
	r.follow(s)
	return nil
}
