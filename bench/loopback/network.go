// Package loopback runs a network of processes on one machine and loads it: a committee and nodes
// that take acks, each a process of the built program with ports of its own, and a generator that
// offers signed acks at a given rate, whatever becomes of them.
//
// The acks are signed before they are sent. Their clients have small secret keys, which nobody who
// verifies can tell, and which make a signature cheap for who knows them: the generator is not to
// be what a network waits for.
//
// The suite delivery has such a node deliver content beside nginx.
//
// Files: suite.go is the suite, process.go one process and what it uses, network.go the network and
// who is registered on it, sign.go the acks, load.go offers them, certify.go sees what becomes of
// them; delivery.go is the suite delivery, nginx.go the web server beside it.
package loopback

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Config says what network to run.
type Config struct {
	Program string        // that a node is
	Members int           // of the committee; they take no acks
	Feeding int           // nodes that take acks and have their windows certified
	Clients int           // of each feeding node
	Epoch   time.Duration // its length; whole seconds
	Window  time.Duration // age at which a window closes
	Grace   time.Duration // wait before an epoch settles; whole seconds
	// Content, if it is not nil, is what the feeding nodes deliver.
	Content *Content
}

// What the parties have and cost.
const (
	deposit = 1_000_000_000_000
	reserve = deposit / 2
	price   = 1000    // micro-credits per 2^20 units
	unitCap = 1 << 20 // units of an ack
)

// cap is the most units of an ack: what clients have ahead of acks of content is larger.
func (c *Config) cap() uint64 {
	if c.Content != nil {
		return 1 << 30
	}
	return unitCap
}

// Network is a network of processes. Its methods are for one goroutine. Close ends it.
type Network struct {
	cfg       Config
	dir       string
	written   *homes.Network
	id        rollup.Network
	members   []*process
	feeding   []*process
	clients   []*client.Client // of the feeding nodes
	committee *client.Client   // of a member
	payer     ed25519.PrivateKey
	secrets   []*bls.SecretKey // of clients: client i of feeding node n is i·Feeding + n
	indices   []uint64         // theirs
	nodes     []uint32         // indices of the feeding nodes
	perAck    time.Duration    // that signing takes; 0: not known yet
}

// Start writes a network's folders, starts its processes and registers everybody. Whatever was
// begun when it fails has ended when it returns.
func Start(ctx context.Context, cfg Config) (_ *Network, err error) {
	n := &Network{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.dir, err = os.MkdirTemp("", "waybill-bench-"); err != nil {
		return nil, err
	}
	n.written, err = homes.Write(homes.Options{
		Dir: filepath.Join(n.dir, "network"), Nodes: cfg.Members, Joining: cfg.Feeding,
		EpochSeconds: uint32(cfg.Epoch / time.Second),
		GraceSeconds: uint32(cfg.Grace / time.Second), GraceBlocks: 2,
		Allowance: deposit, GenesisTime: time.Now(), Content: cfg.Content != nil,
		Configure: func(i int, c *config.Config) {
			c.Node.Serving = i >= cfg.Members
			c.Pipeline.WindowAge, c.Pipeline.Tail = cfg.Window, time.Second
			c.Pipeline.CosignWait, c.Proofs.Enabled = 0, false // every ack is verified by everybody
			c.Store.MinFree, c.Log.Level, c.Operator.Listen = 0, "warn", ""
			if cfg.Content != nil && c.Node.Serving {
				cfg.Content.configure(c)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	n.id = n.written.Genesis.Network()
	for i := range cfg.Members {
		p, err := start(cfg.Program, n.written.Nodes[i], fmt.Sprintf("member %d", i), bench.RoleMember)
		if err != nil {
			return nil, err
		}
		n.members = append(n.members, p)
	}
	if err := n.makeKeys(); err != nil { // while the members find each other
		return nil, err
	}
	n.committee, err = n.open(0)
	if err != nil {
		return nil, err
	}
	if err := n.register(ctx); err != nil {
		return nil, err
	}
	return n, n.join(ctx)
}

// open returns a client of a node.
func (n *Network) open(node int) (*client.Client, error) {
	return client.New(client.Config{URL: n.written.Nodes[node].Ingest, Backoff: poll})
}

// poll is how often what is waited for is asked for.
const poll = 50 * time.Millisecond

// Close ends all processes and removes their folders.
func (n *Network) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range append(n.clients, n.committee) {
		if c != nil {
			c.Close()
		}
	}
	var stopping sync.WaitGroup
	for _, p := range n.processes() {
		stopping.Go(func() { p.stop(ctx) })
	}
	stopping.Wait()
	if n.dir == "" {
		return nil
	}
	return os.RemoveAll(n.dir)
}

func (n *Network) processes() []*process {
	return append(append([]*process(nil), n.members...), n.feeding...)
}

// alive returns an error when a node ended by itself.
func (n *Network) alive() error {
	for _, p := range n.processes() {
		if err := p.err(); err != nil {
			return err
		}
	}
	return nil
}

// await asks until the answer is true. An error counts as not yet, unless the ledger refused; the
// last one is told when ctx ends.
func (n *Network) await(ctx context.Context, what string, done func() (bool, error)) error {
	var last error
	for {
		ok, err := done()
		switch {
		case ok:
			return nil
		case errors.As(err, new(*ledger.Refusal)):
			return fmt.Errorf("%s: %w", what, err)
		case err != nil:
			last = err
		}
		if err := n.alive(); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if err := retry.Pause(ctx, poll); err != nil {
			return fmt.Errorf("waiting for %s: %w; last: %v", what, err, last)
		}
	}
}

func (n *Network) makeKeys() error {
	seed := blake3.Sum256([]byte("waybill/bench/payer"))
	n.payer = ed25519.NewKeyFromSeed(seed[:])
	n.secrets = make([]*bls.SecretKey, n.cfg.Clients*n.cfg.Feeding)
	for i := range n.secrets {
		var err error
		if n.secrets[i], err = smallSecret(i); err != nil {
			return err
		}
	}
	return nil
}

// register gives one payer an account, which pays for all clients, and the feeding nodes' owners
// what they stake.
func (n *Network) register(ctx context.Context) error {
	submit := func(tx []byte) error {
		return n.await(ctx, "a transaction", func() (bool, error) {
			_, err := n.committee.SubmitTx(ctx, tx)
			return err == nil, err
		})
	}
	accounts := []ledger.Key{ledger.KeyOf(n.payer)}
	for _, j := range n.written.Joining {
		accounts = append(accounts, ledger.KeyOf(j.Owner))
	}
	for i, key := range accounts {
		if err := submit(ledger.NewDeposit(n.id, n.written.Treasury, uint64(i), key,
			deposit)); err != nil {
			return err
		}
	}
	var payer uint32
	for _, key := range accounts {
		index, err := n.account(ctx, key)
		if err != nil {
			return err
		}
		if key == accounts[0] {
			payer = index
		}
	}
	for _, tx := range [][]byte{ledger.NewReserve(n.id, n.payer, 0, reserve),
		ledger.NewRegisterService(n.id, n.payer, 1,
			&ledger.ServiceRegistration{Price: price, UnitCap: n.cfg.cap(), Unit: "byte"})} {
		if err := submit(tx); err != nil {
			return err
		}
	}
	for _, j := range n.written.Joining {
		if err := submit(ledger.NewRegisterNode(n.id, j.Owner, 0, j.Registration)); err != nil {
			return err
		}
	}
	if err := n.await(ctx, "the service", func() (bool, error) {
		services, err := client.Call(ctx, n.committee.Ledger().GetServices,
			&api.GetServicesRequest{})
		return err == nil && services.Total == 1, err
	}); err != nil {
		return err
	}
	return n.grant(ctx, payer, submit)
}

func (n *Network) account(ctx context.Context, key ledger.Key) (index uint32, err error) {
	err = n.await(ctx, "an account", func() (bool, error) {
		account, err := client.Call(ctx, n.committee.Ledger().GetAccount,
			&api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: key.String()}})
		if err != nil {
			return false, err
		}
		index = account.GetIndex()
		return account.Index != nil, nil
	})
	return index, err
}

// grant registers the clients, in as few transactions as may be.
func (n *Network) grant(ctx context.Context, payer uint32, submit func([]byte) error) error {
	grants := make([]ledger.Grant, len(n.secrets))
	keys := make([]string, len(grants))
	parallel(len(grants), func(i int) {
		key := ledger.BLSKey(n.secrets[i].PublicKey().Bytes())
		keys[i] = key.String()
		grants[i] = ledger.NewGrant(n.id, n.payer, ledger.Grant{Payer: payer, Key: key,
			Proof: ledger.ProvePossession(n.secrets[i], n.id, rollup.RoleClient,
				ledger.KeyOf(n.payer)),
			Services: ledger.Services(0), Numbers: math.MaxUint32,
			Until: n.written.Genesis.Params.GrantEpochs})
	})
	n.indices = make([]uint64, len(grants))
	for from := 0; from < len(grants); from += ledger.MaxGrants {
		to := min(len(grants), from+ledger.MaxGrants)
		if err := submit(ledger.NewGrants(n.id, grants[from:to])); err != nil {
			return err
		}
		if err := n.await(ctx, "clients", func() (bool, error) {
			found, err := client.Call(ctx, n.committee.Ledger().GetClients,
				&api.GetClientsRequest{Keys: keys[from:to]})
			if err != nil {
				return false, err
			}
			for i, c := range found.Clients {
				if c.Index == nil {
					return false, nil
				}
				n.indices[from+i] = c.GetIndex()
			}
			return true, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// join starts the feeding nodes, which are registered by now, and waits until they know all that
// the committee knows.
func (n *Network) join(ctx context.Context) error {
	for i := range n.cfg.Feeding {
		p, err := start(n.cfg.Program, n.written.Nodes[n.cfg.Members+i],
			fmt.Sprintf("feeding node %d", i), bench.RoleFeeding)
		if err != nil {
			return err
		}
		n.feeding = append(n.feeding, p)
		c, err := n.open(n.cfg.Members + i)
		if err != nil {
			return err
		}
		n.clients = append(n.clients, c)
	}
	height, err := n.committee.Height(ctx)
	if err != nil {
		return err
	}
	n.nodes = make([]uint32, len(n.clients))
	for i, c := range n.clients {
		if err := n.await(ctx, n.feeding[i].name, func() (bool, error) {
			status, err := client.Call(ctx, c.Ledger().GetStatus, &api.GetStatusRequest{})
			if err == nil {
				n.nodes[i] = status.Node
			}
			return err == nil && status.Height >= height, err
		}); err != nil {
			return err
		}
	}
	return nil
}
