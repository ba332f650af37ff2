package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func (g *generator) mul2Blocks() {
	g.function("mul2Blocks",
		"func(z0, z1, x0, x1, y0, y1 *[8][8]uint64, n int, t *[4][8][8]uint64)",
		"mul2Blocks multiplies n > 0 blocks in the quadratic extension: z0[i] + z1[i]u = (x0[i] "+
			"+ x1[i]u)*(y0[i] + y1[i]u)/R, u*u = -1, for x[i], y[i] < 2^14*p.")
	z0, z1 := g.pointer("z0", reg.RDI), g.pointer("z1", reg.RSI)
	x0, x1 := g.pointer("x0", reg.RAX), g.pointer("x1", reg.RBX)
	y0, y1 := g.pointer("y0", reg.RDX), g.pointer("y1", reg.R9)
	t := g.pointer("t", reg.R10)
	g.eachBlock(func() {
		g.mul2(in(x0, 0), in(x1, 0), in(y0, 0), in(y1, 0), in(t, 0),
			func(coordinate int, t accumulators) {
				g.carryInto(x, t, true, false)
				g.store(x, [...]reg.GPPhysical{z0, z1}[coordinate])
			})
	}, z0, z1, x0, x1, y0, y1)
}

// operand is a block in memory, limb by limb.
type operand func(i int) Mem

func in(base reg.Register, offset int) operand {
	return func(i int) Mem { return at(base, offset+64*i) }
}

func (g *generator) fetch(from operand, to [limbs]reg.VecPhysical) {
	for i, z := range to {
		g.VMOVDQU64(from(i), z)
	}
}

func (g *generator) keep(from [limbs]reg.VecPhysical, to operand) {
	for i, z := range from {
		g.VMOVDQU64(z, to(i))
	}
}

// mul2 multiplies in the extension. t has room for four blocks: the columns of (x0 + x1)*y0, a
// factor, and x1, since end may overwrite operands. end receives each coordinate, the second one
// first, in columns 8 to 15 and without their carries; it may use all registers but general ones.
func (g *generator) mul2(x0, x1, y0, y1, t operand, end func(coordinate int, t accumulators)) {
	sum, second := func(i int) Mem { return t(2*limbs + i) },
		func(i int) Mem { return t(3*limbs + i) }
	g.fetch(x1, x)
	g.keep(x, second)
	for i := range x {
		g.VPADDQ(x0(i), x[i], x[i])
	}
	g.carry(x, false, false)
	g.fetch(y0, y)
	g.products(func(r reg.VecPhysical, c int) { g.VMOVDQU64(r, t(c)) })
	for i := range q {
		g.VPBROADCASTQ(at(consts, at2To15P+8*i), q[i])
		g.VPSUBQ(y[i], q[i], q[i])
		g.VPSUBQ(y1(i), q[i], q[i])
	}
	g.carry(q, true, false)
	g.keep(q, sum)
	for i := range y {
		g.VPBROADCASTQ(at(consts, atMultiple+8*i), q[i])
		g.VPSUBQ(y[i], q[i], y[i])
		g.VPADDQ(y1(i), y[i], y[i])
	}
	g.carry(y, true, false)
	g.fetch(x0, x)
	g.mul2Ends(t, second, sum, end)
}

// mul2Ends adds to the columns of (x0 + x1)*y0, which t holds, x*y for the second coordinate, then
// the product of two others for the first.
func (g *generator) mul2Ends(t, otherX, otherY operand, end func(coordinate int, t accumulators)) {
	rows := func() {
		g.multiplyRows(func(r reg.VecPhysical, c int) { g.VMOVDQU64(t(c), r) })
		g.reductionLast(ring)
	}
	rows()
	end(1, ring)
	g.fetch(otherX, x)
	g.fetch(otherY, y)
	rows()
	end(0, ring)
}

// sqr2 squares in the extension: (x0 + x1)*(x0 - x1) and 2*x0*x1. end is as in mul2, but gets the
// first coordinate first and leaves y alone.
func (g *generator) sqr2(x0, x1 operand, end func(coordinate int, t accumulators)) {
	begin := func(r reg.VecPhysical, _ int) { g.clear(r) }
	g.fetch(x0, x)
	for i := range y {
		g.VPADDQ_BCST(at(consts, atMultiple+8*i), x[i], y[i])
		g.VPSUBQ(x1(i), y[i], y[i])
	}
	g.carry(y, true, false)
	g.addCarrying(x1, x)
	g.multiplyRows(begin)
	g.reductionLast(ring)
	g.fetch(x0, y)
	end(0, ring)
	g.fetch(x1, x)
	g.multiplyRows(begin)
	g.reductionLast(ring)
	for i := range limbs {
		g.VPADDQ(ring.at(limbs+i), ring.at(limbs+i), ring.at(limbs+i))
	}
	end(1, ring)
}

func (g *generator) sqr2Blocks() {
	g.function("sqr2Blocks", "func(z0, z1, x0, x1 *[8][8]uint64, n int)",
		"sqr2Blocks squares n > 0 blocks in the quadratic extension: z0[i] + z1[i]u = (x0[i] + "+
			"x1[i]u)^2/R, u*u = -1, x0[i] and x1[i] < 2^14*p.")
	z0, z1 := g.pointer("z0", reg.RDI), g.pointer("z1", reg.RSI)
	x0, x1 := g.pointer("x0", reg.RAX), g.pointer("x1", reg.RBX)
	g.eachBlock(func() {
		g.sqr2(in(x0, 0), in(x1, 0), func(coordinate int, t accumulators) {
			g.carryInto(x, t, true, false)
			g.store(x, [...]reg.GPPhysical{z0, z1}[coordinate])
		})
	}, z0, z1, x0, x1)
}
