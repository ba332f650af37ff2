package rollup

import (
	"fmt"
	"math"
	"math/bits"
)

// Charge returns what units cost at a price per 2^20: ⌊units · price / 2^20⌋, at most 2^64 - 1.
func Charge(units, price uint64) uint64 {
	hi, lo := bits.Mul64(units, price)
	if hi >= 1<<20 {
		return math.MaxUint64
	}
	return hi<<44 | lo>>20
}

// Check holds the rules of section 10, type 3, that need no signature; reward is what the committee
// gets of the protocol's part, in basis points up to 10,000, and 0 where it does not rotate.
// Errors: ErrUnsorted, ErrSettlement, ErrOverflow.
func (t *SettlementTable) Check(shares Shares, reward uint16) error {
	payers := make(map[uint32]*payerSum, len(t.Payers))
	for i := range t.Payers {
		p := &t.Payers[i]
		if i > 0 && t.Payers[i-1].Payer >= p.Payer {
			return at("payer", i, ErrUnsorted)
		}
		payers[p.Payer] = &payerSum{allowance: p.Allowance}
	}
	var acks, paid uint64
	for i := range t.Rows {
		r := &t.Rows[i]
		if i > 0 && t.Rows[i-1].Compare(r) >= 0 {
			return at("settlement row", i, ErrUnsorted)
		}
		if err := r.check(shares); err != nil {
			return at("settlement row", i, err)
		}
		if !add(&acks, r.Acks) || !add(&paid, r.Paid) {
			return at("settlement row", i, ErrOverflow)
		}
		p := payers[r.Payer]
		if p == nil {
			return at("settlement row", i, fmt.Errorf("%w: payer %d is not among the payers",
				ErrSettlement, r.Payer))
		}
		if !p.take(r) {
			return at("settlement row", i, fmt.Errorf("%w: more than payer %d allows node %d",
				ErrSettlement, r.Payer, r.Node))
		}
	}
	for i := range t.Payers {
		p := &t.Payers[i]
		if sum := payers[p.Payer]; sum.rows == 0 || sum.paid != p.Paid {
			return at("payer", i, fmt.Errorf("%w: %d rows of payer %d pay %d, not %d", ErrSettlement,
				sum.rows, p.Payer, sum.paid, p.Paid))
		}
	}
	return t.checkDuties(reward)
}

// check holds the rules of one row.
func (r *SettlementRow) check(shares Shares) error {
	exact := Charge(r.Units, r.Price)
	node, service, _ := shares.Split(r.Paid)
	switch {
	case r.Windows == 0 || r.Acks < uint64(r.Windows) || r.Units < r.Acks:
		return fmt.Errorf("%w: %d windows, %d acks, %d units", ErrSettlement, r.Windows, r.Acks,
			r.Units)
	case r.Charge > exact || exact-r.Charge >= uint64(r.Windows):
		// Each window's charge was rounded down. A sum of units that stopped says nothing.
		if r.Units < math.MaxUint64 {
			return fmt.Errorf("%w: %d for %d units in %d windows", ErrSettlement, r.Charge, r.Units,
				r.Windows)
		}
	}
	switch {
	case r.Allowed > r.Charge || r.Paid > r.Allowed:
		return fmt.Errorf("%w: paid %d of %d allowed of %d", ErrSettlement, r.Paid, r.Allowed,
			r.Charge)
	case r.ToNode != node || r.ToService != service:
		return fmt.Errorf("%w: the shares of %d are %d and %d, not %d and %d", ErrSettlement, r.Paid,
			node, service, r.ToNode, r.ToService)
	}
	return nil
}

// payerSum adds up a payer's rows, which come by node.
type payerSum struct {
	allowance uint64
	rows      int
	paid      uint64 // to all nodes
	node      uint32 // of the last row
	allowed   uint64 // to that node
}

// take adds a row, and reports whether what its node was allowed is within the allowance. Paid
// cannot overflow, since the sum over all payers does not.
func (p *payerSum) take(r *SettlementRow) bool {
	if r.Node != p.node {
		p.node, p.allowed = r.Node, 0
	}
	p.rows++
	p.paid += r.Paid
	return add(&p.allowed, r.Allowed) && p.allowed <= p.allowance
}
