package client_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// A client that is registered as number 0 acknowledges a delivery of 5,120 units.
func Example() {
	node := client.StartExampleNode() // in this process; otherwise http://host:7400
	defer node.Stop()
	book := client.MemoryBook() // in this process; otherwise client.OpenBook
	c, err := client.New(client.Config{URL: node.URL, Pin: &node.Pin, Book: book,
		Committee: node.Committee}) // of the genesis file: client.CommitteeOf
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	film := client.Delivery{Client: 0, Units: 5120, Request: sha256.Sum256([]byte("GET /film"))}
	sign := client.SignWith(func(client uint64) *bls.SecretKey { return node.Clients[client] })
	err = c.Deliver(context.Background(), slices.Values([]client.Delivery{film}), sign,
		func(o *client.Outcome) { fmt.Println("the node's answer:", o.Code.String()) })
	if err != nil {
		log.Fatal(c.Explain(err))
	}
	// Output: the node's answer: accepted
}

// A client fetches content from nodes that are paid for it: verified, from the near ones, and at
// another one when one fails. Here one node is all there is; a Directory finds those of a network.
func ExampleFetcher() {
	node := client.StartExampleNode()
	defer node.Stop()
	c, err := client.New(client.Config{URL: node.ContentURL, Pin: &node.Pin,
		Committee: node.Committee, Book: client.MemoryBook()})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fetcher, err := client.NewFetcher(client.FetchConfig{Nodes: []*client.Client{c}, Client: 0,
		Key: node.Clients[0], Service: 0})
	if err != nil {
		log.Fatal(err)
	}
	film, err := fetcher.Open(context.Background(), node.Root)
	if err != nil {
		log.Fatal(err) // names node and phase, and says what was charged
	}
	data, err := io.ReadAll(film)
	if err := errors.Join(err, film.Close(), fetcher.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %d bytes are paid for\n", data, fetcher.Stats().Charged)
	// Output: a film of 24 characters. 24 bytes are paid for
}

// A payer lets somebody use service 0 at its cost: the ledger registers the holder of the key.
func ExampleClient_ExecuteGrants() {
	node := client.StartExampleNode()
	defer node.Stop()
	c, err := client.New(client.Config{URL: node.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()

	secret, err := bls.KeyGen([]byte("32 or more secret bytes of its own"))
	if err != nil {
		log.Fatal(err)
	}
	payer := ledger.KeyOf(node.Payer)
	account, err := client.Call(ctx, c.Ledger().GetAccount,
		&api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: payer.String()}})
	if err != nil {
		log.Fatal(err)
	}
	grant := ledger.NewGrant(node.Network, node.Payer, ledger.Grant{
		Payer: account.GetIndex(), Key: secret.PublicKey().Bytes(),
		Proof:    ledger.ProvePossession(secret, node.Network, rollup.RoleClient, payer),
		Services: ledger.Services(0), Numbers: ledger.Forever, Until: ledger.Forever,
	})
	indices, err := c.ExecuteGrants(ctx, []ledger.BLSKey{grant.Key},
		ledger.NewGrants(node.Network, []ledger.Grant{grant}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("registered as client", indices[0])
	// Output: registered as client 4
}

// What the ledger refuses is one of a closed set of reasons.
func ExampleClient_SubmitTx() {
	node := client.StartExampleNode()
	defer node.Stop()
	c, err := client.New(client.Config{URL: node.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	payer := ledger.KeyOf(node.Payer)
	nonce, err := c.NextNonce(ctx, payer)
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.SubmitTx(ctx, ledger.NewTransfer(node.Network, node.Payer, nonce, payer, 1<<60))
	fmt.Println(errors.Is(err, ledger.CodeInsufficientBalance), client.Temporary(err))
	// Output: true false
}

// A program that co-signs the windows of its clients runs Cosign beside Deliver. Its own book of
// what it signed decides what it signs: an offer that is not true is refused with a reason.
func ExampleClient_Cosign() {
	node := client.StartExampleNode()
	defer node.Stop()
	c, err := client.New(client.Config{
		URL:       node.URL,
		Pin:       &node.Pin,
		Committee: node.Committee,
		Book:      client.MemoryBook(), // in this process; otherwise client.OpenBook
		Cosign: &client.CosignConfig{
			Sign: client.CosignWith(
				func(client uint64) *bls.SecretKey { return node.Clients[client] },
			),
			Evidence: "offers", // a folder for offers that are not true
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Cosign(ctx) }()

	cancel() // later, when the last windows are sealed
	fmt.Println(<-done, c.CosignStats().Refused)
	// Output: context canceled map[]
}
