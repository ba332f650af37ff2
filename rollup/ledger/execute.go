package ledger

import (
	"math"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// execute does what a transaction says, which judge found possible. It cannot fail.
func (s *State) execute(tx *Tx, r *Result) {
	var sender uint32
	if tx.Kind == KindDeposit {
		s.deposits++
	} else if tx.Signed != nil {
		sender, _ = s.accountByKey(tx.Signed.Sender)
		s.accounts.edit(s.gen, sender).nonce++
		s.touch(indexKey(prefixAccount, sender))
	}
	switch p := tx.Body.(type) {
	case *Payment:
		if tx.Kind == KindDeposit {
			s.supply += p.Amount
		} else {
			s.setBalance(sender, s.accounts.at(sender).balance-p.Amount)
		}
		to, known := s.accountByKey(p.To)
		if !known {
			to = s.addAccount(p.To)
		}
		s.pay(to, p.Amount)
		r.Index, r.Count = to, 1
	case *NodeRegistration:
		s.setBalance(sender, s.accounts.at(sender).balance-p.Stake)
		r.Index, r.Count = s.addNode(node{owner: sender, stake: p.Stake, key: p.BLSKey, transport: p.TransportKey,
			address: p.PeerAddress}), 1
		s.events = append(s.events, NodeRegistered{s.world.node(r.Index)})
	case *ServiceRegistration:
		r.Index, r.Count = s.addService(Service{Owner: sender, Unit: p.Unit, Price: p.Price, UnitCap: p.UnitCap}), 1
		s.events = append(s.events, ServiceRegistered{*s.services.at(r.Index)})
	case *ClientRegistration:
		r.Index, r.Count = uint32(s.clients.len()), uint32(len(p.Clients))
		for i := range p.Clients {
			s.addClient(p.Clients[i].Key, payerSpan{payer: sender})
		}
		s.events = append(s.events, ClientsRegistered{First: r.Index, Count: r.Count, Payer: sender})
	case *PayerChange:
		r.Index, r.Count = p.Client, 1
		s.setPayer(p.Client, sender)
	case *rollup.Certificate:
		s.order(p)
	case *rollup.SettlementCertificate:
		s.certify(p)
	}
}

// setPayer makes an account pay for a client from the next epoch on, and forgets who paid in epochs that no certificate
// may name any more.
func (s *State) setPayer(index, payer uint32) {
	c := s.clients.edit(s.gen, index)
	from := s.epoch() + 1
	payers := slices.Clone(c.payers)
	if last := len(payers) - 1; payers[last].from == from {
		payers[last].payer = payer
	} else {
		payers = append(payers, payerSpan{from, payer})
	}
	for len(payers) > 1 && uint64(payers[1].from)+uint64(s.params.LateEpochs) <= uint64(s.epoch()) {
		payers = payers[1:]
	}
	c.payers = payers
	s.touch(indexKey(prefixClient, index))
	s.events = append(s.events, PayerChanged{Client: index, Payer: payer, From: from})
}

// creditKey is what credits are added up by. Its order is that of the settlement table.
type creditKey struct{ node, service, payer uint32 }

// credit is what certificates credited so far; sums stop at 2^64 - 1.
type credit struct{ acks, units uint64 }

// order notes that a window was ordered and credits its rows.
func (s *State) order(c *rollup.Certificate) {
	h := &c.Header
	windows := s.ordered.of(h.Node, h.Epoch).with(h.Window)
	s.ordered = s.ordered.set(s.gen, h.Node, h.Epoch, windows)
	s.touch(windowsKey(h.Epoch, h.Node))
	epoch := max(h.Epoch, s.unsettled)
	for _, row := range h.Rows {
		k := creditKey{node: h.Node, service: row.Service, payer: row.Payer}
		sum := s.credit(epoch, k)
		sum.acks = addSaturating(sum.acks, row.Acks)
		sum.units = addSaturating(sum.units, row.Units)
		s.touch(creditRecordKey(epoch, k))
	}
	s.events = append(s.events, Ordered{Certificate: c, Key: h.Key(), ID: h.ID(), Acks: h.AckCount, SettledIn: epoch})
}

// credit returns the credit of an epoch to add to.
func (s *State) credit(epoch uint32, k creditKey) *credit {
	credits := s.credits[epoch]
	if credits == nil {
		credits = make(map[creditKey]*credit)
		s.credits[epoch] = credits
	}
	c := credits[k]
	if c == nil {
		c = new(credit)
		credits[k] = c
	}
	return c
}

func addSaturating(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// keepEpochs is how many epochs a certified settlement is kept beyond those that a certificate may name.
const keepEpochs = 8

// settle settles the oldest epoch that is not.
func (s *State) settle() {
	epoch := s.unsettled
	credits := s.credits[epoch]
	rows := divide(credits, s.params.Shares,
		func(service uint32) uint64 { return s.services.at(service).Price },
		func(payer uint32) uint64 { return s.accounts.at(payer).balance })
	for k := range credits {
		s.touch(creditRecordKey(epoch, k))
	}
	delete(s.credits, epoch)
	for _, r := range rows {
		s.setBalance(r.Payer, s.accounts.at(r.Payer).balance-r.Paid)
	}
	for _, r := range rows {
		s.pay(s.nodes.at(r.Node).owner, r.ToNode)
		s.pay(s.services.at(r.Service).Owner, r.ToService)
		s.pay(0, r.Paid-r.ToNode-r.ToService)
	}
	settlement := &Settlement{Epoch: epoch, Root: rollup.SettlementRoot(rows), Rows: rows}
	s.settlements = append(s.settlements[:len(s.settlements):len(s.settlements)], settlement)
	s.touch(settlementKey(epoch))
	s.touch(epochKey(epoch))
	s.unsettled, s.starts = epoch+1, s.starts[1:]
	s.full = true
	s.events = append(s.events, Settled{settlement})
	s.forgetSettlements()
}

// certify adds the committee's word to a settlement.
func (s *State) certify(c *rollup.SettlementCertificate) {
	i, _ := searchSettlement(s.settlements, c.Epoch)
	certified := *s.settlements[i]
	certified.Certificate = c
	s.settlements = slices.Clone(s.settlements)
	s.settlements[i] = &certified
	s.touch(certificateKey(c.Epoch))
	s.events = append(s.events, SettlementCertified{c})
	s.forgetSettlements()
}

// forgetSettlements drops settlements that are certified and old.
func (s *State) forgetSettlements() {
	keep := s.settlements[:0:0]
	for _, t := range s.settlements {
		if t.Certificate != nil && uint64(t.Epoch)+uint64(s.params.LateEpochs)+keepEpochs < uint64(s.epoch()) {
			s.touch(settlementKey(t.Epoch))
			s.touch(certificateKey(t.Epoch))
			continue
		}
		keep = append(keep, t)
	}
	s.settlements = keep
}
