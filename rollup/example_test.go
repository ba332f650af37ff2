package rollup_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// oneClient is a registry of one client and one service.
type oneClient struct{ client *bls.PublicKey }

func (r oneClient) Client(client uint64) (rollup.Client, bool) {
	return rollup.Client{Key: r.client, Payer: 5, Until: 100, Numbers: 1000,
		Services: [3]uint32{0, rollup.NoService, rollup.NoService}}, client == 0
}
func (r oneClient) UnitCap(service uint32) (uint64, bool)      { return 1 << 20, service == 0 }
func (r oneClient) NodeKey(node uint32) (key [32]byte, _ bool) { return key, false }

// A client acknowledges three requests, a node seals them into a rollup, and a member of the
// committee verifies it.
func Example() {
	seed := sha256.Sum256([]byte("an example's client"))
	client, err := bls.KeyGen(seed[:])
	if err != nil {
		log.Fatal(err)
	}
	network := rollup.NetworkOf([]byte("an example's genesis"))
	window := rollup.WindowKey{Node: 2, Epoch: 1, Window: 7}

	var frames []byte
	var sum bls.Sum
	for number := range uint32(3) {
		ack := rollup.Ack{Net: network.Net(), Node: window.Node, Epoch: window.Epoch, Client: 0,
			Service: 0, Number: number, Units: 1000, Request: sha256.Sum256([]byte{byte(number)})}
		signature := bls.Default.Sign(client, ack.AppendMessage(nil, &network))
		ack.Signature = signature.Bytes()
		frames = ack.Append(frames)
		sum.Add(&signature)
	}

	registry := oneClient{client.PublicKey()}
	aggregate := sum.Signature()
	header, acks, err := rollup.Seal(network, window, frames, aggregate.Bytes(), registry)
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range header.Rows {
		fmt.Printf("account %d pays for %d units of service %d in %d acks\n",
			row.Payer, row.Units, row.Service, row.Acks)
	}

	evidence := rollup.AcksEvidence(acks)
	fmt.Println("honest:", rollup.Verify(header, evidence, network, registry, nil, 1))

	header.Rows[0].Units++
	err = rollup.Verify(header, evidence, network, registry, nil, 1)
	fmt.Println("a unit more:", errors.Is(err, rollup.ErrRows))
	// Output:
	// account 5 pays for 3000 units of service 0 in 3 acks
	// honest: <nil>
	// a unit more: true
}
