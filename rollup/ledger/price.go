package ledger

import (
	"crypto/ed25519"

	"github.com/waybill-network/waybill/rollup"
)

// PriceCut is the payload of lower price: from the next epoch on, a service of the sender costs
// less. Prices only fall, since a grant that names a service agrees to its price; a dearer one is a
// new service.
type PriceCut struct {
	Service uint32 `json:"service"`
	Price   uint64 `json:"price,string"` // micro-credits per 2^20 units
}

// NewLowerPrice builds a transaction that lowers the price of a service from the next epoch on.
func NewLowerPrice(
	net rollup.Network, owner ed25519.PrivateKey, nonce uint64, service uint32, price uint64,
) []byte {
	return sign(net, KindLowerPrice, owner, nonce, &PriceCut{service, price})
}

func (p *PriceCut) decode(r *reader) { p.Service, p.Price = r.U32(), r.U64() }
func (p *PriceCut) append(b []byte) []byte {
	return le.AppendUint64(le.AppendUint32(b, p.Service), p.Price)
}

// judge refuses a cut while the last one is ahead of an epoch that can still be ordered: the
// service's entry in the registry answers for all of those.
func (p *PriceCut) judge(w *world, _ *Tx, sender *account) error {
	if !w.services.has(p.Service) {
		return refuse(CodeUnknownService, "%d", p.Service)
	}
	v := w.services.at(p.Service)
	switch {
	case w.accounts.at(v.Owner).key != sender.key:
		return refuse(CodeNotOwner, "account %d owns service %d", v.Owner, p.Service)
	case p.Price >= v.NextPrice:
		return refuse(CodeOutOfRange, "%d is not less than %d", p.Price, v.NextPrice)
	case w.unsettled < v.From:
		return refuse(CodeTooEarly, "epochs before %d, when the last cut began, are not settled; the "+
			"next to settle is %d", v.From, w.unsettled)
	}
	return nil
}

func (p *PriceCut) verify(*world, *Tx, *claims, *error) error { return nil }

func (p *PriceCut) execute(s *State, _ uint32, r *Result) {
	s.replace(TreeServices, uint64(p.Service))
	v := s.services.edit(s.gen, p.Service)
	v.Price, v.NextPrice, v.From = v.NextPrice, p.Price, s.epoch()+1
	s.touch(indexKey(prefixService, p.Service))
	r.Index, r.Count = uint64(p.Service), 1
	s.events = append(s.events, PriceLowered{*v})
}
