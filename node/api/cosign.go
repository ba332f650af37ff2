package api

import (
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
)

// NewCosignOffer returns the message that carries an offer, with the node's word for it.
func NewCosignOffer(o *cosign.Offer, signature [rollup.WordSize]byte) *CosignOffer {
	e := o.Encode()
	m := &CosignOffer{
		Network:   e.Network,
		Node:      e.Key.Node,
		Epoch:     e.Key.Epoch,
		Window:    e.Key.Window,
		Count:     e.Count,
		Root:      e.Root,
		Clients:   e.Clients,
		Signature: signature[:],
	}
	for _, r := range e.Ranges {
		m.Ranges = append(m.Ranges, &StatementRange{First: r.First, Statements: r.Statements,
			Payers: r.Payers, Siblings: r.Siblings})
	}
	return m
}

// Key returns the window that the offer is about.
func (m *CosignOffer) Key() rollup.WindowKey {
	return rollup.WindowKey{Node: m.Node, Epoch: m.Epoch, Window: m.Window}
}

// Decode returns the offer that the message carries. The error wraps one of rollup's.
func (m *CosignOffer) Decode() (*cosign.Offer, error) {
	e := &cosign.Encoded{Network: m.Network, Key: m.Key(), Count: m.Count, Root: m.Root,
		Clients: m.Clients}
	for _, r := range m.Ranges {
		e.Ranges = append(e.Ranges, cosign.EncodedRange{First: r.GetFirst(),
			Statements: r.GetStatements(), Payers: r.GetPayers(), Siblings: r.GetSiblings()})
	}
	return e.Decode()
}
