//go:build linux

package crash

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// What the parties have and cost. The last payer is poor, so that settlements have arrears, too.
const (
	richDeposit = 1_000_000_000_000
	poorDeposit = 3_000_000
	unitCap     = 1 << 20
)

var prices = []uint64{70_001, 123_457} // of the services, micro-credits per 2^20 units

// Client signs acks. Its counter belongs to the goroutine that delivers for it.
type Client struct {
	Secret *bls.SecretKey
	Key    ledger.BLSKey
	Index  uint32
	Payer  uint32 // account
	seq    uint32
}

// Sign numbers an ack and signs it.
func (c *Client) Sign(ack *rollup.Ack) {
	ack.Client, ack.Seq = c.Index, c.seq
	c.seq++
	c.Resign(ack)
}

// Resign signs an ack as it is.
func (c *Client) Resign(ack *rollup.Ack) {
	var message [rollup.MessageSize]byte
	ack.Message(&message)
	signature := bls.Default.Sign(c.Secret, message[:])
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

	byIndex map[uint32]*Client
}

// ClientKey implements rollup.Registry.
func (p *Parties) ClientKey(client uint32) (*bls.PublicKey, bool) {
	c, ok := p.byIndex[client]
	if !ok {
		return nil, false
	}
	return c.Secret.PublicKey(), true
}

// Payer implements rollup.Registry.
func (p *Parties) Payer(client, _ uint32) (uint32, bool) {
	c, ok := p.byIndex[client]
	if !ok {
		return 0, false
	}
	return c.Payer, true
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
	p := &Parties{Owner: ed25519.NewKeyFromSeed(seed("owner")), byIndex: map[uint32]*Client{}}
	for i := range 3 {
		p.Payers = append(p.Payers, ed25519.NewKeyFromSeed(seed("payer", i)))
	}
	deposits := []uint64{richDeposit, richDeposit, poorDeposit, 1}
	for i, key := range append(p.Payers, p.Owner) {
		if err := n.submit(ctx, node,
			ledger.NewDeposit(n.ID, n.Treasury, uint64(i), ledger.KeyOf(key),
				deposits[i])); err != nil {
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
	p.Accounts, p.OwnerAccount = p.Accounts[:len(p.Payers)], p.Accounts[len(p.Payers)]
	for i, price := range prices {
		tx := ledger.NewRegisterService(n.ID, p.Owner, uint64(i),
			&ledger.ServiceRegistration{Price: price, UnitCap: unitCap, Unit: "byte"})
		if err := n.submit(ctx, node, tx); err != nil {
			return nil, err
		}
		p.Services = append(p.Services, uint32(i))
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
	proofs := make([][]ledger.ClientProof, len(p.Payers))
	request := &api.GetClientsRequest{}
	for i := range clients {
		secret, err := bls.KeyGen(seed("client", i))
		if err != nil {
			return err
		}
		c := &Client{Secret: secret, Key: secret.PublicKey().Bytes()}
		proof := bls.Prove(secret)
		proofs[i%len(proofs)] = append(proofs[i%len(proofs)],
			ledger.ClientProof{Key: c.Key, Proof: proof.Bytes()})
		p.Clients = append(p.Clients, c)
		request.Keys = append(request.Keys, c.Key.String())
	}
	for i, payer := range p.Payers {
		if err := n.submit(ctx, node,
			ledger.NewRegisterClients(n.ID, payer, 0, proofs[i])); err != nil {
			return err
		}
	}
	return n.await(ctx, "clients and services", func() (bool, error) {
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
		services, err := client.Call(ctx, n.Clients[node].Ledger().GetServices,
			&api.GetServicesRequest{})
		return err == nil && int(services.Total) == len(prices), err
	})
}
