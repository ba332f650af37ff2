package ledger

import (
	"cmp"
	"maps"
	"math"
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// Settlement is the table of a settled epoch (section 9). It is immutable; a certified one is a new value.
type Settlement struct {
	Epoch       uint32                        `json:"epoch"`
	Root        rollup.Hash                   `json:"root"`
	Rows        []rollup.SettlementRow        `json:"rows"` // sorted by (node, service, payer)
	Certificate *rollup.SettlementCertificate `json:"certificate,omitempty"`
}

func searchSettlement(settlements []*Settlement, epoch uint32) (int, bool) {
	return slices.BinarySearchFunc(settlements, epoch, func(s *Settlement, e uint32) int { return cmp.Compare(s.Epoch, e) })
}

// Totals returns the sums of the table's charges and payments in micro-credits; the difference is arrears. A sum of
// charges above 2^64 - 1 is given as 2^64 - 1; that of payments is at most the supply.
func (s *Settlement) Totals() (charged, paid uint64) {
	for i := range s.Rows {
		charged = addSaturating(charged, s.Rows[i].Charge)
		paid += s.Rows[i].Paid
	}
	return charged, paid
}

// Arrears returns what a payer was charged and did not pay, at most 2^64 - 1 micro-credits.
func (s *Settlement) Arrears(payer uint32) (arrears uint64) {
	for i := range s.Rows {
		if s.Rows[i].Payer == payer {
			arrears = addSaturating(arrears, s.Rows[i].Charge-s.Rows[i].Paid)
		}
	}
	return arrears
}

// divide makes the settlement table of an epoch's credits, sorted: what each pays out of a balance, and who gets it
// (section 9, steps 1 to 3).
func divide(credits map[creditKey]*credit, shares rollup.Shares, price, balance func(uint32) uint64) []rollup.SettlementRow {
	rows := make([]rollup.SettlementRow, 0, len(credits))
	for k, c := range credits { // in any order: they are sorted below
		rows = append(rows, rollup.SettlementRow{Node: k.node, Service: k.service, Payer: k.payer,
			Acks: c.acks, Units: c.units, Charge: charge(c.units, price(k.service))})
	}
	slices.SortFunc(rows, func(a, b rollup.SettlementRow) int { return a.Compare(&b) })
	byPayer := make(map[uint32][]*rollup.SettlementRow)
	for i := range rows {
		byPayer[rows[i].Payer] = append(byPayer[rows[i].Payer], &rows[i])
	}
	for _, payer := range slices.Sorted(maps.Keys(byPayer)) {
		pay(byPayer[payer], balance(payer))
	}
	for i := range rows {
		rows[i].ToNode, rows[i].ToService, _ = shares.Split(rows[i].Paid)
	}
	return rows
}

// charge returns ⌊units · price / 2^20⌋, at most 2^64 - 1.
func charge(units, price uint64) uint64 {
	hi, lo := bits.Mul64(units, price)
	if hi >= 1<<20 {
		return math.MaxUint64
	}
	return hi<<44 | lo>>20
}

// pay divides a balance among the charges of one payer: in full when it covers them, otherwise in proportion, with the
// rest in units of one to the largest remainders. Rows are sorted by (node, service), which breaks ties.
func pay(rows []*rollup.SettlementRow, balance uint64) {
	var due uint128
	for _, r := range rows {
		due = due.add(r.Charge)
	}
	if due.hi == 0 && due.lo <= balance {
		for _, r := range rows {
			r.Paid = r.Charge
		}
		return
	}
	type claim struct {
		row       *rollup.SettlementRow
		remainder uint128
	}
	claims := make([]claim, len(rows))
	left := balance
	for i, r := range rows {
		hi, lo := bits.Mul64(r.Charge, balance)
		claims[i].row = r
		r.Paid, claims[i].remainder = uint128{hi, lo}.div(due)
		left -= r.Paid
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return b.remainder.cmp(a.remainder) })
	// The remainders add up to left · due, and each is below due: more than left of them are not zero.
	for _, c := range claims[:left] {
		c.row.Paid++
	}
}

// uint128 is hi · 2^64 + lo.
type uint128 struct{ hi, lo uint64 }

func (x uint128) add(y uint64) uint128 {
	lo, carry := bits.Add64(x.lo, y, 0)
	return uint128{x.hi + carry, lo}
}

func (x uint128) cmp(y uint128) int { return cmp.Or(cmp.Compare(x.hi, y.hi), cmp.Compare(x.lo, y.lo)) }

// subMul returns x - q·y, which must not be negative or exceed 2^128 on the way.
func (x uint128) subMul(q uint64, y uint128) uint128 {
	hi, lo := bits.Mul64(q, y.lo)
	lo, borrow := bits.Sub64(x.lo, lo, 0)
	hi, _ = bits.Sub64(x.hi, hi+q*y.hi, borrow)
	return uint128{hi, lo}
}

// div returns quotient and remainder; y is not zero and the quotient below 2^64. A divisor of more than 64 bits is
// handled as in Warren, Hacker's Delight, 9-5: a quotient estimated from its upper 64 bits is at most one too large,
// so that one less is right or one too small.
func (x uint128) div(y uint128) (uint64, uint128) {
	if y.hi == 0 {
		q, r := bits.Div64(x.hi, x.lo, y.lo)
		return q, uint128{0, r}
	}
	n := bits.LeadingZeros64(y.hi)
	top := y.hi<<n | y.lo>>1>>(63-n)
	q, _ := bits.Div64(x.hi>>1, x.hi<<63|x.lo>>1, top)
	q >>= 63 - n
	if q > 0 {
		q--
	}
	r := x.subMul(q, y)
	if r.cmp(y) >= 0 {
		q, r = q+1, r.subMul(1, y)
	}
	return q, r
}
