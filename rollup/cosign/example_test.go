package cosign_test

import (
	"fmt"
	"log"

	"github.com/waybill-network/waybill/rollup"
)

// A node's statements hold against what client 1 remembers. When it remembers an ack with other
// units, they do not.
func ExampleOffer_Check() {
	w, clients, signed := window(3, func(uint64) uint32 { return 2 })
	for offer := range w.Offers(clients[1:2]) {
		received, err := offer.Encode().Decode() // as it travels
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("refused:", received.Check(signed, nil)[0].Refused)

		own, ack := signed.Book.(book), rollup.Run{Client: 1, Service: 0, First: 10, Count: 1}
		body := own[ack]
		body[0]++ // the lowest byte of the units
		own[ack] = body
		verdict := received.Check(signed, nil)[0]
		fmt.Printf(
			"refused: %v, %s: %s\n",
			verdict.Refused,
			verdict.Reason,
			verdict.Reason.Meaning(),
		)
	}
	// Output:
	// refused: false
	// refused: true, cosign: wrong_units: the units are not the acks' sum
}
