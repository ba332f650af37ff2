package vectors

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

// everybody knows every client and service; payers are told apart by the client's number.
type everybody struct{ rollup.Registry }

func (everybody) UnitCap(uint32) (uint64, bool) { return 1 << 40, true }

func (everybody) Client(client uint64) (rollup.Client, bool) {
	return rollup.Client{Payer: 100 + uint32(client%3), Until: 1 << 31, Numbers: 1<<32 - 1,
		Services: [3]uint32{0, 1, rollup.NoService}}, true
}

// offers are windows of some clients, in which client c acknowledged acks(c) times, by turns for
// two services, from number 10 on.
func offers(t *testing.T) (list []object) {
	key := rollup.WindowKey{Node: 1, Epoch: 2, Window: 3}
	for _, w := range []struct {
		clients uint64
		client  uint64 // who is asked
		acks    func(client uint64) uint32
	}{
		{1, 0, func(uint64) uint32 { return 1 }},
		{5, 4, func(c uint64) uint32 { return 1 + 3*uint32(c) }},
		{200, 57, func(uint64) uint32 { return 2 }},
		{2100, 1000, func(uint64) uint32 { return 1 }},
	} {
		var frames []byte
		var remembered []object
		for c := range w.clients {
			for i := range w.acks(c) {
				a := rollup.Ack{Net: network.Net(), Node: key.Node, Epoch: key.Epoch, Client: c,
					Service: i % 2, Number: 10 + i/2, Units: uint64(i) + 1, Request: digest(byte(i))}
				frames = a.Append(frames)
				if c == w.client {
					remembered = append(remembered, object{"service": a.Service,
						"number": a.Number, "units": a.Units, "request": text(a.Request[:])})
				}
			}
		}
		archive, err := new(rollup.Sealer).Archive(network, key, frames, everybody{})
		if err != nil {
			t.Fatal(err)
		}
		all := func(uint64) bool { return true }
		statements, err := rollup.Statements(archive, key, everybody{}, all)
		if err != nil {
			t.Fatal(err)
		}
		window := &cosign.Window{Network: network, Key: key,
			Tree: rollup.NewStatementTree(statements)}
		asked := cosign.Asked{Client: w.client}
		for i, s := range statements {
			if s.Client == w.client {
				if asked.Statements == 0 {
					asked.FirstStatement = i
				}
				asked.Statements++
			}
		}
		for o := range window.Offers([]cosign.Asked{asked}) {
			list = append(list, offered(o, remembered, w.client))
		}
	}
	return list
}

// offered is an offer as the API has it in JSON, and what its client says.
func offered(o *cosign.Offer, remembered []object, client uint64) object {
	said := word.Offer{Node: o.Key.Node, Epoch: o.Key.Epoch, Window: o.Key.Window, Count: o.Count,
		Root: o.Root}
	m := api.NewCosignOffer(o, word.Sign(&network, testnet.Key("node", 0), said))
	var ranges []object
	for _, r := range m.Ranges {
		ranges = append(ranges, object{"first": r.First, "statements": r.Statements,
			"payers": r.Payers, "siblings": r.Siblings})
	}
	message := o.Message()
	return object{"client": client, "payer": 100 + client%3, "acks": remembered,
		"word": text(word.Message(&network, said)), "message": text(message[:]),
		"offer": object{"network": m.Network, "node": m.Node, "epoch": m.Epoch,
			"window": m.Window, "count": m.Count, "root": m.Root, "ranges": ranges,
			"clients":          strings.Fields(strings.Trim(fmt.Sprint(m.Clients), "[]")),
			"answer_within_ms": 0, "signature": m.Signature}}
}
