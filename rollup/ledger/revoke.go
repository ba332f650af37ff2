package ledger

import (
	"crypto/ed25519"

	"github.com/waybill-network/waybill/rollup"
)

// Revocation is the payload of revoke: from the next epoch on, clients that the sender pays for are
// valid no more. What they signed for this epoch stays good.
type Revocation struct {
	Clients []uint64 `json:"clients"` // 1 to MaxGrants, sorted
}

// NewRevoke builds the revocation of 1 to MaxGrants clients, sorted, by the account that pays for
// them.
func NewRevoke(
	net rollup.Network, payer ed25519.PrivateKey, nonce uint64, clients []uint64,
) []byte {
	return sign(net, KindRevoke, payer, nonce, &Revocation{Clients: clients})
}

func (p *Revocation) decode(r *reader) {
	n := r.U16()
	if n == 0 || n > MaxGrants {
		r.Fail("%d clients, where 1 to %d may be", n, MaxGrants)
	}
	p.Clients = make([]uint64, r.Count(uint64(n), 8))
	for i := range p.Clients {
		p.Clients[i] = r.U64()
		if i > 0 && p.Clients[i-1] >= p.Clients[i] {
			r.Fail("clients are not sorted, or named twice")
		}
	}
}

func (p *Revocation) append(b []byte) []byte {
	b = le.AppendUint16(b, uint16(len(p.Clients)))
	for _, c := range p.Clients {
		b = le.AppendUint64(b, c)
	}
	return b
}

func (p *Revocation) judge(w *world, _ *Tx, sender *account) error {
	for _, c := range p.Clients {
		if !w.clients.has(c) {
			return refuse(CodeUnknownClient, "%d", c)
		}
		if payer := w.clients.at(c).payer; w.accounts.at(payer).key != sender.key {
			return refuse(CodeNotPayer, "account %d pays for client %d", payer, c)
		}
	}
	return nil
}

func (p *Revocation) verify(*world, *Tx, *claims, *error) error { return nil }

// execute ends clients with the epoch. One that ends sooner anyhow stays as it is.
func (p *Revocation) execute(s *State, _ uint32, r *Result) {
	next := s.epoch() + 1
	revoked := make([]uint64, 0, len(p.Clients))
	for _, c := range p.Clients {
		if s.clients.at(c).until <= next {
			continue
		}
		s.replace(TreeClients, c)
		s.clients.revoke(c, next)
		s.touch(clientRecordKey(c))
		revoked = append(revoked, c)
	}
	r.Count = uint32(len(revoked))
	if len(revoked) > 0 {
		s.events = append(s.events, ClientsRevoked{Clients: revoked, Until: next})
	}
}
