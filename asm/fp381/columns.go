package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Products in columns, and what makes a block of them again.

// multiply leaves x*y/R in x, with clean limbs if clean. Other limbs have carries above bit 52 that
// the next multiplication does not see.
func (g *generator) multiply(clean bool) {
	g.multiplyRows(func(r reg.VecPhysical, _ int) { g.clear(r) })
	g.reductionLast(ring)
	g.carryInto(x, ring, clean, false)
}

// multiplyRows is multiply but for the last digit and the carries, on accumulators that begin as
// begin makes them.
func (g *generator) multiplyRows(begin func(r reg.VecPhysical, c int)) {
	for j := range limbs {
		g.productRow(ring, j, begin)
		if j > 0 {
			g.reductionRow(ring, j-1)
		}
	}
}

// productRow adds x*y[j] to the columns. begin prepares those that are new, all of them for the
// first row.
func (g *generator) productRow(t accumulators, j int, begin func(r reg.VecPhysical, c int)) {
	for c := j; j == 0 && c < limbs; c++ {
		begin(t.at(c), c)
	}
	begin(t.at(j+limbs), j+limbs)
	for i := range limbs {
		g.VPMADD52LUQ(x[i], y[j], t.at(i+j))
	}
	for i := range limbs {
		g.VPMADD52HUQ(x[i], y[j], t.at(i+j+1))
	}
}

// products calls each with the sums of the partial products of x*y, column by column.
func (g *generator) products(each func(r reg.VecPhysical, c int)) {
	for j := range limbs {
		g.productRow(ring, j, func(r reg.VecPhysical, _ int) { g.clear(r) })
		each(ring.at(j), j)
	}
	for c := limbs; c < 2*limbs; c++ {
		each(ring.at(c), c)
	}
}

// square leaves x*x/R in x.
func (g *generator) square(clean bool) { g.reduction(g.squares(), clean) }

// squares is the columns of x*x.
func (g *generator) squares() accumulators {
	t := g.noColumns()
	g.crosses(t)
	g.double(t)
	g.diagonals(t)
	return t
}

// noColumns clears all columns, with room for x alone beside them.
func (g *generator) noColumns() accumulators {
	t := accumulators{y[:], q[:]}
	for c := range 2 * limbs {
		g.clear(t.at(c))
	}
	return t
}

// crosses adds the products of different limbs of x, once each.
func (g *generator) crosses(t accumulators) {
	for i := range limbs {
		for j := i + 1; j < limbs; j++ {
			g.VPMADD52LUQ(x[i], x[j], t.at(i+j))
		}
		for j := i + 1; j < limbs; j++ {
			g.VPMADD52HUQ(x[i], x[j], t.at(i+j+1))
		}
	}
}

// double doubles the columns in which crosses are.
func (g *generator) double(t accumulators) {
	for c := 1; c < 2*limbs-1; c++ {
		g.VPADDQ(t.at(c), t.at(c), t.at(c))
	}
}

func (g *generator) diagonals(t accumulators) {
	for i := range limbs {
		g.VPMADD52LUQ(x[i], x[i], t.at(2*i))
		g.VPMADD52HUQ(x[i], x[i], t.at(2*i+1))
	}
}

// norm leaves x0*x0 + x1*x1 in x, with one reduction.
func (g *generator) norm(x0, x1 operand) {
	t := g.noColumns()
	g.fetch(x0, x)
	g.crosses(t)
	g.fetch(x1, x)
	g.crosses(t)
	g.double(t)
	g.diagonals(t)
	g.fetch(x0, x)
	g.diagonals(t)
	g.reduction(t, true)
}

// reduction leaves in x what stands in the columns, divided by R.
func (g *generator) reduction(t accumulators, clean bool) {
	g.reductionRows(t)
	g.carryInto(x, t, clean, false)
}

// reductionRows is reduction but for the carries.
func (g *generator) reductionRows(t accumulators) {
	for c := range limbs - 1 {
		g.reductionRow(t, c)
	}
	g.reductionLast(t)
}

// reductionRow clears column c < 7: its carry goes to the next, and q*M to those to the left.
func (g *generator) reductionRow(t accumulators, c int) {
	for i := range limbs {
		g.VPMADD52LUQ_BCST(at(consts, atM+8*i), t.at(c), t.at(c+1+i))
	}
	g.carryColumn(t, c)
	for i := range limbs {
		g.VPMADD52HUQ_BCST(at(consts, atM+8*i), t.at(c), t.at(c+2+i))
	}
}

func (g *generator) carryColumn(t accumulators, c int) {
	g.VPSRAQ(U8(52), t.at(c), scratch)
	g.VPADDQ(scratch, t.at(c+1), t.at(c+1))
}

// reductionLast clears column 7.
func (g *generator) reductionLast(t accumulators) {
	g.clear(digit)
	g.VPMADD52LUQ_BCST(at(consts, atK), t.at(7), digit)
	for i := range limbs {
		g.VPMADD52LUQ_BCST(at(consts, atP+8*i), digit, t.at(7+i))
	}
	for i := range limbs {
		g.VPMADD52HUQ_BCST(at(consts, atP+8*i), digit, t.at(8+i))
	}
	g.carryColumn(t, 7)
}

// carryInto leaves columns 8 to 15 in z with their carries in the next, without what stands above
// 52 bits if clean, and in the last limb if cut.
func (g *generator) carryInto(z [limbs]reg.VecPhysical, t accumulators, clean, cut bool) {
	for i := range limbs {
		limb, masked := t.at(limbs+i), clean
		if i > 0 {
			g.VPADDQ(scratch, limb, limb)
		}
		if i == limbs-1 {
			masked = cut
		} else {
			g.VPSRAQ(U8(52), limb, scratch)
		}
		if masked {
			g.VPANDQ(mask, limb, z[i])
		} else {
			g.VMOVDQA64(limb, z[i])
		}
	}
}

func (g *generator) clear(r reg.VecPhysical) { g.VPXORQ(r, r, r) }

// accumulators are registers for columns, in two parts. Each accumulator has only one column's
// weight; of 16, no more than eleven are alive at a time, so that a ring may hold them.
type accumulators [2][]reg.VecPhysical

func (t accumulators) at(c int) reg.VecPhysical {
	if c %= len(t[0]) + len(t[1]); c >= len(t[0]) {
		return t[1][c-len(t[0])]
	}
	return t[0][c]
}

// slack is the quotient's distance from what it could be in tightenColumns; see there.
const slack = 256

// tightenColumns leaves in z, clean, the value v of columns 8 to 15, 0 <= v < 2^6*p, less a
// multiple of p. The quotient comes from the top column as it stands, t15 >= 0: the column below
// has less than 2^59, and so v is within 2^8 of t15 in units of 2^364. With t = floor(p / 2^364) it
// is q = floor(t15 * floor(2^52/(t+256)) / 2^52): q*(t+256) <= t15, and so, unless q = 0, q*p <
// (t15 - 255)*2^364 < v. And v - q*p < 1.2*p, for q is too small by one for rounding, and by less
// than 64*256/106513 for the 256.
func (g *generator) tightenColumns(z [limbs]reg.VecPhysical, t accumulators) {
	g.clear(digit)
	g.VPMADD52HUQ_BCST(at(consts, atLess), t.at(2*limbs-1), digit)
	for i := range limbs {
		g.VPMADD52LUQ_BCST(at(consts, atMinusP+8*i), digit, t.at(limbs+i))
	}
	for i := range limbs - 1 {
		g.VPMADD52HUQ_BCST(at(consts, atMinusP+8*i), digit, t.at(limbs+i+1))
	}
	g.carryInto(z, t, true, true) // q*2^416 goes with what stands above the last limb
}
