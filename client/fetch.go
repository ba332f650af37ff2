package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// FetchConfig says who fetches content, from whom, and with which service.
type FetchConfig struct {
	// Nodes are whom content is fetched from, the one that is asked first in front; each has its
	// Pin and its Book. At least one is required.
	Nodes []*Client

	Client  uint64         // its index in the registry
	Key     *bls.SecretKey // its key, which opens sessions and signs acks
	Service uint32

	// MaxPrice is the most that is paid for 2^20 bytes. By default it is the service's price as the
	// ledger has it.
	MaxPrice uint64

	// Stall is how long a node may send nothing before another one is asked. By default it is 10
	// seconds.
	Stall time.Duration
}

// Fetcher fetches content by its root from nodes that are paid for it: it opens a session at each,
// verifies every group of bytes before it counts, and signs acks for what it verified and for
// nothing else. It is safe for concurrent use. Close it: what was received is acknowledged then.
type Fetcher struct {
	cfg    FetchConfig
	ctx    context.Context
	cancel context.CancelFunc
	links  []*link
	drains sync.WaitGroup // streams that were given up

	mu    sync.Mutex
	price uint64 // 0: not asked for yet
	cap   uint64
}

// NewFetcher returns a fetcher, which connects when it is used.
func NewFetcher(cfg FetchConfig) (*Fetcher, error) {
	if len(cfg.Nodes) == 0 || cfg.Key == nil {
		return nil, errors.New("client: a Fetcher without a node or without the client's key")
	}
	if cfg.Stall <= 0 {
		cfg.Stall = 10 * time.Second
	}
	f := &Fetcher{cfg: cfg}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	for _, node := range cfg.Nodes {
		if err := node.maySign(); err != nil {
			return nil, fmt.Errorf("node %s: %w", node.cfg.URL, err)
		}
		f.links = append(f.links, newLink(f, node))
	}
	return f, nil
}

// FetchStats counts bytes of content.
type FetchStats struct {
	Received uint64 // and verified
	Signed   uint64 // acks were signed for
	Charged  uint64 // the nodes hold acks for
	Refused  uint64 // the nodes will not be paid for, since they refused the acks
	Acks     uint64
}

func (s *FetchStats) add(o FetchStats) {
	s.Received += o.Received
	s.Signed += o.Signed
	s.Charged += o.Charged
	s.Refused += o.Refused
	s.Acks += o.Acks
}

// Stats returns what was fetched from all nodes so far.
func (f *Fetcher) Stats() (sum FetchStats) {
	for _, l := range f.links {
		sum.add(l.counts())
	}
	return sum
}

// StatsOf returns what was fetched from the node of an index in FetchConfig.Nodes.
func (f *Fetcher) StatsOf(node int) FetchStats { return f.links[node].counts() }

// FetchError says where and when fetching failed, and what it had cost until then. It wraps the
// reason, or the reasons of all nodes that were asked.
type FetchError struct {
	Node     string // its URL; empty for what concerns all
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
	return fmt.Sprintf("%s%s of %v at byte %d (%d bytes received, %d charged): %v", at, e.Phase,
		e.Root, e.Offset, e.Received, e.Charged, e.Err)
}

// Unwrap returns the reason.
func (e *FetchError) Unwrap() error { return e.Err }

func (f *Fetcher) failure(l *link, phase string, root rollup.Hash, at uint64, err error) error {
	sum := f.Stats()
	e := &FetchError{Phase: phase, Root: root, Offset: at, Charged: sum.Charged,
		Received: sum.Received, Err: err}
	if l != nil {
		e.Node = l.client.cfg.URL
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

// Open begins to fetch content. The reader's bytes are verified, from whichever nodes they come;
// when one fails, reading goes on at another one where it was. Errors are a *FetchError. ctx is the
// reader's until it is closed.
func (f *Fetcher) Open(ctx context.Context, root rollup.Hash) (*Reader, error) {
	if err := f.terms(ctx); err != nil {
		return nil, f.failure(nil, "price", root, 0, err)
	}
	r := &Reader{fetcher: f, ctx: ctx, root: root, tried: make([]int, len(f.links))}
	if err := r.connect(); err != nil {
		return nil, err
	}
	return r, nil
}

// terms asks for price and cap of the service, once.
func (f *Fetcher) terms(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cap > 0 {
		return nil
	}
	found, err := Retry(ctx, f.cfg.Nodes[0].nodes.GetServices,
		&api.GetServicesRequest{From: f.cfg.Service, Count: 1})
	if err != nil {
		return err
	}
	if len(found.Services) == 0 || found.Services[0].GetIndex() != f.cfg.Service {
		return fmt.Errorf("client: there is no service %d", f.cfg.Service)
	}
	f.cap, f.price = found.Services[0].UnitCap, found.Services[0].Price
	if f.cfg.MaxPrice > 0 {
		f.price = f.cfg.MaxPrice
	}
	return nil
}

// Settle acknowledges what was received and waits until the nodes have answered. The error is of
// the nodes that did not, all of which were waited for until ctx ends.
func (f *Fetcher) Settle(ctx context.Context) error {
	f.drains.Wait()
	var errs []error
	for _, l := range f.links {
		if err := l.settle(ctx); err != nil {
			errs = append(errs, f.failure(l, "acknowledge", rollup.Hash{}, 0, err))
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
	for _, l := range f.links {
		l.close()
	}
	return err
}
