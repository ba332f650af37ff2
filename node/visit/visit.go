package visit

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/health"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/manifest"
	"github.com/waybill-network/waybill/rollup/rotation"
)

const (
	// Least and Greatest are how often a node is visited in an epoch: about as often as it is probed
	// at its peer port, and not always as often.
	Least    = rotation.Tries - 1
	Greatest = rotation.Tries + 2
	// Spare is how many visits may fail.
	Spare = rotation.Tries - rotation.Answers
	// Most is up to which size content is read to its end; of larger one, Part is read somewhere.
	Most = 256 << 10
	Part = 64 << 10

	maxGuests   = 64               // fresh clients of an epoch
	maxSites    = 3                // that a grant can name
	grantWithin = 30 * time.Second // the ledger has to have them
	within      = 20 * time.Second // of one visit
	atOnce      = 16               // visits that are under way
)

// Why nobody is visited.
var (
	ErrNoPayer = errors.New("visit: no payer has an account with a balance for the grants, and a " +
		"reserve for what they cost")
	ErrNoSite  = errors.New("visit: this node knows no site that it could ask for")
	ErrNoHost  = errors.New("visit: no other candidate says that it delivers content")
	ErrGrants  = errors.New("visit: the grants were not executed in time")
	ErrOwnLine = errors.New("visit: not one visit succeeded, so this node's own line may be why")
)

// Chain is the ledger, and takes transactions. Safe for concurrent use.
type Chain interface {
	View() *ledger.View
	SubmitTx(ctx context.Context, tx []byte) error
}

// Config is what a Visitor works with. All but what is said to be optional is required.
type Config struct {
	Chain Chain
	// Payers are keys of accounts; a random one of them pays for an epoch's visits.
	Payers []ed25519.PrivateKey
	// Contact returns where a node says that it delivers content: the base of a URL, or nothing.
	Contact func(ctx context.Context, node uint32) (string, error)
	// Sites are the manifests by which content is chosen; each held against the ledger before.
	Sites func() []*manifest.Manifest
	// Genesis is the network's. Terms is a file for what its committees are found by, as
	// client.OpenTerms has it; optional.
	Genesis *ledger.Genesis
	Terms   string
	TLS     *tls.Config // how https is spoken; nil: the system's authorities vouch for nodes
	// Dial opens connections to nodes; nil: as clients do.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Evidence is a folder for heads that lie; optional.
	Evidence string
	Budget   uint64 // the most bytes of an epoch
	Cost     uint64 // the most micro-credits of an epoch, grants and acks
	Logger   *slog.Logger
}

// Dialer returns what opens connections from a local address; nil: from any.
func Dialer(local net.IP) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if local != nil {
		d.LocalAddr = &net.TCPAddr{IP: local}
	}
	return d.DialContext
}

// Visitor visits the candidates of each epoch. It is safe for concurrent use.
type Visitor struct {
	cfg    Config
	client client.Config // of every node, without what is its own

	mu     sync.Mutex
	failed map[uint32]bool // were found unfit, and so are visited first
	stats  Stats
}

// Stats counts since the process began, in steps of whole epochs: who sees a number change while a
// client is there would know whose client it is.
type Stats struct {
	Served  uint64 // visits, as all of these
	Refused uint64 // that count for nothing: the node said why it did not serve
	Failed  uint64
	Bytes   uint64 // that were received and verified
	Charged uint64 // of them, what nodes hold acks for
	Fees    uint64 // micro-credits, of grants
	// Why is why nobody was visited in the last epoch; nil when nodes were.
	Why error
}

// New returns a visitor. The errors are those of client.OpenTerms.
func New(c Config) (*Visitor, error) {
	v := &Visitor{cfg: c, failed: make(map[uint32]bool),
		client: client.Config{TLS: c.TLS, Dial: c.Dial, Committee: c.Genesis.Committee()}}
	if c.Genesis.Params.Rotation == nil {
		return v, nil
	}
	var err error
	v.client.Terms, err = client.OpenTerms(c.Genesis.Encode(), c.Genesis.Network(), c.Terms)
	return v, err
}

// Stats returns what was done so far.
func (v *Visitor) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stats
}

// Visit visits nodes, each several times within so long a time, at moments that nobody knows
// before, and returns what came of it for those that were visited. Those that there is no money for
// this time are left out, and a visit that ctx cuts off counts for nothing.
func (v *Visitor) Visit(ctx context.Context, nodes []uint32, over time.Duration,
) map[uint32]health.Visited {
	hosts, fees, err := v.visit(ctx, nodes, over)
	var found map[uint32]health.Visited
	if err == nil {
		found, err = judge(hosts)
	}
	if err != nil {
		v.cfg.Logger.Info("nodes were not visited as clients", "err", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &v.stats
	s.Why, s.Fees = err, s.Fees+fees
	for _, h := range hosts {
		s.Served += uint64(h.found.Served)
		s.Refused += uint64(h.found.Refused)
		s.Failed += uint64(h.found.Failed)
		s.Bytes += h.bytes
		s.Charged += h.charged
	}
	for node, x := range found { // order-free
		v.failed[node] = x.Unfit
	}
	return found
}

func (v *Visitor) visit(ctx context.Context, nodes []uint32, over time.Duration) (hosts []*host,
	fees uint64, err error) {
	begin := time.Now()
	if !sleep(ctx, rand.N(over/8+1)) {
		return nil, 0, context.Cause(ctx)
	}
	sites := v.sites()
	if len(sites) == 0 {
		return nil, 0, ErrNoSite
	}
	if hosts = v.hosts(ctx, nodes); len(hosts) == 0 {
		return nil, 0, ErrNoHost
	}
	purse := &purse{bytes: v.cfg.Budget, credits: v.cfg.Cost}
	guests, fees, err := v.guests(ctx, min(len(hosts), maxGuests), sites, purse)
	if err != nil {
		return nil, fees, err
	}
	places := make(chan struct{}, atOnce)
	left := max(over-time.Since(begin), 0)
	var all sync.WaitGroup
	for i, h := range hosts {
		h.guest = guests[i%len(guests)]
		all.Go(func() {
			defer h.client.Close()
			for _, at := range moments(left) {
				if !sleep(ctx, time.Until(at)) {
					return
				}
				select {
				case places <- struct{}{}:
				case <-ctx.Done():
					return
				}
				v.once(ctx, h, sites[rand.N(len(sites))].page(), purse)
				<-places
			}
		})
	}
	all.Wait()
	return hosts, fees, nil
}

// moments are when a node is visited: so often, spread over a time, and unknown before.
func moments(over time.Duration) (list []time.Time) {
	tries := Least + rand.N(Greatest-Least+1)
	part := over / time.Duration(tries)
	for try := range tries {
		list = append(list, time.Now().Add(time.Duration(try)*part+rand.N(part+1)))
	}
	return list
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// hosts returns the nodes that say that they deliver content: those that failed last time first,
// and else in random order.
func (v *Visitor) hosts(ctx context.Context, nodes []uint32) []*host {
	nodes = slices.Clone(nodes)
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	v.mu.Lock()
	slices.SortStableFunc(nodes, func(a, b uint32) int {
		switch {
		case v.failed[a] == v.failed[b]:
			return 0
		case v.failed[a]:
			return -1
		}
		return 1
	})
	v.mu.Unlock()
	if most := v.cfg.Budget / (Greatest * Part); uint64(len(nodes)) > most {
		nodes = nodes[:most]
	}
	list := make([]*host, len(nodes))
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, node := range nodes {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			list[i] = v.host(ctx, node)
		})
	}
	all.Wait()
	return slices.DeleteFunc(list, func(h *host) bool { return h == nil })
}

// host is a node that is visited.
type host struct {
	node   uint32
	client *client.Client
	guest  *guest
	found  health.Visited
	took   []time.Duration
	wrong  int // of the failures, those that no line explains

	bytes, charged uint64
}

// contactWithin is how long a node may take to say where it delivers.
const contactWithin = 3 * time.Second

// host finds out where a node delivers; nil when it does not say.
func (v *Visitor) host(ctx context.Context, node uint32) *host {
	ctx, cancel := context.WithTimeout(ctx, contactWithin)
	defer cancel()
	at, err := v.cfg.Contact(ctx, node)
	of, known := v.cfg.Chain.View().Node(node)
	if err != nil || at == "" || !known {
		return nil
	}
	cfg := v.client
	cfg.URL, cfg.Book = at, client.MemoryBook()
	cfg.Pin = &client.Pin{Network: v.cfg.Chain.View().Network(), Node: node, Key: of.TransportKey}
	c, err := client.New(cfg)
	if err != nil {
		v.cfg.Logger.Debug("a node delivers at no URL", "node", node, "err", err)
		return nil
	}
	return &host{node: node, client: c}
}
