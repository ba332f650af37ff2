package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Additions of affine points that stand as rows, x and then y. A pair is three indices of points: the result's, and those
// of the operands.
const (
	pairBytes = 12
	point     = 128
	atResult  = 0
	atFirst   = 4
	atSecond  = 8
)

// eachPoint calls move for a coordinate's rows of eight points, which the indices at offset in eight pairs name.
func (g *generator) eachPoint(points, pairs reg.GPPhysical, offset, coordinate int, move func(z reg.VecPhysical, row Mem)) {
	for i, z := range x {
		g.MOVLQSX(at(pairs, pairBytes*i+offset), reg.RAX)
		g.SHLQ(U8(7), reg.RAX)
		move(z, Mem{Base: points, Index: reg.RAX, Scale: 1, Disp: coordinate})
	}
}

// gather leaves a coordinate of eight points in x.
func (g *generator) gather(points, pairs reg.GPPhysical, offset, coordinate int) {
	g.eachPoint(points, pairs, offset, coordinate, func(z reg.VecPhysical, row Mem) { g.VMOVDQU64(row, z) })
	g.transpose()
}

func (g *generator) chordBlocks() {
	g.function("chordBlocks", "func(d, x, s *[8][8]uint64, points *[8]uint64, pairs *[3]int32, n int) uint64",
		"chordBlocks prepares n > 0 blocks of additions of points with coordinates < 2p: d = x2 - x1 + 2p, x = x1, and s = x1 + x2 limb by limb. It returns 0 unless the lowest limb of an x is zero.")
	dp, xp, sp := g.pointer("d", reg.RDI), g.pointer("x", reg.RSI), g.pointer("s", reg.RDX)
	points, pairs := g.pointer("points", reg.RBX), g.pointer("pairs", reg.R9)
	g.XORQ(reg.R10, reg.R10)
	g.eachBlockThen(func() {
		g.gather(points, pairs, atSecond, 0)
		g.VPTESTNMQ(x[0], x[0], reg.K1)
		for i := range x {
			g.VMOVDQU64(x[i], at(dp, 64*i))
		}
		g.gather(points, pairs, atFirst, 0)
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
		for i := range x {
			g.VPADDQ_BCST(at(consts, at2P+8*i), y[i], y[i])
			g.VPSUBQ(x[i], y[i], y[i])
		}
		g.carry(y, true, true)
		g.store(y, dp)
		g.ADDQ(I32(pairBytes*limbs), pairs)
	}, func() { g.Store(reg.R10, g.ReturnIndex(0)) }, dp, xp, sp)
}

// sumBlocks keeps y1, the slope and x3 in memory.
func (g *generator) sumBlocks() {
	g.function("sumBlocks", "func(to, from *[8]uint64, pairs *[3]int32, d, x, s *[8][8]uint64, n int, t *[4][8][8]uint64)",
		"sumBlocks completes n > 0 blocks of additions for which chordBlocks made x and s: d = 1/(x2 - x1). The coordinates of the sums are < 2p.")
	to, from, pairs := g.pointer("to", reg.RDI), g.pointer("from", reg.RSI), g.pointer("pairs", reg.RDX)
	dp, xp, sp, t := g.pointer("d", reg.RBX), g.pointer("x", reg.R9), g.pointer("s", reg.R10), g.pointer("t", reg.R11)
	y1, slope, x3 := func(i int) Mem { return at(t, 64*i) }, func(i int) Mem { return at(t, block+64*i) }, func(i int) Mem { return at(t, 2*block+64*i) }
	y2 := slope
	put := func(z [limbs]reg.VecPhysical, to func(i int) Mem) {
		for i := range z {
			g.VMOVDQU64(z[i], to(i))
		}
	}
	begin := func(r reg.VecPhysical, _ int) { g.clear(r) }
	g.eachBlock(func() {
		g.gather(from, pairs, atSecond, 64)
		put(x, y2)
		g.gather(from, pairs, atFirst, 64)
		put(x, y1)
		for i := range x { // y2 - y1 < 4p
			g.VMOVDQU64(y2(i), y[i])
			g.VPADDQ_BCST(at(consts, at2P+8*i), y[i], y[i])
			g.VPSUBQ(x[i], y[i], x[i])
		}
		g.carry(x, true, false)
		g.load(dp, y)
		g.multiply(false)
		put(x, slope)

		squares := g.squares()
		for c := range limbs - 1 {
			g.reductionRow(squares, c)
		}
		g.reductionLast(squares)
		for i := range limbs { // less x1 + x2: < 6p
			g.VPADDQ_BCST(at(consts, at4P+8*i), squares.at(limbs+i), squares.at(limbs+i))
			g.VPSUBQ(at(sp, 64*i), squares.at(limbs+i), squares.at(limbs+i))
		}
		g.tightenColumns(x, squares)
		put(x, x3)

		g.load(xp, y)
		for i := range y { // x1 - x3 < 4p
			g.VPADDQ_BCST(at(consts, at2P+8*i), y[i], y[i])
			g.VPSUBQ(x[i], y[i], y[i])
		}
		g.carry(y, true, false)
		for i := range x {
			g.VMOVDQU64(slope(i), x[i])
		}
		g.multiplyRows(begin)
		g.reductionLast(ring)
		for i := range limbs { // less y1: < 4p
			g.VPADDQ_BCST(at(consts, at2P+8*i), ring.at(limbs+i), ring.at(limbs+i))
			g.VPSUBQ(y1(i), ring.at(limbs+i), ring.at(limbs+i))
		}
		g.tightenColumns(x, ring)

		store := func(coordinate int) {
			g.transpose()
			g.eachPoint(to, pairs, atResult, coordinate, func(z reg.VecPhysical, row Mem) { g.VMOVDQU64(z, row) })
		}
		store(64)
		for i := range x {
			g.VMOVDQU64(x3(i), x[i])
		}
		store(0)
		g.ADDQ(I32(pairBytes*limbs), pairs)
	}, dp, xp, sp)
}
