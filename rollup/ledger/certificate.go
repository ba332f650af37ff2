package ledger

import (
	"errors"
	"math"

	"github.com/waybill-network/waybill/rollup"
)

// RollupCertificate is the payload of certificate: it orders a rollup.
type RollupCertificate struct{ *rollup.Certificate }

// NewCertificate builds the transaction that orders a rollup.
func NewCertificate(net rollup.Network, c *rollup.Certificate) []byte {
	return c.Append(head(net, KindCertificate))
}

func (p *RollupCertificate) decode(r *reader) {
	if b := r.Next(len(r.B)); r.Err == nil {
		p.Certificate, r.Err = rollup.ParseCertificate(b)
	}
}

func (p *RollupCertificate) append(b []byte) []byte { return p.Certificate.Append(b) }

func (p *RollupCertificate) judge(w *world, _ *Tx, _ *account) error {
	h, current := &p.Header, w.epoch()
	switch {
	case !w.nodes.has(h.Node):
		return refuse(CodeUnknownNode, "%d", h.Node)
	case h.Epoch > current:
		return refuse(CodeEpochAhead, "%d, now %d", h.Epoch, current)
	case current-h.Epoch > w.params.LateEpochs:
		return refuse(CodeEpochTooOld, "%d, now %d", h.Epoch, current)
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

func (p *RollupCertificate) verify(w *world, _ *Tx) error {
	return certificateError(p.Verify(w.id, w.committee))
}

// execute notes that a window was ordered and credits its rows.
func (p *RollupCertificate) execute(s *State, _ uint32, _ *Result) {
	h := &p.Header
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
	s.events = append(s.events, Ordered{Certificate: p.Certificate, Key: h.Key(), ID: h.ID(),
		Acks: h.AckCount, SettledIn: epoch})
}

// creditKey is what credits are added up by. Its order is that of the settlement table.
type creditKey struct{ node, service, payer uint32 }

// credit is what certificates credited so far; sums stop at 2^64 - 1.
type credit struct{ acks, units uint64 }

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

// certificateError gives a failed check of a certificate its code.
func certificateError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rollup.ErrNetwork):
		return refuse(CodeWrongNetwork, "%w", err)
	case errors.Is(err, rollup.ErrBitmap):
		return refuse(CodeBadBitmap, "%w", err)
	case errors.Is(err, rollup.ErrQuorum):
		return refuse(CodeNoQuorum, "%w", err)
	}
	return refuse(CodeBadCertificate, "%w", err)
}
