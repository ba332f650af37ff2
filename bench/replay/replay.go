// Package replay plays the part of a network's customers: it registers payers, services and clients, has the clients sign
// an ack for every delivery of a workload, submits them to serving nodes, and keeps its own account of what was accepted,
// so that the settlements can be checked against it.
//
// All keys derive from one seed, so a second run with the same seed continues with the same parties.
package replay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"golang.org/x/sync/errgroup"
)

// Config says where to replay and in whose name.
type Config struct {
	Network  rollup.Network
	Nodes    []string           // base URLs of serving nodes; a client always uses the same one
	Treasury ed25519.PrivateKey // funds the payers; nil when they have accounts already
	Seed     []byte             // 32 or more secret bytes that all keys derive from
	Deposit  uint64             // micro-credits for a payer that has no account yet
	Price    uint64             // of a service that is not registered yet, micro-credits per 2^20 units
	Batch    int                // acks in a submission; 0: 512

	Rung1    int    // percentage of clients that do not co-sign their windows, so that their acks are verified one by one
	Evidence string // directory for offers of a node that are not true; empty: they are not kept
}

// Replay is a workload on its way into a network. Its methods are called one after another, except Progress.
type Replay struct {
	cfg     Config
	clients []*client.Client // one per node
	nodes   []uint32         // their registry indices

	services map[string]uint32
	payers   map[string]*payer
	parties  map[party]*customer

	received, accepted, refused atomic.Uint64

	byIndex    atomic.Pointer[map[uint32]*customer] // once they are registered
	cosigning  sync.WaitGroup
	stopCosign context.CancelFunc

	mu        sync.Mutex
	tally     Tally
	cosignErr error
}

// party identifies a client: an address that visits two payers' content has a client with each.
type party struct{ address, payer string }

type payer struct {
	key     ed25519.PrivateKey
	account uint32
	clients []*customer
}

type customer struct {
	secret *bls.SecretKey
	public ledger.BLSKey
	index  uint32
	payer  uint32
	seq    uint32 // of its next ack; touched by the one goroutine that delivers to the client's node
}

// Account is one line of the replay's own books.
type Account struct{ Node, Service, Payer uint32 }

// Sum is what was accepted for an Account.
type Sum struct{ Acks, Units uint64 }

// Tally is the replay's own account of what became of its deliveries.
type Tally struct {
	Received uint64                 // deliveries submitted
	Accepted uint64                 // acks that a node answered accepted or known
	Refused  map[rollup.Code]uint64 // by the node's last word
	Again    uint64                 // submissions beyond each delivery's first: signed for a window that had closed, or overloaded
	Accounts map[Account]Sum        // accepted
	Sample   *rollup.Ack            // one accepted ack

	last map[uint32]rollup.Ack // the latest accepted ack of each node
}

// Progress is a moment of a running replay.
type Progress struct{ Received, Accepted, Refused uint64 }

// New connects to the nodes.
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
	if cfg.Rung1 < 0 || cfg.Rung1 > 100 {
		return nil, fmt.Errorf("replay: %d %% of the clients", cfg.Rung1)
	}
	r := &Replay{cfg: cfg, services: map[string]uint32{}, payers: map[string]*payer{}, parties: map[party]*customer{},
		tally: Tally{Refused: map[rollup.Code]uint64{}, Accounts: map[Account]Sum{}, last: map[uint32]rollup.Ack{}}}
	for _, url := range cfg.Nodes {
		c, err := client.New(client.Config{URL: url, Batch: cfg.Batch, Cosign: r.cosign()})
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.clients = append(r.clients, c)
		// A call first, since Windows would wait for a node that is not there.
		if _, err := client.Call(ctx, c.Ledger().GetStatus, &api.GetStatusRequest{}); err != nil {
			return nil, errors.Join(c.Explain(err), r.Close())
		}
		var open client.OpenWindow
		if err := c.Windows(ctx, func(w client.OpenWindow) bool { open = w; return false }); err != nil {
			return nil, errors.Join(c.Explain(err), r.Close())
		}
		if open.Network != cfg.Network {
			return nil, errors.Join(fmt.Errorf("node %s is of network %s, not %s", url, open.Network, cfg.Network), r.Close())
		}
		r.nodes = append(r.nodes, open.Key.Node)
	}
	r.follow()
	return r, nil
}

// Close ends co-signing and closes the connections.
func (r *Replay) Close() error {
	if r.stopCosign != nil {
		r.stopCosign()
		r.cosigning.Wait()
	}
	for _, c := range r.clients {
		c.Close()
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

// Deliver signs and submits every delivery and returns when each has its outcome. Their parties must be registered.
func (r *Replay) Deliver(ctx context.Context, deliveries iter.Seq[workload.Delivery]) error {
	group, ctx := errgroup.WithContext(ctx)
	lanes := make([]chan rollup.Ack, len(r.clients))
	signers := make([]map[uint32]*customer, len(r.clients))
	for i := range lanes {
		lanes[i], signers[i] = make(chan rollup.Ack, 2*r.cfg.Batch), map[uint32]*customer{}
	}
	all := make(map[uint32]*customer, len(r.parties))
	for _, c := range r.parties {
		signers[r.lane(c)][c.index], all[c.index] = c, c
	}
	r.byIndex.Store(&all)
	group.Go(func() error {
		defer func() {
			for _, lane := range lanes {
				close(lane)
			}
		}()
		for d := range deliveries {
			c, ok := r.parties[party{d.Address, d.Payer}]
			if !ok {
				return fmt.Errorf("replay: client %s of %s is not registered", d.Address, d.Payer)
			}
			service, ok := r.services[d.Service]
			if !ok {
				return fmt.Errorf("replay: service %s is not registered", d.Service)
			}
			ack := rollup.Ack{Client: c.index, Service: service, Units: d.Units, Request: blake3.Sum256(d.Record)}
			select {
			case lanes[r.lane(c)] <- ack:
				r.received.Add(1)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for i, lane := range lanes {
		group.Go(func() error {
			acks := func(yield func(rollup.Ack) bool) {
				for ack := range lane {
					if !yield(ack) {
						return
					}
				}
			}
			return r.clients[i].Deliver(ctx, acks, signer(signers[i]), func(o *client.Outcome) { r.book(signers[i], o) })
		})
	}
	return group.Wait()
}

// lane spreads clients over nodes.
func (r *Replay) lane(c *customer) int { return int(c.index) % len(r.clients) }

// signer signs on all processors, numbering each client's acks.
func signer(clients map[uint32]*customer) client.Signer {
	return func(acks []rollup.Ack) error {
		for i := range acks {
			c := clients[acks[i].Client]
			acks[i].Seq = c.seq
			c.seq++
		}
		each(len(acks), func(i int) {
			var msg [rollup.MessageSize]byte
			acks[i].Message(&msg)
			sig := bls.Default.Sign(clients[acks[i].Client].secret, msg[:])
			acks[i].Signature = sig.Bytes()
		})
		return nil
	}
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

func (r *Replay) book(clients map[uint32]*customer, o *client.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &r.tally
	t.Received++
	t.Again += uint64(max(0, o.Attempts-1))
	switch {
	case o.Err != nil: // Deliver ended early and returns why
	case o.Code.OK():
		r.accepted.Add(1)
		t.Accepted++
		account := Account{o.Ack.Node, o.Ack.Service, clients[o.Ack.Client].payer}
		sum := t.Accounts[account]
		t.Accounts[account] = Sum{sum.Acks + 1, sum.Units + o.Ack.Units}
		t.last[o.Ack.Node] = o.Ack
		if t.Sample == nil {
			t.Sample = &o.Ack
		}
	default:
		r.refused.Add(1)
		t.Refused[o.Code]++
	}
}
