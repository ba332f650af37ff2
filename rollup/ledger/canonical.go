package ledger

import (
	"crypto/ed25519"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Canonical returns the bytes that name the network (section 3): the fields in the document's
// order, without proofs and signatures, which sign the network. What rotates follows the committee,
// and then the checkpoint, where there are such; their sizes tell: no two geneses have the same
// bytes.
func (g *Genesis) Canonical() []byte {
	p := &g.Params
	b := le.AppendUint16(nil, uint16(g.Version))
	b = appendString(b, g.ChainID)
	b = appendString(b, g.GenesisTime.UTC().Format(time.RFC3339Nano))
	b = append(b, g.Treasury[:]...)
	b = le.AppendUint32(b, p.EpochSeconds)
	b = le.AppendUint32(b, p.GraceSeconds)
	b = le.AppendUint32(b, p.GraceBlocks)
	for _, share := range [...]uint16{p.Shares.Node, p.Shares.Service, p.Shares.Protocol} {
		b = le.AppendUint16(b, share)
	}
	b = le.AppendUint64(b, p.GrantFee)
	b = le.AppendUint32(b, p.GrantEpochs)
	b = le.AppendUint64(b, p.Allowance)
	b = le.AppendUint64(b, p.ServeStake)
	b = le.AppendUint16(b, p.SlashEquivocation)
	b = le.AppendUint32(b, p.UnbondSeconds)
	b = p.Proofs.appendCanonical(b)
	b = le.AppendUint32(b, uint32(len(g.Members)))
	for i := range g.Members {
		b = g.Members[i].appendCanonical(b)
	}
	if r := p.Rotation; r != nil {
		b = le.AppendUint16(le.AppendUint16(b, r.Seats), r.TermEpochs)
		b = le.AppendUint64(le.AppendUint64(b, r.MinStake), r.StakeCap)
		b = le.AppendUint16(le.AppendUint32(b, r.JailWithhold), r.SlashWithhold)
		for _, v := range [...]uint32{r.JailAbsent, r.EvidenceEpochs, r.EvidenceSeconds,
			r.EvidenceBlocks} {
			b = le.AppendUint32(b, v)
		}
		b = le.AppendUint16(b, r.Reward)
	}
	if c := g.Checkpoint; c != nil {
		b = c.appendCanonical(b)
	}
	return b
}

func (p *Proofs) appendCanonical(b []byte) []byte {
	development := byte(0)
	if p.Development {
		development = 1
	}
	b = append(b, development)
	b = le.AppendUint32(b, uint32(len(p.Keys)))
	for _, k := range p.Keys {
		b = le.AppendUint32(b, k.Statements)
		b = append(b, k.Key[:]...)
	}
	return b
}

func (m *Member) appendCanonical(b []byte) []byte {
	b = append(b, m.Owner[:]...)
	b = append(b, m.BLSKey[:]...)
	b = append(b, m.TransportKey[:]...)
	b = append(b, m.ConsensusKey[:]...)
	b = appendString(b, m.PeerAddress)
	b = appendString(b, m.P2PAddress)
	return le.AppendUint64(b, m.Stake)
}

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint16(b, uint16(len(s))), s...)
}

// Network returns the network's identifier, a digest of all that the canonical genesis holds. It
// changes with every field but proofs and signatures.
func (g *Genesis) Network() rollup.Network { return rollup.NetworkOf(g.Canonical()) }

// Sign fills in what the keys of a member sign, its proof of possession and the node key's
// signature. The rest of the genesis must be complete, keys included.
func (g *Genesis) Sign(member int, secret *bls.SecretKey, node ed25519.PrivateKey) {
	m, net := &g.Members[member], g.Network()
	m.Proof = ProvePossession(secret, net, rollup.RoleNode, m.Owner)
	m.NodeSignature = SignNode(net, m.Owner, m.BLSKey, node)
}
