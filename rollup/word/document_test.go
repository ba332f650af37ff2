package word

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
	"github.com/waybill-network/waybill/rollup/registry"
)

var rewrite = flag.Bool("rewrite", false, "write the table of docs/lies.md again")

// scale is how large things are that sizes depend on.
type scale struct {
	members                  int
	nodes, clients, services uint64
}

// largest are all kinds of evidence with the longest parts.
func largest(s scale) map[Lie][]Evidence {
	sum := Sum{Signers: rollup.NewBitmap(s.members)}
	path := make(Path, 16)
	ticket := Ticket{Header: new(rollup.Header).Bare(), Sum: sum}
	listed := Entry{PartList, 0, make([]byte, rollup.ListLeafSize), path}
	acked := Entry{PartAcks, 0, make([]byte, rollup.LeafSize), path}
	two := TwoTickets{Tickets: [2]TicketOf{{Sum: sum}, {Sum: sum}}}
	twice := func(e Entry) *NumberTwice {
		return &NumberTwice{[2]Ticket{ticket, ticket}, [2]Entry{e, e}}
	}
	return map[Lie][]Evidence{
		LieTwoRollups:   {new(TwoRollups)},
		LieTwoTickets:   {&two},
		LieNumberTwice:  {twice(listed), twice(acked)},
		LieTwoRecords:   {&TwoRecords{Sums: [2]Sum{sum, sum}}},
		LieTwoHandovers: {&TwoHandOvers{Sums: [2]Sum{sum, sum}}},
		LieRefused:      {&Refused{Refusal: Refusal{AnswerPath: path}, OrderPath: path, AckPath: path}},
		LieTwoOffers:    {new(TwoOffers)},
		LiePrice:        {new(Price)},
		LieContent: {&Content{Path: make(Path, 20), Entry: manifest.Entry{
			Path: strings.Repeat("a", 1024), Type: strings.Repeat("a", 127)}}},
		LieInvalid:     {&Invalid{ticket, listed}, &Invalid{ticket, acked}},
		LieTwoAcks:     {new(TwoAcks)},
		LieTwoCosigned: {new(TwoCosigned)},
	}
}

// sizes returns the most bytes of a lie's evidence and of its file.
func sizes(t *testing.T, s scale, list []Evidence) (evidence, file int) {
	t.Helper()
	leaf := func(kind *registry.Kind, count uint64) *Leaf {
		n, err := registry.ProofHashes(count, []uint64{0})
		if err != nil {
			t.Fatal(err)
		}
		return &Leaf{make([]byte, kind.Width()), make([]byte, n*registry.HashSize)}
	}
	for _, e := range list {
		w := &Witness{Sum: Sum{Signers: rollup.NewBitmap(s.members)},
			Node: leaf(registry.Nodes, s.nodes), Client: leaf(registry.Clients, s.clients),
			Service: leaf(registry.Services, s.services)}
		if len(e.needs().list()) == 0 {
			w = nil
		}
		evidence = max(evidence, len(Append(nil, e)))
		file = max(file, len((&File{Evidence: e, Witness: w}).Append(nil)))
	}
	return evidence, file
}

// liars says who tells a lie.
var liars = map[Lie]string{
	LieTwoRollups: "node", LieTwoTickets: "members", LieNumberTwice: "members",
	LieTwoRecords: "members", LieTwoHandovers: "members", LieRefused: "node", LieTwoOffers: "node",
	LiePrice: "node", LieContent: "node", LieInvalid: "members", LieTwoAcks: "client",
	LieTwoCosigned: "client",
}

// TestDocument holds the table in docs/lies.md to the code, and every file to 4 KiB.
func TestDocument(t *testing.T) {
	usual := scale{512, 100_000, 100_000_000, 1000}
	all := largest(usual)
	table := "| lie | what | liar | on chain | evidence | file |\n|---|---|---|---|---|---|\n"
	for lie := LieTwoRollups; lie <= LieTwoCosigned; lie++ {
		if liars[lie] == "" {
			continue
		}
		chain := "no"
		if lie.OnChain() {
			chain = "yes"
		}
		size := "| – | – |"
		if len(all[lie]) > 0 {
			evidence, file := sizes(t, usual, all[lie])
			size = fmt.Sprintf("| %d | %d |", evidence, file)
			if file > 4096 {
				t.Errorf("%v: a file of %d bytes", lie, file)
			}
		}
		table += fmt.Sprintf("| %d | %v | %s | %s %s\n", uint8(lie), lie, liars[lie], chain, size)
	}
	const name = "../../docs/lies.md"
	const begin, end = "-rewrite -->\n", "<!-- end of lies -->"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the table's place is not there")
	}
	if *rewrite {
		text = []byte(before + begin + table + end + after)
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != table {
		t.Errorf("the table is not\n%s", table)
	}
	tags := []string{fileTag, Own{}.tag(), Offer{}.tag(), Answers{}.tag(), Head{}.tag(),
		Run{}.tag(), Ran{}.tag()}
	for _, tag := range tags {
		if !bytes.Contains(text, []byte(tag)) {
			t.Errorf("%s is not in the document", tag)
		}
	}
}

// TestMaxFileSize holds the bound for the largest committee, registry and window.
func TestMaxFileSize(t *testing.T) {
	s := scale{rollup.MaxMembers, registry.MaxIndex, registry.MaxClients, registry.MaxIndex}
	most := 0
	for _, list := range largest(s) {
		_, file := sizes(t, s, list)
		most = max(most, file)
	}
	if most > MaxFileSize || most < MaxFileSize-512 {
		t.Errorf("the largest file has %d bytes, the bound is %d", most, MaxFileSize)
	}
}
