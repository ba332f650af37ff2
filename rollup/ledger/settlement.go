package ledger

import (
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// SettlementCertificate is the payload of settlement certificate: the committee's word on a
// settlement.
type SettlementCertificate struct{ *rollup.SettlementCertificate }

// NewSettlementCertificate builds the transaction that puts the committee's word on a settlement
// into the state.
func NewSettlementCertificate(net rollup.Network, c *rollup.SettlementCertificate) []byte {
	return c.Append(head(net, KindSettlement))
}

func (p *SettlementCertificate) decode(r *reader) {
	if b := r.Next(len(r.B)); r.Err == nil {
		p.SettlementCertificate, r.Err = rollup.ParseSettlementCertificate(b)
	}
}

func (p *SettlementCertificate) append(b []byte) []byte { return p.SettlementCertificate.Append(b) }

func (p *SettlementCertificate) judge(w *world, _ *Tx, _ *account) error {
	if p.Epoch >= w.unsettled {
		return refuse(CodeNotSettled, "epoch %d", p.Epoch)
	}
	if s, kept := w.settlement(p.Epoch); !kept || s.Certificate != nil {
		// Only certified ones are not kept.
		return refuse(CodeAlreadyCertified, "epoch %d", p.Epoch)
	}
	return nil
}

func (p *SettlementCertificate) verify(w *world, _ *Tx) error {
	s, _ := w.settlement(p.Epoch)
	return certificateError(p.Verify(w.id, w.committee, s.Root, w.committeeRoot))
}

// execute adds the committee's word to a settlement.
func (p *SettlementCertificate) execute(s *State, _ uint32, _ *Result) {
	i, _ := searchSettlement(s.settlements, p.Epoch)
	certified := *s.settlements[i]
	certified.Certificate = p.SettlementCertificate
	s.settlements = slices.Clone(s.settlements)
	s.settlements[i] = &certified
	s.touch(certificateKey(p.Epoch))
	s.events = append(s.events, SettlementCertified{p.SettlementCertificate})
	s.forgetSettlements()
}
