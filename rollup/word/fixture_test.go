package word

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// The test network: four nodes, all of which are members in terms 0 and 1, in another order of
// powers, eight clients and two services.
const (
	testNodes   = 4
	testClients = 8
)

var testNet = rollup.NetworkOf(testCanonical())

func secret(role string, i int) *bls.SecretKey {
	seed := blake3.Sum256(fmt.Appendf(nil, "word/%s/%d", role, i))
	sk, err := bls.KeyGen(seed[:])
	if err != nil {
		panic(err)
	}
	return sk
}

func nodeKey(i uint32) ed25519.PrivateKey {
	seed := blake3.Sum256(fmt.Appendf(nil, "word/node/%d", i))
	return ed25519.NewKeyFromSeed(seed[:])
}

// keys are the BLS keys of members and clients.
var keys = sync.OnceValue(func() (k struct{ members, clients []*bls.SecretKey }) {
	for i := range testNodes {
		k.members = append(k.members, secret("member", i))
	}
	for i := range testClients {
		k.clients = append(k.clients, secret("client", i))
	}
	return k
})

// known is what everybody knows. Client 6 was revoked in epoch 3, client 7 was granted service 1
// only, and ten numbers.
type known struct{ ordered *rollup.Record } // what a block ordered; nil: no block is known

// knows is known to who has the record of the block that ordered what evidence is about.
func knows(e Evidence) known {
	if r, ok := e.(*Refused); ok {
		record := new(rollup.Record)
		ordering(record, r.Header.ID())
		return known{record}
	}
	return known{}
}

// ordering makes a record one of a block that ordered a rollup behind another.
func ordering(record *rollup.Record, id rollup.Hash) {
	record.RollupCount, record.RollupsRoot = 2, rollup.RollupsTree([]rollup.Hash{{7}, id}).Root()
}

func (k known) Rollups() (count uint32, root rollup.Hash, ok bool) {
	if k.ordered == nil {
		return 0, rollup.Hash{}, false
	}
	return k.ordered.RollupCount, k.ordered.RollupsRoot, true
}

func (known) leaf(client uint64) registry.Client {
	c := registry.Client{Key: keys().clients[client].PublicKey().Bytes(), Payer: 5,
		Until: registry.None, Numbers: math.MaxUint32,
		Services: [3]uint32{0, 1, registry.None}}
	switch client {
	case 6:
		c.Until = 4
	case 7:
		c.Numbers, c.Services = 10, [3]uint32{1, registry.None, registry.None}
	}
	return c
}

var testServices = []registry.Service{
	{Owner: 3, Cap: 1 << 20, Price: 500, NextPrice: 500},
	{Owner: 3, Cap: 1 << 30, Price: 500, NextPrice: 400, From: 6},
}

func (k known) Client(client uint64) (c rollup.Client, ok bool) {
	if client >= testClients {
		return c, false
	}
	l := k.leaf(client)
	return rollup.Client{Key: keys().clients[client].PublicKey(), Payer: l.Payer, Since: l.Since,
		Until: l.Until, Numbers: l.Numbers, Services: l.Services}, true
}

func (known) UnitCap(service uint32) (uint64, bool) {
	if int(service) >= len(testServices) {
		return 0, false
	}
	return testServices[service].Cap, true
}

func (known) Price(service, epoch uint32) (uint64, bool) {
	if int(service) >= len(testServices) {
		return 0, false
	}
	return testServices[service].PriceIn(epoch), true
}

func (known) NodeKey(node uint32) (key [32]byte, ok bool) {
	if node >= testNodes {
		return key, false
	}
	return [32]byte(nodeKey(node).Public().(ed25519.PublicKey)), true
}

// committees has the committees by term. In term 1 node 0 is none any more, so that bitmaps mean
// other nodes.
var committees = sync.OnceValue(func() (list []*rollup.Committee) {
	for term := range uint32(2) {
		c := &rollup.Committee{Term: term}
		for i := term; i < testNodes; i++ {
			c.Members = append(c.Members, rollup.Member{Node: i, Power: 10,
				Key: keys().members[i].PublicKey()})
		}
		list = append(list, c)
	}
	return list
})

func (known) Committee(term uint32) (*rollup.Committee, bool) {
	if int(term) >= len(committees()) {
		return nil, false
	}
	return committees()[term], true
}

// signAs adds up signatures of members, by node.
func signAs(term uint32, message []byte, nodes ...uint32) Sum {
	var sum bls.Sum
	for _, n := range nodes {
		s := bls.Default.Sign(keys().members[n], message)
		sum.Add(&s)
	}
	s := sum.Signature()
	return Sum{committees()[term].Signers(nodes...), s.Bytes()}
}

// testAck is an ack that its client signed.
func testAck(epoch, node uint32, client uint64, service, number uint32, units uint64) rollup.Ack {
	a := rollup.Ack{Net: testNet.Net(), Epoch: epoch, Node: node, Client: client,
		Service: service, Number: number, Units: units,
		Request: blake3.Sum256(fmt.Append(nil, client, number, units))}
	s := bls.Default.Sign(keys().clients[client], a.AppendMessage(nil, &testNet))
	a.Signature = s.Bytes()
	return a
}

// testRollup is a rollup as its node has it: acks, and a list of what was co-signed. Its evidence
// and signatures are of no interest here.
type testRollup struct {
	header *rollup.Header
	acks   []rollup.Ack
	list   rollup.List
}

func newRollup(key rollup.WindowKey, acks []rollup.Ack, list ...rollup.ListEntry) *testRollup {
	acks = slices.Clone(acks)
	slices.SortFunc(acks, func(a, b rollup.Ack) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Number, b.Number))
	})
	r := &testRollup{header: rollup.NewHeader(testNet, key), acks: acks, list: list}
	if len(acks) > 0 {
		r.header.AckCount, r.header.AckRoot = uint32(len(acks)), r.ackTree().Root()
	}
	if len(list) > 0 {
		r.header.StatementCount, r.header.ListRoot = uint32(len(list)), r.list.Root()
		r.header.StatementRoot = rollup.Hash{1}
	}
	r.header.Rows = []rollup.Row{{Payer: 5, Acks: 1 << 20, Units: 1 << 30}}
	return r
}

func (r *testRollup) ackTree() *rollup.Tree {
	var leaves []byte
	for i := range r.acks {
		leaves = r.acks[i].AppendLeaf(leaves)
	}
	return rollup.NewTree(rollup.AckTreeKind, leaves, rollup.LeafSize)
}

// entries returns all that the rollup bills.
func (r *testRollup) entries() (all []Entry) {
	tree := r.ackTree()
	for i := range r.acks {
		all = append(all, Entry{PartAcks, uint32(i), r.acks[i].AppendLeaf(nil), tree.Path(i)})
	}
	tree = r.list.Tree()
	for i := range r.list {
		if r.list[i].Signed {
			all = append(all,
				Entry{PartList, uint32(i), r.list[i].AppendLeaf(nil), tree.Path(i)})
		}
	}
	return all
}

func (r *testRollup) key() rollup.WindowKey { return r.header.Key() }

func (r *testRollup) own() Own {
	return Own{r.header.Node, r.header.Epoch, r.header.Window, r.header.ID()}
}

// ticket is a ticket that some nodes signed.
func (r *testRollup) ticket(term uint32, nodes ...uint32) Ticket {
	message := rollup.CertificateMessage(&testNet, term, r.key(), r.header.ID())
	return Ticket{r.header.Bare(), term, signAs(term, message, nodes...)}
}

func sign(w Word) Signature {
	node := le.Uint32(w.Append(nil))
	return Sign(&testNet, nodeKey(node), w)
}

// prover is a registry as trees.
type prover struct {
	flat                     map[*registry.Kind][]byte
	nodes, clients, services *registry.Tree
}

func (p *prover) Heads() (registry.Heads, error) {
	return registry.Heads{Clients: p.clients.Head(), Nodes: p.nodes.Head(),
		Services: p.services.Head()}, nil
}

func (p *prover) prove(t *registry.Tree, indices []uint64) (entries, proof []byte, err error) {
	if proof, err = t.Prove(indices); err != nil {
		return nil, nil, err
	}
	w := uint64(t.Kind().Width())
	for _, i := range indices {
		entries = append(entries, p.flat[t.Kind()][i*w:][:w]...)
	}
	return entries, proof, nil
}

func (p *prover) Nodes(indices []uint64) ([]byte, []byte, error) {
	return p.prove(p.nodes, indices)
}

func (p *prover) Clients(indices []uint64) ([]byte, []byte, error) {
	return p.prove(p.clients, indices)
}

func (p *prover) Services(indices []uint64) ([]byte, []byte, error) {
	return p.prove(p.services, indices)
}

// trees is the registry as trees, with a record over it of an epoch, and of what evidence is about.
func trees(t testing.TB, epoch uint32, e Evidence) (Prover, *rollup.Record, Sum) {
	t.Helper()
	flat := map[*registry.Kind][]byte{}
	for i := range uint64(testClients) {
		c := known{}.leaf(i)
		flat[registry.Clients] = c.Append(flat[registry.Clients])
	}
	for i := range uint32(testNodes) {
		key, _ := known{}.NodeKey(i)
		n := registry.Node{Key: keys().members[i].PublicKey().Bytes(), NodeKey: key,
			Until: registry.None, Status: registry.Standing}
		flat[registry.Nodes] = n.Append(flat[registry.Nodes])
	}
	for i := range testServices {
		flat[registry.Services] = testServices[i].Append(flat[registry.Services])
	}
	tree := func(kind *registry.Kind) *registry.Tree {
		tree := registry.New(kind, new(registry.Memory))
		var indices []uint64
		for i := range len(flat[kind]) / kind.Width() {
			indices = append(indices, uint64(i))
		}
		if err := tree.Set(indices, flat[kind]); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	all := &prover{flat, tree(registry.Nodes), tree(registry.Clients), tree(registry.Services)}
	heads, _ := all.Heads()
	record := &rollup.Record{Network: testNet, Height: 77, Time: 1000, Epoch: epoch,
		RegistryRoot: heads.Root(), SettledEpoch: rollup.NoEpoch}
	if r, ok := e.(*Refused); ok {
		ordering(record, r.Header.ID())
	}
	return all, record, signAs(0, record.Append(nil), 0, 1, 3)
}

func want(t testing.TB, err error, reason Reason) {
	t.Helper()
	if !errors.Is(err, reason) {
		t.Fatalf("%v, not: %v", err, reason)
	}
}

// ordered exchanges two things of evidence so that they ascend.
func ordered[T any](less func(T) []byte, a, b T) [2]T {
	if bytes.Compare(less(a), less(b)) > 0 {
		a, b = b, a
	}
	return [2]T{a, b}
}

func twoRollups(a, b Own) *TwoRollups {
	if e := NewTwoRollups([2]Own{a, b}, [2]Signature{sign(a), sign(b)}); e != nil {
		return e
	}
	return &TwoRollups{a.Node, a.Epoch, a.Window, [2]rollup.Hash{a.Rollup, b.Rollup}, // a forger's
		[2]Signature{sign(a), sign(b)}}
}

func twoOffers(a, b Offer) *TwoOffers {
	pair := ordered(func(o Offer) []byte { return o.Append(nil) }, a, b)
	return &TwoOffers{a.Node, a.Epoch, a.Window, [2]uint32{pair[0].Count, pair[1].Count},
		[2]rollup.Hash{pair[0].Root, pair[1].Root}, [2]Signature{sign(pair[0]), sign(pair[1])}}
}

func twoTickets(a, b Ticket) *TwoTickets {
	of := func(t Ticket) []byte { id := t.Header.ID(); return id[:] }
	e := &TwoTickets{Window: a.Header.Key()}
	for i, t := range ordered(of, a, b) {
		e.Tickets[i] = TicketOf{t.Term, t.Header.ID(), t.Sum}
	}
	return e
}

func numberTwice(a, b Ticket, in, other Entry) *NumberTwice {
	x, y := a.Header.ID(), b.Header.ID()
	if bytes.Compare(x[:], y[:]) > 0 {
		a, b, in, other = b, a, other, in
	}
	return &NumberTwice{[2]Ticket{a, b}, [2]Entry{in, other}}
}

func twoRecords(a, b rollup.Record, as, bs Sum) *TwoRecords {
	if bytes.Compare(content(a), content(b)) > 0 {
		a, b, as, bs = b, a, bs, as
	}
	return &TwoRecords{[2]rollup.Record{a, b}, [2]Sum{as, bs}}
}

func twoHandOvers(a, b rotation.HandOver, as, bs Sum) *TwoHandOvers {
	if bytes.Compare(a.Append(nil), b.Append(nil)) > 0 {
		a, b, as, bs = b, a, bs, as
	}
	return &TwoHandOvers{[2]rotation.HandOver{a, b}, [2]Sum{as, bs}}
}

func refusedAck(answers []Answer, word Answers, i int, ack rollup.Ack, r *testRollup,
	j int) *Refused {
	id := r.header.ID()
	e := &Refused{Refusal: Refusal{Answers: word, Signature: sign(word), AnswerIndex: uint16(i),
		Answer: answers[i].Answer, AnswerPath: AnswerTree(answers).Path(i)},
		Header: r.header.Bare(), Position: 1,
		OrderPath: rollup.RollupsTree([]rollup.Hash{{7}, id}).Path(1), AckIndex: uint32(j),
		AckPath: r.ackTree().Path(j)}
	copy(e.Ack[:], ack.Append(nil))
	return e
}

func twoAcks(a, b rollup.Ack) *TwoAcks {
	e := new(TwoAcks)
	for i, a := range ordered(func(a rollup.Ack) []byte { return a.AppendLeaf(nil) }, a, b) {
		copy(e.Acks[i][:], a.Append(nil))
	}
	return e
}

type cosigned struct {
	count uint32
	root  rollup.Hash
}

func twoCosigned(client uint64, key rollup.WindowKey, a, b cosigned) *TwoCosigned {
	e := &TwoCosigned{Client: client, Window: key}
	pair := ordered(func(c cosigned) []byte {
		m := rollup.CosignMessage(rollup.Network{}, key, c.count, c.root)
		return m[:]
	}, a, b)
	for i, c := range pair {
		e.Counts[i], e.Roots[i] = c.count, c.root
		s := bls.Default.Sign(keys().clients[client], e.message(&testNet, i))
		e.Signatures[i] = s.Bytes()
	}
	return e
}
