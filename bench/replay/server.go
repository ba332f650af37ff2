package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// server is one serving node, and what it was given.
type server struct {
	url    string
	client *client.Client // for reads and transactions
	own    *client.Client // for acks and co-signing; nil until it has said who it is
	pin    client.Pin     // who it is

	queue *queue // of the deliveries that run, or ran last

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
	for _, url := range r.cfg.Nodes {
		c, err := client.New(client.Config{URL: url, Others: r.others(url), Batch: r.cfg.Batch,
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
	answered := slices.ContainsFunc(r.servers, func(s *server) bool { return s.own != nil })
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

// others are the other nodes' URLs.
func (r *Replay) others(url string) []string {
	return slices.DeleteFunc(slices.Clone(r.cfg.Nodes), func(u string) bool { return u == url })
}

// silent reports whether a node said nothing, rather than something wrong.
func silent(err error) bool {
	return client.Temporary(err) || errors.Is(err, client.ErrNoAnswer)
}

// identify asks a node, and no other, who it is, and holds that against the genesis. From then on
// its clients sign for it and co-sign.
func (r *Replay) identify(ctx context.Context, s *server) error {
	asked, err := client.New(client.Config{URL: s.url, Patience: r.cfg.Patience})
	if err != nil {
		return err
	}
	defer asked.Close()
	// One call first, which fails soon: Identity may wait for a node that is not there.
	if _, err := client.Call(ctx, asked.Ledger().GetStatus, &api.GetStatusRequest{}); err != nil {
		return asked.Explain(err)
	}
	pin, err := asked.Identity(ctx)
	if err != nil {
		return asked.Explain(err)
	}
	if pin.Network != r.network {
		return fmt.Errorf("node %s is of network %s, not %s", s.url, pin.Network, r.network)
	}
	if m, is := r.cfg.Genesis.Member(pin.Node); is && m.TransportKey != ledger.Key(pin.Key) {
		return fmt.Errorf(
			"node %s says that it is node %d, whose key is another one in the genesis",
			s.url, pin.Node)
	}
	// The others are asked about the ledger alone, when this one does not answer.
	own, err := client.New(client.Config{URL: s.url, Others: r.others(s.url), Pin: &pin,
		Book: r.cfg.Book, Committee: r.cfg.Genesis.Committee(), Terms: r.terms,
		Batch: r.cfg.Batch, Patience: r.cfg.Patience,
		Cosign: r.cosign(), Logger: r.cfg.Logger})
	if err != nil {
		return err
	}
	r.mu.Lock()
	s.own, s.pin = own, pin
	r.mu.Unlock()
	r.follow(s)
	return nil
}
