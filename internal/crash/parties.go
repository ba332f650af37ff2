//go:build linux

package crash

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// What the parties have and cost.
const (
	deposit = 1_000_000_000_000
	keep    = deposit / 10 // is not reserved: fees of grants
	unitCap = 1 << 20
)

var prices = []uint64{70_001, 123_457} // of the services, micro-credits per 2^20 units

// Client signs acks. Its counters belong to the goroutine that delivers for it without the
// library's book.
type Client struct {
	Secret *bls.SecretKey
	Key    ledger.BLSKey
	Index  uint64
	Payer  uint32 // account

	network rollup.Network
	next    map[series]uint32
}

// series is what a client's acks are numbered within.
type series struct{ node, epoch, service uint32 }

// Sign numbers an ack and signs it.
func (c *Client) Sign(ack *rollup.Ack) {
	if c.next == nil {
		c.next = make(map[series]uint32)
	}
	of := series{ack.Node, ack.Epoch, ack.Service}
	ack.Client, ack.Number = c.Index, c.next[of]
	c.next[of]++
	c.Resign(ack)
}

// Resign signs an ack as it is.
func (c *Client) Resign(ack *rollup.Ack) {
	message := ack.AppendMessage(make([]byte, 0, rollup.MessageSize), &c.network)
	signature := bls.Default.Sign(c.Secret, message)
	ack.Signature = signature.Bytes()
}

// Parties are who uses a network. They are a rollup.Registry of themselves.
type Parties struct {
	Payers       []ed25519.PrivateKey // each with an account
	Accounts     []uint32             // theirs
	Owner        ed25519.PrivateKey   // of the services
	OwnerAccount uint32
	Services     []uint32 // indices, with the price in prices
	Clients      []*Client

	byIndex map[uint64]*Client
	nodes   []ledger.Key // their transport keys
}

// Client implements rollup.Registry.
func (p *Parties) Client(index uint64) (rollup.Client, bool) {
	c, ok := p.byIndex[index]
	if !ok {
		return rollup.Client{}, false
	}
	return rollup.Client{Key: c.Secret.PublicKey(), Payer: c.Payer, Until: math.MaxUint32,
		Numbers: math.MaxUint32, Services: ledger.Services(p.Services...)}, true
}

// Payer returns the account that pays for a client.
func (p *Parties) Payer(client uint64) (uint32, bool) {
	c, ok := p.byIndex[client]
	if !ok {
		return 0, false
	}
	return c.Payer, true
}

// NodeKey implements rollup.Registry.
func (p *Parties) NodeKey(node uint32) ([32]byte, bool) {
	if int(node) >= len(p.nodes) {
		return [32]byte{}, false
	}
	return p.nodes[node], true
}

// UnitCap implements rollup.Registry.
func (p *Parties) UnitCap(service uint32) (uint64, bool) {
	return unitCap, int(service) < len(p.Services)
}

func seed(parts ...any) []byte {
	sum := blake3.Sum256([]byte("waybill/crash " + fmt.Sprint(parts...)))
	return sum[:]
}

// Register gives three payers accounts, registers two services, and clients for each payer in turn,
// through a node.
func (n *Network) Register(ctx context.Context, node, clients int) (*Parties, error) {
	p := &Parties{Owner: ed25519.NewKeyFromSeed(seed("owner")), byIndex: map[uint64]*Client{}}
	for i := range n.Genesis.Members {
		p.nodes = append(p.nodes, n.Genesis.Members[i].TransportKey)
	}
	for i := range 3 {
		p.Payers = append(p.Payers, ed25519.NewKeyFromSeed(seed("payer", i)))
	}
	for i, key := range append(p.Payers, p.Owner) {
		if err := n.submit(ctx, node,
			ledger.NewDeposit(n.ID, n.Treasury, uint64(i), ledger.KeyOf(key),
				deposit)); err != nil {
			return nil, err
		}
	}
	for _, key := range append(p.Payers, p.Owner) {
		index, err := n.awaitAccount(ctx, node, ledger.KeyOf(key))
		if err != nil {
			return nil, err
		}
		p.Accounts = append(p.Accounts, index)
	}
	for _, key := range p.Payers {
		if err := n.submit(ctx, node, ledger.NewReserve(n.ID, key, 0, deposit-keep)); err != nil {
			return nil, err
		}
		// What one node may charge: any of them may have to serve alone.
		if err := n.submit(ctx, node, ledger.NewAllowance(n.ID, key, 1, deposit)); err != nil {
			return nil, err
		}
	}
	p.Accounts, p.OwnerAccount = p.Accounts[:len(p.Payers)], p.Accounts[len(p.Payers)]
	for i, price := range prices {
		tx := ledger.NewRegisterService(n.ID, p.Owner, uint64(i),
			&ledger.ServiceRegistration{Price: price, UnitCap: unitCap, Unit: "byte"})
		if err := n.submit(ctx, node, tx); err != nil {
			return nil, err
		}
		p.Services = append(p.Services, uint32(i))
	}
	err := n.await(ctx, "services", func() (bool, error) {
		services, err := client.Call(ctx, n.Clients[node].Ledger().GetServices,
			&api.GetServicesRequest{})
		return err == nil && int(services.Total) == len(prices), err
	})
	if err != nil { // a grant names services that there are
		return nil, err
	}
	if err := n.registerClients(ctx, node, p, clients); err != nil {
		return nil, err
	}
	return p, n.sameHeight(ctx, node)
}

// sameHeight waits until the serving nodes know what a node knows.
func (n *Network) sameHeight(ctx context.Context, node int) error {
	height, err := n.Clients[node].Height(ctx)
	for _, c := range n.Clients[:Serving] {
		if err == nil {
			err = c.WaitForHeight(ctx, height)
		}
	}
	return err
}

// submit hands in a transaction, again and again while the node is too busy for it.
func (n *Network) submit(ctx context.Context, node int, tx []byte) error {
	return n.await(ctx, "a transaction", func() (bool, error) {
		_, err := n.Clients[node].SubmitTx(ctx, tx)
		if refusal := (*ledger.Refusal)(nil); errors.As(err, &refusal) {
			return false, errors.New(refusal.Error()) // for good
		}
		return err == nil, err
	})
}

func (n *Network) awaitAccount(ctx context.Context, node int, key ledger.Key,
) (index uint32, err error) {
	err = n.await(ctx, "an account", func() (bool, error) {
		account, err := client.Call(ctx, n.Clients[node].Ledger().GetAccount,
			&api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: key.String()}})
		if err != nil {
			return false, err
		}
		index = account.GetIndex()
		return account.Index != nil, nil
	})
	return index, err
}

func (n *Network) registerClients(ctx context.Context, node int, p *Parties, clients int) error {
	grants := make([]ledger.Grant, clients)
	request := &api.GetClientsRequest{}
	for i := range grants {
		secret, err := bls.KeyGen(seed("client", i))
		if err != nil {
			return err
		}
		c := &Client{Secret: secret, Key: secret.PublicKey().Bytes(), network: n.ID}
		grants[i] = n.grant(p, i%len(p.Payers), c)
		p.Clients = append(p.Clients, c)
		request.Keys = append(request.Keys, c.Key.String())
	}
	// Each payer's in a transaction of its own, so that a small one is among them.
	for payer := range p.Payers {
		var own []ledger.Grant
		for i := payer; i < len(grants); i += len(p.Payers) {
			own = append(own, grants[i])
		}
		if err := n.submit(ctx, node, ledger.NewGrants(n.ID, own)); err != nil {
			return err
		}
	}
	return n.await(ctx, "clients", func() (bool, error) {
		found, err := client.Call(ctx, n.Clients[node].Ledger().GetClients, request)
		if err != nil {
			return false, err
		}
		for i, c := range found.Clients {
			if c.Index == nil {
				return false, nil
			}
			p.Clients[i].Index, p.Clients[i].Payer = c.GetIndex(), c.Payer
			p.byIndex[c.GetIndex()] = p.Clients[i]
		}
		return true, nil
	})
}

// grant lets a client use all services at a payer's cost, from now on.
func (n *Network) grant(p *Parties, payer int, c *Client) ledger.Grant {
	key := p.Payers[payer]
	return ledger.NewGrant(n.ID, key, ledger.Grant{Payer: p.Accounts[payer], Key: c.Key,
		Proof:    ledger.ProvePossession(c.Secret, n.ID, rollup.RoleClient, ledger.KeyOf(key)),
		Services: ledger.Services(p.Services...), Numbers: math.MaxUint32,
		Until: n.Genesis.Params.GrantEpochs})
}
