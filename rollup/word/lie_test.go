package word

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// told is a lie with who told it.
type told struct {
	name    string
	e       Evidence
	nodes   []uint32
	clients []uint64
}

// lies are lies of every kind, in epoch 4. Node 2 lies; so do members 1 and 3, who signed both of
// two tickets, which 0 and 2 did not. Client 3 lies.
func lies(t testing.TB) []told {
	t.Helper()
	const epoch, node = 4, 2
	key := rollup.WindowKey{Node: node, Epoch: epoch, Window: 7}
	next := rollup.WindowKey{Node: node, Epoch: epoch, Window: 8}
	var acks []rollup.Ack
	for i := range uint32(5) {
		acks = append(acks, testAck(epoch, node, uint64(i), i%2, 40, 1000))
	}
	signedRun := func(client uint64, service, first, count uint32) rollup.ListEntry {
		return rollup.ListEntry{
			Run:    rollup.Run{Client: client, Service: service, First: first, Count: count},
			Signed: true}
	}
	a := newRollup(key, acks, signedRun(5, 0, 10, 20))
	b := newRollup(key, acks[:4])
	c := newRollup(next, acks[1:2], signedRun(2, 0, 30, 11), signedRun(5, 0, 29, 1))
	number := func(r *testRollup, i int) Entry { return r.entries()[i] }

	record := rollup.Record{Network: testNet, Height: 90, Epoch: epoch, SettledEpoch: rollup.NoEpoch}
	another := record
	another.Time++
	later := another
	later.Term = 1
	over := rotation.HandOver{Network: testNet, Term: 1, Epoch: epoch, SnapshotHeight: 70,
		SnapshotBytes: 9, SnapshotRoot: rollup.Hash{3}}
	usurped, snapped := over, over
	usurped.Committee, snapped.SnapshotRoot = rollup.Hash{6}, rollup.Hash{7}
	usurped.SnapshotHeight, usurped.SnapshotBytes, usurped.SnapshotRoot = 0, 0, rollup.Hash{}
	hands := func(term uint32, h rotation.HandOver, nodes ...uint32) Sum {
		return signAs(term, h.Append(nil), nodes...)
	}
	following, other := over, usurped
	following.Term, other.Term = 2, 2

	refused := Answer{blake3.Sum256(acks[3].Append(nil)), rollup.Answer{Code: rollup.CodePastEpoch}}
	answers := []Answer{{}, {Ack: rollup.Hash{1}}, refused}
	word := Answers{Node: node, Epoch: epoch + 1, Height: 95}
	word.Over(answers)
	at := slices.IndexFunc(a.acks, func(x rollup.Ack) bool { return x == acks[3] })

	head := Head{Node: node, Epoch: epoch, Height: 80, Client: 1, Session: [16]byte{1}, Service: 1,
		Price: 501, Content: rollup.Hash{2}, Size: 1 << 30, Length: 1 << 20}
	cheaper := head
	cheaper.Epoch, cheaper.Price = 6, 401
	offer := Offer{node, epoch, 7, 10, rollup.Hash{1}}

	bad := func(client uint64, service, number uint32, units uint64) *Invalid {
		r := newRollup(key, []rollup.Ack{acks[0],
			testAck(epoch, node, client, service, number, units)})
		return &Invalid{r.ticket(0, 1, 3), r.entries()[1]}
	}
	listed := func(e rollup.ListEntry) *Invalid {
		r := newRollup(key, nil, signedRun(0, 0, 0, 1), e)
		return &Invalid{r.ticket(0, 1, 3), r.entries()[1]}
	}
	elsewhere := newRollup(key, []rollup.Ack{acks[0], testAck(epoch, 1, 1, 0, 0, 5)})
	dated := newRollup(key, []rollup.Ack{acks[0], testAck(epoch-1, node, 1, 0, 0, 5)})
	members := []uint32{1, 3}
	of := func(nodes ...uint32) []uint32 { return nodes }
	return []told{
		{"two rollups", twoRollups(a.own(), b.own()), of(node), nil},
		{"two tickets", twoTickets(a.ticket(0, 0, 1, 3), b.ticket(0, 1, 2, 3)), members, nil},
		{"two tickets in two terms", twoTickets(a.ticket(0, 0, 1, 3), b.ticket(1, 1, 2, 3)),
			members, nil},
		{"one share each", twoTickets(a.ticket(0, 3), b.ticket(0, 3)), of(3), nil},
		{"an ack in two rollups", numberTwice(a.ticket(0, 0, 1, 3), c.ticket(0, 1, 2, 3),
			number(a, 1), number(c, 0)), members, nil},
		{"an ack, and under a statement", numberTwice(a.ticket(0, 0, 1, 3), c.ticket(0, 1, 2, 3),
			number(a, 2), number(c, 1)), members, nil},
		{"two statements", numberTwice(a.ticket(0, 0, 1, 3), c.ticket(1, 1, 2, 3),
			number(a, 5), number(c, 2)), members, nil},
		{"two records", twoRecords(record, another, signAs(0, record.Append(nil), 0, 1, 3),
			signAs(0, another.Append(nil), 1, 2, 3)), members, nil},
		{"two records in two terms", twoRecords(record, later,
			signAs(0, record.Append(nil), 0, 1, 3), signAs(1, later.Append(nil), 1, 2, 3)),
			members, nil},
		{"two committees that follow", twoHandOvers(over, usurped, hands(0, over, 0, 1, 3),
			hands(0, usurped, 1, 2, 3)), members, nil},
		{"two snapshots", twoHandOvers(over, snapped, hands(0, over, 0, 1, 3),
			hands(0, snapped, 1, 2, 3)), members, nil},
		{"two committees of a later term", twoHandOvers(following, other,
			hands(1, following, 1, 3), hands(1, other, 1, 2, 3)), members, nil},
		{"refused and included", refusedAck(answers, word, 2, acks[3], a, at), of(node), nil},
		{"two offers", twoOffers(offer, Offer{node, epoch, 7, 11, rollup.Hash{1}}), of(node), nil},
		{"a price", &Price{head, sign(head)}, of(node), nil},
		{"an old price", &Price{cheaper, sign(cheaper)}, of(node), nil},
		{"a root", contentOf(node, 2, 7), of(node), nil},
		{"a revoked client", bad(6, 0, 0, 5), members, nil},
		{"a service not granted", bad(7, 0, 0, 5), members, nil},
		{"a number beyond the limit", bad(7, 1, 10, 5), members, nil},
		{"no units", bad(1, 0, 0, 0), members, nil},
		{"units above the cap", bad(1, 0, 0, 1<<20+1), members, nil},
		{"an ack of another node", &Invalid{elsewhere.ticket(0, 1, 3), elsewhere.entries()[1]},
			members, nil},
		{"an ack of another epoch", &Invalid{dated.ticket(0, 1, 3), dated.entries()[1]},
			members, nil},
		{"a revoked client's statement", listed(signedRun(6, 0, 0, 5)), members, nil},
		{"a statement beyond the limit", listed(signedRun(7, 1, 9, 2)), members, nil},
		{"two acks", twoAcks(acks[3], testAck(epoch, node, 3, 1, 40, 999)), nil, []uint64{3}},
		{"two roots co-signed", twoCosigned(3, key, cosigned{10, rollup.Hash{1}},
			cosigned{10, rollup.Hash{2}}), nil, []uint64{3}},
	}
}

// contentOf is a head that says of a path of a manifest's, which has the content i there, that it
// has another one.
func contentOf(node uint32, i, said byte) *Content {
	paths := []string{"/", "/a", "/b.mp4", "/c/d"}
	h := manifest.Head{Network: testNet, Service: 1, Serial: 3, Until: manifest.Forever,
		Count: uint32(len(paths))}
	entry := func(i byte) manifest.Entry {
		return manifest.Entry{Path: paths[i], Root: rollup.Hash{i}, Size: 9, Type: "video/mp4"}
	}
	var leaves []rollup.Hash
	for i := range paths {
		e := entry(byte(i))
		leaves = append(leaves, manifest.TreeKind.LeafHash(e.Append(nil)))
	}
	a := manifest.TreeKind.NodeHash(&leaves[0], &leaves[1])
	b := manifest.TreeKind.NodeHash(&leaves[2], &leaves[3])
	h.Root = manifest.TreeKind.NodeHash(&a, &b)
	path := Path{leaves[i^1], [2]rollup.Hash{b, a}[i/2]}
	head := Head{Node: node, Epoch: 4, Service: 1, Content: rollup.Hash{said},
		Manifest: h.Digest(), Path: manifest.PathDigest(paths[i])}
	return &Content{head, sign(head), h, uint32(i), entry(i), path}
}

// TestEveryLie: each lie convicts its liars and nobody else, also after it was encoded.
func TestEveryLie(t *testing.T) {
	kinds := map[Lie]bool{}
	for _, c := range lies(t) {
		b := Append(nil, c.e)
		again, err := Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if b2 := Append(nil, again); !bytes.Equal(b, b2) {
			t.Fatalf("%s: %x became %x", c.name, b, b2)
		}
		for _, e := range []Evidence{c.e, again} {
			v, err := e.Judge(&testNet, knows(c.e))
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if v.Lie != c.e.Lie() || !slices.Equal(v.Nodes, c.nodes) ||
				!slices.Equal(v.Clients, c.clients) {
				t.Errorf("%s: convicted are %+v, not nodes %v and clients %v", c.name, v, c.nodes,
					c.clients)
			}
			if v.Epoch < 4 || v.Epoch > 6 {
				t.Errorf("%s: of epoch %d", c.name, v.Epoch)
			}
		}
		kinds[c.e.Lie()] = true
	}
	for lie := range Lie(32) {
		_, err := Parse(append([]byte{byte(lie)}, make([]byte, 64)...))
		if none := strings.Contains(err.Error(), "no evidence of"); none == kinds[lie] {
			t.Errorf("lie %d: tested is %v, and %v", lie, kinds[lie], err)
		}
	}
}

// TestEveryByteOfEvidence: evidence with a flipped bit convicts nobody who did not lie. Most
// convicts nobody at all; a bit of a bitmap may name less members, whose sum then does not verify.
func TestEveryByteOfEvidence(t *testing.T) {
	whole := map[Lie]bool{}
	for _, c := range lies(t) {
		b := Append(nil, c.e)
		step := 1
		if whole[c.e.Lie()] || testing.Short() {
			step = 17
		} else if c.e.Lie() == LieTwoHandovers {
			step = 5 // hashes and numbers
		}
		whole[c.e.Lie()] = true
		for i := 0; i < len(b); i += step {
			other := bytes.Clone(b)
			other[i] ^= 1 << (i % 8)
			e, err := Parse(other)
			if err != nil {
				continue
			}
			if v, err := e.Judge(&testNet, knows(c.e)); err == nil {
				t.Errorf("%s: with byte %d flipped it convicts %+v", c.name, i, v)
			}
		}
		for n := range len(b) {
			if _, err := Parse(b[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes decode", c.name, n, len(b))
			}
		}
		if _, err := Parse(append(b, 0)); err == nil {
			t.Errorf("%s: a byte left over", c.name)
		}
		other := rollup.NetworkOf(nil)
		if _, err := c.e.Judge(&other, knows(c.e)); err == nil {
			t.Errorf("%s: convicts on another network", c.name)
		}
	}
}

// TestNoLie is what looks like a lie and is none, with the reason.
func TestNoLie(t *testing.T) {
	const epoch, node = 4, 2
	key := rollup.WindowKey{Node: node, Epoch: epoch, Window: 7}
	acks := []rollup.Ack{testAck(epoch, node, 0, 0, 4, 10), testAck(epoch, node, 0, 0, 5, 10)}
	run := func(client uint64, first, count uint32) rollup.ListEntry {
		return rollup.ListEntry{Run: rollup.Run{Client: client, First: first, Count: count},
			Signed: true}
	}
	a, b := newRollup(key, acks[:1], run(1, 0, 10)), newRollup(key, acks[1:], run(1, 10, 10))
	second := newRollup(rollup.WindowKey{Node: node, Epoch: epoch, Window: 8}, acks[1:],
		run(1, 10, 10), run(2, 0, 9))
	elsewhere := newRollup(rollup.WindowKey{Node: 1, Epoch: epoch, Window: 8},
		[]rollup.Ack{testAck(epoch, 1, 0, 0, 4, 10)})
	nextEpoch := newRollup(rollup.WindowKey{Node: node, Epoch: epoch + 1, Window: 8},
		[]rollup.Ack{testAck(epoch+1, node, 0, 0, 4, 10)})
	same := twoRollups(a.own(), b.own())
	same.Rollups[1], same.Signatures[1] = same.Rollups[0], same.Signatures[0]
	forged := twoRollups(a.own(), b.own())
	forged.Signatures[1] = Sign(&testNet, nodeKey(1), b.own())
	stranger := a.own()
	stranger.Node = testNodes
	ticket := a.ticket(0, 0, 1, 3)
	over := rotation.HandOver{Network: testNet, Term: 1, Epoch: epoch, SnapshotHeight: 70,
		SnapshotBytes: 9, SnapshotRoot: rollup.Hash{3}}
	handed := signAs(0, over.Append(nil), 0, 1, 3)
	next, usurped, bare := over, over, withoutSnapshot(over)
	next.Term, usurped.Committee = 2, rollup.Hash{8}
	record := rollup.Record{Network: testNet, Height: 90, SettledEpoch: rollup.NoEpoch}
	again, higher := record, record
	again.Term = 1
	higher.Height++
	sum, sum1 := signAs(0, record.Append(nil), 0, 1, 3), signAs(1, again.Append(nil), 1, 2, 3)

	answer := func(code rollup.Code) ([]Answer, Answers) {
		answers := []Answer{{blake3.Sum256(acks[0].Append(nil)), rollup.Answer{Code: code}}}
		word := Answers{Node: node, Epoch: epoch, Height: 9}
		word.Over(answers)
		return answers, word
	}
	taken, takenWord := answer(rollup.CodeKnown)
	never, neverWord := answer(rollup.CodeNumberUsed)
	elsewhereWord := neverWord
	elsewhereWord.Node = 1
	head := Head{Node: node, Epoch: 5, Service: 1, Price: 500}
	cosignedOnce := twoCosigned(3, key, cosigned{1, rollup.Hash{1}}, cosigned{2, rollup.Hash{1}})
	cosignedOnce.Signatures[0] = cosignedOnce.Signatures[1]
	for _, c := range []struct {
		name   string
		e      Evidence
		reason Reason
	}{
		{"one rollup twice", same, ReasonSame},
		{"a word of somebody else", forged, ReasonSignature},
		{"an unknown node", twoRollups(stranger, Own{testNodes, epoch, 7, rollup.Hash{1}}),
			ReasonUnknown},
		{"a ticket twice", twoTickets(ticket, a.ticket(1, 1, 2, 3)), ReasonSame},
		{"tickets of others", twoTickets(a.ticket(0, 0, 1), b.ticket(0, 2, 3)), ReasonNobody},
		{"a committee that never was", func() Evidence {
			e := twoTickets(ticket, b.ticket(0, 1, 2, 3))
			e.Tickets[1].Term = 2
			return e
		}(), ReasonUnknown},
		{"a named member that did not sign", func() Evidence {
			e := twoTickets(ticket, b.ticket(0, 2, 3))
			for i := range e.Tickets {
				e.Tickets[i].Signers = committees()[0].Signers(0, 1, 2, 3)
			}
			return e
		}(), ReasonSignature},
		{"numbers that follow", numberTwice(ticket, second.ticket(0, 1, 3), a.entries()[0],
			second.entries()[0]), ReasonSlot},
		{"statements that follow", numberTwice(ticket, second.ticket(0, 1, 3), a.entries()[1],
			second.entries()[1]), ReasonSlot},
		{"another client's", numberTwice(ticket, second.ticket(0, 1, 3), a.entries()[1],
			second.entries()[2]), ReasonSlot},
		{"another node's", numberTwice(ticket, elsewhere.ticket(0, 1, 3), a.entries()[0],
			elsewhere.entries()[0]), ReasonSlot},
		{"another epoch's", numberTwice(ticket, nextEpoch.ticket(0, 1, 3), a.entries()[0],
			nextEpoch.entries()[0]), ReasonSlot},
		{"one rollup's ticket twice", numberTwice(ticket, a.ticket(0, 1, 3), a.entries()[0],
			a.entries()[0]), ReasonSame},
		{"an entry that is not there", numberTwice(ticket, second.ticket(0, 1, 3), a.entries()[0],
			Entry{PartAcks, 0, a.entries()[0].Leaf, second.entries()[0].Path}), ReasonPath},
		{"a record in two terms", twoRecords(record, again, sum, sum1), ReasonSame},
		{"a hand-over twice", twoHandOvers(over, over, handed, handed), ReasonSame},
		{"a hand-over with a snapshot, and without", twoHandOvers(over, bare, handed,
			signAs(0, bare.Append(nil), 1, 3)), ReasonTrue},
		{"hand-overs to two terms", twoHandOvers(over, next, handed,
			signAs(1, next.Append(nil), 1, 3)), ReasonSlot},
		{"another committee's hand-over", twoHandOvers(over, usurped, handed,
			signAs(1, usurped.Append(nil), 1, 3)), ReasonSignature},
		{"records of two heights", twoRecords(record, higher, sum, sum), ReasonSlot},
		{"known and included", refusedAck(taken, takenWord, 0, acks[0], a, 0), ReasonTrue},
		{"another ack included", refusedAck(never, neverWord, 0, acks[0], second, 0), ReasonPath},
		{"included in what nobody ordered", func() Evidence {
			e := refusedAck(never, neverWord, 0, acks[0], a, 0)
			e.Position = 0
			return e
		}(), ReasonPath},
		{"another answered", refusedAck(never, neverWord, 0, acks[1], second, 0), ReasonPath},
		{"another node refused", refusedAck(never, elsewhereWord, 0, acks[0], a, 0), ReasonSlot},
		{"the price itself", &Price{head, sign(head)}, ReasonTrue},
		{"the root itself", contentOf(node, 1, 1), ReasonTrue},
		{"another path", func() Evidence {
			e := contentOf(node, 2, 7)
			e.Head.Path[0]++
			e.Signature = sign(e.Head)
			return e
		}(), ReasonSlot},
		{"another manifest", func() Evidence {
			e := contentOf(node, 2, 7)
			e.Manifest.Serial++
			return e
		}(), ReasonSlot},
		{"an entry that the manifest does not have", func() Evidence {
			e := contentOf(node, 2, 7)
			e.Entry.Root[0]++
			return e
		}(), ReasonPath},
		{"a head of somebody else", func() Evidence {
			e := contentOf(node, 2, 7)
			e.Signature = Sign(&testNet, nodeKey(1), e.Head)
			return e
		}(), ReasonSignature},
		{"a manifest of another network", func() Evidence {
			e := contentOf(node, 2, 7)
			e.Manifest.Network[0]++
			e.Head.Manifest = e.Manifest.Digest()
			e.Signature = sign(e.Head)
			return e
		}(), ReasonNetwork},
		{"a valid ack", &Invalid{ticket, a.entries()[0]}, ReasonTrue},
		{"a valid statement", &Invalid{ticket, a.entries()[1]}, ReasonTrue},
		{"two numbers", twoAcks(acks[0], acks[1]), ReasonSlot},
		{"an ack twice", twoAcks(acks[0], acks[0]), ReasonSame},
		{"an ack of which one is ill-signed", twoAcks(acks[0], func() rollup.Ack {
			other := acks[0]
			other.Units++
			return other
		}()), ReasonSignature},
		{"one root co-signed", cosignedOnce, ReasonSignature},
	} {
		if v, err := c.e.Judge(&testNet, knows(c.e)); err == nil {
			t.Errorf("%s: convicts %+v", c.name, v)
		} else {
			want(t, err, c.reason)
		}
	}
	// What the encoding shows already is refused there.
	_, err := Parse(Append(nil, same))
	want(t, err, ReasonSame)
	swapped := twoRollups(a.own(), b.own())
	swapped.Rollups[0], swapped.Rollups[1] = swapped.Rollups[1], swapped.Rollups[0]
	_, err = Parse(Append(nil, swapped))
	want(t, err, ReasonMalformed)
}

// TestUnsignedEntriesSayNothing: an entry that its client did not sign cannot be shown.
func TestUnsignedEntriesSayNothing(t *testing.T) {
	key := rollup.WindowKey{Node: 2, Epoch: 4, Window: 7}
	r := newRollup(key, nil, rollup.ListEntry{Run: rollup.Run{Client: 6, Count: 1}},
		rollup.ListEntry{Run: rollup.Run{Client: 7, Count: 1}, Signed: true})
	unsigned := Entry{PartList, 0, r.list[0].AppendLeaf(nil), r.list.Tree().Path(0)}
	e := &Invalid{r.ticket(0, 1), unsigned}
	_, err := Parse(Append(nil, e))
	want(t, err, ReasonMalformed)
}
