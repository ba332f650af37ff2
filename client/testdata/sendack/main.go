// Sendack sends one ack of client 0 to the node at a URL.
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
	"github.com/waybill-network/waybill/rollup"
)

func main() {
	url, seed := os.Args[1], os.Args[2]
	secret, _ := hex.DecodeString(seed)
	key, err := bls.KeyGen(secret)
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.New(client.Config{URL: url})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ack := rollup.Ack{Client: 0, Seq: 1, Units: 5120, Request: sha256.Sum256([]byte("GET /film"))}
	sign := client.SignWith(func(uint32) *bls.SecretKey { return key })
	err = c.Deliver(context.Background(), slices.Values([]rollup.Ack{ack}), sign,
		func(o *client.Outcome) { fmt.Println("the node's answer:", o.Code.String()) })
	if err != nil {
		log.Fatal(c.Explain(err))
	}
}
