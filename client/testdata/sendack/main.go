// Sendack sends one ack of client 0 to the node at a URL that a pin names, on the network of a
// genesis file.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
)

func main() {
	url, pinned, genesis, seed := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	secret, _ := hex.DecodeString(seed)
	key, err := bls.KeyGen(secret)
	if err != nil {
		log.Fatal(err)
	}
	pin, err := client.ParsePin(pinned) // network/node/key: for whom this program signs
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.ReadFile(genesis)
	if err != nil {
		log.Fatal(err)
	}
	committee, err := client.CommitteeOf(file, pin.Network) // which shows what epoch it is
	if err != nil {
		log.Fatal(err)
	}
	book, err := client.OpenBook("acks.book") // what it signed, so that it signs nothing twice
	if err != nil {
		log.Fatal(err)
	}
	defer book.Close()
	c, err := client.New(client.Config{URL: url, Pin: &pin, Committee: committee, Book: book})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	film := client.Delivery{Client: 0, Units: 5120, Request: sha256.Sum256([]byte("GET /film"))}
	sign := client.SignWith(func(uint64) *bls.SecretKey { return key })
	err = c.Deliver(context.Background(), slices.Values([]client.Delivery{film}), sign,
		func(o *client.Outcome) { fmt.Println("the node's answer:", o.Code.String()) })
	if err != nil {
		log.Fatal(c.Explain(err))
	}
}
