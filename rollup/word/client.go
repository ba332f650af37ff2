package word

import (
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// TwoAcks are two acks of one number with different contents. The acks ascend.
type TwoAcks struct {
	Acks [2][rollup.AckSize]byte
}

// Lie implements Evidence.
func (e *TwoAcks) Lie() Lie { return LieTwoAcks }

func (e *TwoAcks) append(dst []byte) []byte {
	return append(append(dst, e.Acks[0][:]...), e.Acks[1][:]...)
}

func (r *reader) twoAcks() Evidence {
	e := new(TwoAcks)
	for i := range e.Acks {
		r.Fill(e.Acks[i][:])
		if f := rollup.Frame(e.Acks[i][:]); r.Err == nil && !f.Tagged() {
			r.Fail("ack %d has another tag", i)
		}
	}
	r.ascend(rollup.Frame(e.Acks[0][:]).Leaf(), rollup.Frame(e.Acks[1][:]).Leaf())
	return e
}

// numbered is how much of an ack's leaf names its number: all before units.
const numbered = rollup.LeafSize - rollup.BodySize

// Judge implements Evidence. The client lied; one of the acks is paid, so this is for its payer.
func (e *TwoAcks) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	a, b := rollup.Frame(e.Acks[0][:]), rollup.Frame(e.Acks[1][:])
	switch {
	case a.Net() != network.Net() || b.Net() != network.Net():
		return v, refuse(ReasonNetwork, "an ack")
	case string(a.Leaf()) == string(b.Leaf()):
		return v, refuse(ReasonSame, "ack %d of client %d", a.Number(), a.Client())
	case string(a.Leaf()[:numbered]) != string(b.Leaf()[:numbered]):
		return v, refuse(ReasonSlot, "two numbers")
	}
	for _, f := range [...]rollup.Frame{a, b} {
		message := f.AppendMessage(nil, network)
		if err := verifyClient(reg, a.Client(), message, f.Signature()); err != nil {
			return v, err
		}
	}
	return Verdict{Lie: LieTwoAcks, Epoch: a.Epoch(), Clients: []uint64{a.Client()}}, nil
}

func (e *TwoAcks) needs() needs {
	client := rollup.Frame(e.Acks[0][:]).Client()
	return needs{client: &client}
}

// verifyClient checks a client's signature: ReasonUnknown, ReasonSignature.
func verifyClient(reg Registry, client uint64, message, signature []byte) error {
	c, ok := reg.Client(client)
	if !ok {
		return refuse(ReasonUnknown, "client %d", client)
	}
	s, err := bls.ParseSignature(signature)
	if err != nil {
		return refuse(ReasonSignature, "of client %d: %w", client, err)
	}
	if !bls.Default.Verify(c.Key, message, &s) {
		return refuse(ReasonSignature, "of client %d", client)
	}
	return nil
}

// TwoCosigned are two roots of one window that a client co-signed. They ascend by count and root.
type TwoCosigned struct {
	Client     uint64
	Window     rollup.WindowKey
	Counts     [2]uint32
	Roots      [2]rollup.Hash
	Signatures [2][rollup.SignatureSize]byte
}

// Lie implements Evidence.
func (e *TwoCosigned) Lie() Lie { return LieTwoCosigned }

func (e *TwoCosigned) append(dst []byte) []byte {
	dst = le.AppendUint32(le.AppendUint64(dst, e.Client), e.Window.Node)
	dst = le.AppendUint32(le.AppendUint32(dst, e.Window.Epoch), e.Window.Window)
	for i := range e.Roots {
		dst = append(le.AppendUint32(dst, e.Counts[i]), e.Roots[i][:]...)
		dst = append(dst, e.Signatures[i][:]...)
	}
	return dst
}

func (r *reader) twoCosigned() Evidence {
	e := &TwoCosigned{Client: r.U64(),
		Window: rollup.WindowKey{Node: r.U32(), Epoch: r.U32(), Window: r.U32()}}
	for i := range e.Roots {
		e.Counts[i], e.Roots[i] = r.U32(), r.hash()
		r.Fill(e.Signatures[i][:])
	}
	var none rollup.Network
	r.ascend(e.message(&none, 0), e.message(&none, 1))
	return e
}

func (e *TwoCosigned) message(network *rollup.Network, i int) []byte {
	m := rollup.CosignMessage(*network, e.Window, e.Counts[i], e.Roots[i])
	return m[:]
}

// Judge implements Evidence. The client lied; one of the windows is paid, so this is for its payer.
func (e *TwoCosigned) Judge(network *rollup.Network, reg Registry) (v Verdict, err error) {
	if e.Counts[0] == e.Counts[1] && e.Roots[0] == e.Roots[1] {
		return v, refuse(ReasonSame, "root %v", e.Roots[0])
	}
	for i := range e.Roots {
		err := verifyClient(reg, e.Client, e.message(network, i), e.Signatures[i][:])
		if err != nil {
			return v, err
		}
	}
	return Verdict{Lie: LieTwoCosigned, Epoch: e.Window.Epoch, Clients: []uint64{e.Client}}, nil
}

func (e *TwoCosigned) needs() needs { return needs{client: &e.Client} }
