package word

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// model is a network under a scheduler that does what it likes: it delivers messages late, twice,
// in another order, broken, and restarts nodes and members, which keep what they had on disk. Who
// is honest does what the protocol says; who is not signs whatever it can.
type model struct {
	*testing.T
	rng     *rand.Rand
	epoch   uint32
	height  uint64
	badNode uint32 // testNodes: none
	badSeat uint32
	badly   bool // client 0 signs a number twice

	nodes   []*modelNode
	members []*modelMember
	clients []*modelClient
	wire    []rollup.Ack // all that was ever sent

	// All that was ever said.
	owns    map[uint32][]*testRollup
	offers  map[uint32][]Offer
	answers []spoken
	shares  []share
	records []rollup.Record
	signers map[int]map[uint32][]uint32 // of records, by term
	overs   []handedOver
	roots   []signedRoot
}

type modelNode struct {
	index uint32
	held  map[[3]uint64]rollup.Ack // by epoch, client and service, number
	next  map[[3]uint64]uint32     // by epoch, client, service
	open  []rollup.Ack
	w     map[uint32]uint32 // next window by epoch
}

type modelMember struct {
	numbers map[[2]uint32]*rollup.Numbers // by node and epoch
	last    map[[2]uint32]int64           // window
	record  map[uint64]int                // height to record
}

type modelClient struct {
	index uint64
	next  map[[3]uint32]uint32 // by node, epoch, service
	root  map[rollup.WindowKey]Offer
}

type spoken struct {
	word    Answers
	answers []Answer
	acks    []rollup.Ack
}

type share struct {
	member uint32
	rollup *testRollup
}

type signedRoot struct {
	client uint64
	offer  Offer
}

func newModel(t *testing.T, seed uint64, badNode, badSeat uint32, badly bool) *model {
	m := &model{T: t, rng: rand.New(rand.NewPCG(seed, 1)), epoch: 3, badNode: badNode,
		badSeat: badSeat, badly: badly, owns: make(map[uint32][]*testRollup),
		offers: make(map[uint32][]Offer), signers: make(map[int]map[uint32][]uint32)}
	for i := range uint32(2) {
		m.nodes = append(m.nodes, &modelNode{index: i, held: make(map[[3]uint64]rollup.Ack),
			next: make(map[[3]uint64]uint32), w: make(map[uint32]uint32)})
	}
	for range testNodes {
		m.members = append(m.members, &modelMember{
			numbers: make(map[[2]uint32]*rollup.Numbers), last: make(map[[2]uint32]int64),
			record: make(map[uint64]int)})
	}
	for i := range uint64(3) {
		m.clients = append(m.clients, &modelClient{index: i, next: make(map[[3]uint32]uint32),
			root: make(map[rollup.WindowKey]Offer)})
	}
	return m
}

// sendNew signs the next number of a client.
func (m *model) sendNew() {
	c, n := m.clients[m.rng.IntN(len(m.clients))], m.nodes[m.rng.IntN(len(m.nodes))]
	service := m.rng.Uint32N(2)
	at := [3]uint32{n.index, m.epoch, service}
	number := c.next[at]
	if m.badly && c.index == 0 && number > 0 && m.rng.IntN(3) == 0 {
		number--
	} else {
		c.next[at]++
	}
	a := testAck(m.epoch, n.index, c.index, service, number, 1+m.rng.Uint64N(100))
	if m.rng.IntN(4) == 0 { // an ill-signed copy goes first
		broken := a
		broken.Signature[47] ^= 1
		m.wire = append(m.wire, broken)
	}
	m.wire = append(m.wire, a)
}

// deliver brings some acks, old and new, to their nodes.
func (m *model) deliver() {
	byNode := map[uint32][]rollup.Ack{}
	for range 1 + m.rng.IntN(12) {
		if len(m.wire) > 0 {
			a := m.wire[max(m.rng.IntN(len(m.wire)), m.rng.IntN(len(m.wire)))]
			byNode[a.Node] = append(byNode[a.Node], a)
		}
	}
	for _, n := range m.nodes {
		if len(byNode[n.index]) > 0 {
			m.answer(n, byNode[n.index])
		}
	}
}

// answer is a node's door.
func (m *model) answer(n *modelNode, acks []rollup.Ack) {
	s := spoken{acks: acks, word: Answers{Node: n.index, Epoch: m.epoch, Height: m.height}}
	for _, a := range acks {
		code, arg := m.take(n, a)
		if n.index == m.badNode && m.rng.IntN(3) == 0 {
			code = rollup.CodeNotValid
		}
		s.answers = append(s.answers, Answer{blake3.Sum256(a.Append(nil)),
			rollup.Answer{Code: code, Arg: arg}})
	}
	s.word.Over(s.answers)
	m.answers = append(m.answers, s)
}

func (m *model) take(n *modelNode, a rollup.Ack) (rollup.Code, uint64) {
	number := [3]uint64{uint64(a.Epoch), a.Client<<8 | uint64(a.Service), uint64(a.Number)}
	at := [3]uint64{uint64(a.Epoch), a.Client, uint64(a.Service)}
	held, known := n.held[number]
	switch honest := testAck(a.Epoch, a.Node, a.Client, a.Service, a.Number, a.Units); {
	case a != honest:
		return rollup.CodeBadSignature, 0
	case known && held == a:
		return rollup.CodeKnown, 0
	case a.Epoch < m.epoch:
		return rollup.CodePastEpoch, 0
	case known:
		return rollup.CodeNumberUsed, 0
	case a.Number > n.next[at]:
		return rollup.CodeGap, uint64(n.next[at])
	}
	n.held[number] = a
	n.next[at]++
	n.open = append(n.open, a)
	return rollup.CodeAccepted, 0
}

// seal closes a node's window, with statements of some clients, and says what the node says of it.
func (m *model) seal() {
	n := m.nodes[m.rng.IntN(len(m.nodes))]
	if len(n.open) == 0 {
		return
	}
	epoch := n.open[0].Epoch
	key := rollup.WindowKey{Node: n.index, Epoch: epoch, Window: n.w[epoch]}
	n.w[epoch]++
	m.offer(key, rollup.Hash{byte(m.rng.Uint32())})
	m.push(n, key, n.open)
	if n.index == m.badNode {
		m.offer(key, rollup.Hash{byte(m.rng.Uint32()), 1})
		m.push(n, key, n.open[:1])
		m.push(n, rollup.WindowKey{Node: n.index, Epoch: epoch, Window: n.w[epoch]}, n.open)
		n.w[epoch]++
	}
	n.open = nil
}

// offer offers a root to all clients, each of which signs one for a window.
func (m *model) offer(key rollup.WindowKey, root rollup.Hash) {
	o := Offer{key.Node, key.Epoch, key.Window, 3, root}
	m.offers[key.Node] = append(m.offers[key.Node], o)
	for _, c := range m.clients {
		if _, signed := c.root[key]; !signed || m.badly && c.index == 0 {
			c.root[key] = o
			m.roots = append(m.roots, signedRoot{c.index, o})
		}
	}
}

// push owns a rollup of acks, some of whose clients co-signed.
func (m *model) push(n *modelNode, key rollup.WindowKey, open []rollup.Ack) {
	var acks []rollup.Ack
	runs := map[[2]uint64]*rollup.Run{}
	cosigned := m.rng.Uint64N(3)
	for _, a := range open {
		if a.Client != cosigned {
			acks = append(acks, a)
			continue
		}
		at := [2]uint64{a.Client, uint64(a.Service)}
		if runs[at] == nil {
			runs[at] = &rollup.Run{Client: a.Client, Service: a.Service, First: a.Number}
		}
		runs[at].Count++
	}
	var list rollup.List
	for service := range uint64(2) {
		if run := runs[[2]uint64{cosigned, service}]; run != nil {
			list = append(list, rollup.ListEntry{Run: *run, Signed: true})
		}
	}
	m.owns[n.index] = append(m.owns[n.index], newRollup(key, acks, list...))
}

// vote shows a rollup of any age to a member.
func (m *model) vote() {
	rollups := m.owns[m.rng.Uint32N(2)]
	if len(rollups) == 0 {
		return
	}
	r := rollups[m.rng.IntN(len(rollups))]
	seat := m.rng.Uint32N(testNodes)
	if m.signs(m.members[seat], r) || seat == m.badSeat {
		if s := (share{seat, r}); !slices.Contains(m.shares, s) {
			m.shares = append(m.shares, s)
		}
	}
}

// signs is an honest member's decision, with its table.
func (m *model) signs(member *modelMember, r *testRollup) bool {
	at := [2]uint32{r.header.Node, r.header.Epoch}
	if member.numbers[at] == nil {
		member.numbers[at] = new(rollup.Numbers)
		member.last[at] = -1
	}
	if int64(r.header.Window) <= member.last[at] {
		return false
	}
	var runs []rollup.Run
	for _, e := range r.entries() {
		run := e.run()
		if n := len(runs); n > 0 && runs[n-1].Client == run.Client &&
			runs[n-1].Service == run.Service && runs[n-1].End() == uint64(run.First) {
			runs[n-1].Count += run.Count
			continue
		}
		runs = append(runs, run)
	}
	for _, run := range runs {
		if member.numbers[at].Check(run) != nil {
			return false
		}
	}
	for _, run := range runs {
		member.numbers[at].Take(run)
	}
	member.last[at] = int64(r.header.Window)
	return true
}

// record is a block: all members but for a few sign one record of it, some again in a later term.
// The bad one signs another as well.
func (m *model) record() {
	m.height++
	for i := range 2 {
		r := rollup.Record{Network: testNet, Height: m.height, Time: uint64(i), Epoch: m.epoch,
			SettledEpoch: rollup.NoEpoch}
		at := len(m.records)
		m.records = append(m.records, r)
		m.signers[at] = map[uint32][]uint32{}
		for term := range uint32(2) {
			for seat := term; seat < testNodes; seat++ {
				if i == 0 && m.rng.IntN(3) > 0 || i == 1 && seat == m.badSeat {
					m.signers[at][term] = append(m.signers[at][term], seat)
				}
			}
		}
	}
}

// handedOver is a hand-over, and who signed it.
type handedOver struct {
	rotation.HandOver
	signers []uint32
}

// handOver has members sign the hand-over of a term with a snapshot, or without once they have lost
// that, or both: its epoch ends at another time for each. The bad one signs another as well, whose
// committee it likes better, or whose snapshot.
func (m *model) handOver(term uint32) {
	h := rotation.HandOver{Network: testNet, Term: term, Epoch: m.epoch, SnapshotHeight: m.height,
		SnapshotBytes: 1, SnapshotRoot: rollup.Hash{1}}
	usurped, snapped := h, h
	usurped.Committee, snapped.SnapshotRoot = rollup.Hash{2}, rollup.Hash{2}
	for i, h := range []rotation.HandOver{h, withoutSnapshot(h), usurped, snapped} {
		var signers []uint32
		for seat := term - 1; seat < testNodes; seat++ {
			if i < 2 && m.rng.IntN(3) > 0 || i >= 2 && seat == m.badSeat {
				signers = append(signers, seat)
			}
		}
		if len(signers) > 0 {
			m.overs = append(m.overs, handedOver{h, signers})
		}
	}
}

// run lets the scheduler do some hundred things.
func (m *model) run(steps int) {
	for range steps {
		switch m.rng.IntN(12) {
		case 0, 1, 2:
			m.sendNew()
		case 3, 4, 5:
			m.deliver()
		case 6, 7:
			m.seal()
		case 8, 9, 10:
			m.vote()
		case 11:
			if m.rng.IntN(8) == 0 {
				for _, n := range m.nodes {
					n.open = nil // what the last window of an epoch took stays unpaid here
				}
				m.epoch++
			} else if len(m.records) < 16 {
				m.record()
				if term := uint32(len(m.records) / 2); term <= 2 {
					m.handOver(term)
				}
			}
		}
	}
}

// accuse tries every piece of evidence that can be made of what was said, and returns who was
// convicted of what.
func (m *model) accuse() (convicted map[string]bool, tried int) {
	convicted = map[string]bool{}
	try := func(e Evidence) {
		tried++
		v, err := e.Judge(&testNet, knows(e))
		if err != nil {
			return
		}
		for _, n := range v.Nodes {
			convicted[fmt.Sprintf("node %d: %v", n, v.Lie)] = true
		}
		for _, c := range v.Clients {
			convicted[fmt.Sprintf("client %d: %v", c, v.Lie)] = true
		}
	}
	m.accuseNodes(try)
	m.accuseMembers(try)
	m.accuseClients(try)
	return convicted, tried
}

func pairs[T any](list []T, f func(a, b T)) {
	for i := range list {
		for _, b := range list[:i] {
			f(list[i], b)
		}
	}
}

func (m *model) accuseNodes(try func(Evidence)) {
	for node := range uint32(2) {
		pairs(m.owns[node], func(a, b *testRollup) {
			if a.key() == b.key() {
				try(twoRollups(a.own(), b.own()))
			}
		})
		pairs(m.offers[node], func(a, b Offer) {
			if a.Window == b.Window && a.Epoch == b.Epoch {
				try(twoOffers(a, b))
			}
		})
	}
	for _, s := range m.answers {
		for i, a := range s.answers {
			if a.Code.Class() != rollup.ClassNever {
				continue
			}
			for _, r := range m.owns[s.word.Node] {
				j := slices.IndexFunc(r.acks, func(x rollup.Ack) bool {
					return x.Client == s.acks[i].Client && x.Number == s.acks[i].Number &&
						x.Service == s.acks[i].Service && x.Epoch == s.acks[i].Epoch
				})
				if j >= 0 {
					try(refusedAck(s.answers, s.word, i, s.acks[i], r, j))
				}
			}
		}
	}
}

// accuseMembers makes tickets of all shares that there are of a rollup, and compares them.
func (m *model) accuseMembers(try func(Evidence)) {
	var signed []*testRollup
	by := map[*testRollup][]uint32{}
	for _, s := range m.shares {
		if by[s.rollup] == nil {
			signed = append(signed, s.rollup)
		}
		by[s.rollup] = append(by[s.rollup], s.member)
	}
	pairs(signed, func(a, b *testRollup) {
		if a.header.ID() == b.header.ID() || a.header.Node != b.header.Node ||
			a.header.Epoch != b.header.Epoch {
			return
		}
		ta, tb := a.ticket(0, by[a]...), b.ticket(0, by[b]...)
		if a.key() == b.key() {
			try(twoTickets(ta, tb))
		}
		for _, x := range a.entries() {
			for _, y := range b.entries() {
				if r, s := x.run(), y.run(); r.Client == s.Client && r.Service == s.Service {
					try(numberTwice(ta, tb, x, y))
				}
			}
		}
	})
	for _, r := range signed {
		for _, e := range r.entries() {
			try(&Invalid{r.ticket(0, by[r]...), e})
		}
	}
	m.accuseRecords(try)
	pairs(m.overs, func(a, b handedOver) {
		try(twoHandOvers(a.HandOver, b.HandOver, signAs(a.Term-1, a.Append(nil), a.signers...),
			signAs(b.Term-1, b.Append(nil), b.signers...)))
	})
}

func (m *model) accuseRecords(try func(Evidence)) {
	type said struct {
		r   rollup.Record
		sum Sum
	}
	var all []said
	for i, r := range m.records {
		for term := range uint32(2) {
			if nodes := m.signers[i][term]; len(nodes) > 0 {
				r.Term = term
				all = append(all, said{r, signAs(term, r.Append(nil), nodes...)})
			}
		}
	}
	pairs(all, func(a, b said) { try(twoRecords(a.r, b.r, a.sum, b.sum)) })
}

func (m *model) accuseClients(try func(Evidence)) {
	pairs(m.wire, func(a, b rollup.Ack) {
		if a.Client == b.Client && a.Number == b.Number && a.Node == b.Node {
			try(twoAcks(a, b))
		}
	})
	pairs(m.roots, func(a, b signedRoot) {
		if a.client == b.client && a.offer.Window == b.offer.Window &&
			a.offer.Node == b.offer.Node && a.offer.Epoch == b.offer.Epoch {
			key := rollup.WindowKey{Node: a.offer.Node, Epoch: a.offer.Epoch,
				Window: a.offer.Window}
			try(twoCosigned(a.client, key, cosigned{a.offer.Count, a.offer.Root},
				cosigned{b.offer.Count, b.offer.Root}))
		}
	})
}

func modelSeeds() int {
	if testing.Short() {
		return 1
	}
	return 4
}

// TestHonestAreNeverConvicted: whatever the scheduler does, what honest parties say convicts none
// of them, nor can it be shown as a lie.
func TestHonestAreNeverConvicted(t *testing.T) {
	for seed := range modelSeeds() {
		m := newModel(t, uint64(seed), testNodes, testNodes, false)
		m.run(400)
		convicted, tried := m.accuse()
		t.Logf("seed %d: %d acks, %d shares, %d accusations", seed, len(m.wire), len(m.shares),
			tried)
		if len(convicted) > 0 {
			t.Errorf("seed %d: %v", seed, convicted)
		}
		if tried < 50 || len(m.shares) < 5 {
			t.Errorf("seed %d: too little happened", seed)
		}
	}
}

// TestOnlyLiarsAreConvicted: the same beside a node, a member and a client that lie. Each of them
// is convicted of each of its lies, and nobody else of any.
func TestOnlyLiarsAreConvicted(t *testing.T) {
	all := map[string]bool{}
	for seed := range modelSeeds() {
		m := newModel(t, uint64(seed), 1, 3, true)
		m.run(400)
		convicted, _ := m.accuse()
		for what := range convicted {
			all[what] = true
		}
	}
	for _, want := range []string{
		"node 1: " + LieTwoRollups.String(), "node 1: " + LieTwoOffers.String(),
		"node 1: " + LieRefused.String(), "node 3: " + LieTwoTickets.String(),
		"node 3: " + LieNumberTwice.String(), "node 3: " + LieTwoRecords.String(),
		"node 3: " + LieTwoHandovers.String(),
		"client 0: " + LieTwoAcks.String(), "client 0: " + LieTwoCosigned.String(),
	} {
		if !all[want] && !testing.Short() {
			t.Errorf("not convicted: %s", want)
		}
		delete(all, want)
	}
	if len(all) > 0 {
		t.Errorf("convicted: %v", all)
	}
}

// TestModelSigns: what the model takes for a signature is one.
func TestModelSigns(t *testing.T) {
	a := testAck(3, 0, 1, 0, 0, 7)
	s, err := bls.ParseSignature(a.Signature[:])
	if err != nil || !bls.Default.Verify(keys().clients[1].PublicKey(),
		a.AppendMessage(nil, &testNet), &s) {
		t.Error(err)
	}
}
