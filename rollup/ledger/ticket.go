package ledger

import (
	"github.com/waybill-network/waybill/rollup"
)

// Ticket is the payload of ticket: it orders a rollup. It has no sender: the node's word and the
// committee's signature are in it.
type Ticket struct{ *rollup.Certificate }

// NewTicket builds the transaction that orders a rollup.
func NewTicket(net rollup.Network, c *rollup.Certificate) []byte {
	return c.Append(head(net, KindTicket))
}

func (p *Ticket) decode(r *reader) {
	if b := r.Next(len(r.B)); r.Err == nil {
		p.Certificate, r.Err = rollup.ParseCertificate(b)
	}
}

func (p *Ticket) append(b []byte) []byte { return p.Certificate.Append(b) }

// judge admits a ticket from its epoch's begin to its settlement. Nothing is late: what comes after
// is never paid, and what comes before is settled with its own epoch.
func (p *Ticket) judge(w *world, _ *Tx, _ *account) error {
	h, current := &p.Header, w.epoch()
	switch {
	case h.Network != w.id:
		return refuse(CodeWrongNetwork, "%s", h.Network)
	case !w.nodes.has(h.Node):
		return refuse(CodeUnknownNode, "%d", h.Node)
	case h.Epoch > current:
		return refuse(CodeEpochAhead, "%d, now %d", h.Epoch, current)
	case h.Epoch < w.unsettled:
		return refuse(CodeSettled, "epoch %d, now %d", h.Epoch, current)
	case h.Epoch >= w.nodes.at(h.Node).until:
		return refuse(CodeNodeLeft, "node %d, with epoch %d", h.Node, w.nodes.at(h.Node).until)
	case w.ordered.has(h.Key()):
		return refuse(CodeAlreadyOrdered, "node %d, epoch %d, window %d", h.Node, h.Epoch, h.Window)
	}
	for _, row := range h.Rows {
		if !w.accounts.has(row.Payer) {
			return refuse(CodeUnknownPayer, "%d", row.Payer)
		}
		if !w.services.has(row.Service) {
			return refuse(CodeUnknownService, "%d", row.Service)
		}
	}
	return nil
}

func (p *Ticket) verify(w *world, _ *Tx, c *claims, at *error) error {
	h := &p.Header
	committee := w.terms.of(h.Epoch)
	message, err := p.Check(w.id, committee)
	if err != nil {
		return err
	}
	c.word(claim{at, rollup.ErrWord}, w.nodes.at(h.Node).transport,
		rollup.OwnMessage(&h.Network, h.Key(), h.ID()), p.Own)
	c.committee(at, committee, p.Signers, message, (*BLSSignature)(&p.Signature))
	return nil
}

// execute notes that a window was ordered, and takes what its rows cost.
func (p *Ticket) execute(s *State, _ uint32, _ *Result) {
	h := &p.Header
	windows := s.ordered.of(h.Node, h.Epoch).with(h.Window)
	s.ordered = s.ordered.set(s.gen, h.Node, h.Epoch, windows)
	s.touch(windowsKey(h.Epoch, h.Node))
	b, charges := s.book(h.Epoch), make([]Charge, len(h.Rows))
	for i := range h.Rows {
		if h.Rows[i].Acks > 0 { // else of statements that nobody signed
			charges[i] = s.charge(b, h.Node, &h.Rows[i])
		}
	}
	s.countHelp(h.Epoch, p.Signers)
	id := h.ID()
	s.ordering.rollups = append(s.ordering.rollups, id)
	s.events = append(s.events, Ordered{Certificate: p.Certificate, Key: h.Key(), ID: id,
		Acks: h.AckCount, Charges: charges})
}
