package ledger

import (
	"crypto/ed25519"
	"math"

	"github.com/waybill-network/waybill/rollup"
)

// NodeRegistration is the payload of register node.
type NodeRegistration struct {
	BLSKey       BLSKey       `json:"bls_key"`
	Proof        BLSSignature `json:"proof"`
	TransportKey Key          `json:"transport_key"`
	// the transport key's, of rollup.NodeMessage: without it somebody could take a stranger's key
	NodeSignature Signature `json:"node_signature"`
	Stake         uint64    `json:"stake,string"` // micro-credits
	PeerAddress   string    `json:"peer_address"`
}

// NewRegisterNode builds the registration of a node that the sender owns.
func NewRegisterNode(
	net rollup.Network, owner ed25519.PrivateKey, nonce uint64, node *NodeRegistration,
) []byte {
	return sign(net, KindRegisterNode, owner, nonce, node)
}

func (p *NodeRegistration) decode(r *reader) {
	r.Fill(p.BLSKey[:])
	r.Fill(p.Proof[:])
	r.Fill(p.TransportKey[:])
	r.Fill(p.NodeSignature[:])
	p.Stake = r.U64()
	p.PeerAddress = r.Name()
}

func (p *NodeRegistration) append(b []byte) []byte {
	b = append(b, p.BLSKey[:]...)
	b = append(b, p.Proof[:]...)
	b = append(b, p.TransportKey[:]...)
	b = append(b, p.NodeSignature[:]...)
	b = le.AppendUint64(b, p.Stake)
	return appendName(b, p.PeerAddress)
}

func (p *NodeRegistration) judge(w *world, _ *Tx, sender *account) error {
	_, known := w.nodeByTransport(p.TransportKey)
	switch {
	case known:
		return refuse(CodeKeyTaken, "transport key %s", p.TransportKey)
	case w.taken(&p.BLSKey):
		return refuse(CodeKeyTaken, "BLS key %s", p.BLSKey)
	case p.Stake < w.params.ServeStake:
		return refuse(CodeInsufficientStake, "%d, where %d is the least to serve with", p.Stake,
			w.params.ServeStake)
	case p.Stake > sender.balance:
		return refuse(CodeInsufficientBalance, "%d of %d", sender.balance, p.Stake)
	}
	return room("nodes", uint64(w.nodes.len()), 1, math.MaxUint32)
}

func (p *NodeRegistration) verify(w *world, tx *Tx, c *claims, at *error) error {
	if !p.TransportKey.Valid() {
		return refuse(CodeOutOfRange, "%s is not a valid key", p.TransportKey)
	}
	owner := tx.Signed.Sender
	c.word(claim{at, errNodeWord}, p.TransportKey,
		rollup.NodeMessage(&w.id, owner, p.BLSKey, p.TransportKey), p.NodeSignature)
	c.possession(claim{at, errProof}, w.id, possession{rollup.RoleNode, owner, &p.BLSKey, &p.Proof})
	return nil
}

func (p *NodeRegistration) execute(s *State, sender uint32, r *Result) {
	s.move(sender, func(m *money) { m.balance -= p.Stake })
	index := s.addNode(node{owner: sender, stake: p.Stake, key: p.BLSKey, transport: p.TransportKey,
		address: p.PeerAddress, since: s.epoch(), until: Forever})
	r.Index, r.Count = uint64(index), 1
	s.events = append(s.events, NodeRegistered{s.world.node(index)})
}

// addNode registers a node; its stake must have been taken from somewhere.
func (s *State) addNode(n node) uint32 {
	index := uint32(s.nodes.len())
	s.nodes.push(s.gen, n)
	s.held += n.atStake()
	digest := digestOf(n.key[:])
	s.nodeKeys.insert(s.gen, &digest, uint64(index), func(i uint64) [32]byte {
		return digestOf(s.nodes.at(uint32(i)).key[:])
	})
	digest = digestOf(n.transport[:])
	s.transportKeys.insert(s.gen, &digest, uint64(index), func(i uint64) [32]byte {
		return digestOf(s.nodes.at(uint32(i)).transport[:])
	})
	s.touch(indexKey(prefixNode, index))
	return index
}
