//go:build linux

package crash

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// AckID is what an ack must be unique by: in whatever window it stands, it is billed once.
type AckID struct {
	Node, Epoch     uint32
	Client          uint64
	Service, Number uint32
}

// Entry is what an ack is about.
type Entry struct {
	Units   uint64
	Request rollup.Hash
}

// Books is the clients' own account, apart from the library's: what was delivered to them, every
// signature they ever gave, what was accepted, and the sums over it.
type Books struct {
	parties   *Parties
	mu        sync.Mutex
	Delivered map[uint64]uint64 // units, by client
	Signed    map[AckID]Entry
	Accepted  map[AckID]Entry
	Tally     replay.Tally
	errs      []error
}

// NewBooks returns empty books of the parties' clients.
func NewBooks(p *Parties) *Books {
	return &Books{parties: p, Delivered: map[uint64]uint64{}, Signed: map[AckID]Entry{},
		Accepted: map[AckID]Entry{}, Tally: replay.NewTally()}
}

func entryOf(a *rollup.Ack) (AckID, Entry) {
	return AckID{a.Node, a.Epoch, a.Client, a.Service, a.Number}, Entry{a.Units, a.Request}
}

// deliver books that a client has got something, whatever is acknowledged of it.
func (b *Books) deliver(client, units uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Delivered[client] += units
}

func (b *Books) sign(a *rollup.Ack) {
	id, e := entryOf(a)
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, again := b.Signed[id]; again {
		b.errs = append(b.errs, fmt.Errorf("the load signed %v twice", id))
	}
	b.Signed[id] = e
}

func (b *Books) report(o *client.Outcome) {
	id, e := entryOf(&o.Ack)
	b.mu.Lock()
	defer b.mu.Unlock()
	payer, _ := b.parties.Payer(id.Client)
	b.Tally.Book(o, payer)
	switch {
	case o.Err != nil:
		b.errs = append(b.errs, fmt.Errorf("%v: %w", id, o.Err))
	case !o.Code.OK():
	default:
		if _, again := b.Accepted[id]; again {
			b.errs = append(b.errs, fmt.Errorf("%v was reported accepted twice", id))
		}
		b.Accepted[id] = e
	}
}

// Err returns what the clients found wrong: outcomes they could not learn, refusals, repeated
// reports.
func (b *Books) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := b.errs
	refused := maps.Clone(b.Tally.Refused)
	// Signed in an epoch whose tail was over when the node was back. Nobody pays.
	delete(refused, rollup.CodePastEpoch)
	if len(refused) > 0 {
		errs = append(errs, fmt.Errorf("valid acks were refused: %v", refused))
	}
	return errors.Join(errs[:min(len(errs), 10)]...)
}

// Count returns the number of accepted acks so far.
func (b *Books) Count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int(b.Tally.Accepted)
}

// Load is clients that deliver until Stop, and co-sign their windows until Close.
type Load struct {
	Books *Books
	stop  chan struct{}
	feeds sync.WaitGroup

	followers sync.WaitGroup
	following context.Context
	leave     context.CancelFunc

	mu   sync.Mutex
	errs []error
}

func (l *Load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

// Load has a node's clients submit in small batches over several connections, so that at any moment
// some are on their way: burst acks an interval on each connection. Client i delivers to node i mod
// Serving.
func (n *Network) Load(ctx context.Context, p *Parties, feeds, burst int,
	interval time.Duration) (*Load, error) {
	l := &Load{Books: NewBooks(p), stop: make(chan struct{})}
	l.following, l.leave = context.WithCancel(ctx)
	for node := range Serving {
		for feed := range feeds {
			var clients []*Client
			for i := node + Serving*feed; i < len(p.Clients); i += Serving * feeds {
				clients = append(clients, p.Clients[i])
			}
			committee := n.Genesis.Committee()
			if n.terms != nil {
				committee = nil
			}
			client, err := client.New(client.Config{URL: n.Nodes[node].Ingest, Pin: n.Pin(node),
				Committee: committee, Terms: n.terms, Book: client.MemoryBook(),
				Batch: max(1, burst/4), Backoff: poll, Cosign: p.cosign()})
			if err != nil {
				return nil, err
			}
			acks := l.acks(p, clients, fmt.Sprintf("%d/%d", node, feed), burst, interval)
			l.follow(client)
			l.feeds.Go(func() {
				defer client.Close()
				if err := client.Deliver(ctx, acks, l.signer(), l.Books.report); err != nil {
					l.fail(fmt.Errorf("delivering to node %d: %w", node, err))
				}
			})
		}
	}
	return l, nil
}

// acks yields a feed's deliveries in bursts until Stop.
func (l *Load) acks(p *Parties, clients []*Client, feed string, burst int,
	interval time.Duration) iter.Seq[client.Delivery] {
	return func(yield func(client.Delivery) bool) {
		rng := rand.New(rand.NewChaCha8([32]byte(seed(feed))))
		ticks := time.NewTicker(interval)
		defer ticks.Stop()
		for i := 0; ; i++ {
			delivery := client.Delivery{
				Client:  clients[rng.IntN(len(clients))].Index,
				Service: p.Services[rng.IntN(len(p.Services))],
				Units:   1 + rng.Uint64N(unitCap),
				Request: blake3.Sum256(fmt.Appendf(nil, "GET /%s/%d", feed, i)),
			}
			l.Books.deliver(delivery.Client, delivery.Units)
			if !yield(delivery) {
				return
			}
			if (i+1)%burst != 0 {
				continue
			}
			select {
			case <-ticks.C:
			case <-l.stop:
				return
			}
		}
	}
}

func (l *Load) signer() client.Signer {
	p := l.Books.parties
	sign := client.SignWith(func(client uint64) *bls.SecretKey { return p.byIndex[client].Secret })
	return func(network rollup.Network, acks []rollup.Ack) error {
		for i := range acks {
			l.Books.sign(&acks[i])
		}
		return sign(network, acks)
	}
}

// Stop ends the deliveries and returns when each has its outcome, with what went wrong.
func (l *Load) Stop() error {
	close(l.stop)
	l.feeds.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(append(l.errs, l.Books.Err())...)
}

// Close ends co-signing, with what went wrong since Stop. The windows of everything delivered are
// sealed by then.
func (l *Load) Close() error {
	l.mu.Lock()
	l.errs = nil
	l.mu.Unlock()
	l.leave()
	l.followers.Wait()
	return errors.Join(l.errs...)
}
