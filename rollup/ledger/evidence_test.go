package ledger

import (
	"bytes"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/rotation"
	"github.com/waybill-network/waybill/rollup/word"
)

// TestFraming has strangers accuse the honest with what they can make without a node's or a
// member's key: from words that were said, and from keys of their own. Nothing convicts.
func TestFraming(t *testing.T) {
	g, s := scene(t)
	net, other := g.Network(), rollup.NetworkOf([]byte("another"))
	key := rollup.WindowKey{Node: 2, Epoch: 4, Window: 9}
	by := func(f func(*word.TwoRollups)) []byte {
		e := twoRollups(g, key)
		f(e)
		return NewEvidence(net, e)
	}
	resign := func(e *word.TwoRollups, i int, net rollup.Network, w word.Word) {
		e.Signatures[i] = word.Sign(&net, accountKey("node2 transport"), w)
	}
	own := word.Own{Node: 2, Epoch: 4, Window: 9, Rollup: rollup.Hash{1}}
	members := func(f func(*word.TwoTickets)) []byte {
		e := twoTickets(g, key, []int{0, 1, 2}, []int{2, 3})
		f(e)
		return NewEvidence(net, e)
	}
	numbers := func(f func(*word.NumberTwice)) []byte {
		e := numberTwice(g, key, 10, []int{0, 1, 2}, []int{2, 3})
		f(e)
		return NewEvidence(net, e)
	}
	records := func(f func(*word.TwoRecords)) []byte {
		e := twoRecords(g, 7, []int{0, 1, 2}, []int{2, 3})
		f(e)
		return NewEvidence(net, e)
	}
	overs := func(f func(*word.TwoHandOvers)) []byte {
		e := twoHandOvers(g, 1, []int{0, 1, 2}, []int{2, 3})
		f(e)
		return NewEvidence(net, e)
	}
	for name, tx := range map[string][]byte{
		"two hand-overs that hold":  overs(func(*word.TwoHandOvers) {}),
		"evidence that holds":       by(func(*word.TwoRollups) {}),
		"tickets that hold":         members(func(*word.TwoTickets) {}),
		"a number twice that holds": numbers(func(*word.NumberTwice) {}),
		"two records that hold":     records(func(*word.TwoRecords) {}),
	} {
		if r := s.Check(tx); !r.OK() {
			t.Errorf("%s: %v", name, r.Err) // or what follows shows nothing
		}
	}
	for _, tt := range []struct {
		name string
		code TxCode
		tx   []byte
	}{
		{"the same word twice", CodeMalformed, by(func(e *word.TwoRollups) {
			e.Rollups[0], e.Signatures[0] = e.Rollups[1], e.Signatures[1]
		})},
		{"the words in the other order", CodeMalformed, by(func(e *word.TwoRollups) {
			slices.Reverse(e.Rollups[:])
			slices.Reverse(e.Signatures[:])
		})},
		{"a stranger's key", CodeBadWord,
			NewEvidence(net, twoRollupsBy(g, key, accountKey("stranger")))},
		{"another node's key", CodeBadWord,
			NewEvidence(net, twoRollupsBy(g, key, accountKey("node1 transport")))},
		{"a word of another network", CodeBadWord,
			by(func(e *word.TwoRollups) { resign(e, 1, other, own) })},
		{"a word of another window", CodeBadWord, by(func(e *word.TwoRollups) {
			resign(e, 1, net, word.Own{Node: 2, Epoch: 4, Window: 8, Rollup: rollup.Hash{1}})
		})},
		{"an offer for a rollup", CodeBadWord, by(func(e *word.TwoRollups) {
			resign(e, 1, net, word.Offer{Node: 2, Epoch: 4, Window: 9, Root: rollup.Hash{1}})
		})},
		{"all in another network", CodeWrongNetwork, NewEvidence(other, twoRollups(g, key))},
		{"two offers, which is a lie for people", CodeMalformed, NewEvidence(net, &word.TwoOffers{
			Node: 2, Roots: [2]rollup.Hash{{}, {1}}})},
		{"no such node", CodeUnknownNode, by(func(e *word.TwoRollups) { e.Node = 4 })},

		{"tickets that nobody signed both", CodeNoLie, NewEvidence(net,
			twoTickets(g, key, []int{0, 1}, []int{2, 3}))},
		{"a bit of who did not sign", CodeBadCertificate,
			members(func(e *word.TwoTickets) { e.Tickets[1].Signers.Set(0) })},
		{"the bits of who signed the other", CodeBadCertificate,
			members(func(e *word.TwoTickets) { e.Tickets[1].Signers = e.Tickets[0].Signers })},
		{"one ticket's signature for both", CodeBadCertificate,
			members(func(e *word.TwoTickets) { e.Tickets[1].Sum = e.Tickets[0].Sum })},
		{"tickets in the other order", CodeMalformed,
			members(func(e *word.TwoTickets) { slices.Reverse(e.Tickets[:]) })},
		{"one ticket twice", CodeMalformed,
			members(func(e *word.TwoTickets) { e.Tickets[0] = e.Tickets[1] })},
		{"tickets of another window", CodeBadCertificate,
			members(func(e *word.TwoTickets) { e.Window.Window++ })},
		{"tickets of another node", CodeBadCertificate,
			members(func(e *word.TwoTickets) { e.Window.Node++ })},
		{"a ticket of another term", CodeWrongTerm,
			members(func(e *word.TwoTickets) { e.Tickets[1].Term = 1 })},
		{"a bitmap that is too long", CodeBadBitmap, members(func(e *word.TwoTickets) {
			e.Tickets[0].Signers = append(e.Tickets[0].Signers, 0)
		})},
		{"a bit beyond the committee", CodeBadBitmap,
			members(func(e *word.TwoTickets) { e.Tickets[0].Signers[0] |= 16 })},

		{"numbers that nobody signed twice", CodeNoLie, NewEvidence(net,
			numberTwice(g, key, 10, []int{0, 1}, []int{2, 3}))},
		{"an entry that is in neither rollup", CodeNoLie,
			numbers(func(e *word.NumberTwice) { e.Entries[0].Leaf[16]++ })},
		{"a path of another length", CodeNoLie, numbers(func(e *word.NumberTwice) {
			e.Entries[0].Path = word.Path{{}}
		})},
		{"a rollup of another network", CodeWrongNetwork, numbers(func(e *word.NumberTwice) {
			for i := range e.Tickets { // so that they ascend still, or else exchange them
				e.Tickets[i].Header[8] ^= 1
			}
			a, b := e.Tickets[0].Header.ID(), e.Tickets[1].Header.ID()
			if bytes.Compare(a[:], b[:]) > 0 {
				slices.Reverse(e.Tickets[:])
				slices.Reverse(e.Entries[:])
			}
		})},
		{"a ticket's bits", CodeBadCertificate,
			numbers(func(e *word.NumberTwice) { e.Tickets[0].Signers.Set(3); e.Tickets[1].Signers.Set(3) })},

		{"records of two heights", CodeNoLie, records(func(e *word.TwoRecords) {
			e.Records[1].Height++
			e.Sums[1] = sumAs(g, e.Records[1].Append(nil), []int{2, 3})
		})},
		{"records that differ in their term", CodeMalformed, records(func(e *word.TwoRecords) {
			e.Records[1] = e.Records[0]
			e.Records[1].Term = 1
		})},
		{"a record of another term", CodeWrongTerm,
			records(func(e *word.TwoRecords) { e.Records[1].Term = 1 })},
		{"records of another network", CodeWrongNetwork, records(func(e *word.TwoRecords) {
			for i := range e.Records {
				e.Records[i].Network = other
				e.Sums[i] = sumAs(g, e.Records[i].Append(nil), []int{2})
			}
		})},

		{"hand-overs that nobody signed both", CodeNoLie, NewEvidence(net,
			twoHandOvers(g, 1, []int{0, 1}, []int{2, 3}))},
		{"a hand-over with a snapshot, and without", CodeNoLie, overs(func(e *word.TwoHandOvers) {
			e.HandOvers[1] = e.HandOvers[0]
			e.HandOvers[1].SnapshotHeight, e.HandOvers[1].SnapshotBytes = 3, 9
			e.Sums[1] = sumAs(g, e.HandOvers[1].Append(nil), []int{2, 3})
		})},
		{"hand-overs to two terms", CodeWrongTerm, overs(func(e *word.TwoHandOvers) {
			e.HandOvers[1].Term = 2
			e.Sums[1] = sumAs(g, e.HandOvers[1].Append(nil), []int{2, 3})
		})},
		{"hand-overs of a term that is not there", CodeWrongTerm, overs(func(e *word.TwoHandOvers) {
			for i := range e.HandOvers {
				e.HandOvers[i].Term = 7
			}
		})},
		{"a hand-over to the committee of the genesis", CodeMalformed,
			overs(func(e *word.TwoHandOvers) { e.HandOvers[0].Term = 0 })},
		{"hand-overs in the other order", CodeMalformed, overs(func(e *word.TwoHandOvers) {
			slices.Reverse(e.HandOvers[:])
			slices.Reverse(e.Sums[:])
		})},
		{"hand-overs of another network", CodeWrongNetwork, overs(func(e *word.TwoHandOvers) {
			for i := range e.HandOvers {
				e.HandOvers[i].Network = other
				e.Sums[i] = sumAs(g, e.HandOvers[i].Append(nil), []int{2})
			}
		})},
		{"a hand-over's bit of who did not sign", CodeBadCertificate,
			overs(func(e *word.TwoHandOvers) { e.Sums[1].Signers.Set(0) })},
		{"a hand-over that was not signed", CodeBadCertificate,
			overs(func(e *word.TwoHandOvers) { e.HandOvers[1].Terms[0] ^= 1 })},
		{"a signature of a record under a hand-over", CodeBadCertificate,
			overs(func(e *word.TwoHandOvers) {
				record := rollup.Record{Network: net, Height: 7, SettledEpoch: rollup.NoEpoch}
				e.Sums[1] = sumAs(g, record.Append(nil), []int{2, 3})
			})},
		{"a record that was not signed", CodeBadCertificate,
			records(func(e *word.TwoRecords) { e.Records[0].Epoch ^= 1 })},
	} {
		if r := s.Check(tt.tx); r.Code != tt.code {
			t.Errorf("%s: %v, not %s", tt.name, r.Err, tt.code)
		}
	}
}

// TestConvictedOnce: a node is convicted once for each offence, whatever evidence of it comes, and
// nothing comes of sending evidence again.
func TestConvictedOnce(t *testing.T) {
	g, s := scene(t)
	net, key := g.Network(), rollup.WindowKey{Node: 2, Epoch: 4, Window: 9}
	again := twoRollups(g, key)
	again.Rollups[0] = rollup.Hash{0, 7} // another pair of three
	again.Signatures[0] = word.Sign(&net, accountKey("node2 transport"),
		word.Own{Node: 2, Epoch: 4, Window: 9, Rollup: again.Rollups[0]})
	txs := [][]byte{NewEvidence(net, twoRollups(g, key)), NewEvidence(net, again)}
	supply, fees := s.supply, s.accounts.at(0).balance
	b := block(t, s, 100, 301*time.Second, txs[0])
	for _, tx := range txs {
		if r := s.Check(tx); r.Code != CodeAlreadyConvicted {
			t.Errorf("again: %v", r.Err)
		}
	}
	if n := len(b.Events); n != 1 || b.Events[0].(Convicted).Taken != 2_000_000 {
		t.Errorf("events: %+v", b.Events)
	}
	v := s.View()
	n, _ := v.Node(2)
	protocol, _ := v.Account(0)
	if n.Stake != 2_000_000 || protocol.Balance != fees+2_000_000 || v.Supply() != supply {
		t.Errorf("stake %d, protocol %d, supply %d", n.Stake, protocol.Balance, v.Supply())
	}
	if power := v.Committee().TotalPower(); power != 16 {
		t.Errorf("the committee's power is %d now", power)
	}
	want := []Conviction{{Offence{Lie: word.LieTwoRollups, Window: key}, 100, 2_000_000}}
	if got := v.Convictions(2); !slices.Equal(got, want) {
		t.Errorf("convictions: %+v", got)
	}
	// The bounds of the state: each conviction takes something, until nothing is left.
	convictions := 1
	for window := range uint32(100) {
		s.Begin(int64(101+window), genesisTime.Add(301*time.Second))
		r := s.Apply(NewEvidence(net, twoRollups(g, rollup.WindowKey{Node: 2, Window: window})))
		s.End()
		if !r.OK() {
			if r.Code != CodeInsufficientBalance {
				t.Fatal(r.Err)
			}
			break
		}
		convictions++
	}
	if n, _ := s.View().Node(2); n.Stake != 0 || convictions > 23 { // 4,000,000 halved
		t.Errorf("%d convictions, and a stake of %d", convictions, n.Stake)
	}
}

// TestHandOverTwice: who signs two committees for one term is convicted, once, and loses its seats.
// What honest members sign of a hand-over, with its snapshot and, when the epoch is over, without,
// convicts nobody.
func TestHandOverTwice(t *testing.T) {
	c := newChain(t, rotatingGenesis())
	c.restore = true
	joined(c, 2, 100*StakePerPower)
	c.epoch(nobody)
	members := c.untilHandOver()
	term, liar, net := c.s.elected().Term+1, members[1], c.g.Network()
	sign := func(h *rotation.HandOver, nodes ...uint32) word.Sum {
		return word.Sum{Signers: c.s.elected().Signers(nodes...),
			Signature: signNodes(h.Append(nil), nodes)}
	}
	pair := func(a, b *rotation.HandOver, x, y word.Sum) []byte {
		if bytes.Compare(a.Append(nil), b.Append(nil)) > 0 {
			a, b, x, y = b, a, y, x
		}
		return NewEvidence(net, &word.TwoHandOvers{HandOvers: [2]rotation.HandOver{*a, *b},
			Sums: [2]word.Sum{x, y}})
	}
	parse := func(s Snapshot) *rotation.HandOver {
		h, err := rotation.ParseHandOver(c.s.message(&s))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	with, without := parse(testSnapshot(c.s)), parse(Snapshot{})
	honest := pair(with, without, sign(with, members...), sign(without, members...))
	if r := c.s.Check(honest); r.Code != CodeNoLie {
		t.Errorf("what honest members sign: %v", r.Err)
	}
	usurped := *without
	usurped.Committee, usurped.Seats = rollup.Hash{1}, rollup.Hash{2}
	lie := pair(with, &usurped, sign(with, members...), sign(&usurped, liar))
	before := c.s.nodes.at(liar).atStake()
	c.block(0, func() []byte { return lie })
	want := []Conviction{{Offence{Lie: word.LieTwoHandovers, Height: uint64(term)},
		uint64(c.s.height), before - c.s.nodes.at(liar).atStake()}}
	if got := c.s.View().Convictions(liar); !slices.Equal(got, want) || want[0].Taken == 0 {
		t.Errorf("convictions: %+v, not %+v", got, want)
	}
	snapped := *with
	snapped.SnapshotRoot[0]++
	for name, tx := range map[string][]byte{"again": lie,
		"another pair of three": pair(with, &snapped, sign(with, liar), sign(&snapped, liar))} {
		if r := c.s.Check(tx); r.Code != CodeAlreadyConvicted {
			t.Errorf("%s: %v", name, r.Err)
		}
	}
	for _, node := range members {
		if node != liar && len(c.s.View().Convictions(node)) > 0 {
			t.Errorf("node %d is convicted", node)
		}
	}
	c.block(0, func() []byte { return handOverTx(c.g, c.s, members...) })
	for range 8 { // a third of the seats can move at once
		c.epoch(nobody)
	}
	if seats := c.s.rotation.seats.Held(liar); seats != 0 {
		t.Errorf("it holds %d seats, %d terms later", seats, c.s.elected().Term-term)
	}
}

// TestShare holds a conviction's price to big integers.
func TestShare(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for range 10_000 {
		amount, points := rng.Uint64()>>rng.IntN(64), uint16(rng.IntN(10_000)+1)
		x := new(big.Int).SetUint64(amount)
		x.Mul(x, big.NewInt(int64(points)))
		x.Add(x, big.NewInt(9_999))
		if x.Div(x, big.NewInt(10_000)); x.Uint64() != share(amount, points) {
			t.Fatalf("%d points of %d are %d, not %d", points, amount, share(amount, points), x)
		}
	}
	if share(1<<64-1, 10_000) != 1<<64-1 || share(1, 1) != 1 || share(0, 10_000) != 0 {
		t.Error("a bound")
	}
}

// TestRegistryBeforeConviction: files that were made under a record before a conviction, or are
// made now under that record, show the node as it was.
func TestRegistryBeforeConviction(t *testing.T) {
	g, s := scene(t)
	net, before := g.Network(), s.View().Heads()
	b := block(t, s, 100, 301*time.Second,
		NewEvidence(net, twoRollups(g, rollup.WindowKey{Node: 2, Epoch: 4})),
		NewEvidence(net, twoRollups(g, rollup.WindowKey{Node: 2, Epoch: 5})),
		NewRevoke(net, accountKey("alice"), 2, []uint64{0}))
	if len(b.Replaced) != 2 || b.Replaced[0].Tree != TreeClients || b.Replaced[1].Tree != TreeNodes {
		t.Fatalf("replaced: %+v", b.Replaced)
	}
	show := func(heads registry.Heads, replaced []Replaced) registry.Node {
		t.Helper()
		entry, path, err := s.Prove(TreeNodes, &heads, historyOf(replaced), []uint64{2})
		if err != nil {
			t.Fatal(err)
		}
		if err := registry.Nodes.Verify(heads.Nodes, []uint64{2}, entry, path); err != nil {
			t.Fatal(err)
		}
		n, err := registry.ParseNode(entry)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	old, now := show(before, b.Replaced), show(s.View().Heads(), nil)
	if old.Stake != 4_000_000 || old.Status != registry.Standing {
		t.Errorf("before: stake %d, %d", old.Stake, old.Status)
	}
	if now.Stake != 1_000_000 || now.Status != registry.Convicted {
		t.Errorf("now: stake %d, %d", now.Stake, now.Status)
	}
	heads := before // the companion: without what was replaced, nothing leads there
	if entry, path, err := s.Prove(TreeNodes, &heads, historyOf(), []uint64{2}); err == nil &&
		registry.Nodes.Verify(heads.Nodes, []uint64{2}, entry, path) == nil {
		t.Error("today's leaf is under yesterday's root")
	}
}

// TestAccuseUnknown: an accusation of a lie that the ledger does not judge is refused.
func TestAccuseUnknown(t *testing.T) {
	_, s := scene(t)
	_, _, err := s.accuse(&word.Price{})
	if !errors.Is(err, CodeNoLie) {
		t.Error(err)
	}
}
