package ledger

import (
	"crypto/ed25519"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// MaxClientsPerTx is how many clients one transaction can register.
const MaxClientsPerTx = 1024

// ClientRegistration is the payload of register clients.
type ClientRegistration struct {
	Clients []ClientProof `json:"clients"` // 1 to MaxClientsPerTx
}

const clientProofSize = 96 + 48

// ClientProof is a client's key with its proof of possession.
type ClientProof struct {
	Key   BLSKey       `json:"bls_key"`
	Proof BLSSignature `json:"proof"`
}

// NewRegisterClients builds the registration of 1 to MaxClientsPerTx clients that the sender pays
// for.
func NewRegisterClients(
	net rollup.Network, payer ed25519.PrivateKey, nonce uint64, clients []ClientProof,
) []byte {
	return sign(net, KindRegisterClients, payer, nonce, &ClientRegistration{Clients: clients})
}

func (p *ClientRegistration) decode(r *reader) {
	n := r.U16()
	if n == 0 || n > MaxClientsPerTx {
		r.Fail("%d clients, where 1 to %d may be", n, MaxClientsPerTx)
	}
	p.Clients = make([]ClientProof, r.Count(uint64(n), clientProofSize))
	for i := range p.Clients {
		r.Fill(p.Clients[i].Key[:])
		r.Fill(p.Clients[i].Proof[:])
	}
}

func (p *ClientRegistration) append(b []byte) []byte {
	b = le.AppendUint16(b, uint16(len(p.Clients)))
	for i := range p.Clients {
		b = append(b, p.Clients[i].Key[:]...)
		b = append(b, p.Clients[i].Proof[:]...)
	}
	return b
}

func (p *ClientRegistration) judge(w *world, _ *Tx, _ *account) error {
	seen := make(map[BLSKey]bool, len(p.Clients))
	for i := range p.Clients {
		key := &p.Clients[i].Key
		if seen[*key] || w.taken(key) {
			return refuse(CodeKeyTaken, "client %d of the transaction", i)
		}
		seen[*key] = true
	}
	return room("clients", w.clients.len(), len(p.Clients))
}

func (p *ClientRegistration) verify(*world, *Tx) error { return verifyProofs(p.Clients) }

func (p *ClientRegistration) execute(s *State, sender uint32, r *Result) {
	r.Index, r.Count = uint32(s.clients.len()), uint32(len(p.Clients))
	for i := range p.Clients {
		s.addClient(p.Clients[i].Key, payerSpan{payer: sender})
	}
	s.events = append(s.events, ClientsRegistered{First: r.Index, Count: r.Count, Payer: sender})
}

func (s *State) addClient(key BLSKey, payers ...payerSpan) uint32 {
	index := uint32(s.clients.len())
	s.clients.push(s.gen, client{key: &clientKey{bytes: key}, payers: payers})
	digest := digestOf(key[:])
	s.clientKeys.insert(s.gen, &digest, index, func(i uint32) [32]byte {
		return digestOf(s.clients.at(i).key.bytes[:])
	})
	s.touch(indexKey(prefixClient, index))
	return index
}

// verifyProofs checks keys strictly and their proofs of possession as one batch.
func verifyProofs(clients []ClientProof) error {
	keys := make([]*bls.PublicKey, len(clients))
	proofs := make([]bls.Signature, len(clients))
	for i := range clients {
		var err error
		if keys[i], err = bls.ParsePublicKey(clients[i].Key[:]); err != nil {
			return refuse(CodeBadProof, "key %d: %w", i, err)
		}
		if proofs[i], err = bls.ParseSignature(clients[i].Proof[:]); err != nil {
			return refuse(CodeBadProof, "proof %d: %w", i, err)
		}
	}
	bad, err := bls.VerifyProofs(keys, proofs)
	if err != nil {
		return refuse(CodeBadProof, "%w", err)
	}
	if len(bad) > 0 {
		return refuse(CodeBadProof, "of key %d", bad[0])
	}
	return nil
}
