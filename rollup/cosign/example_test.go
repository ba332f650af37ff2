package cosign_test

import (
	"fmt"
	"log"
)

// A node's statements hold against what client 1 remembers. When it remembers an ack with other
// units, they do not.
func ExampleOffer_Check() {
	w, clients, signed := window(3, func(client uint32) uint32 { return 2 })
	for offer := range w.Offers(clients[1:2]) {
		received, err := offer.Encode().Decode() // as it travels
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("refused:", received.Check(signed, nil)[0].Refused)

		ack := signed.Clients[1][0]
		ack.Entry[12]++ // the lowest byte of the units
		signed.Clients[1][0] = ack
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
