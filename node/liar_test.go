package node_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// liar is a program that has a node's key, and clients that sign whatever it likes.
type liar struct {
	*world
	node    uint32
	key     ed25519.PrivateKey
	members *peer.Members
}

func (w *world) liar(i uint32) *liar {
	w.Helper()
	loaded, err := config.Load(w.net.Nodes[i].Config, nil, nil)
	if err != nil {
		w.Fatal(err)
	}
	id, err := node.LoadIdentity(loaded.Config, []byte(w.net.Password))
	if err != nil {
		w.Fatal(err)
	}
	certificate, err := peer.NewCertificate(id.Transport)
	if err != nil {
		w.Fatal(err)
	}
	members := peer.NewMembers(peer.MembersConfig{Chain: w.nodes[i], Certificate: certificate})
	w.Cleanup(members.Close)
	return &liar{w, i, id.Transport, members}
}

// rollup is a valid one of a window, of as many acks of client 0 as numbers.
func (l *liar) rollup(key rollup.WindowKey, numbers uint32) (h *rollup.Header, evidence []byte) {
	l.Helper()
	network := l.net.Genesis.Network()
	var frames []byte
	var signatures []bls.Signature
	for n := range numbers {
		a := rollup.Ack{Net: network.Net(), Epoch: key.Epoch, Node: key.Node, Number: n, Units: 1}
		s := bls.Default.Sign(l.keys[0], a.AppendMessage(nil, &network))
		a.Signature, signatures = s.Bytes(), append(signatures, s)
		frames = a.Append(frames)
	}
	sum := bls.AggregateSignatures(signatures)
	h, evidence, err := rollup.Seal(network, key, frames, sum.Bytes(), l.nodes[l.node].View())
	if err != nil {
		l.Fatal(err)
	}
	return h, evidence
}

func (l *liar) push(member uint32, h *rollup.Header, evidence []byte) bls.Signature {
	l.Helper()
	share, err := l.members.Push(l.Context(), member, h.Append(nil), rollup.SignOwn(l.key, h),
		evidence)
	if err != nil {
		l.Fatalf("member %d: %v", member, err)
	}
	s, err := bls.ParseSignature(share[:])
	if err != nil {
		l.Fatal(err)
	}
	return s
}

// TestLiarIsConvicted: a node shows three members one rollup of a window, and the fourth another,
// each of which signs what it was shown. The three make a ticket. When it is ordered, the fourth
// holds two words of the node, and convicts it, without anybody's hand.
func TestLiarIsConvicted(t *testing.T) {
	w := newWorld(t)
	defer w.stop()
	w.register()
	const culprit = 1
	l, network := w.liar(culprit), w.net.Genesis.Network()
	began := w.nodes[0].View().Epoch()
	w.await("the next epoch, at every node", func() bool {
		for _, n := range w.nodes {
			if n.View().Epoch() == began {
				return false
			}
		}
		return true
	})
	key := rollup.WindowKey{Node: culprit, Epoch: w.nodes[0].View().Epoch(), Window: 900}
	h, evidence := l.rollup(key, 3)
	ticket := &rollup.Certificate{Header: *h, Own: rollup.SignOwn(l.key, h),
		Signers: w.nodes[0].View().Committee().Signers(0, 1, 2)}
	var sum bls.Sum
	for member := range uint32(3) {
		share := l.push(member, h, evidence)
		sum.Add(&share)
	}
	signature := sum.Signature()
	ticket.Signature = signature.Bytes()
	other, otherEvidence := l.rollup(key, 2)
	l.push(3, other, otherEvidence)

	for i, n := range w.nodes {
		if c := n.View().Convictions(culprit); len(c) > 0 {
			t.Fatalf("node %d: convicted before anybody heard both: %+v", i, c)
		}
	}
	if _, err := w.client(2).SubmitTx(t.Context(), ledger.NewTicket(network, ticket)); err != nil {
		t.Fatal(err)
	}
	convicted := func(i int) bool {
		n, _ := w.nodes[i].View().Node(culprit)
		c := w.nodes[i].View().Convictions(culprit)
		return len(c) == 1 && c[0].Window == key && n.Stake == homes.Stake/2
	}
	for i := range w.nodes {
		w.await("the conviction", func() bool { return convicted(i) })
	}
	for i := range uint32(4) {
		if i != culprit && len(w.nodes[0].View().Convictions(i)) > 0 {
			t.Errorf("node %d is convicted, too", i)
		}
	}

	// It keeps its seat and its vote; the chain goes on, and a restart knows it all.
	height := w.nodes[3].View().Height()
	w.nodes[3].Stop()
	if err := w.start(3); err != nil {
		t.Fatal(err)
	}
	w.await("blocks after the restart", func() bool {
		return w.nodes[3].View().Height() > height+2 && convicted(3)
	})
	if power := w.nodes[3].View().Committee().Members[culprit].Power; power*ledger.StakePerPower !=
		homes.Stake {
		t.Errorf("its power is %d", power)
	}
}
