package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// FetchConfig says who fetches content, from whom, and with which service.
type FetchConfig struct {
	// Nodes are whom content is fetched from; each has its Pin and its Book. By default those that
	// Router finds.
	Nodes []*Client

	// Router finds the nodes of each content: a [Directory] does, by what the committee signed. It
	// is required without Nodes.
	Router Router

	Client  uint64         // its index in the registry
	Key     *bls.SecretKey // its key, which opens sessions and signs acks
	Service uint32

	// MaxPrice is the most that is paid for 2^20 bytes. By default it is the service's price as the
	// ledger has it.
	MaxPrice uint64

	// Cosign has the windows of the nodes' acks co-signed, as long as the fetcher is not closed: what
	// a client co-signs is far cheaper for the committee. A window is offered when it has closed.
	Cosign bool

	// Origin is where content comes from that no node delivers: the base of a URL, behind which it
	// is b3/ and the root, as plain bytes. They are verified, and nobody is paid for them. By
	// default there is none.
	Origin string
	// OriginHTTP is how the origin is asked. By default http.DefaultClient does.
	OriginHTTP *http.Client

	// Evidence is a folder in which heads that lie are kept: that name a price above the service's,
	// or other content than the manifest that they name. 'waybill verify' takes the files, of which
	// at most 64 are written. By default none are.
	Evidence string

	// Stall is how long a node may send nothing in the middle of content before another one is
	// asked beside it. By default it is 400 milliseconds.
	Stall time.Duration
	// Silence is how long a node may send nothing before it has failed. By default it is 10
	// seconds.
	Silence time.Duration
}

// Router finds nodes that content may come from. It is safe for concurrent use.
type Router interface {
	// Route returns the candidates for a content; each has its Pin and its Book, and is the same
	// Client each time.
	Route(ctx context.Context, root rollup.Hash) ([]*Client, error)
}

// Fetcher fetches content by its root from nodes that are paid for it: it opens a session at each
// that it uses, verifies every group of bytes before it counts, and signs acks for what it verified
// and for nothing else. Of several nodes it asks the near ones, by what it has seen of them, and
// goes on at another one where it was when one fails or falls silent. It is safe for concurrent
// use. Close it: what was received is acknowledged then.
type Fetcher struct {
	cfg     FetchConfig
	ctx     context.Context
	cancel  context.CancelFunc
	drains  sync.WaitGroup // streams that were given up
	helpers sync.WaitGroup // that end with ctx

	mu    sync.Mutex
	links []*link // in the order in which they came
	at    map[*Client]*link

	pages map[page]*shown
	lies  int // that were told

	agreed chan struct{} // closed when price and cap are known, and do not change any more
	price  uint64
	cap    atomic.Uint64 // the service's; 0: not known yet
}

// NewFetcher returns a fetcher, which connects when it is used.
func NewFetcher(cfg FetchConfig) (*Fetcher, error) {
	if len(cfg.Nodes) == 0 && cfg.Router == nil || cfg.Key == nil {
		return nil, errors.New("client: a Fetcher without a node or without the client's key")
	}
	or(&cfg.Stall, 400*time.Millisecond)
	or(&cfg.Silence, 10*time.Second)
	or(&cfg.OriginHTTP, http.DefaultClient)
	cfg.Origin = strings.TrimSuffix(cfg.Origin, "/")
	f := &Fetcher{cfg: cfg, at: make(map[*Client]*link),
		pages: make(map[page]*shown), agreed: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	if _, err := f.linked(cfg.Nodes); err != nil {
		return nil, err
	}
	return f, nil
}

func or[T comparable](v *T, standard T) {
	var zero T
	if *v == zero {
		*v = standard
	}
}

// linked returns the links of nodes.
func (f *Fetcher) linked(nodes []*Client) (links []*link, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, node := range nodes {
		l := f.at[node]
		if l == nil {
			if err := node.maySign(); err != nil {
				return nil, fmt.Errorf("node %s: %w", node.cfg.URL, err)
			}
			l = newLink(f, node)
			f.at[node], f.links = l, append(f.links, l)
		}
		links = append(links, l)
	}
	return links, nil
}

// all returns all links.
func (f *Fetcher) all() []*link {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.links)
}

// FetchStats counts bytes of content, and units of runs.
type FetchStats struct {
	Received uint64 // and verified
	Signed   uint64 // acks were signed for
	Charged  uint64 // the nodes hold acks for
	Refused  uint64 // the nodes will not be paid for, since they refused the acks
	Acks     uint64 // that were signed
	Taken    uint64 // of them, those that the nodes hold
	Cosigned uint64 // windows
}

func (s *FetchStats) add(o FetchStats) {
	s.Received += o.Received
	s.Signed += o.Signed
	s.Charged += o.Charged
	s.Refused += o.Refused
	s.Acks += o.Acks
	s.Taken += o.Taken
	s.Cosigned += o.Cosigned
}

// Stats returns what was fetched from all nodes so far.
func (f *Fetcher) Stats() (sum FetchStats) {
	for _, l := range f.all() {
		sum.add(l.counts())
	}
	return sum
}

// NodeStats is what was fetched from one node.
type NodeStats struct {
	URL  string
	Node uint32
	// Latency is the average from a request to the first byte of its answer; 0 when none came
	// lately.
	Latency time.Duration
	FetchStats
}

// Nodes returns what was fetched from each node, in the order in which they came to be known.
func (f *Fetcher) Nodes() (list []NodeStats) {
	for _, l := range f.all() {
		s := NodeStats{URL: l.client.cfg.URL, Node: l.client.cfg.Pin.Node, FetchStats: l.counts()}
		if average, known, _ := l.client.port.expects(); known {
			s.Latency = average
		}
		list = append(list, s)
	}
	return list
}

// FetchError says where and when fetching failed, and what it had cost until then. It wraps the
// reason, or the reasons of all nodes that were asked.
type FetchError struct {
	Node     string // its URL; empty for what concerns all
	Run      bool   // it is about a run of a module, and bytes are its units
	Phase    string // price, session, request, head, stream, verify, acknowledge
	Root     rollup.Hash
	Offset   uint64 // up to which the content was received and verified
	Charged  uint64 // bytes that the fetcher's nodes hold acks for
	Received uint64 // bytes that the fetcher has received and verified
	Err      error
}

// Error implements error.
func (e *FetchError) Error() string {
	at := ""
	if e.Node != "" {
		at = "node " + e.Node + ": "
	}
	if e.Run {
		return fmt.Sprintf("%s%s, of a run of %v (%d units used, %d charged): %v", at, e.Phase,
			e.Root, e.Received, e.Charged, e.Err)
	}
	return fmt.Sprintf("%s%s of %v at byte %d (%d bytes received, %d charged): %v", at, e.Phase,
		e.Root, e.Offset, e.Received, e.Charged, e.Err)
}

// Unwrap returns the reason.
func (e *FetchError) Unwrap() error { return e.Err }

// complete fills in where a reader stands, and what all had cost.
func (f *Fetcher) complete(e *FetchError, r *Reader, err error) error {
	sum := f.Stats()
	e.Charged, e.Received, e.Err = sum.Charged, sum.Received, err
	if r != nil {
		e.Root, e.Offset = r.target.root, r.at
	}
	return e
}

// ParseContent returns the root in a reference to content: its 64 hexadecimal digits, or a URL that
// ends in /b3/ and these. Of a URL nothing but the root is used.
func ParseContent(ref string) (root rollup.Hash, err error) {
	if u, err := url.Parse(ref); err == nil && u.Host != "" {
		at := strings.LastIndex(u.Path, "/b3/")
		if at < 0 {
			return root, fmt.Errorf("client: %w: %s names no content by its root (/b3/ROOT)",
				rollup.ErrMalformed, ref)
		}
		ref = u.Path[at+len("/b3/"):]
	}
	if err := root.UnmarshalText([]byte(ref)); err != nil {
		return root, fmt.Errorf("client: content: %w", err)
	}
	return root, nil
}

// Open begins to fetch content. The reader's bytes are verified, from whichever nodes they come.
// Errors are a *FetchError. ctx is the reader's until it is closed.
func (f *Fetcher) Open(ctx context.Context, root rollup.Hash) (*Reader, error) {
	return f.open(ctx, byRoot(root))
}

func (f *Fetcher) open(ctx context.Context, t target) (*Reader, error) {
	r := &Reader{fetcher: f, ctx: ctx, target: t, tried: make(map[*link]int)}
	var err error
	if r.links, err = f.route(ctx, t.root); err != nil {
		return nil, f.complete(&FetchError{Phase: "route"}, r, err)
	}
	for !r.known {
		if err := r.connect(nil); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// route returns the nodes that content may come from.
func (f *Fetcher) route(ctx context.Context, root rollup.Hash) ([]*link, error) {
	nodes := f.cfg.Nodes
	if f.cfg.Router != nil {
		found, err := f.cfg.Router.Route(ctx, root)
		if err != nil && len(nodes) == 0 {
			return nil, err
		}
		nodes = append(slices.Clone(nodes), found...)
	}
	return f.linked(nodes)
}

// terms returns the price that is agreed to. Each node is asked for the terms beside the request
// for content, until one has answered: that takes no time of its own.
func (f *Fetcher) terms(ctx context.Context, from *link) (price uint64, err error) {
	asked := f.prepare(from)
	select {
	case <-f.agreed:
		return f.price, nil
	case <-asked.done:
		return f.price, asked.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// terms is a node's answer to what the service costs.
type terms struct {
	done chan struct{}
	err  error
}

// prepare has a node asked for the terms, unless they are known.
func (f *Fetcher) prepare(l *link) *terms {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.terms == nil {
		t := &terms{done: make(chan struct{})}
		l.terms = t
		if f.cap.Load() > 0 {
			close(t.done)
			return t
		}
		f.helpers.Go(func() {
			defer close(t.done)
			if t.err = f.agree(l.client); t.err != nil {
				f.mu.Lock()
				defer f.mu.Unlock()
				l.terms = nil // it is asked again
			}
		})
	}
	return l.terms
}

// agree asks a node for the terms.
func (f *Fetcher) agree(node *Client) error {
	found, err := Call(f.ctx, node.nodes.GetServices,
		&api.GetServicesRequest{From: f.cfg.Service, Count: 1})
	if err != nil {
		return err
	}
	if len(found.Services) == 0 || found.Services[0].GetIndex() != f.cfg.Service ||
		found.Services[0].UnitCap == 0 {
		return fmt.Errorf("client: there is no service %d", f.cfg.Service)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cap.Load() == 0 {
		f.price = cmp.Or(f.cfg.MaxPrice, found.Services[0].Price)
		f.cap.Store(found.Services[0].UnitCap)
		close(f.agreed)
	}
	return nil
}

// Settle acknowledges what was received and waits until the nodes have answered. The error is of
// the nodes that did not, all of which were waited for until ctx ends.
func (f *Fetcher) Settle(ctx context.Context) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		f.drains.Wait()
	}()
	select {
	case <-drained:
	case <-ctx.Done(): // what comes later is acknowledged by a later call
	}
	var errs []error
	for _, l := range f.all() {
		if err := l.settle(ctx); err != nil {
			errs = append(errs, f.complete(&FetchError{Node: l.client.cfg.URL, Phase: "acknowledge"},
				nil, err))
		}
	}
	return errors.Join(errs...)
}

// Close settles, for up to 10 seconds, and ends the sessions. What a node did not answer to by then
// is in the book, and the next Deliver sends it.
func (f *Fetcher) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := f.Settle(ctx)
	f.cancel()
	for _, l := range f.all() {
		l.close()
	}
	f.helpers.Wait()
	return err
}
