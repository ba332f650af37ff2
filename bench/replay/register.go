package replay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/rpc"
	"github.com/waybill-network/waybill/rollup/ledger"
	"golang.org/x/sync/errgroup"
)

// poll is how often the chain is asked whether something has happened.
const poll = 30 * time.Millisecond

// clientsPerTx keeps a registration small enough to be verified within a block's time.
const clientsPerTx = 256

// Parties says how many of each kind a workload has.
type Parties struct{ Payers, Services, Clients int }

// Register makes sure that every party of the workload is registered: payers with an account, services, and clients with
// proofs of possession. progress is called with the number of clients done and their total; it may be nil.
func (r *Replay) Register(ctx context.Context, deliveries iter.Seq[workload.Delivery], progress func(done, total int)) (Parties, error) {
	names := map[string]bool{}
	for d := range deliveries {
		names[d.Service] = true
		p := r.payers[d.Payer]
		if p == nil {
			p = &payer{key: ed25519.NewKeyFromSeed(r.secret("payer", d.Payer))}
			r.payers[d.Payer] = p
		}
		id := party{d.Address, d.Payer}
		if r.parties[id] == nil {
			sk, err := bls.KeyGen(r.secret("client", d.Address, d.Payer))
			if err != nil {
				return Parties{}, err
			}
			// A random start keeps two runs in one window from using a seq twice.
			c := &client{secret: sk, index: unknown, seq: rand.Uint32()}
			r.parties[id] = c
			p.clients = append(p.clients, c)
		}
	}
	if err := r.fund(ctx); err != nil {
		return Parties{}, fmt.Errorf("payers: %w", err)
	}
	if err := r.registerServices(ctx, slices.Sorted(maps.Keys(names))); err != nil {
		return Parties{}, fmt.Errorf("services: %w", err)
	}
	if err := r.registerClients(ctx, progress); err != nil {
		return Parties{}, fmt.Errorf("clients: %w", err)
	}
	return Parties{len(r.payers), len(r.services), len(r.parties)}, nil
}

// submit sends a transaction, waiting while the node is too busy to take it.
func (r *Replay) submit(ctx context.Context, tx []byte) error {
	for {
		_, err := r.clients[0].SubmitTx(ctx, tx)
		if err == nil || errors.As(err, new(*ledger.Refusal)) || !ingest.Temporary(err) {
			return err
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// execute submits a transaction and waits until the sender's count shows that it was executed. A proposer may hear of two
// transactions of one sender in the wrong order, and the later one is then lost: so the next is sent after this one's block.
func (r *Replay) execute(ctx context.Context, sender ledger.Key, nonce uint64, tx []byte) error {
	if err := r.submit(ctx, tx); err != nil {
		return err
	}
	return await(ctx, func() (bool, error) {
		a, err := r.account(ctx, sender)
		return err == nil && a.NextNonce > nonce, err
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await asks until done answers true.
func await(ctx context.Context, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}

func (r *Replay) account(ctx context.Context, key ledger.Key) (*rpc.GetAccountResponse, error) {
	return ingest.Call(ctx, r.clients[0].Ledger().GetAccount, &rpc.GetAccountRequest{By: &rpc.GetAccountRequest_Key{Key: key.String()}})
}

// fund deposits to every payer that has no account. The owner of the services is one of them.
func (r *Replay) fund(ctx context.Context) error {
	r.payers[""] = &payer{key: ed25519.NewKeyFromSeed(r.secret("services"))}
	defer delete(r.payers, "")
	var nonce uint64
	known := false
	for _, name := range slices.Sorted(maps.Keys(r.payers)) {
		key := ledger.KeyOf(r.payers[name].key)
		account, err := r.account(ctx, key)
		if err != nil && !ingest.NotFound(err) {
			return err
		}
		if err == nil && account.Index != nil {
			continue
		}
		if r.cfg.Treasury == nil {
			return fmt.Errorf("%q has no account, and without the treasury's key none can be funded", name)
		}
		if !known {
			t, err := r.account(ctx, ledger.KeyOf(r.cfg.Treasury))
			if err != nil {
				return fmt.Errorf("treasury: %w", err)
			}
			nonce, known = t.NextNonce, true
		}
		if err := r.execute(ctx, ledger.KeyOf(r.cfg.Treasury), nonce, ledger.NewDeposit(r.cfg.Network, r.cfg.Treasury, nonce, key, r.cfg.Deposit)); err != nil {
			return err
		}
		nonce++
	}
	for _, p := range r.payers {
		if err := await(ctx, func() (bool, error) {
			a, err := r.account(ctx, ledger.KeyOf(p.key))
			if ingest.NotFound(err) || err == nil && a.Index == nil {
				return false, nil
			}
			if err == nil {
				p.account = a.GetIndex()
			}
			return err == nil, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// registerServices registers a service a name, owned by the replay, whose unit says what its bytes are.
func (r *Replay) registerServices(ctx context.Context, names []string) error {
	owner := ed25519.NewKeyFromSeed(r.secret("services"))
	account, err := r.account(ctx, ledger.KeyOf(owner))
	if err != nil {
		return err
	}
	unit := func(name string) string { return "byte of " + name }
	list := func() error {
		for from := uint32(0); ; {
			page, err := ingest.Call(ctx, r.clients[0].Ledger().GetServices, &rpc.GetServicesRequest{From: from})
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
	nonce := account.NextNonce
	for _, name := range names {
		if _, ok := r.services[name]; ok {
			continue
		}
		tx := ledger.NewRegisterService(r.cfg.Network, owner, nonce, &ledger.ServiceRegistration{Price: r.cfg.Price, UnitCap: 1 << 32, Unit: unit(name)})
		if err := r.execute(ctx, ledger.KeyOf(owner), nonce, tx); err != nil {
			return err
		}
		nonce++
	}
	return await(ctx, func() (bool, error) { return len(r.services) == len(names), list() })
}

// registerClients proves possession of the clients' keys on all processors, and registers them payer by payer.
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
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range slices.Sorted(maps.Keys(r.payers)) {
		group.Go(func() error { return r.registerFor(gctx, r.payers[name]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return await(ctx, func() (bool, error) {
		err := r.lookUp(ctx, report)
		return int(done.Load()) == total, err
	})
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
const unknown = ^uint32(0)

// registerFor submits the registrations of one payer's clients that have no index.
func (r *Replay) registerFor(ctx context.Context, p *payer) error {
	account, err := r.account(ctx, ledger.KeyOf(p.key))
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(p.clients), func(c *client) bool { return c.index != unknown })
	nonce := account.NextNonce
	for chunk := range slices.Chunk(missing, clientsPerTx) {
		proofs := make([]ledger.ClientProof, len(chunk))
		for i, c := range chunk {
			proof := bls.Prove(c.secret)
			proofs[i] = ledger.ClientProof{Key: c.public, Proof: proof.Bytes()}
		}
		if err := r.execute(ctx, ledger.KeyOf(p.key), nonce, ledger.NewRegisterClients(r.cfg.Network, p.key, nonce, proofs)); err != nil {
			return err
		}
		nonce++
	}
	return nil
}

// lookUp asks for the indices of clients that have none yet.
func (r *Replay) lookUp(ctx context.Context, found func(n int)) error {
	for _, p := range r.payers {
		pending := slices.DeleteFunc(slices.Clone(p.clients), func(c *client) bool { return c.index != unknown })
		for chunk := range slices.Chunk(pending, ledger.MaxClientsPerTx) {
			req := &rpc.GetClientsRequest{}
			for _, c := range chunk {
				req.Keys = append(req.Keys, c.public.String())
			}
			res, err := ingest.Call(ctx, r.clients[0].Ledger().GetClients, req)
			if err != nil {
				return err
			}
			n := 0
			for i, got := range res.Clients {
				if got.Index != nil {
					chunk[i].index, chunk[i].payer = got.GetIndex(), got.Payer
					n++
				}
			}
			found(n)
		}
	}
	return nil
}

// Services returns the indices of the registered services by name, Payers those of the payers' accounts.
func (r *Replay) Services() map[string]uint32 { return r.services }

// Payers returns the payers' account indices by name.
func (r *Replay) Payers() map[string]uint32 {
	m := make(map[string]uint32, len(r.payers))
	for name, p := range r.payers {
		m[name] = p.account
	}
	return m
}
