package client

import (
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Delivery is something that a client received, and acknowledges.
type Delivery struct {
	Client  uint64 // its index in the registry
	Service uint32
	Units   uint64
	Request rollup.Hash // root over the request records
	// ID is the program's own name for the delivery; 0 for none. While the book remembers a
	// delivery with this ID, it signs no other, so that a program that does not know what it
	// delivered before it stopped may deliver it again.
	ID uint64
}

// item is a delivery on its way.
type item struct {
	Delivery
	rest     bool   // the node holds something else under the number that it had first
	most     uint64 // with rest: what it may be signed for once more
	entry    *entry // nil before it has a number
	given    bool   // this item's delivery got the number
	reports  int    // that are owed
	signed   bool
	frame    [rollup.AckSize]byte
	attempts int
	due      time.Time // before which it is not submitted again
	credit   *CreditError
}

// units are what the delivery is signed for.
func (p *item) units() uint64 {
	if p.rest {
		return min(p.Units, p.most)
	}
	return p.Units
}

// itemOf returns an item for an entry whose last word nobody waits for.
func itemOf(e *entry) *item {
	k := &e.series.key
	return &item{Delivery: Delivery{Client: k.client, Service: k.service, Units: e.units,
		Request: e.request, ID: e.id}, entry: e}
}

// outcome returns what is reported of an item.
func (p *item) outcome() *Outcome {
	o := &Outcome{Delivery: p.Delivery, Attempts: p.attempts, Credit: p.credit}
	if p.entry != nil {
		o.Ack = p.entry.ack()
		if p.signed {
			o.Ack.Signature = [rollup.SignatureSize]byte(rollup.Frame(p.frame[:]).Signature())
		}
	}
	return o
}

// held returns the units of the ack that a node holds under an entry's number, if its client did
// sign that, and for something else.
func held(network *rollup.Network, e *entry, frame []byte, key *bls.PublicKey) (uint64, bool) {
	ack, err := rollup.ParseAck(frame)
	if err != nil || key == nil {
		return 0, false
	}
	own := e.ack()
	same := own
	same.Units, same.Request, same.Signature = ack.Units, ack.Request, ack.Signature
	if ack != same || ack.Units == own.Units && ack.Request == own.Request {
		return 0, false
	}
	signature, err := bls.ParseSignature(ack.Signature[:])
	if err != nil {
		return 0, false
	}
	message := ack.AppendMessage(make([]byte, 0, rollup.MessageSize), network)
	return ack.Units, bls.Default.Verify(key, message, &signature)
}
