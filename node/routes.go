package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/serve"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/route"
)

const (
	// contactEvery is about how often other nodes are asked where they deliver content.
	contactEvery = 30 * time.Second
	// contactWithin is how long they may take.
	contactWithin = 3 * time.Second
	// contactsAtOnce is how many are asked at a time.
	contactsAtOnce = 32
)

// routes is what a node knows of where content is delivered. It is safe for concurrent use.
type routes struct {
	node *Node

	mu       sync.Mutex
	contacts map[uint32]string // by node; those that answered last
	list     *route.List       // as of the newest record that is certified
}

// contentAddress is what this node tells of where it delivers content.
func (n *Node) contentAddress() string {
	c := &n.cfg.Content
	if c.Listen == "" || !n.cfg.Node.Serving || c.URL != "" {
		return c.URL
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return ""
	}
	if names := n.cfg.Certificate.Names; len(names) > 0 { // which lead to this port, from 443
		host, port = names[0], "443"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = ""
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
	if c.TLSCert != "" || len(n.cfg.Certificate.Names) > 0 {
		u.Scheme = "https"
	}
	return u.String()
}

// startRoutes begins to ask other nodes where they deliver content.
func (n *Node) startRoutes() *routes {
	r := &routes{node: n, contacts: make(map[uint32]string)}
	ctx, cancel := context.WithCancel(context.Background())
	var worker sync.WaitGroup
	worker.Go(func() { r.run(ctx) })
	n.onStop(func() { cancel(); worker.Wait() })
	return r
}

// run asks all nodes again and again, at moments of its own. A node that has just begun asks more
// often: the others may begin with it.
func (r *routes) run(ctx context.Context) {
	for wait := time.Second; ; wait = min(2*wait, contactEvery) {
		r.ask(ctx)
		select {
		case <-time.After(wait + rand.N(wait/4)):
		case <-ctx.Done():
			return
		}
	}
}

func (r *routes) ask(ctx context.Context) {
	var all sync.WaitGroup
	places := make(chan struct{}, contactsAtOnce)
	for i := range uint32(r.node.chain.View().Nodes()) {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			r.contact(ctx, i)
		})
	}
	all.Wait()
}

// contact asks one node. What it said before counts no more when it does not answer.
func (r *routes) contact(ctx context.Context, node uint32) {
	ctx, cancel := context.WithTimeout(ctx, contactWithin)
	defer cancel()
	var at string
	var err error
	if r.node.known && node == r.node.index {
		at, err = r.node.members.OwnURL(r.node.contentAddress(), node)
	} else {
		at, err = r.node.members.Contact(ctx, node)
	}
	if err != nil {
		r.node.log.Debug("a node does not say where it delivers content", "node", node, "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || at == "" {
		delete(r.contacts, node)
	} else {
		r.contacts[node] = at
	}
}

// Contacts implements serve.Routes.
func (r *routes) Contacts() (list []serve.Contact) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, at := range r.contacts { // sorted below
		list = append(list, serve.Contact{Node: node, URL: at})
	}
	slices.SortFunc(list, func(a, b serve.Contact) int { return int(a.Node) - int(b.Node) })
	return list
}

// Nodes implements serve.Routes.
func (r *routes) Nodes() (serve.Nodes, error) {
	list, err := r.newest()
	if err != nil {
		return serve.Nodes{}, err
	}
	params := r.node.chain.View().Params()
	if list == nil { // nothing is certified yet
		return serve.Nodes{Stake: params.ServeStake, All: r.node.id.Genesis.FirstNodes()}, nil
	}
	return serve.Nodes{List: list.Append(nil), Epoch: list.Record.Epoch, All: list.Nodes,
		Stake: params.ServeStake, Height: list.Record.Height}, nil
}

// newest returns the list of nodes of the newest certified record; nil when there is none.
func (r *routes) newest() (*route.List, error) {
	found, ok := r.node.chain.View().NewestRecord()
	if !ok {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list != nil && r.list.Record.Height >= found.Record.Height {
		return r.list, nil
	}
	list, err := r.node.listAt(found)
	if err != nil {
		if r.list != nil {
			return r.list, nil // the record was just dropped, or a newer one is coming
		}
		return nil, err
	}
	r.list = list
	return list, nil
}

// listAt makes the list of nodes of a record.
func (n *Node) listAt(found *ledger.BlockRecord) (*route.List, error) {
	past := n.engine.Witness().Registry(found.Record.Height)
	heads, err := past.Heads()
	if err != nil {
		return nil, fmt.Errorf("the list of nodes: %w", err)
	}
	indices := make([]uint64, heads.Nodes.Count)
	for i := range indices {
		indices[i] = uint64(i)
	}
	list := &route.List{Record: &found.Record, Certificate: found.Certificate, Heads: heads}
	if len(indices) == 0 {
		return nil, errors.New("the list of nodes: there is none")
	}
	entries, _, err := past.Nodes(indices)
	if err != nil {
		return nil, fmt.Errorf("the list of nodes: %w", err)
	}
	for ; len(entries) > 0; entries = entries[registry.NodeSize:] {
		leaf, err := registry.ParseNode(entries[:registry.NodeSize])
		if err != nil {
			return nil, fmt.Errorf("the list of nodes: %w", err)
		}
		list.Nodes = append(list.Nodes, leaf)
	}
	return list, n.addServices(list, past)
}

// addServices adds the services of a list's record.
func (n *Node) addServices(list *route.List, past export.Prover) error {
	indices := make([]uint64, list.Heads.Services.Count)
	for i := range indices {
		indices[i] = uint64(i)
	}
	if len(indices) == 0 {
		return nil
	}
	entries, _, err := past.Services(indices)
	if err != nil {
		return fmt.Errorf("the list of services: %w", err)
	}
	for ; len(entries) > 0; entries = entries[registry.ServiceSize:] {
		leaf, err := registry.ParseService(entries[:registry.ServiceSize])
		if err != nil {
			return fmt.Errorf("the list of services: %w", err)
		}
		list.Services = append(list.Services, leaf)
	}
	return nil
}
