package ledger

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// The kinds by which a committee rotates. On a network whose committee does not, all are refused.

// candidacy is how a node stands for the committee. It is immutable.
type candidacy struct {
	key     uint32 // of the consensus engine, by its index
	jailed  uint32 // the epoch from which its owner may take it out; 0: it is not jailed
	address string // where the engine's peers reach it
	// absences are the epochs in which it was absent, ascending, as far as they still count
	absences []uint32
}

// consensusKey is a key of the consensus engine, and whose it is, for ever.
type consensusKey struct {
	key  Key
	node uint32
}

// Stand is the payload of stand: a node stands for the committee.
type Stand struct {
	Node         uint32    `json:"node"`
	ConsensusKey Key       `json:"consensus_key"`
	Proof        Signature `json:"proof"` // the consensus key's, of ConsensusMessage
	Address      string    `json:"p2p_address"`
}

// Unjail is the payload of unjail: a node whose time in jail is over stands again.
type Unjail struct {
	Node uint32 `json:"node"`
}

// Report is the payload of report: a member says which candidates it found healthy, and announces
// that it will reveal. What it says rests on receipts, some of which its next report has to show.
type Report struct {
	Epoch     uint32           `json:"epoch"`
	Node      uint32           `json:"node"`
	Coding    rotation.Coding  `json:"coding"`
	Data      []byte           `json:"data"`
	Receipts  rollup.Hash      `json:"receipts"` // their root
	Audit     []rotation.Shown `json:"audit"`    // of the report before, in the order of View.Audit
	Signature BLSSignature     `json:"signature"`
}

// Reveal is the payload of reveal: a part of the seed.
type Reveal struct {
	Epoch     uint32       `json:"epoch"`
	Round     uint8        `json:"round"`
	Node      uint32       `json:"node"`
	Signature BLSSignature `json:"signature"` // of the beacon's message
}

// Ready is the payload of ready: a node that won a seat is there, with both keys.
type Ready struct {
	Epoch     uint32       `json:"epoch"`
	Node      uint32       `json:"node"`
	Signature BLSSignature `json:"signature"`
	Consensus Signature    `json:"consensus_signature"`
}

// HandOver is the payload of hand-over: the committee of a term hands over to the next, and says
// what the snapshot of the state after the epoch's first block is, unless the epoch was over.
type HandOver struct {
	Term uint32 `json:"term"` // the next
	Snapshot
	Signers   rollup.Bitmap `json:"signers"`
	Signature BLSSignature  `json:"signature"`
}

const (
	consensusTag = "wb-con/2"
	reportTag    = "wb-rpt/2"
	readyTag     = "wb-rdy/2"
)

var (
	errConsensusWord = errors.New("the consensus key's signature does not verify")
	errReceipt       = errors.New("a candidate's signature of a receipt does not verify")
)

// ConsensusMessage returns what a consensus key signs to stand for a node, in the transaction with
// that sender and nonce.
func ConsensusMessage(net rollup.Network, node uint32, sender Key, nonce uint64) []byte {
	b := append([]byte(consensusTag), net[:]...)
	b = append(le.AppendUint32(b, node), sender[:]...)
	return le.AppendUint64(b, nonce)
}

// NewStand builds a transaction by which a node stands for the committee.
func NewStand(net rollup.Network, owner ed25519.PrivateKey, nonce uint64, node uint32,
	consensus ed25519.PrivateKey, address string) []byte {
	return NewSignedStand(net, owner, nonce, SignStand(net, KeyOf(owner), nonce, node, consensus,
		address))
}

// SignStand has a node's consensus key consent to one transaction of its owner.
func SignStand(net rollup.Network, owner Key, nonce uint64, node uint32,
	consensus ed25519.PrivateKey, address string) *Stand {
	proof := ed25519.Sign(consensus, ConsensusMessage(net, node, owner, nonce))
	return &Stand{node, KeyOf(consensus), Signature(proof), address}
}

// NewSignedStand builds the transaction that a consensus key consented to.
func NewSignedStand(net rollup.Network, owner ed25519.PrivateKey, nonce uint64, s *Stand) []byte {
	return sign(net, KindStand, owner, nonce, s)
}

// NewUnjail builds a transaction that takes a node out of jail.
func NewUnjail(net rollup.Network, owner ed25519.PrivateKey, nonce uint64, node uint32) []byte {
	return sign(net, KindUnjail, owner, nonce, &Unjail{node})
}

// UnsignedReport is a member's report: what it found, the root of the receipts which that rests on,
// and what the audit of its last report asks for. Its Message has to be signed.
func UnsignedReport(epoch, node uint32, v *rotation.Verdicts, receipts rollup.Hash,
	audit []rotation.Shown) *Report {
	p := &Report{Epoch: epoch, Node: node, Receipts: receipts, Audit: audit}
	p.Coding, p.Data = v.Encode()
	return p
}

// NewReport builds a member's report, signed: see UnsignedReport.
func NewReport(net rollup.Network, secret *bls.SecretKey, epoch, node uint32, v *rotation.Verdicts,
	receipts rollup.Hash, audit []rotation.Shown) []byte {
	p := UnsignedReport(epoch, node, v, receipts, audit)
	signature := bls.Default.Sign(secret, p.Message(net))
	p.Signature = signature.Bytes()
	return p.Tx(net)
}

// NewReveal builds a member's reveal; message is View.Beacon's.
func NewReveal(net rollup.Network, secret *bls.SecretKey, epoch uint32, round uint8, node uint32,
	message []byte) []byte {
	signature := bls.Default.Sign(secret, message)
	return (&Reveal{epoch, round, node, signature.Bytes()}).Tx(net)
}

// NewReady builds a winner's word that it is ready.
func NewReady(net rollup.Network, secret *bls.SecretKey, consensus ed25519.PrivateKey,
	epoch, node uint32, seed rollup.Hash) []byte {
	message := ReadyMessage(net, epoch, node, seed)
	signature := bls.Default.Sign(secret, message)
	return (&Ready{epoch, node, signature.Bytes(), Signature(ed25519.Sign(consensus, message))}).
		Tx(net)
}

// Tx returns the transaction of a signed report.
func (p *Report) Tx(net rollup.Network) []byte { return p.append(head(net, KindReport)) }

// Tx returns the transaction of a signed reveal.
func (p *Reveal) Tx(net rollup.Network) []byte { return p.append(head(net, KindReveal)) }

// Tx returns the transaction of a signed word of a winner.
func (p *Ready) Tx(net rollup.Network) []byte { return p.append(head(net, KindReady)) }

// NewHandOver builds the transaction by which a committee hands over.
func NewHandOver(net rollup.Network, h *HandOver) []byte {
	return h.append(head(net, KindHandOver))
}

// Message returns what a member signs of its report.
func (p *Report) Message(net rollup.Network) []byte {
	return p.appendBody(append([]byte(reportTag), net[:]...))
}

// ParseReportMessage decodes a report's Message, strictly; the report has no signature. Errors wrap
// ErrMalformed.
func ParseReportMessage(b []byte) (net rollup.Network, p *Report, err error) {
	r := newReader(b)
	r.Tag(reportTag)
	r.Fill(net[:])
	p = new(Report)
	p.decodeBody(r)
	if err := r.End(); err != nil {
		return net, nil, fmt.Errorf("report: %w", err)
	}
	return net, p, nil
}

// ReadyMessage returns what a winner of a seat signs with both keys.
func ReadyMessage(net rollup.Network, epoch, node uint32, seed rollup.Hash) []byte {
	b := append([]byte(readyTag), net[:]...)
	b = le.AppendUint32(le.AppendUint32(b, epoch), node)
	return append(b, seed[:]...)
}

func (p *Stand) decode(r *reader) {
	p.Node = r.U32()
	r.Fill(p.ConsensusKey[:])
	r.Fill(p.Proof[:])
	p.Address = r.Name()
}

func (p *Stand) append(b []byte) []byte {
	b = append(le.AppendUint32(b, p.Node), p.ConsensusKey[:]...)
	return appendName(append(b, p.Proof[:]...), p.Address)
}

func (p *Unjail) decode(r *reader)       { p.Node = r.U32() }
func (p *Unjail) append(b []byte) []byte { return le.AppendUint32(b, p.Node) }

func (p *Report) decode(r *reader) {
	p.decodeBody(r)
	r.Fill(p.Signature[:])
}

func (p *Report) decodeBody(r *reader) {
	p.Epoch, p.Node, p.Coding = r.U32(), r.U32(), rotation.Coding(r.U8())
	p.Data = slices.Clone(r.Next(r.Count(uint64(r.U32()), 1)))
	r.Fill(p.Receipts[:])
	count := r.U8()
	if count > rotation.MaxAsked {
		r.Fail("%d receipts", count)
		return
	}
	p.Audit = make([]rotation.Shown, count)
	for i := range p.Audit {
		p.Audit[i].Fill(&r.Reader)
	}
}

func (p *Report) append(b []byte) []byte { return append(p.appendBody(b), p.Signature[:]...) }

func (p *Report) appendBody(b []byte) []byte {
	b = append(le.AppendUint32(le.AppendUint32(b, p.Epoch), p.Node), byte(p.Coding))
	b = append(le.AppendUint32(b, uint32(len(p.Data))), p.Data...)
	b = append(append(b, p.Receipts[:]...), byte(len(p.Audit)))
	for i := range p.Audit {
		b = p.Audit[i].Append(b)
	}
	return b
}

func (p *Reveal) decode(r *reader) {
	p.Epoch, p.Round, p.Node = r.U32(), r.U8(), r.U32()
	r.Fill(p.Signature[:])
}

func (p *Reveal) append(b []byte) []byte {
	b = le.AppendUint32(append(le.AppendUint32(b, p.Epoch), p.Round), p.Node)
	return append(b, p.Signature[:]...)
}

func (p *Ready) decode(r *reader) {
	p.Epoch, p.Node = r.U32(), r.U32()
	r.Fill(p.Signature[:])
	r.Fill(p.Consensus[:])
}

func (p *Ready) append(b []byte) []byte {
	b = le.AppendUint32(le.AppendUint32(b, p.Epoch), p.Node)
	return append(append(b, p.Signature[:]...), p.Consensus[:]...)
}

func (p *HandOver) decode(r *reader) {
	p.Term = r.U32()
	p.Height, p.Bytes = r.U64(), r.U64()
	r.Fill(p.Root[:])
	p.Signers = slices.Clone(r.Next(int(r.U8())))
	r.Fill(p.Signature[:])
}

func (p *HandOver) append(b []byte) []byte {
	b = le.AppendUint64(le.AppendUint64(le.AppendUint32(b, p.Term), p.Height), p.Bytes)
	b = append(append(b, p.Root[:]...), byte(len(p.Signers)))
	return append(append(b, p.Signers...), p.Signature[:]...)
}

// at checks that the rotation of an epoch waits for this.
func (w *world) waits(phase Phase, epoch uint32) error {
	switch r := w.rotation; {
	case r == nil:
		return refuse(CodeNoRotation, "the committee is that of the genesis")
	case r.phase != phase || r.epoch != epoch:
		return refuse(CodeNotNow, "in epoch %d: %s", r.epoch, r.phase)
	}
	return nil
}

func (p *Stand) judge(w *world, _ *Tx, sender *account) error {
	n, err := w.ownNode(p.Node, sender)
	known, taken := w.consensusKey(p.ConsensusKey)
	switch {
	case w.rotation == nil:
		return refuse(CodeNoRotation, "the committee is that of the genesis")
	case err != nil:
		return err
	case n.gone():
		return refuse(CodeNodeLeft, "node %d left, or was convicted", p.Node)
	case n.stake < w.params.Rotation.MinStake:
		return refuse(CodeInsufficientStake, "%d, where %d is the least to stand with", n.stake,
			w.params.Rotation.MinStake)
	case taken && (n.candidacy == nil || n.candidacy.key != known):
		return refuse(CodeKeyTaken, "consensus key %s", p.ConsensusKey)
	case n.candidacy != nil && n.candidacy.key != known && w.sits(p.Node):
		return refuse(CodeNotNow, "node %d votes with its key", p.Node)
	case !hostPort(p.Address):
		return refuse(CodeOutOfRange, "%q is not host:port", p.Address)
	}
	return nil
}

func (p *Stand) verify(w *world, tx *Tx, c *claims, at *error) error {
	if !p.ConsensusKey.Valid() {
		return refuse(CodeOutOfRange, "%s is not a valid key", p.ConsensusKey)
	}
	c.word(claim{at, errConsensusWord}, p.ConsensusKey,
		ConsensusMessage(w.id, p.Node, tx.Signed.Sender, tx.Signed.Nonce), p.Proof)
	return nil
}

func (p *Stand) execute(s *State, _ uint32, _ *Result) {
	c := candidacy{address: p.Address}
	if before := s.nodes.at(p.Node).candidacy; before != nil {
		c.jailed, c.absences = before.jailed, before.absences
	}
	var taken bool
	if c.key, taken = s.consensusKey(p.ConsensusKey); !taken {
		c.key = s.addConsensusKey(p.ConsensusKey, p.Node)
	}
	s.setCandidacy(p.Node, c)
}

func (s *State) setCandidacy(node uint32, c candidacy) {
	s.replace(TreeNodes, uint64(node))
	s.nodes.edit(s.gen, node).candidacy = &c
	s.touch(indexKey(prefixNode, node)) // its leaf
	s.touch(indexKey(prefixCandidacy, node))
	s.events = append(s.events, Stands{Node: node, Jailed: c.jailed})
}

// consensusKey returns the index of a key of the engine.
func (w *world) consensusKey(key Key) (uint32, bool) {
	digest := digestOf(key[:])
	i, ok := w.consensusIndex.find(&digest)
	return uint32(i), ok && w.consensusKeys.at(uint32(i)).key == key
}

func (s *State) addConsensusKey(key Key, node uint32) uint32 {
	index := s.consensusKeys.size()
	s.consensusKeys.push(s.gen, consensusKey{key, node})
	digest := digestOf(key[:])
	s.consensusIndex.insert(s.gen, &digest, uint64(index), func(i uint64) [32]byte {
		return digestOf(s.consensusKeys.at(uint32(i)).key[:])
	})
	s.touch(indexKey(prefixConsensusKey, index))
	return index
}

// sits reports whether a node votes now, or will.
func (w *world) sits(node uint32) bool {
	_, votes := w.inOffice().Position(node)
	_, will := w.elected().Position(node)
	return votes || will
}

func (p *Unjail) verify(*world, *Tx, *claims, *error) error { return nil }

func (p *Unjail) judge(w *world, _ *Tx, sender *account) error {
	n, err := w.ownNode(p.Node, sender)
	switch {
	case w.rotation == nil:
		return refuse(CodeNoRotation, "the committee is that of the genesis")
	case err != nil:
		return err
	case n.candidacy == nil || n.candidacy.jailed == 0:
		return refuse(CodeNotNow, "node %d is not jailed", p.Node)
	case w.epoch() < n.candidacy.jailed:
		return refuse(CodeTooEarly, "from epoch %d on", n.candidacy.jailed)
	}
	return nil
}

func (p *Unjail) execute(s *State, _ uint32, _ *Result) {
	c := *s.nodes.at(p.Node).candidacy
	c.jailed = 0
	s.setCandidacy(p.Node, c)
}

// member returns the position of a node in the committee that rotates.
func (w *world) position(node uint32) (int, error) {
	i, is := w.elected().Position(node)
	if !is {
		return 0, refuse(CodeNoMember, "node %d", node)
	}
	return i, nil
}

func (p *Report) judge(w *world, _ *Tx, _ *account) error {
	if err := w.waits(PhaseReports, p.Epoch); err != nil {
		return err
	}
	if _, err := w.position(p.Node); err != nil {
		return err
	}
	if _, said := w.rotation.reports.of(p.Node); said {
		return refuse(CodeSaidBefore, "by node %d", p.Node)
	}
	if _, err := rotation.ParseVerdicts(p.Coding, p.Data, len(w.rotation.list)); err != nil {
		return refuse(CodeMalformed, "%w", err)
	}
	return w.audit(p)
}

func (p *Report) verify(w *world, _ *Tx, c *claims, at *error) error {
	for i := range p.Audit {
		s := &p.Audit[i]
		probe := rotation.Probe{Network: w.id, Epoch: s.Epoch, Candidate: s.Candidate, Prober: p.Node}
		c.word(claim{at, errReceipt}, w.nodes.at(s.Candidate).transport, s.Receipt.Message(&probe),
			Signature(s.Receipt.Signature))
	}
	c.member(at, w.elected(), p.Node, p.Message(w.id), &p.Signature)
	return nil
}

func (p *Report) execute(s *State, _ uint32, _ *Result) {
	position, _ := s.elected().Position(p.Node)
	s.rotate(func(r *rotating) {
		x := *r.reports
		i, _ := slices.BinarySearchFunc(x.list, p.Node, memberReport.compare)
		x.list = slices.Insert(slices.Clone(x.list), i, memberReport{node: p.Node,
			position: uint16(position), seats: uint16(s.elected().Members[position].Power),
			height: s.height, coding: p.Coding, receipts: p.Receipts, data: p.Data})
		r.reports = &x
	})
	s.touch(key(prefixReport, p.Epoch, p.Node))
}

// member adds a signature of one member.
func (c *claims) member(at *error, of *rollup.Committee, node uint32, message []byte,
	signature *BLSSignature) {
	c.committee(at, of, of.Signers(node), message, signature)
}

func (p *Reveal) judge(w *world, _ *Tx, _ *account) error {
	if err := w.waits(PhaseReveals, p.Epoch); err != nil {
		return err
	}
	r := w.rotation
	i, err := w.position(p.Node)
	switch {
	case err != nil:
		return err
	case r.round != p.Round:
		return refuse(CodeNotNow, "round %d runs", r.round)
	case !r.announced.Has(i):
		return refuse(CodeNoMember, "node %d did not announce it", p.Node)
	case r.reveals[i] != nil:
		return refuse(CodeSaidBefore, "by node %d", p.Node)
	}
	return nil
}

func (p *Reveal) verify(w *world, _ *Tx, c *claims, at *error) error {
	c.member(at, w.elected(), p.Node, w.beacon(), &p.Signature)
	return nil
}

func (p *Reveal) execute(s *State, _ uint32, _ *Result) {
	i, _ := s.elected().Position(p.Node)
	s.reveal(i, &p.Signature)
}

func (p *Ready) judge(w *world, _ *Tx, _ *account) error {
	if err := w.waits(PhaseReady, p.Epoch); err != nil {
		return err
	}
	if _, won := slices.BinarySearch(w.rotation.asked, p.Node); !won {
		return refuse(CodeNoMember, "node %d won no seat, or has one", p.Node)
	}
	if _, said := slices.BinarySearch(w.rotation.ready, p.Node); said {
		return refuse(CodeSaidBefore, "by node %d", p.Node)
	}
	return nil
}

func (p *Ready) verify(w *world, _ *Tx, c *claims, at *error) error {
	n := w.nodes.at(p.Node)
	message := ReadyMessage(w.id, p.Epoch, p.Node, w.rotation.seed)
	c.word(claim{at, errConsensusWord}, w.consensusKeys.at(n.candidacy.key).key, message, p.Consensus)
	c.sums = append(c.sums, sumClaim{claim: claim{at, rollup.ErrSignature}, suite: bls.Default,
		encoded: &n.key, message: message, signature: &p.Signature})
	return nil
}

func (p *Ready) execute(s *State, _ uint32, _ *Result) {
	s.rotate(func(r *rotating) {
		i, _ := slices.BinarySearch(r.ready, p.Node)
		r.ready = slices.Insert(slices.Clone(r.ready), i, p.Node)
	})
}

func (p *HandOver) judge(w *world, _ *Tx, _ *account) error {
	if w.rotation == nil {
		return refuse(CodeNoRotation, "the committee is that of the genesis")
	}
	if err := w.waits(PhaseHandOver, w.rotation.epoch); err != nil {
		return err
	}
	if next := w.elected().Term + 1; p.Term != next {
		return refuse(CodeWrongTerm, "%d, not %d", p.Term, next)
	}
	return w.judgeSnapshot(&p.Snapshot)
}

func (p *HandOver) verify(w *world, _ *Tx, c *claims, at *error) error {
	err := w.elected().Enough(p.Signers)
	if err == nil {
		c.committee(at, w.elected(), p.Signers, w.message(&p.Snapshot), &p.Signature)
	}
	return err
}

// execute waits for the end of the epoch, unless that is over.
func (p *HandOver) execute(s *State, _ uint32, _ *Result) {
	s.rotate(func(r *rotating) { r.phase, r.certified = PhaseCertified, p })
	if s.epoch() > s.rotation.epoch {
		s.handOver(s.epoch() + 1)
	}
}
