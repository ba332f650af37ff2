package ledger

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// testRotation is of sixteen seats and low stakes.
var testRotation = Rotation{Seats: 16, TermEpochs: 4, MinStake: 1_000_000, StakeCap: 1 << 40,
	JailWithhold: 3, SlashWithhold: 100, JailAbsent: 1, EvidenceEpochs: 168, EvidenceSeconds: 30,
	EvidenceBlocks: 100, Reward: 5_000}

// Nodes of these tests have keys by their index.

func secretOf(node uint32) *bls.SecretKey { return identity(fmt.Sprint("node", node)).secret }

// signed returns a node's signature, or one that is made once where nobody looks at what it is of.
func (c *chain) signed(node uint32, message []byte) BLSSignature {
	if !c.plain {
		signature := bls.Default.Sign(secretOf(node), message)
		return signature.Bytes()
	}
	if _, made := c.made[node]; !made {
		signature := bls.Default.Sign(secretOf(node), []byte("any"))
		c.made[node] = signature.Bytes()
	}
	return c.made[node]
}

func (c *chain) reportTx(node uint32) []byte {
	p := reportOf(c.g, c.s, node, c.plain)
	p.Signature = c.signed(node, p.Message(c.g.Network()))
	return p.append(head(c.g.Network(), KindReport))
}

// reportOf returns a report without its signature, and with receipts that have none when plain.
func reportOf(g *Genesis, s *State, node uint32, plain bool, unhealthy ...uint32) *Report {
	r := s.rotation
	var positions []uint32
	for i, c := range r.list {
		if slices.Contains(unhealthy, c.Node) {
			positions = append(positions, uint32(i))
		}
	}
	v, err := rotation.NewVerdicts(len(r.list), positions)
	if err != nil {
		panic(err)
	}
	p := &Report{Epoch: r.epoch, Node: node}
	p.Coding, p.Data = v.Encode()
	if r.reports != nil {
		p.Receipts = receiptsOf(g, s, r.reports, node, v, plain).Root()
	}
	m, reported := r.audited.of(node)
	if !reported {
		return p
	}
	before := receiptsOf(g, s, r.audited, node, r.audited.verdicts(m), plain)
	for _, asked := range s.asked(node) {
		shown, ok := before.Show(r.audited.epoch, asked)
		if !ok {
			panic(fmt.Sprintf("no receipts of node %d", asked.Candidate))
		}
		p.Audit = append(p.Audit, *shown)
	}
	return p
}

// signReport signs a report that was changed.
func signReport(g *Genesis, p *Report, change func(*Report)) []byte {
	change(p)
	signature := bls.Default.Sign(secretOf(p.Node), p.Message(g.Network()))
	p.Signature = signature.Bytes()
	return p.append(head(g.Network(), KindReport))
}

// bend changes what a candidate signs to a member, when a test sets it.
var bend func(member uint32, r *rotation.Receipt)

// receiptsOf returns those of a member, which are the same whenever they are made.
func receiptsOf(g *Genesis, s *State, of *reports, member uint32, v *rotation.Verdicts,
	plain bool) *rotation.Receipts {
	all := new(rotation.Receipts)
	for i, candidate := range of.named {
		if !v.Healthy(i) {
			continue
		}
		var list []*rotation.Receipt
		for n := range rotation.Answers {
			p := rotation.Probe{Network: g.Network(), Epoch: of.epoch, Candidate: candidate,
				Prober: member, Nonce: digestOf(fmt.Append(nil, of.epoch, candidate, member, n))}
			r := &rotation.Receipt{Nonce: p.Nonce, Height: uint64(of.began),
				Digest: s.clientDigest(&p.Nonce, of.clients)}
			if bend != nil {
				bend(member, r)
			}
			if !plain {
				key := accountKey(fmt.Sprintf("node%d transport", candidate))
				r.Signature = rotation.Signature(ed25519.Sign(key, r.Message(&p)))
			}
			list = append(list, r)
		}
		if err := all.Add(candidate, list); err != nil {
			panic(err)
		}
	}
	return all
}

func (c *chain) revealTx(node uint32) []byte {
	p := &Reveal{Epoch: c.s.rotation.epoch, Round: c.s.rotation.round, Node: node}
	p.Signature = c.signed(node, c.s.beacon())
	return p.append(head(c.g.Network(), KindReveal))
}

func (c *chain) readyTx(node uint32) []byte {
	r := c.s.rotation
	if !c.plain {
		return readyTx(c.g, c.s, node)
	}
	return (&Ready{Epoch: r.epoch, Node: node}).append(head(c.g.Network(), KindReady))
}

func (c *chain) handOverTx(nodes []uint32) []byte {
	if !c.plain {
		return handOverTx(c.g, c.s, nodes...)
	}
	h := &HandOver{Term: c.s.elected().Term + 1, Snapshot: testSnapshot(c.s),
		Signers: c.s.elected().Signers(nodes...)}
	return NewHandOver(c.g.Network(), h)
}

func standTx(g *Genesis, owner string, nonce uint64, node uint32) []byte {
	name := fmt.Sprint("node", node)
	return NewStand(g.Network(), accountKey(owner), nonce, node, accountKey(name+" consensus"),
		name+".example:7001")
}

// reportTx reports all candidates as healthy but for some nodes.
func reportTx(g *Genesis, s *State, node uint32, unhealthy ...uint32) []byte {
	p := reportOf(g, s, node, false, unhealthy...)
	v, err := rotation.ParseVerdicts(p.Coding, p.Data, len(s.rotation.list))
	if err != nil {
		panic(err)
	}
	return NewReport(g.Network(), secretOf(node), p.Epoch, node, v, p.Receipts, p.Audit)
}

func revealTx(g *Genesis, s *State, node uint32) []byte {
	message := []byte("not now")
	if s.rotation.phase == PhaseReveals {
		message = s.beacon()
	}
	return NewReveal(g.Network(), secretOf(node), s.rotation.epoch, s.rotation.round, node, message)
}

func readyTx(g *Genesis, s *State, node uint32) []byte {
	return NewReady(g.Network(), secretOf(node), accountKey(fmt.Sprint("node", node, " consensus")),
		s.rotation.epoch, node, s.rotation.seed)
}

func handOverTx(g *Genesis, s *State, nodes ...uint32) []byte {
	h := &HandOver{Term: s.elected().Term + 1, Snapshot: testSnapshot(s),
		Signers: s.elected().Signers(nodes...)}
	message := []byte("not now")
	if len(s.rotation.next) > 0 {
		message = s.message(&h.Snapshot)
	}
	h.Signature = signNodes(message, nodes)
	return NewHandOver(g.Network(), h)
}

// testSnapshot is what a hand-over says of a snapshot, in tests that make none.
func testSnapshot(s *State) Snapshot {
	height := s.snapshotHeight()
	if s.epoch() > s.rotation.epoch || height == 0 {
		return Snapshot{}
	}
	return Snapshot{height, 1 << 20 * height, digestOf(fmt.Append(nil, "snapshot ", height))}
}

func signNodes(message []byte, nodes []uint32) BLSSignature {
	var sum bls.Sum
	for _, node := range nodes {
		signature := bls.Default.Sign(secretOf(node), message)
		sum.Add(&signature)
	}
	total := sum.Signature()
	return total.Bytes()
}

// rotationTxs returns one transaction of each kind by which committees rotate, each of which was
// executed when the committee waited for it.
func rotationTxs(t testing.TB) (txs [][]byte) {
	t.Helper()
	c := newChain(t, rotatingGenesis())
	joined(c, 2, 100*StakePerPower)
	do := func(tx []byte) {
		c.block(0, func() []byte { return tx })
		if !slices.ContainsFunc(txs, func(b []byte) bool { return KindOf(b) == KindOf(tx) }) {
			txs = append(txs, tx)
		}
	}
	do(standTx(c.g, "alice", 4, 5)) // with the key that it stands with
	c.block(time.Minute)
	for node := range uint32(4) {
		do(reportTx(c.g, c.s, node))
	}
	c.block(30 * time.Second)
	for node := range uint32(4) {
		do(revealTx(c.g, c.s, node))
	}
	do(readyTx(c.g, c.s, c.s.rotation.asked[0]))
	c.block(18 * time.Second)
	do(handOverTx(c.g, c.s, 0, 1, 2))
	c.s.nodes.edit(c.s.gen, 5).candidacy = &candidacy{key: 5, jailed: 1, address: "node5.example:7001"}
	do(NewUnjail(c.g.Network(), accountKey("alice"), 5, 5))
	return txs
}

// nodesOf returns the nodes of a committee.
func nodesOf(c *rollup.Committee) (nodes []uint32) {
	for _, m := range c.Members {
		nodes = append(nodes, m.Node)
	}
	return nodes
}
