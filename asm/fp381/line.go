package main

import (
	"math/big"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const lineDoc = `
LINES. A value z = g + h*w of Fp12 = Fp2[w]/(w^6 - xi), g and h in Fp6 = Fp2[v], v = w^2, v^3 = xi =
1 + u, becomes 2*z*(f + s*v + v*w). As a polynomial of v, g*(f + s*v) has degree 3: it is
interpolated from its values r at 0, m at -1, n at 1, and k at infinity, with four products in Fp2.
The doubling saves halving:

    2*g*(f + s*v) = 2*r + (n - m - 2*k)*v + (n + m - 2*r)*v^2 + 2*k*v^3.

lineFactors and lineEvaluate lay out the factors, in the forms that a product in the extension
takes: x0 + x1, x0 and x1 of values of z, and y0, y1 - y0 and -y0 - y1 of those of the line, which
serve g and h. lineProducts multiplies them and leaves columns 8 to 15 as they are, and lineCombine
puts the products together, adds 2*z*v*w, and carries once, when 16*p have been added and a multiple
of p subtracted.

    For z and products < 2*p a coordinate lies between -10*p and 20*p. What is reduced lies between
    6*p and 36*p, so that its top column is positive. The column below is a sum of at most six from
    products, in which it has nine terms less than 2^52 (three of each of two products, three of
    digits), and of five other limbs: it carries less than 2^7, and columns below it have less than
    2^61.

POINTS. The coordinates of a point and its slope are carried once, too: mulAdd2Blocks, mulSub2Blocks
and sqrSub2Blocks add to the columns of a product before they are carried, and the latter two
subtract a multiple of p. With 16*p added, what is reduced lies between 8*p and 20*p.
`

// at16P is where 16*p lies, in bytes from lineConsts.
const at16P = 0

var lineConsts = reg.R13

// lines makes the functions of Miller loops.
func (g *generator) lines() {
	constants := g.StaticGlobal("lineConstants")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range limbs {
		g.AddDatum(at16P+8*i, limb(new(big.Int).Lsh(modulus(), 4), i))
	}
	begin := func(name, signature, doc string) {
		g.function(name, signature, doc)
		g.LEAQ(constants, lineConsts)
	}
	g.lineFactors(begin)
	g.lineEvaluate(begin)
	g.lineProducts(begin)
	g.lineCombine(begin)
	g.mulAdd2Blocks(begin)
	g.mulSub2Blocks(begin)
	g.sqrSub2Blocks(begin)
	g.normBlocks(begin)
	g.mulSubBlocks(begin)
	g.sqrSubBlocks(begin)
}

type beginning func(name, signature, doc string)

func (g *generator) lineFactors(begin beginning) {
	begin("lineFactors", "func(b *[4][3][8][8]uint64, f0, f1, s0, s1 *[8][8]uint64)",
		"lineFactors lays out y0, y1 - y0 and -y0 - y1 for y = f, f - s, f + s and s, the values "+
			"of f + s*v at 0, -1, 1 and infinity, for f, s < 4p. Limbs keep carries.")
	b := g.pointer("b", reg.RDI)
	f := [2]reg.GPPhysical{g.pointer("f0", reg.RSI), g.pointer("f1", reg.RAX)}
	s := [2]reg.GPPhysical{g.pointer("s0", reg.RDX), g.pointer("s1", reg.RBX)}
	for point := range 4 {
		for c, to := range [2][limbs]reg.VecPhysical{x, y} {
			for i, z := range to {
				switch point {
				case 0:
					g.VMOVDQU64(at(f[c], 64*i), z)
				case 1:
					g.VPBROADCASTQ(at(consts, at4P+8*i), z)
					g.VPSUBQ(at(s[c], 64*i), z, z)
					g.VPADDQ(at(f[c], 64*i), z, z)
				case 2:
					g.VMOVDQU64(at(f[c], 64*i), z)
					g.VPADDQ(at(s[c], 64*i), z, z)
				case 3:
					g.VMOVDQU64(at(s[c], 64*i), z)
				}
			}
		}
		for i := range q { // values are < 8p
			g.VPBROADCASTQ(at(lineConsts, at16P+8*i), q[i])
			g.VPSUBQ(x[i], q[i], q[i])
			g.VPSUBQ(y[i], q[i], q[i])
		}
		g.carry(q, true, false)
		g.keep(q, in(b, (3*point+2)*block))
		for i := range y {
			g.VPBROADCASTQ(at(lineConsts, at16P+8*i), q[i])
			g.VPSUBQ(x[i], q[i], q[i])
			g.VPADDQ(q[i], y[i], y[i])
		}
		g.carry(y, true, false)
		g.keep(y, in(b, (3*point+1)*block))
		if point == 1 || point == 2 {
			g.carry(x, true, false)
		}
		g.keep(x, in(b, 3*point*block))
	}
	g.VZEROUPPER()
	g.RET()
}

func (g *generator) lineEvaluate(begin beginning) {
	begin("lineEvaluate", "func(a *[8][3][8][8]uint64, z *[2][6][8][8]uint64)",
		"lineEvaluate lays out x0 + x1, x0 and x1 for the values x of g at 0, -1, 1 and "+
			"infinity, then for those of h, for z < 2p. z[c][k] is coordinate c of the "+
			"coefficient of w^k. Limbs keep carries.")
	a, z := g.pointer("a", reg.RDI), g.pointer("z", reg.RSI)
	for half := range 2 {
		out := func(point, form int) operand { return in(a, (3*(4*half+point)+form)*block) }
		coefficient := func(c, k int) operand { return in(z, (6*c+2*k+half)*block) }
		layOut := func(point int, clean bool) {
			for i := range q {
				g.VPADDQ(x[i], y[i], q[i])
			}
			g.carry(q, true, false)
			if !clean {
				g.carry(x, true, false)
				g.carry(y, true, false)
			}
			for form, v := range [3][limbs]reg.VecPhysical{q, x, y} {
				g.keep(v, out(point, form))
			}
		}
		for _, point := range []int{0, 3} {
			k := point - point/3 // the coefficient of v^0 or v^2
			g.fetch(coefficient(0, k), x)
			g.fetch(coefficient(1, k), y)
			layOut(point, true)
		}
		for c, plus := range [2][limbs]reg.VecPhysical{x, y} {
			for i := range limbs {
				g.VMOVDQU64(coefficient(c, 0)(i), plus[i])
				g.VPADDQ(coefficient(c, 2)(i), plus[i], plus[i])
				g.VMOVDQU64(coefficient(c, 1)(i), scratch)
				g.VPADDQ_BCST(at(consts, at2P+8*i), plus[i], q[i])
				g.VPSUBQ(scratch, q[i], q[i])
				g.VPADDQ(scratch, plus[i], plus[i])
			}
			g.keep(q, out(1, 1+c))
		}
		layOut(2, false)
		g.fetch(out(1, 1), x)
		g.fetch(out(1, 2), y)
		layOut(1, false)
	}
	g.VZEROUPPER()
	g.RET()
}

func (g *generator) lineProducts(begin beginning) {
	begin("lineProducts", "func(p *[2][8][8][8]uint64, a *[8][3][8][8]uint64, b "+
		"*[4][3][8][8]uint64, t *[4][8][8]uint64)",
		"lineProducts multiplies in the quadratic extension what lineEvaluate and lineFactors "+
			"lay out: p[c][i] is coordinate c of a[i]*b[i%4]/R, whose limbs are columns that are "+
			"not carried.")
	p, a, b, t := g.pointer("p", reg.RDI), g.pointer("a", reg.RAX), g.pointer("b", reg.RDX),
		g.pointer("t", reg.R10)
	left, halves := reg.RCX, reg.RSI
	g.MOVQ(I32(2), halves)
	g.Label("half")
	g.MOVQ(I32(4), left)
	g.Label("product")
	g.fetch(in(a, 0), x)
	g.fetch(in(b, 0), y)
	g.products(func(r reg.VecPhysical, c int) { g.VMOVDQU64(r, at(t, 64*c)) })
	g.fetch(in(a, block), x)
	g.fetch(in(b, block), y)
	g.mul2Ends(in(t, 0), in(a, 2*block), in(b, 2*block), func(c int, columns accumulators) {
		for i := range limbs {
			g.VMOVDQU64(columns.at(limbs+i), at(p, 8*block*c+64*i))
		}
	})
	g.ADDQ(I32(block), p)
	g.ADDQ(I32(3*block), a)
	g.ADDQ(I32(3*block), b)
	g.DECQ(left)
	g.JNE(LabelRef("product"))
	g.SUBQ(I32(4*3*block), b)
	g.DECQ(halves)
	g.JNE(LabelRef("half"))
	g.VZEROUPPER()
	g.RET()
}

// term is a block to add or subtract.
type term struct {
	minus bool
	at    Mem
}

// lineCombine computes, with the products r, m, n, k of its half, of z*(f + s*v + v*w) twice
//
//	g0: r + xi*(h1 + k)    h0: r + xi*(g2 + k)
//	g1: xi*h2 - k          h1: g0 - k             and n - m once
//	g2: h0 - r             h2: g1 - r             and n + m once
func (g *generator) lineCombine(begin beginning) {
	begin("lineCombine", "func(z, x *[2][6][8][8]uint64, p *[2][8][8][8]uint64)",
		"lineCombine sets z, which must not be x, to twice the product of x < 2p with a line, < "+
			"2p, from what lineProducts leaves of lineEvaluate and lineFactors.")
	zp, xp, pp := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI), g.pointer("p", reg.RDX)
	for half := range 2 {
		for c := range 2 {
			to := func(k int) Mem { return at(zp, (6*c+2*k+half)*block) }
			// coefficient of w^(2k+half-3), or without xi
			old := func(k, c int) Mem { return at(xp, (6*c+(2*k+half+3)%6)*block) }
			product := func(k, c int) Mem { return at(pp, (8*c+4*half+k)*block) }
			r, m, n, k := product(0, c), product(1, c), product(2, c), product(3, c)
			timesXi := func(of ...func(c int) Mem) (ts []term) { // coordinate c of xi times a sum
				for _, e := range of {
					ts = append(ts, term{false, e(0)}, term{c == 0, e(1)})
				}
				return ts
			}
			middle := []term{{false, old(1, c)}}
			if half == 0 {
				middle = timesXi(func(c int) Mem { return old(1, c) })
			}
			lowest := timesXi(func(c int) Mem { return old(0, c) },
				func(c int) Mem { return product(3, c) })
			g.coordinate(to(0), append(lowest, term{false, r}), nil)
			g.coordinate(to(1), append(middle, term{true, k}), []term{{false, n}, {true, m}})
			g.coordinate(to(2), []term{{false, old(2, c)}, {true, r}},
				[]term{{false, n}, {false, m}})
		}
	}
	g.VZEROUPPER()
	g.RET()
}

// coordinate stores the sum of twice some terms, the first of which is positive, and once others,
// reduced below 2*p.
func (g *generator) coordinate(to Mem, twice, once []term) {
	add := func(ts []term) {
		for _, t := range ts {
			for i := range x {
				if t.minus {
					g.VPSUBQ(t.at.Offset(64*i), x[i], x[i])
				} else {
					g.VPADDQ(t.at.Offset(64*i), x[i], x[i])
				}
			}
		}
	}
	for i := range x {
		g.VMOVDQU64(twice[0].at.Offset(64*i), x[i])
	}
	add(twice[1:])
	for i := range x {
		g.VPADDQ(x[i], x[i], x[i])
		g.VPADDQ_BCST(at(lineConsts, at16P+8*i), x[i], x[i])
	}
	add(once)
	g.tightenColumns(x, accumulators{y[:], x[:]})
	g.keep(x, func(i int) Mem { return to.Offset(64 * i) })
}

func (g *generator) mulAdd2Blocks(begin beginning) {
	g.multiplyThen(begin, "mulAdd2Blocks", "mulAdd2Blocks multiplies n > 0 blocks in the "+
		"quadratic extension and adds: z[i] = x[i]*y[i]/R + a[i].",
		func(columns accumulators, a Mem) {
			for i := range limbs {
				g.VPADDQ(a.Offset(64*i), columns.at(limbs+i), columns.at(limbs+i))
			}
			g.carryInto(x, columns, true, false)
		})
}

func (g *generator) mulSub2Blocks(begin beginning) {
	g.multiplyThen(begin, "mulSub2Blocks", "mulSub2Blocks multiplies n > 0 blocks in the "+
		"quadratic extension and subtracts: z[i] = x[i]*y[i]/R - a[i] < 2p for a[i] < 8p.",
		g.subtract)
}

// subtract leaves in x columns 8 to 15 less the block at a, reduced below 2*p.
func (g *generator) subtract(columns accumulators, a Mem) {
	for i := range limbs {
		g.VPADDQ_BCST(at(lineConsts, at16P+8*i), columns.at(limbs+i), columns.at(limbs+i))
		g.VPSUBQ(a.Offset(64*i), columns.at(limbs+i), columns.at(limbs+i))
	}
	g.tightenColumns(x, columns)
}

func (g *generator) multiplyThen(begin beginning, name, doc string,
	finish func(columns accumulators, a Mem)) {
	begin(name, "func(z0, z1, x0, x1, y0, y1, a0, a1 *[8][8]uint64, n int, t *[4][8][8]uint64)",
		doc)
	z := [2]reg.GPPhysical{g.pointer("z0", reg.RDI), g.pointer("z1", reg.RSI)}
	x0, x1 := g.pointer("x0", reg.RAX), g.pointer("x1", reg.RBX)
	y0, y1 := g.pointer("y0", reg.RDX), g.pointer("y1", reg.R9)
	a := [2]reg.GPPhysical{g.pointer("a0", reg.R11), g.pointer("a1", reg.R12)}
	t := g.pointer("t", reg.R10)
	g.eachBlock(func() {
		g.mul2(in(x0, 0), in(x1, 0), in(y0, 0), in(y1, 0), in(t, 0),
			func(c int, columns accumulators) {
				finish(columns, at(a[c], 0))
				g.store(x, z[c])
			})
	}, z[0], z[1], x0, x1, y0, y1, a[0], a[1])
}

// sqrSub2Blocks computes as sqr2Blocks does.
func (g *generator) sqrSub2Blocks(begin beginning) {
	begin("sqrSub2Blocks", "func(z0, z1, x0, x1, a0, a1 *[8][8]uint64, n int)",
		"sqrSub2Blocks squares n > 0 blocks in the quadratic extension and subtracts: z[i] = "+
			"x[i]^2/R - a[i] < 2p for x[i] < 2^14*p and a[i] < 8p.")
	z0, z1 := g.pointer("z0", reg.RDI), g.pointer("z1", reg.RSI)
	x0, x1 := g.pointer("x0", reg.RAX), g.pointer("x1", reg.RBX)
	a0, a1 := g.pointer("a0", reg.R11), g.pointer("a1", reg.R12)
	g.eachBlock(func() {
		g.sqr2(in(x0, 0), in(x1, 0), func(c int, columns accumulators) {
			g.subtract(columns, at([2]reg.GPPhysical{a0, a1}[c], 0))
			g.store(x, [2]reg.GPPhysical{z0, z1}[c])
		})
	}, z0, z1, x0, x1, a0, a1)
}

func (g *generator) normBlocks(begin beginning) {
	begin("normBlocks", "func(z, x0, x1 *[8][8]uint64, n int)",
		"normBlocks computes norms: z[i] = (x0[i]^2 + x1[i]^2)/R for n > 0 blocks x0[i], x1[i] < "+
			"2^14*p.")
	z, x0, x1 := g.pointer("z", reg.RDI), g.pointer("x0", reg.RAX), g.pointer("x1", reg.RBX)
	g.eachBlock(func() {
		g.norm(in(x0, 0), in(x1, 0))
		g.store(x, z)
	}, z, x0, x1)
}

func (g *generator) mulSubBlocks(begin beginning) {
	begin("mulSubBlocks", "func(z, x, y, a *[8][8]uint64, n int)",
		"mulSubBlocks multiplies n > 0 blocks and subtracts: z[i] = x[i]*y[i]/R - a[i] < 2p for "+
			"a[i] < 8p.")
	z, xp, yp, a := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI), g.pointer("y", reg.RDX),
		g.pointer("a", reg.RBX)
	g.eachBlock(func() {
		g.load(xp, x)
		g.load(yp, y)
		g.multiplyRows(func(r reg.VecPhysical, _ int) { g.clear(r) })
		g.reductionLast(ring)
		g.subtract(ring, at(a, 0))
		g.store(x, z)
	}, z, xp, yp, a)
}

func (g *generator) sqrSubBlocks(begin beginning) {
	begin("sqrSubBlocks", "func(z, x, a *[8][8]uint64, n int)",
		"sqrSubBlocks squares n > 0 blocks and subtracts: z[i] = x[i]^2/R - a[i] < 2p for a[i] < "+
			"8p.")
	z, xp, a := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI), g.pointer("a", reg.RBX)
	g.eachBlock(func() {
		g.load(xp, x)
		squares := g.squares()
		for c := range limbs - 1 {
			g.reductionRow(squares, c)
		}
		g.reductionLast(squares)
		g.subtract(squares, at(a, 0))
		g.store(x, z)
	}, z, xp, a)
}
