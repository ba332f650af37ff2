package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Additions of affine points that stand as rows, x and then y. A pair is three indices of points:
// the result's, and those of the operands.
const (
	pairBytes = 12
	atResult  = 0
	atFirst   = 4
	atSecond  = 8
)

// eachPoint calls move for a coordinate of eight points of so many rows, which the indices at
// offset in eight pairs name.
func (g *generator) eachPoint(points, pairs reg.GPPhysical, rows, offset, coordinate int,
	move func(z reg.VecPhysical, row Mem)) {
	for i, z := range x {
		g.MOVLQSX(at(pairs, pairBytes*i+offset), reg.RAX)
		g.SHLQ(U8(6+bits.Len(uint(rows-1))), reg.RAX)
		move(z, Mem{Base: points, Index: reg.RAX, Scale: 1, Disp: 64 * coordinate})
	}
}

// gather leaves a coordinate of eight points in x.
func (g *generator) gather(points, pairs reg.GPPhysical, rows, offset, coordinate int) {
	g.eachPoint(points, pairs, rows, offset, coordinate,
		func(z reg.VecPhysical, row Mem) { g.VMOVDQU64(row, z) })
	g.transpose()
}

// scatter stores x as a coordinate of the results.
func (g *generator) scatter(points, pairs reg.GPPhysical, rows, coordinate int) {
	g.transpose()
	g.eachPoint(points, pairs, rows, atResult, coordinate,
		func(z reg.VecPhysical, row Mem) { g.VMOVDQU64(z, row) })
}

func (g *generator) chordBlocks() {
	g.function("chordBlocks",
		"func(d, x, s *[8][8]uint64, points *[8]uint64, pairs *[3]int32, n int) uint64",
		"chordBlocks prepares n > 0 blocks of additions of points with coordinates < 2p: d = x2 "+
			"- x1 + 2p, x = x1, and s = x1 + x2 limb by limb. It returns 0 unless the lowest "+
			"limb of an x is zero.")
	dp, xp, sp := g.pointer("d", reg.RDI), g.pointer("x", reg.RSI), g.pointer("s", reg.RDX)
	points, pairs := g.pointer("points", reg.RBX), g.pointer("pairs", reg.R9)
	g.XORQ(reg.R10, reg.R10)
	g.eachBlockThen(func() {
		g.gather(points, pairs, 2, atSecond, 0)
		g.VPTESTNMQ(x[0], x[0], reg.K1)
		g.store(x, dp)
		g.gather(points, pairs, 2, atFirst, 0)
		g.VPTESTNMQ(x[0], x[0], reg.K2)
		g.KORW(reg.K1, reg.K2, reg.K1)
		g.KMOVW(reg.K1, reg.EAX)
		g.ORQ(reg.RAX, reg.R10)
		g.store(x, xp)
		g.load(dp, y)
		for i := range x {
			g.VPADDQ(x[i], y[i], q[i])
		}
		g.store(q, sp)
		g.less(y, in(xp, 0), true)
		g.store(y, dp)
		g.ADDQ(I32(pairBytes*limbs), pairs)
	}, func() { g.Store(reg.R10, g.ReturnIndex(0)) }, dp, xp, sp)
}

// less leaves x - y + 2p in x, for y < 2p.
func (g *generator) less(x [limbs]reg.VecPhysical, y operand, clean bool) {
	for i := range x {
		g.VPADDQ_BCST(at(consts, at2P+8*i), x[i], x[i])
		g.VPSUBQ(y(i), x[i], x[i])
	}
	g.carry(x, true, clean)
}

// columnsLess adds a multiple of p, which a table holds, to columns 8 to 15, and subtracts y, which
// is smaller.
func (g *generator) columnsLess(t accumulators, table int, y operand) {
	for i := range limbs {
		g.VPADDQ_BCST(at(consts, table+8*i), t.at(limbs+i), t.at(limbs+i))
		g.VPSUBQ(y(i), t.at(limbs+i), t.at(limbs+i))
	}
}

// sumBlocks keeps y1, the slope and x3 in memory.
func (g *generator) sumBlocks() {
	g.function("sumBlocks", "func(to, from *[8]uint64, pairs *[3]int32, d, x, s *[8][8]uint64, n "+
		"int, t *[4][8][8]uint64)",
		"sumBlocks completes n > 0 blocks of additions for which chordBlocks made x and s: d = "+
			"1/(x2 - x1). The coordinates of the sums are < 2p.")
	to, from, pairs := g.pointer("to", reg.RDI), g.pointer("from", reg.RSI),
		g.pointer("pairs", reg.RDX)
	dp, xp, sp, t := g.pointer("d", reg.RBX), g.pointer("x", reg.R9), g.pointer("s", reg.R10),
		g.pointer("t", reg.R11)
	y1, slope, x3 := in(t, 0), in(t, block), in(t, 2*block)
	y2 := slope
	begin := func(r reg.VecPhysical, _ int) { g.clear(r) }
	g.eachBlock(func() {
		g.gather(from, pairs, 2, atSecond, 1)
		g.keep(x, y2)
		g.gather(from, pairs, 2, atFirst, 1)
		g.keep(x, y1)
		g.fetch(y2, x)
		g.less(x, y1, false)
		g.load(dp, y)
		g.multiply(false)
		g.keep(x, slope)

		squares := g.squares()
		g.reductionRows(squares)
		g.columnsLess(squares, at4P, in(sp, 0)) // x1 + x2
		g.tightenColumns(x, squares)
		g.keep(x, x3)

		g.load(xp, y)
		g.less(y, x3, false)
		g.fetch(slope, x)
		g.multiplyRows(begin)
		g.reductionLast(ring)
		g.columnsLess(ring, at2P, y1)
		g.tightenColumns(x, ring)

		g.scatter(to, pairs, 2, 1)
		g.fetch(x3, x)
		g.scatter(to, pairs, 2, 0)
		g.ADDQ(I32(pairBytes*limbs), pairs)
	}, dp, xp, sp)
}

// In the extension, what chord2Blocks makes of a block of additions stands together: the conjugate
// of the slope's denominator d, x1, and x1 + x2 limb by limb, each with both coordinates.
const (
	chordD    = 0
	chordX    = 2 * block
	chordS    = 4 * block
	chordSize = 6 * block
)

func (g *generator) chord2Blocks() {
	g.function("chord2Blocks", "func(c *[6][8][8]uint64, norm *[8][8]uint64, points *[8]uint64, "+
		"pairs *[3]int32, n int) uint64",
		"chord2Blocks prepares n > 0 blocks of additions of points over the extension with "+
			"coordinates < 2p: c holds the conjugate of d = x2 - x1, x1, and x1 + x2 limb by "+
			"limb; norm = |d|^2. It returns 0 unless the lowest limb of the first coordinate of "+
			"an x is zero.")
	c, norm := g.pointer("c", reg.RDI), g.pointer("norm", reg.RSI)
	points, pairs := g.pointer("points", reg.RBX), g.pointer("pairs", reg.R9)
	g.XORQ(reg.R10, reg.R10)
	g.eachBlockThen(func() {
		for coordinate := range 2 {
			d, x1, s := in(c, chordD+block*coordinate), in(c, chordX+block*coordinate),
				in(c, chordS+block*coordinate)
			g.gather(points, pairs, 4, atSecond, coordinate)
			if coordinate == 0 {
				g.VPTESTNMQ(x[0], x[0], reg.K1)
			}
			g.keep(x, d)
			g.gather(points, pairs, 4, atFirst, coordinate)
			if coordinate == 0 {
				g.VPTESTNMQ(x[0], x[0], reg.K2)
				g.KORW(reg.K1, reg.K2, reg.K1)
				g.KMOVW(reg.K1, reg.EAX)
				g.ORQ(reg.RAX, reg.R10)
			}
			g.keep(x, x1)
			g.fetch(d, y)
			for i := range x {
				g.VPADDQ(x[i], y[i], q[i])
			}
			g.keep(q, s)
			if coordinate == 0 {
				g.less(y, x1, true)
				g.keep(y, d)
			} else {
				g.less(x, d, true)
				g.keep(x, d)
			}
		}
		g.norm(in(c, chordD), in(c, chordD+block))
		g.store(x, norm)
		g.ADDQ(I32(chordSize), c)
		g.ADDQ(I32(pairBytes*limbs), pairs)
	}, func() { g.Store(reg.R10, g.ReturnIndex(0)) }, norm)
}

// sum2Blocks keeps everything in memory, two blocks each.
func (g *generator) sum2Blocks() {
	g.function("sum2Blocks", "func(to, from *[8]uint64, pairs *[3]int32, c *[6][8][8]uint64, "+
		"inverse *[8][8]uint64, n int, t *[14][8][8]uint64)",
		"sum2Blocks completes n > 0 blocks of additions for which chord2Blocks made c: inverse = "+
			"1/|d|^2. The coordinates of the sums are < 2p.")
	to, from, pairs := g.pointer("to", reg.RDI), g.pointer("from", reg.RSI),
		g.pointer("pairs", reg.RDX)
	c, inverse, t := g.pointer("c", reg.RBX), g.pointer("inverse", reg.R9), g.pointer("t", reg.R11)
	two := func(base reg.GPPhysical, offset int) [2]operand {
		return [2]operand{in(base, offset), in(base, offset+block)}
	}
	d, x1, s := two(c, chordD), two(c, chordX), two(c, chordS)
	columns := in(t, 0)
	y1, dy, slope, x3, quotient := two(t, 4*block), two(t, 6*block), two(t, 8*block),
		two(t, 10*block), two(t, 12*block)
	g.eachBlock(func() {
		for i := range 2 {
			g.gather(from, pairs, 4, atFirst, 2+i)
			g.keep(x, y1[i])
			g.gather(from, pairs, 4, atSecond, 2+i)
			g.less(x, y1[i], true)
			g.keep(x, dy[i])
		}
		g.load(inverse, y)
		for i := range 2 {
			g.fetch(d[i], x)
			g.multiply(true)
			g.keep(x, quotient[i])
		}
		g.mul2(dy[0], dy[1], quotient[0], quotient[1], columns, func(i int, t accumulators) {
			g.carryInto(x, t, true, false)
			g.keep(x, slope[i])
		})
		g.sqr2(slope[0], slope[1], func(i int, t accumulators) { // < 2.8p
			g.columnsLess(t, at4P, s[i])
			g.tightenColumns(x, t)
			g.keep(x, x3[i])
		})
		for i := range 2 {
			g.fetch(x1[i], x)
			g.less(x, x3[i], true)
			g.keep(x, dy[i])
		}
		g.mul2(slope[0], slope[1], dy[0], dy[1], columns, func(i int, t accumulators) { // < 1.3p
			g.columnsLess(t, at2P, y1[i])
			g.tightenColumns(x, t)
			g.scatter(to, pairs, 4, 2+i)
		})
		for i := range 2 {
			g.fetch(x3[i], x)
			g.scatter(to, pairs, 4, i)
		}
		g.ADDQ(I32(chordSize), c)
		g.ADDQ(I32(pairBytes*limbs), pairs)
	}, inverse)
}
