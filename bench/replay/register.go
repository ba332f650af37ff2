package replay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"golang.org/x/sync/errgroup"
)

// grantsPerTx keeps a transaction small enough to be verified within a block's time.
const grantsPerTx = 256

// grantTxs is how many such transactions are on their way at once.
const grantTxs = 8

// senders is for how many payers a node is asked at once.
const senders = 64

// Parties says how many of each kind a workload has.
type Parties struct{ Payers, Services, Clients int }

// Register makes sure that every party of the workload is registered: payers with an account,
// services, and clients by grants of their payers. progress is called with the number of clients
// done and their total; it may be nil.
func (r *Replay) Register(
	ctx context.Context,
	deliveries iter.Seq[workload.Delivery],
	progress func(done, total int),
) (Parties, error) {
	services, known := map[string]bool{}, make(names)
	r.owed = make(map[uint64]bool)
	for d := range deliveries {
		if r.names != nil {
			r.owed[known.of(&d)] = true
		}
		bundle := workload.Bundle(d.Service)
		for _, name := range bundle {
			services[name] = true
		}
		p := r.payers[d.Payer]
		if p == nil {
			p = &payer{key: ed25519.NewKeyFromSeed(r.secret("payer", d.Payer))}
			r.payers[d.Payer] = p
		}
		id := partyOf(&d)
		if r.parties[id] == nil {
			sk, err := bls.KeyGen(r.secret("client", d.Address, d.Payer, bundle[0]))
			if err != nil {
				return Parties{}, err
			}
			c := &customer{secret: sk, services: bundle, index: unknown}
			r.parties[id] = c
			p.clients = append(p.clients, c)
		}
	}
	if err := r.fund(ctx); err != nil {
		return Parties{}, fmt.Errorf("payers: %w", err)
	}
	if err := r.reserve(ctx); err != nil {
		return Parties{}, fmt.Errorf("reserves: %w", err)
	}
	if err := r.registerServices(ctx, slices.Sorted(maps.Keys(services))); err != nil {
		return Parties{}, fmt.Errorf("services: %w", err)
	}
	if err := r.registerClients(ctx, progress); err != nil {
		return Parties{}, fmt.Errorf("clients: %w", err)
	}
	var err error
	if r.height, err = r.ledger().Height(ctx); err != nil {
		return Parties{}, err
	}
	return Parties{len(r.payers), len(r.services), len(r.parties)}, nil
}

// ledger is the client that is asked about the ledger, and given transactions. It turns to the
// other nodes while its own does not answer.
func (r *Replay) ledger() *client.Client { return r.servers[0].client }

// account returns the account of a key; Index is nil when there is none. The treasury has a count
// without one.
func (r *Replay) account(ctx context.Context, key ledger.Key) (*api.GetAccountResponse, error) {
	a, err := client.Retry(
		ctx,
		r.ledger().Ledger().GetAccount,
		&api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: key.String()}},
	)
	if client.NotFound(err) {
		return &api.GetAccountResponse{}, nil
	}
	return a, err
}

// fund deposits to every payer that has no account, and to the owner of the services. Acks are not
// paid from that: see reserve.
func (r *Replay) fund(ctx context.Context) error {
	owner := &payer{key: ed25519.NewKeyFromSeed(r.secret("services"))}
	all := append(slices.Collect(maps.Values(r.payers)), owner)
	var mu sync.Mutex
	var poor []ledger.Key
	look := func(p *payer) error {
		account, err := r.account(ctx, ledger.KeyOf(p.key))
		if p.account = account.GetIndex(); err == nil && account.Index == nil {
			mu.Lock()
			defer mu.Unlock()
			poor = append(poor, ledger.KeyOf(p.key))
		}
		return err
	}
	if err := concurrently(slices.Values(all), look); err != nil {
		return err
	}
	if len(poor) == 0 {
		return nil
	}
	if r.cfg.Treasury == nil {
		return fmt.Errorf(
			"%d have no account, and without the treasury's key none can be funded",
			len(poor),
		)
	}
	treasury, err := r.account(ctx, ledger.KeyOf(r.cfg.Treasury))
	if err != nil {
		return fmt.Errorf("treasury: %w", err)
	}
	deposits := make([][]byte, len(poor))
	for i, key := range poor {
		deposits[i] = ledger.NewDeposit(
			r.network,
			r.cfg.Treasury,
			treasury.NextNonce+uint64(i),
			key,
			r.cfg.Deposit,
		)
	}
	sender := ledger.KeyOf(r.cfg.Treasury)
	if err := r.ledger().Execute(ctx, sender, treasury.NextNonce, deposits...); err != nil {
		return err
	}
	return concurrently(slices.Values(all), look)
}

// reserve has every payer without a reserve put nine tenths of its balance there: acks are paid
// from the reserve, and grants from what is left.
//
// All are handed in before one is waited for: each is its sender's only one, so that what waits for
// one block after the other is what a block has no room for.
func (r *Replay) reserve(ctx context.Context) error {
	type reservation struct {
		sender ledger.Key
		nonce  uint64
		tx     []byte
	}
	var mu sync.Mutex
	var all []reservation
	err := concurrently(maps.Values(r.payers), func(p *payer) error {
		sender := ledger.KeyOf(p.key)
		a, err := r.account(ctx, sender)
		if err != nil {
			return err
		}
		amount := a.Balance - a.Balance/10
		fees := r.cfg.Genesis.Params.GrantFee * uint64(len(p.clients))
		amount = min(amount, a.Balance-min(a.Balance, fees))
		if a.Reserve > 0 || amount == 0 {
			return nil
		}
		tx := ledger.NewReserve(r.network, p.key, a.NextNonce, amount)
		// What is not taken now is handed in again, and the reason told, by Execute.
		_, _ = r.ledger().SubmitTx(ctx, tx)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, reservation{sender, a.NextNonce, tx})
		return nil
	})
	if err != nil {
		return err
	}
	return concurrently(slices.Values(all), func(x reservation) error {
		// Nobody else has the key: a count above the nonce is of this transaction.
		executed := func() bool {
			a, err := r.account(ctx, x.sender)
			return err == nil && a.NextNonce > x.nonce
		}
		if executed() {
			return nil
		}
		err := r.ledger().Execute(ctx, x.sender, x.nonce, x.tx)
		if errors.Is(err, ledger.CodeBadNonce) && executed() { // just before it was handed in again
			return nil
		}
		return err
	})
}

// concurrently does something for each of a sequence, for some at a time, until one fails.
func concurrently[T any](all iter.Seq[T], do func(T) error) error {
	var group errgroup.Group
	group.SetLimit(senders)
	for each := range all {
		group.Go(func() error { return do(each) })
	}
	return group.Wait()
}

// registerServices registers a service a name, owned by the replay, whose unit says what its bytes
// are.
func (r *Replay) registerServices(ctx context.Context, names []string) error {
	owner := ed25519.NewKeyFromSeed(r.secret("services"))
	account, err := r.account(ctx, ledger.KeyOf(owner))
	if err != nil {
		return err
	}
	unit := func(name string) string { return "byte of " + name }
	list := func() error {
		for from := uint32(0); ; {
			page, err := client.Retry(
				ctx,
				r.ledger().Ledger().GetServices,
				&api.GetServicesRequest{From: from},
			)
			if err != nil {
				return err
			}
			for _, s := range page.Services {
				for _, name := range names {
					if s.Owner == account.GetIndex() && s.Unit == unit(name) {
						r.services[name] = s.Index
					}
				}
			}
			if from += uint32(len(page.Services)); from >= page.Total || len(page.Services) == 0 {
				return nil
			}
		}
	}
	if err := list(); err != nil {
		return err
	}
	var txs [][]byte
	for _, name := range names {
		if _, ok := r.services[name]; !ok {
			service := &ledger.ServiceRegistration{
				Price:   r.cfg.Price,
				UnitCap: 1 << 32,
				Unit:    unit(name),
			}
			txs = append(
				txs,
				ledger.NewRegisterService(
					r.network,
					owner,
					account.NextNonce+uint64(len(txs)),
					service,
				),
			)
		}
	}
	if err := r.ledger().Execute(ctx, ledger.KeyOf(owner), account.NextNonce, txs...); err != nil {
		return err
	}
	return list()
}

// registerClients has payers grant their clients the services that they use, on all processors.
func (r *Replay) registerClients(ctx context.Context, progress func(done, total int)) error {
	total := len(r.parties)
	var done atomic.Int64
	report := func(n int) {
		if all := done.Add(int64(n)); progress != nil {
			progress(int(all), total)
		}
	}
	r.derive()
	if err := r.lookUp(ctx, report); err != nil {
		return err
	}
	status, err := client.Retry(ctx, r.ledger().Ledger().GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(grantTxs)
	for some := range slices.Chunk(r.missing(), grantsPerTx) {
		group.Go(func() error { return r.grantSome(gctx, some, status.Epoch) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := r.lookUp(ctx, report); err != nil {
		return err
	}
	if n := int(done.Load()); n != total {
		return fmt.Errorf("%d of %d clients are registered", n, total)
	}
	return nil
}

// derive computes the public keys on all processors.
func (r *Replay) derive() {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, c := range r.parties {
		if c.public == (ledger.BLSKey{}) {
			group.Go(func() error {
				c.public = c.secret.PublicKey().Bytes()
				return nil
			})
		}
	}
	_ = group.Wait() // no error is possible
}

// unknown marks a client whose index is not known yet.
const unknown = ^uint64(0)

// owing is a client that has no index yet, with its payer.
type owing struct {
	payer    *payer
	customer *customer
}

// missing lists the clients without an index, those of a payer together.
func (r *Replay) missing() (list []owing) {
	for _, p := range r.payers {
		for _, c := range p.clients {
			if c.index == unknown {
				list = append(list, owing{p, c})
			}
		}
	}
	return list
}

// grantSome submits grants to clients that have no index, in one transaction. Grants have no order
// and stand alone, so those of many payers may share one.
func (r *Replay) grantSome(ctx context.Context, list []owing, epoch uint32) error {
	grants, keys := make([]ledger.Grant, len(list)), make([]ledger.BLSKey, len(list))
	each(len(list), func(i int) {
		keys[i], grants[i] = list[i].customer.public, r.grant(list[i].payer, list[i].customer, epoch)
	})
	_, err := r.ledger().ExecuteGrants(ctx, keys, ledger.NewGrants(r.network, grants))
	return err
}

// grant lets a client use its bundle of services at its payer's cost.
func (r *Replay) grant(p *payer, c *customer, epoch uint32) ledger.Grant {
	var services []uint32
	for _, name := range c.services {
		services = append(services, r.services[name])
	}
	slices.Sort(services)
	proof := ledger.ProvePossession(c.secret, r.network, rollup.RoleClient, ledger.KeyOf(p.key))
	until := min(uint64(epoch)+uint64(r.cfg.Genesis.Params.GrantEpochs), math.MaxUint32)
	return ledger.NewGrant(r.network, p.key, ledger.Grant{
		Payer: p.account, Key: c.public, Proof: proof, Services: ledger.Services(services...),
		Numbers: math.MaxUint32, From: epoch, Until: uint32(until),
	})
}

// lookUp asks for the indices of clients that have none yet.
func (r *Replay) lookUp(ctx context.Context, found func(n int)) error {
	for chunk := range slices.Chunk(r.missing(), ledger.MaxGrants) {
		req := &api.GetClientsRequest{}
		for _, o := range chunk {
			req.Keys = append(req.Keys, o.customer.public.String())
		}
		res, err := client.Retry(ctx, r.ledger().Ledger().GetClients, req)
		if err != nil {
			return err
		}
		n := 0
		for i, got := range res.Clients {
			if got.Index != nil {
				chunk[i].customer.index, chunk[i].customer.payer = got.GetIndex(), got.Payer
				n++
			}
		}
		found(n)
	}
	return nil
}

// Services returns the indices of the registered services by name, Payers those of the payers'
// accounts.
func (r *Replay) Services() map[string]uint32 { return r.services }

// Payers returns the payers' account indices by name.
func (r *Replay) Payers() map[string]uint32 {
	m := make(map[string]uint32, len(r.payers))
	for name, p := range r.payers {
		m[name] = p.account
	}
	return m
}
