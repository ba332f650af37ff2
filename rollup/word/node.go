package word

import (
	"bytes"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// TwoRollups is a node's word that it owns two rollups of one window. The ids ascend.
type TwoRollups struct {
	Node, Epoch, Window uint32
	Rollups             [2]rollup.Hash
	Signatures          [2]Signature
}

// NewTwoRollups returns the evidence of two words with their signatures, in whichever order they
// came; nil when one does not exclude the other.
func NewTwoRollups(words [2]Own, signatures [2]Signature) *TwoRollups {
	a, b := words[0], words[1]
	if !Exclude(a, b) {
		return nil
	}
	e := &TwoRollups{Node: a.Node, Epoch: a.Epoch, Window: a.Window,
		Rollups: [2]rollup.Hash{a.Rollup, b.Rollup}, Signatures: signatures}
	if bytes.Compare(a.Rollup[:], b.Rollup[:]) > 0 {
		slices.Reverse(e.Rollups[:])
		slices.Reverse(e.Signatures[:])
	}
	return e
}

// Lie implements Evidence.
func (e *TwoRollups) Lie() Lie { return LieTwoRollups }

func (e *TwoRollups) word(i int) Word { return Own{e.Node, e.Epoch, e.Window, e.Rollups[i]} }

func (e *TwoRollups) append(dst []byte) []byte {
	dst = window(dst, e.word(0).slot)
	for i := range e.Rollups {
		dst = append(append(dst, e.Rollups[i][:]...), e.Signatures[i][:]...)
	}
	return dst
}

func (r *reader) twoRollups() Evidence {
	e := &TwoRollups{Node: r.U32(), Epoch: r.U32(), Window: r.U32()}
	for i := range e.Rollups {
		e.Rollups[i], e.Signatures[i] = r.hash(), r.signature()
	}
	r.ascend(e.Rollups[0][:], e.Rollups[1][:])
	return e
}

// ascend fails unless what is said first is the lower one.
func (r *reader) ascend(a, b []byte) {
	if r.Err != nil {
		return
	}
	switch c := bytes.Compare(a, b); {
	case c == 0:
		r.fail(ReasonSame, "%x", a)
	case c > 0:
		r.Fail("what is said does not ascend")
	}
}

// Judge implements Evidence. The node is convicted.
func (e *TwoRollups) Judge(network *rollup.Network, reg Registry) (Verdict, error) {
	return judgeTwo(e, network, reg, e.Node, e.Epoch, &e.Signatures)
}

func (e *TwoRollups) needs() needs { return needs{node: &e.Node} }

// two are two words of a node.
type two interface {
	Evidence
	word(i int) Word
}

func judgeTwo(e two, network *rollup.Network, reg Registry, node, epoch uint32,
	signatures *[2]Signature) (v Verdict, err error) {
	if !Exclude(e.word(0), e.word(1)) {
		return v, refuse(ReasonSame, "%v", e.word(0))
	}
	for i := range signatures {
		if err := verifyOf(network, reg, node, e.word(i), &signatures[i]); err != nil {
			return v, err
		}
	}
	return Verdict{Lie: e.Lie(), Epoch: epoch, Nodes: []uint32{node}}, nil
}

// verifyOf checks a word of a node: ReasonUnknown, ReasonSignature.
func verifyOf(network *rollup.Network, reg Registry, node uint32, w Word, s *Signature) error {
	key, ok := reg.NodeKey(node)
	if !ok {
		return refuse(ReasonUnknown, "node %d", node)
	}
	return Verify(network, key, w, s)
}

// TwoOffers are two offers of one window. The offers ascend by their encoding.
type TwoOffers struct {
	Node, Epoch, Window uint32
	Counts              [2]uint32
	Roots               [2]rollup.Hash
	Signatures          [2]Signature
}

// Lie implements Evidence.
func (e *TwoOffers) Lie() Lie { return LieTwoOffers }

func (e *TwoOffers) word(i int) Word {
	return Offer{e.Node, e.Epoch, e.Window, e.Counts[i], e.Roots[i]}
}

func (e *TwoOffers) append(dst []byte) []byte {
	dst = window(dst, e.word(0).slot)
	for i := range e.Roots {
		dst = append(le.AppendUint32(dst, e.Counts[i]), e.Roots[i][:]...)
		dst = append(dst, e.Signatures[i][:]...)
	}
	return dst
}

func (r *reader) twoOffers() Evidence {
	e := &TwoOffers{Node: r.U32(), Epoch: r.U32(), Window: r.U32()}
	for i := range e.Roots {
		e.Counts[i], e.Roots[i], e.Signatures[i] = r.U32(), r.hash(), r.signature()
	}
	r.ascend(e.word(0).Append(nil), e.word(1).Append(nil))
	return e
}

// Judge implements Evidence. The node lied.
func (e *TwoOffers) Judge(network *rollup.Network, reg Registry) (Verdict, error) {
	return judgeTwo(e, network, reg, e.Node, e.Epoch, &e.Signatures)
}

func (e *TwoOffers) needs() needs { return needs{node: &e.Node} }

// Refusal is an ack of which a node said that it is never paid, and the node's word for that. It is
// the half of Refused that a client has from the node itself.
type Refusal struct {
	Answers     Answers
	Signature   Signature
	AnswerIndex uint16
	Answer      rollup.Answer
	AnswerPath  Path
	Ack         [rollup.AckSize]byte
}

func (e *Refusal) append(dst []byte) []byte {
	dst = append(e.Answers.Append(dst), e.Signature[:]...)
	dst = append(le.AppendUint16(dst, e.AnswerIndex), byte(e.Answer.Code))
	dst = e.AnswerPath.append(le.AppendUint64(dst, e.Answer.Arg))
	return append(dst, e.Ack[:]...)
}

// Append appends the refusal's encoding, which is the beginning of the evidence's.
func (e *Refusal) Append(dst []byte) []byte { return e.append(dst) }

// ParseRefusal decodes a refusal and nothing after it: ReasonMalformed.
func ParseRefusal(b []byte) (Refusal, error) { return parse(b, (*reader).refusal) }

func (r *reader) refusal() Refusal {
	e := Refusal{Answers: r.answers(), Signature: r.signature(), AnswerIndex: r.U16(),
		Answer: rollup.Answer{Code: rollup.Code(r.U8()), Arg: r.U64()}, AnswerPath: r.path()}
	r.Fill(e.Ack[:])
	return e
}

// check makes sure that the node with a key refused the ack: ReasonTrue, ReasonPath,
// ReasonSignature.
func (e *Refusal) check(network *rollup.Network, reg Registry) error {
	if e.Answer.Code.Class() != rollup.ClassNever {
		return refuse(ReasonTrue, "the answer was %v", e.Answer.Code)
	}
	answer := Answer{blake3.Sum256(e.Ack[:]), e.Answer}
	err := e.AnswerPath.leads(AnswerTreeKind, answer.Append(nil), uint32(e.AnswerIndex),
		uint32(e.Answers.Count), e.Answers.Root)
	if err != nil {
		return err
	}
	return verifyOf(network, reg, e.Answers.Node, e.Answers, &e.Signature)
}

// Refused is an ack that a node refused for good, and that is in a rollup of its own. It is the
// very ack: number_used is said about another one than was included. That the rollup is the node's
// is shown by the record of the block that ordered it, since none is ordered without its node's
// word: so the file of this lie has that record as its witness.
type Refused struct {
	Refusal
	Header    rollup.BareHeader
	Position  uint32 // among the rollups that the block ordered
	OrderPath Path
	AckIndex  uint32
	AckPath   Path
}

// Lie implements Evidence.
func (e *Refused) Lie() Lie { return LieRefused }

func (e *Refused) append(dst []byte) []byte {
	dst = append(e.Refusal.append(dst), e.Header[:]...)
	dst = e.OrderPath.append(le.AppendUint32(dst, e.Position))
	return e.AckPath.append(le.AppendUint32(dst, e.AckIndex))
}

func (r *reader) refused() Evidence {
	return &Refused{Refusal: r.refusal(), Header: r.header(), Position: r.U32(),
		OrderPath: r.path(), AckIndex: r.U32(), AckPath: r.path()}
}

func (r *reader) header() (h rollup.BareHeader) {
	b := r.Next(rollup.HeaderSize)
	if b == nil {
		return h
	}
	h, err := rollup.ParseBareHeader(b)
	if err != nil {
		r.Fail("%w", err)
	}
	return h
}

// Judge implements Evidence. The node lied.
func (e *Refused) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	ack, key, id := rollup.Frame(e.Ack[:]), e.Header.Key(), e.Header.ID()
	ordered, ids, ok := reg.Rollups()
	switch {
	case e.Header.Network() != *network:
		return v, refuse(ReasonNetwork, "the rollup")
	case key.Node != e.Answers.Node || ack.Node() != key.Node || ack.Epoch() != key.Epoch:
		return v, refuse(ReasonSlot, "ack, answer and rollup are not of one node and epoch")
	case !ok:
		return v, refuse(ReasonWitness, "no record of the block that ordered the rollup")
	}
	if err := e.OrderPath.leads(rollup.RollupsTreeKind, id[:], e.Position, ordered,
		ids); err != nil {
		return v, err
	}
	count, root := e.Header.Acks()
	if err := e.AckPath.leads(rollup.AckTreeKind, ack.Leaf(), e.AckIndex, count,
		root); err != nil {
		return v, err
	}
	if err := e.Refusal.check(network, reg); err != nil {
		return v, err
	}
	return Verdict{Lie: LieRefused, Epoch: key.Epoch, Nodes: []uint32{key.Node}}, nil
}

func (e *Refused) needs() needs { return needs{node: &e.Answers.Node} }

// Price is a head with a price above the service's.
type Price struct {
	Head      Head
	Signature Signature
}

// Lie implements Evidence.
func (e *Price) Lie() Lie { return LiePrice }

func (e *Price) append(dst []byte) []byte { return append(e.Head.Append(dst), e.Signature[:]...) }

func (r *reader) price() Evidence { return &Price{r.head(), r.signature()} }

// Judge implements Evidence. The node lied.
func (e *Price) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	price, ok := reg.Price(e.Head.Service, e.Head.Epoch)
	switch {
	case !ok:
		return v, refuse(ReasonUnknown, "service %d", e.Head.Service)
	case e.Head.Price <= price:
		return v, refuse(ReasonTrue, "a price of %d, the service's is %d", e.Head.Price, price)
	}
	if err := verifyOf(network, reg, e.Head.Node, e.Head, &e.Signature); err != nil {
		return v, err
	}
	return Verdict{Lie: LiePrice, Epoch: e.Head.Epoch, Nodes: []uint32{e.Head.Node}}, nil
}

func (e *Price) needs() needs {
	return needs{node: &e.Head.Node, service: &e.Head.Service, epoch: &e.Head.Epoch}
}
