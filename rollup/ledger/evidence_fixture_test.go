package ledger

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
	"github.com/waybill-network/waybill/rollup/word"
)

// twoRollups is a node's word for two rollups of a window.
func twoRollups(g *Genesis, key rollup.WindowKey) *word.TwoRollups {
	return twoRollupsBy(g, key, accountKey(fmt.Sprintf("node%d transport", key.Node)))
}

func twoRollupsBy(g *Genesis, key rollup.WindowKey, by ed25519.PrivateKey) *word.TwoRollups {
	net := g.Network()
	e := &word.TwoRollups{Node: key.Node, Epoch: key.Epoch, Window: key.Window}
	for i := range e.Rollups {
		e.Rollups[i] = rollup.Hash{byte(i)}
		e.Signatures[i] = word.Sign(&net, by, word.Own{Node: key.Node, Epoch: key.Epoch,
			Window: key.Window, Rollup: e.Rollups[i]})
	}
	return e
}

// sumAs is what members of term 0 signed.
func sumAs(g *Genesis, message []byte, members []int) word.Sum {
	bitmap, signature := signAs(g, message, members...)
	return word.Sum{Signers: bitmap, Signature: signature}
}

func twoTickets(g *Genesis, key rollup.WindowKey, members, others []int) *word.TwoTickets {
	net, e := g.Network(), &word.TwoTickets{Window: key}
	for i, signers := range [][]int{members, others} {
		id := rollup.Hash{byte(i)}
		message := rollup.CertificateMessage(&net, 0, key, id)
		e.Tickets[i] = word.TicketOf{Rollup: id, Sum: sumAs(g, message, signers)}
	}
	return e
}

// numberTwice are tickets for rollups of one ack each, with the same number.
func numberTwice(g *Genesis, key rollup.WindowKey, window uint32,
	members, others []int) *word.NumberTwice {
	other := key
	other.Window = window
	type half struct {
		ticket word.Ticket
		entry  word.Entry
	}
	var halves []half
	for i, key := range []rollup.WindowKey{key, other} {
		ack := rollup.Ack{Epoch: key.Epoch, Node: key.Node, Client: 9, Number: 3, Units: uint64(1 + i)}
		leaf := ack.AppendLeaf(nil)
		h := rollup.NewHeader(g.Network(), key)
		h.AckCount, h.AckRoot = 1, rollup.NewTree(rollup.AckTreeKind, leaf, rollup.LeafSize).Root()
		h.Rows = []rollup.Row{{Payer: 5, Acks: 1, Units: ack.Units}}
		net, signers := g.Network(), [][]int{members, others}[i]
		sum := sumAs(g, rollup.CertificateMessage(&net, 0, key, h.ID()), signers)
		halves = append(halves, half{word.Ticket{Header: h.Bare(), Sum: sum},
			word.Entry{Part: word.PartAcks, Leaf: leaf, Path: word.Path{}}})
	}
	slices.SortFunc(halves, func(a, b half) int {
		x, y := a.ticket.Header.ID(), b.ticket.Header.ID()
		return bytes.Compare(x[:], y[:])
	})
	e := new(word.NumberTwice)
	for i, h := range halves {
		e.Tickets[i], e.Entries[i] = h.ticket, h.entry
	}
	return e
}

func twoRecords(g *Genesis, height uint64, members, others []int) *word.TwoRecords {
	e := new(word.TwoRecords)
	for i, signers := range [][]int{members, others} {
		r := rollup.Record{Network: g.Network(), Height: height, Time: uint64(i),
			SettledEpoch: rollup.NoEpoch}
		e.Records[i], e.Sums[i] = r, sumAs(g, r.Append(nil), signers)
	}
	return e
}

// twoHandOvers are hand-overs to a term, of which the second has other seats.
func twoHandOvers(g *Genesis, term uint32, members, others []int) *word.TwoHandOvers {
	e := new(word.TwoHandOvers)
	for i, signers := range [][]int{members, others} {
		h := rotation.HandOver{Network: g.Network(), Term: term, Seats: rollup.Hash{byte(i)}}
		e.HandOvers[i], e.Sums[i] = h, sumAs(g, h.Append(nil), signers)
	}
	return e
}

// evidence makes what a line of a trace says.
func (tr *trace) evidence(a args) word.Evidence {
	key := rollup.WindowKey{Node: uint32(a.number("node")), Epoch: uint32(a.number("epoch")),
		Window: uint32(a.number("window"))}
	signers, others := a.members(), a.membersIn("others")
	by, forged := a.options["word"]
	switch a.plain[0] {
	case "rollups":
		name := fmt.Sprintf("node%d transport", key.Node)
		for _, other := range []string{"edge transport", "poor transport"} {
			if s := tr.s; s.nodes.has(key.Node) && s.nodes.at(key.Node).transport == accountOf(other) {
				name = other
			}
		}
		if forged {
			name = by
		}
		return twoRollupsBy(tr.g, key, accountKey(name))
	case "tickets":
		e := twoTickets(tr.g, key, signers, others)
		if forged {
			e.Tickets[1].Signers.Set(int(a.number("word")))
		}
		return e
	case "numbers":
		return numberTwice(tr.g, key, uint32(a.number("other")), signers, others)
	case "hand-overs":
		return twoHandOvers(tr.g, uint32(a.number("term")), signers, others)
	}
	return twoRecords(tr.g, a.number("height"), signers, others)
}
