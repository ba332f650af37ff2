package virtual

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// clientsEach is how many clients acknowledge what a node delivers.
const clientsEach = 3

// Traffic are clients who acknowledge deliveries of nodes, through the nodes' own doors, and know
// what became of each of their acks.
type Traffic struct {
	world   *World
	host    *Host
	serving int
	book    *client.Book
	terms   *client.Terms // nil: the committee does not rotate
	keys    []*bls.SecretKey
	nonces  map[ledger.Key]uint64

	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	bills map[bill]tally
	errs  []error
}

// bill is what a node is paid for together.
type bill struct{ node, epoch uint32 }

// tally counts acks by what their clients know of them.
type tally struct{ taken, refused, unknown uint64 }

// Outcomes of all acks so far, by the node's last word.
func (t *Traffic) outcomes() map[bill]tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[bill]tally, len(t.bills))
	for k, v := range t.bills {
		all[k] = v
	}
	return all
}

// NewTraffic registers a payer, a service, and clients for so many nodes that serve. All nodes must
// run.
func NewTraffic(ctx context.Context, w *World, serving int) (*Traffic, error) {
	t := &Traffic{world: w, host: w.Net.Boot(clientAddress), serving: serving,
		book: client.MemoryBook(), nonces: make(map[ledger.Key]uint64),
		bills: make(map[bill]tally)}
	if w.Files.Genesis.Params.Rotation != nil {
		var err error
		if t.terms, err = client.OpenTerms(w.Files.Genesis.Encode(), w.Files.Genesis.Network(),
			""); err != nil {
			return nil, err
		}
	}
	network := w.Files.Genesis.Network()
	payer := ed25519.NewKeyFromSeed(slices.Repeat([]byte{7}, ed25519.SeedSize))
	const money = 100_000_000
	for _, step := range []struct {
		key   ed25519.PrivateKey
		build func(nonce uint64) []byte
	}{
		{w.Files.Treasury, func(nonce uint64) []byte {
			return ledger.NewDeposit(network, w.Files.Treasury, nonce, ledger.KeyOf(payer), money)
		}},
		{payer, func(nonce uint64) []byte {
			return ledger.NewRegisterService(network, payer, nonce,
				&ledger.ServiceRegistration{Price: 1 << 20, UnitCap: 100, Unit: "byte"})
		}},
		{payer, func(nonce uint64) []byte {
			return ledger.NewReserve(network, payer, nonce, money/10*9)
		}},
	} {
		if err := t.execute(ctx, step.key, step.build); err != nil {
			return nil, err
		}
	}
	return t, t.grant(ctx, payer)
}

// grant registers the clients.
func (t *Traffic) grant(ctx context.Context, payer ed25519.PrivateKey) error {
	network := t.world.Files.Genesis.Network()
	account, ok := t.world.Machines[0].Node.View().AccountByKey(ledger.KeyOf(payer))
	if !ok {
		return errors.New("virtual: the payer has no account")
	}
	var grants []ledger.Grant
	var keys []ledger.BLSKey
	for i := range t.serving * clientsEach {
		sk, err := bls.KeyGen(slices.Repeat([]byte{byte(i + 1)}, 32))
		if err != nil {
			return err
		}
		t.keys, keys = append(t.keys, sk), append(keys, sk.PublicKey().Bytes())
		grants = append(grants, ledger.NewGrant(network, payer, ledger.Grant{Payer: account.Index,
			Key:      keys[i],
			Proof:    ledger.ProvePossession(sk, network, rollup.RoleClient, ledger.KeyOf(payer)),
			Services: ledger.Services(0), Numbers: ledger.Forever,
			Until: t.world.Files.Genesis.Params.GrantEpochs}))
	}
	c, err := t.client(0)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.ExecuteGrants(ctx, keys, ledger.NewGrants(network, grants))
	return err
}

// client returns a client of a machine's node.
func (t *Traffic) client(i int) (*client.Client, error) {
	c := client.Config{URL: t.world.Files.Nodes[i].Ingest, Book: t.book, Dial: t.host.DialContext,
		Terms: t.terms,
		Pin: &client.Pin{Network: t.world.Files.Genesis.Network(), Node: uint32(i),
			Key: t.world.Files.Genesis.Members[i].TransportKey}}
	if t.terms == nil {
		c.Committee = t.world.Files.Genesis.Committee()
	}
	return client.New(c)
}

// execute submits a transaction to machine 0, and waits for its execution.
func (t *Traffic) execute(ctx context.Context, key ed25519.PrivateKey,
	build func(nonce uint64) []byte) error {
	c, err := t.client(0)
	if err != nil {
		return err
	}
	defer c.Close()
	sender := ledger.KeyOf(key)
	nonce := t.nonces[sender]
	if _, err := c.SubmitTx(ctx, build(nonce)); err != nil {
		return err
	}
	t.nonces[sender]++
	for ctx.Err() == nil {
		a, err := client.Call(ctx, c.Ledger().GetAccount,
			&api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: sender.String()}})
		if err == nil && a.NextNonce > nonce {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return ctx.Err()
}

// Begin has clients acknowledge deliveries of each serving node, a few in a second, until End.
func (t *Traffic) Begin() error {
	ctx, cancel := context.WithCancel(context.Background())
	t.stop = cancel
	for i := range t.serving {
		c, err := t.client(i)
		if err != nil {
			return err
		}
		t.done.Go(func() {
			defer c.Close()
			sign := client.SignWith(func(client uint64) *bls.SecretKey { return t.keys[client] })
			if err := c.Deliver(context.Background(), t.deliveries(ctx, i), sign,
				t.note); err != nil {
				t.mu.Lock()
				t.errs = append(t.errs, fmt.Errorf("deliveries of node %d: %w", i, err))
				t.mu.Unlock()
			}
		})
	}
	return nil
}

func (t *Traffic) deliveries(ctx context.Context, i int) iter.Seq[client.Delivery] {
	rng := rand.New(rand.NewPCG(t.world.Seed, uint64(i)+100))
	return func(yield func(client.Delivery) bool) {
		for {
			select {
			case <-time.After(time.Duration(rng.Int64N(int64(time.Second)))):
			case <-ctx.Done():
				return
			}
			d := client.Delivery{Client: uint64(i*clientsEach + rng.IntN(clientsEach)),
				Units: 1 + rng.Uint64N(100), Request: rollup.Hash{byte(rng.Uint32())}}
			if !yield(d) {
				return
			}
		}
	}
}

func (t *Traffic) note(o *client.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := bill{o.Ack.Node, o.Ack.Epoch}
	n := t.bills[k]
	switch {
	case errors.Is(o.Err, client.ErrNotSent):
		return
	case o.Err != nil:
		n.unknown++
	case o.Code == rollup.CodeAccepted || o.Code == rollup.CodeKnown:
		n.taken++
	default:
		n.refused++
	}
	t.bills[k] = n
}

// End ends the deliveries and waits until each has its outcome.
func (t *Traffic) End() {
	t.stop()
	t.done.Wait()
}
