// Package replay plays the part of a network's customers: it registers payers and services, has the
// payers grant their clients the use of them, has the clients sign an ack for every delivery of a
// workload, submits them to serving nodes, and keeps its own account of what was accepted, so that
// the settlements can be checked against it. What the clients have signed stands in the book of the
// client library, which numbers their acks.
//
// All keys derive from one seed, so a second run with the same seed continues with the same
// parties.
package replay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Config says where to replay and in whose name.
type Config struct {
	Genesis  *ledger.Genesis
	Nodes    []string           // base URLs of serving nodes; a client always uses the same one
	Treasury ed25519.PrivateKey // funds the payers; nil when they have accounts already
	Seed     []byte             // 32 or more secret bytes that all keys derive from
	Deposit  uint64             // micro-credits for a payer that has no account yet
	Price    uint64             // of a service to register, micro-credits per 2^20 units
	Batch    int                // acks in a submission; 0: 512

	// Book is where the clients write what they sign, so that another run with the same seed over
	// the same workload goes on with it: what was acknowledged is not acknowledged under a second
	// number. OpenFolder keeps both. Nil: it is forgotten at the end.
	Book *client.Book

	// Patience is how long a node may be silent before it is given up; 0: 30 seconds.
	Patience time.Duration
	Logger   *slog.Logger // of the nodes' conditions; nil: nothing is logged

	// Rung1 is the percentage of clients that do not co-sign their windows, so that their acks are
	// verified one by one.
	Rung1    int
	Evidence string // directory for offers of a node that are not true; empty: they are not kept
}

// Replay is a workload on its way into a network. Its methods are called one after another, except
// Progress.
type Replay struct {
	cfg     Config
	network rollup.Network
	terms   *client.Terms   // nil: the committee stays
	names   names           // of the deliveries so far; nil: they have none
	owed    map[uint64]bool // with names: those of the workload, until something became of them
	servers []*server       // one for each node

	height   int64 // of the chain on which all parties are registered
	services map[string]uint32
	payers   map[string]*payer
	parties  map[party]*customer

	received, accepted, refused atomic.Uint64

	byIndex   atomic.Pointer[map[uint64]*customer] // once they are registered
	cosigning sync.WaitGroup
	running   context.Context // until Close
	stop      context.CancelFunc

	mu    sync.Mutex
	tally Tally
}

// party identifies a client: an address that visits two payers' content has a client with each, and
// with each one for every bundle of services, since a grant names three of them at most.
type party struct{ address, payer, bundle string }

func partyOf(d *workload.Delivery) party {
	return party{d.Address, d.Payer, workload.Bundle(d.Service)[0]}
}

type payer struct {
	key     ed25519.PrivateKey
	account uint32
	clients []*customer
}

type customer struct {
	secret   *bls.SecretKey
	public   ledger.BLSKey
	services []string // that it may use
	index    uint64
	payer    uint32
}

// Account is one line of the replay's own books.
type Account struct{ Node, Service, Payer uint32 }

// Sum is what was accepted for an Account.
type Sum struct{ Acks, Units uint64 }

// Plus returns the sum with so many acks and units more.
func (s Sum) Plus(acks, units uint64) Sum { return Sum{s.Acks + acks, s.Units + units} }

// Tally is the replay's own account of what became of its deliveries.
type Tally struct {
	Received uint64                 // deliveries that a node answered finally
	Accepted uint64                 // acks that a node answered accepted or known
	Refused  map[rollup.Code]uint64 // by the node's last word
	// Again counts submissions beyond each delivery's first: the same bytes, sent again.
	Again    uint64
	Accounts map[Account]Sum // accepted

	Undelivered uint64      // deliveries that a node has not answered: Deliver's error says why
	Sample      *rollup.Ack // one accepted ack

	last map[uint32]rollup.Ack // the latest accepted ack of each node
}

// Progress is a moment of a running replay.
type Progress struct{ Received, Accepted, Refused uint64 }

// New connects to the nodes. One that does not answer is no error while another one does: what is
// for it waits in Deliver.
func New(ctx context.Context, cfg Config) (*Replay, error) {
	if len(cfg.Nodes) == 0 {
		return nil, errors.New("replay: no nodes")
	}
	if len(cfg.Seed) < 32 {
		return nil, fmt.Errorf("replay: the seed has %d bytes, fewer than 32", len(cfg.Seed))
	}
	if cfg.Batch == 0 {
		cfg.Batch = 512
	}
	resumes := cfg.Book != nil
	if !resumes {
		cfg.Book = client.MemoryBook()
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	if cfg.Rung1 < 0 || cfg.Rung1 > 100 {
		return nil, fmt.Errorf("replay: %d %% of the clients", cfg.Rung1)
	}
	r := &Replay{
		cfg:      cfg,
		network:  cfg.Genesis.Network(),
		services: map[string]uint32{},
		payers:   map[string]*payer{},
		parties:  map[party]*customer{},
		tally:    NewTally(),
	}
	if resumes {
		r.names = make(names)
	}
	if cfg.Genesis.Params.Rotation != nil {
		var err error
		if r.terms, err = client.OpenTerms(cfg.Genesis.Encode(), r.network, ""); err != nil {
			return nil, err
		}
	}
	r.running, r.stop = context.WithCancel(context.Background())
	if err := r.connect(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close ends co-signing and closes the connections.
func (r *Replay) Close() error {
	r.stop()
	r.cosigning.Wait()
	for _, s := range r.servers {
		s.client.Close()
		if s.own != nil {
			s.own.Close()
		}
	}
	return nil
}

// Progress may be called while Deliver runs.
func (r *Replay) Progress() Progress {
	return Progress{r.received.Load(), r.accepted.Load(), r.refused.Load()}
}

// Tally returns the account of all deliveries so far.
func (r *Replay) Tally() *Tally { return &r.tally }

// secret derives 32 bytes for a purpose from the seed.
func (r *Replay) secret(purpose string, names ...string) []byte {
	key := blake3.ContextKey("waybill/replay/" + purpose)
	data := append([]byte(nil), r.cfg.Seed...)
	for _, n := range names {
		data = append(append(data, n...), 0)
	}
	b := blake3.Keyed(&key, data)
	return b[:]
}

// Deliver signs and submits every delivery, and returns when each has its outcome. Their parties
// must be registered. While one node does not answer the others go on; one that does not for
// Config.Patience is given up, and the error names it and says what it was not given.
func (r *Replay) Deliver(ctx context.Context, deliveries iter.Seq[workload.Delivery]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, s := range r.servers {
		s.queue = newQueue()
	}
	r.enroll()
	var producing error
	var running sync.WaitGroup
	running.Go(func() {
		producing = r.produce(ctx, deliveries)
		for _, s := range r.servers {
			s.queue.close()
		}
		if producing != nil {
			cancel()
		}
	})
	errs := make([]error, len(r.servers))
	for i, s := range r.servers {
		running.Go(func() {
			errs[i] = r.deliverTo(ctx, s)
			s.queue.abandon()
		})
	}
	running.Wait()
	for i, s := range r.servers {
		left := s.queue.left()
		s.undelivered += left
		r.tally.Undelivered += left
		if errs[i] != nil && s.undelivered > 0 {
			errs[i] = fmt.Errorf("%d deliveries have no answer: %w", s.undelivered, errs[i])
		}
		s.failed = errors.Join(s.failed, errs[i])
	}
	return errors.Join(append(errs, producing)...)
}

// produce puts what is to be acknowledged into the queues of the nodes.
func (r *Replay) produce(
	ctx context.Context,
	deliveries iter.Seq[workload.Delivery],
) error {
	for d := range deliveries {
		c, ok := r.parties[partyOf(&d)]
		if !ok {
			return fmt.Errorf("replay: client %s of %s is not registered", d.Address, d.Payer)
		}
		service, ok := r.services[d.Service]
		if !ok {
			return fmt.Errorf("replay: service %s is not registered", d.Service)
		}
		delivery := client.Delivery{
			Client:  c.index,
			Service: service,
			Units:   d.Units,
			Request: delivery.RequestOf(d.Record),
		}
		if r.names != nil {
			delivery.ID = r.names.of(&d)
		}
		if err := r.serverOf(c).queue.put(ctx, delivery); err != nil {
			return err
		}
		r.received.Add(1)
	}
	return nil
}

// deliverTo delivers to one node, once its chain has come to where the parties are registered.
func (r *Replay) deliverTo(ctx context.Context, s *server) error {
	err := s.client.WaitForHeight(ctx, r.height)
	if err == nil && s.own == nil {
		err = r.identify(ctx, s)
	}
	if err == nil {
		err = s.own.Deliver(
			ctx,
			s.queue.all(ctx),
			client.SignWith(r.secretOf),
			func(o *client.Outcome) { r.book(s, o) },
		)
	}
	return s.client.Explain(err)
}

// secretOf is a client's key, nil of one that is not ours.
func (r *Replay) secretOf(index uint64) *bls.SecretKey {
	if c := (*r.byIndex.Load())[index]; c != nil {
		return c.secret
	}
	return nil
}

// serverOf spreads clients over nodes.
func (r *Replay) serverOf(c *customer) *server {
	return r.servers[c.index%uint64(len(r.servers))]
}

// each calls do for 0 to n-1 on all processors.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

func (r *Replay) book(s *server, o *client.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id := o.Delivery.ID; r.names != nil {
		if !r.owed[id] { // another run's, or answered when it was read from the book
			return
		}
		r.owed[id] = false
	}
	r.tally.Book(o, (*r.byIndex.Load())[o.Delivery.Client].payer)
	switch {
	case o.Err != nil:
		s.undelivered++
	case o.Code.OK():
		r.accepted.Add(1)
	default:
		r.refused.Add(1)
	}
}

// NewTally returns books without an entry.
func NewTally() Tally {
	return Tally{
		Refused:  map[rollup.Code]uint64{},
		Accounts: map[Account]Sum{},
		last:     map[uint32]rollup.Ack{},
	}
}

// Book enters what became of a delivery that an account pays for.
func (t *Tally) Book(o *client.Outcome, payer uint32) {
	t.Again += uint64(max(0, o.Attempts-1))
	if o.Err != nil { // Deliver ended early and returns why
		t.Undelivered++
		return
	}
	t.Received++
	if !o.Code.OK() {
		t.Refused[o.Code]++
		return
	}
	t.Accepted++
	account := Account{o.Ack.Node, o.Ack.Service, payer}
	t.Accounts[account] = t.Accounts[account].Plus(1, o.Ack.Units)
	t.last[o.Ack.Node] = o.Ack
	if t.Sample == nil {
		t.Sample = &o.Ack
	}
}
