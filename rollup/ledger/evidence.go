package ledger

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// MinSlash is the least that a genesis may have a conviction cost, in basis points of the stake. It
// bounds how often one stake can be taken from, and so what the state holds of a node.
const MinSlash = 100

// Evidence is the payload of evidence: two words of one slot that exclude each other. It convicts
// who signed both. It has no sender: what convicts was signed by the convicted, and whoever has it
// may show it.
type Evidence struct {
	Words word.Evidence // of a lie that is on chain

	offence Offence
	guilty  []uint32 // nodes, ascending, that were not convicted of it before
}

// Offence is what a node is convicted of once.
type Offence struct {
	Lie    word.Lie
	Window rollup.WindowKey // of lies 1 to 3
	Height uint64           // of lie 4; of lie 5 the term that was handed over to
}

// Conviction is an offence of a node and what it cost.
type Conviction struct {
	Offence
	Block uint64 // height of the block that convicted
	Taken uint64 // micro-credits, of the stake
}

// NewEvidence builds the transaction that convicts whoever said both words.
func NewEvidence(net rollup.Network, e word.Evidence) []byte {
	return word.Append(head(net, KindEvidence), e)
}

// MarshalJSON implements [json.Marshaler].
func (p *Evidence) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Lie   word.Lie `json:"lie"`
		What  string   `json:"what"`
		Words string   `json:"evidence"`
	}{p.Words.Lie(), p.Words.Lie().String(), hex.EncodeToString(p.append(nil))})
}

func (p *Evidence) decode(r *reader) {
	b := r.Next(len(r.B))
	if r.Err != nil {
		return
	}
	e, err := word.Parse(b)
	switch {
	case err != nil:
		r.Fail("%w", err)
	case !e.Lie().OnChain():
		r.Fail("%s: that convicts nobody on chain", e.Lie())
	}
	p.Words = e
}

func (p *Evidence) append(b []byte) []byte { return word.Append(b, p.Words) }

// judge finds who is guilty if the signatures are theirs. Whoever was convicted of the offence
// before is so no second time, and who has nothing at stake loses nothing.
func (p *Evidence) judge(w *world, _ *Tx, _ *account) (err error) {
	var accused []uint32
	if p.offence, accused, err = w.accuse(p.Words); err != nil {
		return err
	}
	if len(accused) == 0 {
		return refuse(CodeNoLie, "nobody signed both")
	}
	p.guilty, err = nil, refuse(CodeAlreadyConvicted, "nodes %v", accused)
	for _, i := range accused {
		switch n := w.nodes.at(i); {
		case n.convictedOf(&p.offence):
		case n.atStake() == 0:
			err = refuse(CodeInsufficientBalance, "node %d has nothing at stake", i)
		default:
			p.guilty = append(p.guilty, i)
		}
	}
	if len(p.guilty) > 0 {
		return nil
	}
	return err
}

// accuse returns what evidence is about, and who would have said both words.
func (w *world) accuse(e word.Evidence) (o Offence, nodes []uint32, err error) {
	o.Lie = e.Lie()
	switch e := e.(type) {
	case *word.TwoRollups:
		o.Window = rollup.WindowKey{Node: e.Node, Epoch: e.Epoch, Window: e.Window}
		if !w.nodes.has(e.Node) {
			return o, nil, refuse(CodeUnknownNode, "%d", e.Node)
		}
		return o, []uint32{e.Node}, nil
	case *word.TwoTickets:
		a, b := &e.Tickets[0], &e.Tickets[1]
		o.Window = e.Window
		nodes, err = w.inBoth(a.Term, b.Term, a.Signers, b.Signers)
	case *word.NumberTwice:
		a, b := &e.Tickets[0], &e.Tickets[1]
		o.Lie, o.Window = billedTwice(a.Header.Key(), b.Header.Key())
		nodes, err = w.inBoth(a.Term, b.Term, a.Signers, b.Signers)
	case *word.TwoRecords:
		a, b := &e.Records[0], &e.Records[1]
		o.Height = a.Height
		nodes, err = w.inBoth(a.Term, b.Term, e.Sums[0].Signers, e.Sums[1].Signers)
	case *word.TwoHandOvers:
		before := e.HandOvers[0].Term - 1
		o.Height = uint64(e.HandOvers[0].Term)
		nodes, err = w.inBoth(before, e.HandOvers[1].Term-1, e.Sums[0].Signers, e.Sums[1].Signers)
	default:
		return o, nil, refuse(CodeNoLie, "%s", o.Lie)
	}
	return o, nodes, err
}

// billedTwice returns the offence of billing a number in two windows. Members sign a node's windows
// upwards, so the higher one is the fault, and one fault, with however many lower ones it has
// numbers in common. Tickets of one window are the same offence as without a number.
func billedTwice(a, b rollup.WindowKey) (word.Lie, rollup.WindowKey) {
	switch {
	case a.Window == b.Window:
		return word.LieTwoTickets, a
	case a.Window < b.Window:
		return word.LieNumberTwice, b
	}
	return word.LieNumberTwice, a
}

// inBoth returns the nodes of the members in two bitmaps.
func (w *world) inBoth(termA, termB uint32, a, b rollup.Bitmap) (nodes []uint32, err error) {
	committee, known := w.terms.numbered(termA)
	if !known || termA != termB {
		return nil, refuse(CodeWrongTerm, "%d and %d", termA, termB)
	}
	for _, signers := range [...]rollup.Bitmap{a, b} {
		if err := signers.Validate(len(committee.Members)); err != nil {
			return nil, refuse(CodeBadBitmap, "%w", err)
		}
	}
	for i, m := range committee.Members {
		if a.Has(i) && b.Has(i) {
			nodes = append(nodes, m.Node)
		}
	}
	return nodes, nil
}

// verify judges the words at once: evidence is rare.
func (p *Evidence) verify(w *world, _ *Tx, _ *claims, _ *error) error {
	_, err := p.Words.Judge(&w.id, court{w})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, word.ReasonNetwork):
		return refuse(CodeWrongNetwork, "%w", err)
	case errors.Is(err, rollup.ErrSignature):
		return refuse(CodeBadCertificate, "%w", err) // of members
	case errors.Is(err, word.ReasonSignature):
		return refuse(CodeBadWord, "%w", err)
	}
	return refuse(CodeNoLie, "%w", err)
}

func (p *Evidence) execute(s *State, _ uint32, r *Result) {
	for _, i := range p.guilty {
		c := s.convict(i, p.offence)
		s.events = append(s.events, Convicted{Node: i, Conviction: c})
	}
	r.Count = uint32(len(p.guilty))
}

// convict takes a share of what a node has at stake, rounded up, and gives it to the protocol's
// account.
func (s *State) convict(index uint32, o Offence) Conviction {
	stake := s.nodes.at(index).atStake()
	c := Conviction{o, uint64(s.height), share(stake, s.params.SlashEquivocation)}
	s.changeStake(index, func(n *node) { n.slash(c.Taken) })
	s.pay(0, c.Taken)
	n := s.nodes.edit(s.gen, index)
	i, _ := n.findOffence(&o)
	n.convictions = slices.Insert(slices.Clone(n.convictions), i, c)
	s.touch(indexKey(prefixConvictions, index))
	return c
}

// share returns basis points of an amount, rounded up.
func share(amount uint64, points uint16) uint64 {
	hi, lo := bits.Mul64(amount, uint64(points))
	quotient, rest := bits.Div64(hi, lo, 10_000)
	if rest > 0 {
		quotient++
	}
	return quotient
}

// court is the ledger as judges of evidence ask it.
type court struct{ *world }

var _ word.Registry = court{}

// Committee implements word.Registry.
func (c court) Committee(term uint32) (*rollup.Committee, bool) {
	return c.terms.numbered(term)
}

// Price implements word.Registry.
func (c court) Price(service, _ uint32) (uint64, bool) {
	if !c.services.has(service) {
		return 0, false
	}
	return c.services.at(service).Price, true
}

// Rollups implements word.Registry: there is no record beside evidence on chain.
func (c court) Rollups() (count uint32, root rollup.Hash, ok bool) { return 0, root, false }

func (o *Offence) compare(other *Offence) int {
	return cmp.Or(cmp.Compare(o.Lie, other.Lie), cmp.Compare(o.Window.Node, other.Window.Node),
		cmp.Compare(o.Window.Epoch, other.Window.Epoch),
		cmp.Compare(o.Window.Window, other.Window.Window), cmp.Compare(o.Height, other.Height))
}

// findOffence returns where an offence is, or would be.
func (n *node) findOffence(o *Offence) (int, bool) {
	return slices.BinarySearchFunc(n.convictions, o,
		func(c Conviction, o *Offence) int { return c.compare(o) })
}

func (n *node) convictedOf(o *Offence) bool {
	_, is := n.findOffence(o)
	return is
}

// Convictions returns what a node was convicted of, by offence. It must not be changed.
func (v *View) Convictions(node uint32) []Conviction {
	if !v.nodes.has(node) {
		return nil
	}
	return v.nodes.at(node).convictions
}

func (n *node) encodeConvictions() (b []byte) {
	for i := range n.convictions {
		c := &n.convictions[i]
		b = append(b, byte(c.Lie))
		for _, v := range [...]uint32{c.Window.Node, c.Window.Epoch, c.Window.Window} {
			b = le.AppendUint32(b, v)
		}
		for _, v := range [...]uint64{c.Height, c.Block, c.Taken} {
			b = le.AppendUint64(b, v)
		}
	}
	return b
}

var errConvictions = errors.New("not the convictions of a node")

func (s *restorer) loadConvictions(index uint32, r *reader) error {
	if !s.nodes.has(index) || len(r.B) == 0 {
		return errConvictions
	}
	n := s.nodes.edit(s.gen, index)
	for r.Err == nil && len(r.B) > 0 {
		c := Conviction{Offence{word.Lie(r.U8()),
			rollup.WindowKey{Node: r.U32(), Epoch: r.U32(), Window: r.U32()}, r.U64()},
			r.U64(), r.U64()}
		if i, known := n.findOffence(&c.Offence); known || i < len(n.convictions) ||
			c.Lie == 0 || !c.Lie.OnChain() {
			return errConvictions
		}
		n.convictions = append(n.convictions, c)
	}
	return nil
}

// Accused returns the nodes that the evidence convicts if its signatures verify, ascending. It
// looks at no signature. The error is a *Refusal: it convicts nobody.
func (p *Evidence) Accused(v *View) ([]uint32, error) {
	if err := p.judge(&v.world, nil, nil); err != nil {
		return nil, err
	}
	return p.guilty, nil
}
