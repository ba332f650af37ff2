package rollup

import (
	"cmp"
	"math/bits"
	"slices"
)

// Apportion divides a payer's balance among its charges (section 9, step 2): in full when the
// balance covers them, otherwise ⌊charge · balance / sum⌋ each, with what is left in units of one
// to the largest remainders, ties to the earlier charge. paid receives the parts; it is as long as
// charges, which are in order of (node, service).
func Apportion(paid, charges []uint64, balance uint64) {
	var sum uint128
	for _, c := range charges {
		sum = sum.add(c)
	}
	if sum.hi == 0 && sum.lo <= balance {
		copy(paid, charges)
		return
	}
	type claim struct {
		index     int
		remainder uint128
	}
	claims := make([]claim, len(charges))
	left := balance
	for i, c := range charges {
		hi, lo := bits.Mul64(c, balance)
		claims[i].index = i
		paid[i], claims[i].remainder = uint128{hi, lo}.div(sum)
		left -= paid[i]
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return b.remainder.cmp(a.remainder) })
	// The remainders add up to left · sum, and each is below sum: more than left of them are not zero.
	for _, c := range claims[:left] {
		paid[c.index]++
	}
}

// uint128 is hi · 2^64 + lo.
type uint128 struct{ hi, lo uint64 }

func (x uint128) add(y uint64) uint128 {
	lo, carry := bits.Add64(x.lo, y, 0)
	return uint128{x.hi + carry, lo}
}

func (x uint128) cmp(y uint128) int {
	return cmp.Or(cmp.Compare(x.hi, y.hi), cmp.Compare(x.lo, y.lo))
}

// subMul returns x - q·y, which is not negative.
func (x uint128) subMul(q uint64, y uint128) uint128 {
	hi, lo := bits.Mul64(q, y.lo)
	lo, borrow := bits.Sub64(x.lo, lo, 0)
	hi, _ = bits.Sub64(x.hi, hi+q*y.hi, borrow)
	return uint128{hi, lo}
}

// div returns quotient and remainder; y is not zero and the quotient is below 2^64. For a divisor
// of more than 64 bits, the quotient by its upper 64 bits is at most one too large (Warren,
// Hacker's Delight, 9-5), so that one less is right or one too small.
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
