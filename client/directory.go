package client

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/route"
)

// DirectoryConfig says how nodes are found.
type DirectoryConfig struct {
	// Genesis is the network's genesis file. Its committee vouches for all other nodes.
	Genesis []byte
	// Ask are the content ports of nodes that are asked for the list of all; any will do. At least
	// one is required.
	Ask []string
	// Node says how nodes are talked to. Its Book is required; URL and Pin are each node's own, and
	// Committee is that of the genesis file. Terms are kept where they were opened; by default the
	// directory follows a committee that rotates for itself.
	Node Config
	// Refresh is how old the list may be before it is asked for again. By default it is a minute.
	Refresh time.Duration
}

// Directory is a Router by what the committee signed: it has a list of all nodes from whichever
// node gives one, checks it, and computes the candidates of each content by itself (protocol
// section 20). Where a candidate is, the node that gave the list says; who signs there is checked
// with everything that comes from there. It is safe for concurrent use. Close it after the fetchers
// that use it.
type Directory struct {
	cfg     DirectoryConfig
	network rollup.Network
	stake   uint64                  // that serving takes
	http    map[string]*http.Client // by scheme

	refreshing sync.Mutex
	mu         sync.Mutex
	nodes      []registry.Node
	urls       map[uint32]string
	epoch      uint32
	height     uint64    // of the record
	asked      time.Time // last, in vain or not
	clients    map[Pin]*Client
}

// NewDirectory returns a directory, which asks when it is used.
func NewDirectory(cfg DirectoryConfig) (*Directory, error) {
	genesis, err := ledger.ParseGenesis(cfg.Genesis)
	if err != nil {
		return nil, err
	}
	if len(cfg.Ask) == 0 || cfg.Node.Book == nil {
		return nil, errors.New("client: a Directory without a node to ask or without a book")
	}
	or(&cfg.Refresh, time.Minute)
	d := &Directory{cfg: cfg, network: genesis.Network(),
		stake: genesis.Params.ServeStake, clients: make(map[Pin]*Client)}
	d.nodes = genesis.FirstNodes()
	d.cfg.Node.complete()
	d.cfg.Node.Committee = genesis.Committee()
	if d.cfg.Node.Terms == nil && genesis.Params.Rotation != nil {
		d.cfg.Node.Terms = newTerms(genesis)
	}
	d.http = make(map[string]*http.Client)
	for _, scheme := range []string{"http", "https"} {
		d.http[scheme] = newEndpoint(&url.URL{Scheme: scheme}, &d.cfg.Node).http
	}
	for _, ask := range cfg.Ask {
		u, err := url.Parse(ask)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("client: node address %q: not http://host:port or https://host:port",
				ask)
		}
	}
	return d, nil
}

// Close closes the connections to all nodes.
func (d *Directory) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.http { // order-free
		h.CloseIdleConnections()
	}
	for _, c := range d.clients { // order-free
		c.Close()
	}
}

// Candidate is a node that content may come from.
type Candidate struct {
	URL   string
	Pin   Pin
	Stake uint64 // micro-credits
}

// Candidates returns the candidates of a content, the best first.
func (d *Directory) Candidates(ctx context.Context, root rollup.Hash) ([]Candidate, error) {
	if err := d.refresh(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	answering := slices.DeleteFunc(route.Eligible(d.nodes, d.epoch, d.stake),
		func(n route.Node) bool { return d.urls[n.Index] == "" })
	var list []Candidate
	for _, i := range route.Candidates(root, answering, route.Default) {
		n := &d.nodes[i]
		list = append(list, Candidate{URL: d.urls[i], Stake: n.Stake,
			Pin: Pin{Network: d.network, Node: i, Key: n.NodeKey}})
	}
	return list, nil
}

// Route implements Router.
func (d *Directory) Route(ctx context.Context, root rollup.Hash) (nodes []*Client, err error) {
	list, err := d.Candidates(ctx, root)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range list {
		c := d.clients[x.Pin]
		if c == nil || c.cfg.URL != x.URL { // it moved; the old one is of use to who has it
			cfg := d.cfg.Node
			cfg.URL, cfg.Pin = x.URL, &x.Pin
			if c, err = New(cfg); err != nil {
				return nil, err
			}
			d.clients[x.Pin] = c
		}
		nodes = append(nodes, c)
	}
	return nodes, nil
}

// refresh asks for the list when it is old. When nobody gives one the old one stays, if there is
// one.
func (d *Directory) refresh(ctx context.Context) error {
	d.mu.Lock()
	known, old := len(d.urls) > 0, time.Since(d.asked) >= d.cfg.Refresh
	d.mu.Unlock()
	switch {
	case known && !old:
		return nil
	case !known:
		d.refreshing.Lock()
	case !d.refreshing.TryLock():
		return nil // somebody asks
	}
	if known {
		go func() { // what is known is good enough for now
			defer d.refreshing.Unlock()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Node.CallTimeout)
			defer cancel()
			if err := d.ask(ctx); err != nil {
				d.cfg.Node.Logger.Info("no node gives the list of all", "err", err)
			}
		}()
		return nil
	}
	defer d.refreshing.Unlock()
	d.mu.Lock()
	known = len(d.urls) > 0
	d.mu.Unlock()
	if known {
		return nil
	}
	return d.ask(ctx)
}

// ask asks one node after the other, beside each other when one is slow, until one has given a list
// that holds.
func (d *Directory) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Node.CallTimeout)
	defer cancel()
	d.mu.Lock()
	d.asked = time.Now()
	ask := slices.Clone(d.cfg.Ask)
	for _, at := range d.urls { // any will do: order-free
		if !slices.Contains(ask, at) {
			ask = append(ask, at)
		}
	}
	d.mu.Unlock()
	answers := make(chan error, len(ask))
	next := func() {
		at := ask[0]
		ask = ask[1:]
		go func() { answers <- d.askOne(ctx, at) }()
	}
	next()
	hedge := time.NewTicker(d.cfg.Node.Hedge)
	defer hedge.Stop()
	var failures []error
	for running := 1; running > 0; {
		select {
		case err := <-answers:
			if err == nil {
				return nil
			}
			running--
			failures = append(failures, err)
		case <-hedge.C:
		}
		if len(ask) > 0 {
			next()
			running++
		}
	}
	return errors.Join(failures...)
}

// maxListed bounds a list of nodes in JSON.
const maxListed = 64 << 20

// askOne asks a node for the list and takes it over.
func (d *Directory) askOne(ctx context.Context, at string) (err error) {
	defer func() {
		if err != nil {
			err = &NodeError{at, "list of nodes", err}
		}
	}()
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	listed, err := askForList(ctx, d.http[u.Scheme], at)
	if err != nil {
		return err
	}
	if listed.Network != d.network {
		return rollup.Refuse(ReasonOtherNetwork, "%s, not %s", listed.Network, d.network)
	}
	ledger := api.NewLedgerServiceClient(d.http[u.Scheme], at)
	take := func() error { return d.take(listed.List) }
	if err := d.cfg.Node.following(ctx, ledger, take); err != nil {
		return err
	}
	urls := make(map[uint32]string)
	for _, c := range listed.Contacts {
		if u, err := url.Parse(c.URL); err == nil && u.Host != "" &&
			(u.Scheme == "http" || u.Scheme == "https") {
			urls[c.Node] = u.Scheme + "://" + u.Host
		}
	}
	if len(urls) == 0 {
		return errors.New("it knows no node that delivers content")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.urls = urls
	return nil
}

// listed is what a node answers to GET /nodes.
type listed struct {
	Network  rollup.Network
	List     string
	Contacts []struct {
		Node uint32
		URL  string
	}
}

// askForList asks a node for the list of all.
func askForList(ctx context.Context, by *http.Client, at string) (*listed, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"/nodes", nil)
	if err != nil {
		return nil, err
	}
	response, err := by.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, refusedBy(response)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxListed))
	if err != nil {
		return nil, err
	}
	answer := new(listed)
	return answer, json.Unmarshal(text, answer)
}

// parseList reads a list and verifies it: ReasonRecord.
func parseList(text string, network rollup.Network, cfg *Config) (*route.List, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, rollup.Refuse(ReasonRecord, "%w", err)
	}
	list, err := route.ParseList(b)
	var committee *rollup.Committee
	if err == nil {
		committee, err = cfg.signers(list.Record)
	}
	if err == nil {
		err = list.Verify(network, committee)
	}
	if err != nil {
		return nil, rollup.Refuse(ReasonRecord, "%w", err)
	}
	return list, nil
}

// take takes over a list that the committee signed, unless it is older than the one at hand.
func (d *Directory) take(text string) error {
	if text == "" {
		return nil // nothing is certified yet
	}
	list, err := parseList(text, d.network, &d.cfg.Node)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if list.Record.Height > d.height {
		d.nodes, d.height, d.epoch = list.Nodes, list.Record.Height, list.Record.Epoch
	}
	return nil
}
