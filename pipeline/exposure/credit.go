package exposure

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/waybill-network/waybill/rollup"
)

// Refused counts acks by why their payer could not have them.
type Refused struct{ reserve, allowance, limit atomic.Uint64 }

func (r *Refused) of(code rollup.Code) *atomic.Uint64 {
	switch code {
	case rollup.CodeInsufficientReserve:
		return &r.reserve
	case rollup.CodeInsufficientAllowance:
		return &r.allowance
	default:
		return &r.limit
	}
}

// IsCredit reports whether a code says that a payer cannot have an ack.
func IsCredit(code rollup.Code) bool {
	return code >= rollup.CodeInsufficientReserve && code <= rollup.CodeOwnLimit
}

// Credit is how a payer stands with a node in an epoch, in micro-credits.
type Credit struct {
	Payer     uint32 `json:"payer"`
	Epoch     uint32 `json:"epoch"`
	Reserve   uint64 `json:"reserve,string"`   // what acks of the epoch may be paid from
	Allowance uint64 `json:"allowance,string"` // what one node may charge in the epoch
	Charged   uint64 `json:"charged,string"`   // of it, what is ordered of this node
	Exposure  uint64 `json:"exposure,string"`  // taken here and not ordered, of all epochs
	OfEpoch   uint64 `json:"of_epoch,string"`  // of it, what is of this one
	Limit     uint64 `json:"limit,string"`     // of exposure: what this node risks
	Left      uint64 `json:"left,string"`      // what may be taken besides
	// Bound is what stands in the way of more than what is left; Refusal is why an ack was refused
	// last in the epoch.
	Bound   rollup.Code `json:"bound"`
	Refusal rollup.Code `json:"refusal,omitzero"`
	// Refused are acks, by why: since the node has the epoch in its book.
	RefusedReserve   uint64 `json:"refused_reserve"`
	RefusedAllowance uint64 `json:"refused_allowance"`
	RefusedLimit     uint64 `json:"refused_limit"`
}

// Refused returns how many acks of the payer were refused.
func (c *Credit) Refused() uint64 {
	return c.RefusedReserve + c.RefusedAllowance + c.RefusedLimit
}

// Credit returns how a payer stands in an epoch.
func (b *Book) Credit(payer, epoch uint32) Credit { return b.credit(b.find(payer, epoch)) }

func (b *Book) credit(l *line) Credit {
	left, code := b.left(l)
	money, _, limit := b.bounds(l)
	return Credit{Payer: l.index, Epoch: l.epoch, Reserve: money, Allowance: l.allowed,
		Charged: l.charged, Exposure: l.total, OfEpoch: l.own, Limit: limit, Left: left, Bound: code,
		Refusal: l.last, RefusedReserve: l.counts.reserve.Load(),
		RefusedAllowance: l.counts.allowance.Load(), RefusedLimit: l.counts.limit.Load()}
}

// Credits returns how all payers stand in the epochs in which the node took or refused an ack of
// theirs, those with the largest exposure first.
func (b *Book) Credits() []Credit {
	var list []Credit
	for _, a := range b.payers { // order-free: sorted below
		for _, l := range a.lines {
			list = append(list, b.credit(l))
		}
	}
	slices.SortFunc(list, func(a, b Credit) int {
		return cmp.Or(cmp.Compare(b.Exposure, a.Exposure), cmp.Compare(b.Refused(), a.Refused()),
			cmp.Compare(a.Payer, b.Payer), cmp.Compare(a.Epoch, b.Epoch))
	})
	return list
}
