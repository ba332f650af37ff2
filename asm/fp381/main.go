// Command fp381 prints the AVX-512 IFMA assembly of kernels/fp381.
package main

import (
	"math/big"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/waybill-network/waybill/asm/emit"
)

const doc = `
The field of integers modulo p, the base field of BLS12-381, in eight lanes.

A block is eight field elements, limb after limb: one zmm register holds the same 52-bit limb of
eight elements, and eight registers hold a block. VPMADD52LUQ and VPMADD52HUQ add the low and the
high 52 bits of 52-bit products to 64-bit accumulators; they read the low 52 bits of a factor and
ignore what stands above.

MULTIPLICATION computes x*y/R modulo p with R = 2^416 in columns of weight 2^(52c), c = 0..15: each
has one accumulator for its partial products and for the carry of the column before. A row of eight
products, x times a limb of y or a digit q times a constant, goes to eight accumulators, so that
none waits for the latency of four cycles; rows of x*y alternate with those that clear a column.
What is not a multiply-add counts where a CPU issues two of them a cycle, for then all vector
operations share these ports: 16 carries, 7 masks, and no sum of chains.

    Let k = -1/p mod 2^52 and N = k*p, so that N = -1 mod 2^52. Adding q*N with q = the low limb of
    a sum makes that limb zero: the quotient digit is the limb itself and costs nothing. As N + 1 =
    2^52*M, what remains to be added one column to the left is q*M, and what is dropped, (limb - q),
    is zero. Columns 0 to 6 are cleared so. M < 2^379 has eight limbs. Column 7 is cleared with p
    itself, q = limb*k mod 2^52, for else the result would be as long as N.

    Multiplications: 128 for x*y, 7*16 for q*M, 17 for q and q*p: 257. Squaring: the 28 products of
    different limbs are added once and doubled by column: 201.

BOUNDS. For x < a*p, y < b*p: the columns 0..6 leave less than x*y/2^364 + N, the last one less than
x*y/2^416 + N/2^52 + p. As k < 2^50 that is x*y/2^416 + 1.25*p; and as p < 2^381, x*y/2^416 <
a*b*p/2^35. For a*b <= 2^32 the result is less than 1.4*p, and its limbs are less than 2^52. An
accumulated column is at most 32 products of 52 bits and a carry, less than 2^58.

THE EXTENSION: (x0 + x1*u)*(y0 + y1*u) after Gauss, with three products and two reductions: 642
multiplications instead of 771. The columns of (x0 + x1)*y0 wait in memory; with x0*(y1 - y0) they
are the second coordinate's, with x1*(-y0 - y1) the first's. So each coordinate is one sum of
products, and nothing is subtracted from columns. Negative factors get 2^14*p and 2^15*p: for x and
y < 2^14*p a coordinate is a sum of products less than 2^30*p^2, and is left less than 1.3*p.

TIGHTENING takes x < 2^16*p below 2p. Let t = floor(p / 2^364), the top limb of p, which has 17
bits, and let x7 be that of x. The quotient q = floor(x7 * floor(2^52/(t+1)) / 2^52), one high
product, is never too large, as p < (t+1)*2^364. It is too small by less than 2: by 1 for rounding
down, by x7/2^52 < 2^-18 for the rounded inverse, by less than 2^-18 for the limbs below x7, and by
x/p * 1/(t+1) < 2^16/106514 < 0.62. So x - q*p < 1.63*p.

TRANSPOSITION of eight rows of eight words, between elements row by row and a block: pairs of rows
are interleaved, then the quarters of 128 bits are moved in two rounds of shuffles.

REGISTERS in a multiplication:
    Z0..Z7    x, and limb by limb the result
    Z8..Z15   y
    Z16..Z27 the columns, in a ring: no more than eleven are alive at a time. The digits q are
    columns themselves (unmasked:
              the multiplier does not see what stands above 52 bits)
    Z28       the last digit;  Z30 scratch;  Z31 the mask 2^52-1
    R8        the constants M, p, k: broadcast from memory as they are used
A squaring has its columns in Z8..Z23.
`

// limbs of an element, and the bytes of a block.
const (
	limbs = 8
	block = 512
)

var (
	x, y, q = zmm(0), zmm(8), zmm(16)
	digit   = reg.Z28
	ring    = accumulators{q[:], {reg.Z24, reg.Z25, reg.Z26, reg.Z27}}
	scratch = reg.Z30
	mask    = reg.Z31
	consts  = reg.R8
)

func zmm(first int) (r [limbs]reg.VecPhysical) {
	all := []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	}
	copy(r[:], all[first:])
	return r
}

// Where the constants lie, in bytes from R8.
const (
	atM    = 0
	atP    = 64
	atK    = 128
	atMask = 136

	atInverse  = 144
	atMultiple = 152 // of p, by 2^14
	at2P       = 216
	at4P       = 280
	atMinusP   = 344 // modulo 2^416
	atLess     = 408
	at2To15P   = 416
)

type generator struct {
	*build.Context
	constants Mem
}

func main() {
	g := &generator{Context: build.NewContext()}
	g.ConstraintExpr("!purego")
	g.layConstants()
	g.mulBlocks()
	g.sqrBlocks()
	g.sqrMulBlocks()
	g.mul2Blocks()
	g.sqr2Blocks()
	g.addBlocks()
	g.subBlocks()
	g.tightenBlocks()
	g.reduceBlocks()
	g.selectBlocks()
	g.testBlocks("zeroBlocks", "zeroBlocks sets bit l of m[i] if lane l of block i is the "+
		"integer 0, all limbs of it, and clears it otherwise.", g.isZero)
	g.testBlocks("oddBlocks", "oddBlocks sets bit l of m[i] if lane l of block i is an odd "+
		"integer, and clears it otherwise.", g.isOdd)
	g.gatherBlocks()
	g.scatterBlocks()
	g.chordBlocks()
	g.sumBlocks()
	g.chord2Blocks()
	g.sum2Blocks()
	g.issueRounds()
	g.lines()
	emit.Avo(g.Context, "fp381", doc+lineDoc)
}

// layConstants computes M, p and k and lays them into the read-only data.
func (g *generator) layConstants() {
	p := modulus()
	word := new(big.Int).Lsh(big.NewInt(1), 52)
	k := new(big.Int).ModInverse(new(big.Int).Neg(p), word)
	m := new(big.Int).Mul(k, p)
	m.Add(m, big.NewInt(1)).Rsh(m, 52)
	g.constants = g.StaticGlobal("constants")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range limbs {
		g.AddDatum(atM+8*i, limb(m, i))
	}
	for i := range limbs {
		g.AddDatum(atP+8*i, limb(p, i))
	}
	g.AddDatum(atK, limb(k, 0))
	g.AddDatum(atMask, U64(1<<52-1))
	top := new(big.Int).Rsh(p, 52*(limbs-1))
	g.AddDatum(atInverse, limb(new(big.Int).Div(word, top.Add(top, big.NewInt(1))), 0))
	for _, table := range []struct {
		at    int
		value *big.Int
	}{
		{atMultiple, new(big.Int).Lsh(p, 14)},
		{at2P, new(big.Int).Lsh(p, 1)},
		{at4P, new(big.Int).Lsh(p, 2)},
		{atMinusP, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 52*limbs), p)},
	} {
		for i := range limbs {
			g.AddDatum(table.at+8*i, limb(table.value, i))
		}
	}
	top.Rsh(p, 52*(limbs-1))
	g.AddDatum(atLess, limb(new(big.Int).Div(word, top.Add(top, big.NewInt(slack))), 0))
	for i := range limbs {
		g.AddDatum(at2To15P+8*i, limb(new(big.Int).Lsh(p, 15), i))
	}
}

func modulus() *big.Int {
	p, _ := new(big.Int).SetString(
		"1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16)
	return p
}

func limb(v *big.Int, i int) U64 {
	return U64(new(big.Int).Rsh(v, uint(52*i)).Uint64() & (1<<52 - 1))
}

func (g *generator) function(name, signature, doc string) {
	g.Function(name)
	g.Attributes(attr.NOSPLIT)
	g.SignatureExpr(signature)
	g.Doc(doc)
	g.LEAQ(g.constants, consts)
	g.VPBROADCASTQ(at(consts, atMask), mask)
}

// pointer loads a parameter into a register.
func (g *generator) pointer(name string, r reg.GPPhysical) reg.GPPhysical {
	g.Load(g.Param(name), r)
	return r
}

func at(base reg.Register, offset int) Mem { return Mem{Base: base, Disp: offset} }

func (g *generator) load(from reg.Register, to [limbs]reg.VecPhysical) {
	for i, z := range to {
		g.VMOVDQU64(at(from, 64*i), z)
	}
}

func (g *generator) store(from [limbs]reg.VecPhysical, to reg.Register) {
	for i, z := range from {
		g.VMOVDQU64(z, at(to, 64*i))
	}
}

// eachBlock repeats body for n blocks, at least one, and moves the pointers on.
func (g *generator) eachBlock(body func(), pointers ...reg.GPPhysical) {
	g.eachBlockThen(body, func() {}, pointers...)
}

// eachBlockThen is eachBlock of a function that returns something.
func (g *generator) eachBlockThen(body, then func(), pointers ...reg.GPPhysical) {
	n := g.pointer("n", reg.RCX)
	g.Label("block")
	body()
	for _, r := range pointers {
		g.ADDQ(I32(block), r)
	}
	g.DECQ(n)
	g.JNE(LabelRef("block"))
	then()
	g.VZEROUPPER()
	g.RET()
}

func (g *generator) mulBlocks() {
	g.function("mulBlocks", "func(z, x, y *[8][8]uint64, n, step int)",
		"mulBlocks multiplies n > 0 blocks: z[i] = x[i]*y[i]/R. step is the distance of the y in "+
			"bytes: 512, or 0 for one y.")
	zp, xp, yp, step := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI), g.pointer("y", reg.RDX),
		g.pointer("step", reg.RBX)
	g.eachBlock(func() {
		g.load(xp, x)
		g.load(yp, y)
		g.multiply(true)
		g.store(x, zp)
		g.ADDQ(step, yp)
	}, zp, xp)
}

func (g *generator) sqrBlocks() {
	g.function("sqrBlocks", "func(z, x *[8][8]uint64, n int)",
		"sqrBlocks squares n > 0 blocks: z[i] = x[i]*x[i]/R.")
	zp, xp := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI)
	g.eachBlock(func() {
		g.load(xp, x)
		g.square(true)
		g.store(x, zp)
	}, zp, xp)
}

// sqrMulBlocks takes the blocks by turns, squaring by squaring: one squaring waits for the one
// before, and a CPU that issues two multiply-adds a cycle would wait with it.
func (g *generator) sqrMulBlocks() {
	g.function("sqrMulBlocks", "func(z, x, y *[8][8]uint64, n, blocks int)",
		"sqrMulBlocks raises blocks > 0 blocks to the power 2^n, n > 0, and multiplies them: "+
			"z[i] = x[i]^(2^n) * y[i].")
	z, x0, y0, n, blocks := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI),
		g.pointer("y", reg.RDX), g.pointer("n", reg.RCX), g.pointer("blocks", reg.RBX)
	each := func(name string, body func(), pointers ...reg.GPPhysical) {
		g.MOVQ(z, reg.R9)
		g.MOVQ(blocks, reg.R10)
		g.Label(name)
		body()
		for _, r := range append(pointers, reg.R9) {
			g.ADDQ(I32(block), r)
		}
		g.DECQ(reg.R10)
		g.JNE(LabelRef(name))
	}
	g.Label("round")
	each("square", func() {
		g.load(x0, x)
		g.square(false)
		g.store(x, reg.R9)
	}, x0)
	g.MOVQ(z, x0)
	g.DECQ(n)
	g.JNE(LabelRef("round"))
	each("multiply", func() {
		g.load(reg.R9, x)
		g.load(y0, y)
		g.multiply(true)
		g.store(x, reg.R9)
	}, y0)
	g.VZEROUPPER()
	g.RET()
}

// addCarrying adds a block to x. The limbs keep their carries above bit 52 too, which
// multiplications do not see.
func (g *generator) addCarrying(other operand, x [limbs]reg.VecPhysical) {
	for i := range x {
		g.VPADDQ(other(i), x[i], x[i])
	}
	g.carry(x, false, false)
}

// carry adds what stands above or, signed, below 52 bits of a limb of x to the next, and removes it
// there if clean.
func (g *generator) carry(x [limbs]reg.VecPhysical, signed, clean bool) {
	for i := range limbs - 1 {
		if signed {
			g.VPSRAQ(U8(52), x[i], scratch)
		} else {
			g.VPSRLQ(U8(52), x[i], scratch)
		}
		if clean {
			g.VPANDQ(mask, x[i], x[i])
		}
		g.VPADDQ(scratch, x[i+1], x[i+1])
	}
}

func (g *generator) addBlocks() {
	g.function("addBlocks", "func(z, x, y *[8][8]uint64, n, step int)",
		"addBlocks adds n > 0 blocks as integers: z[i] = x[i] + y[i] < 2^416. step is as in "+
			"mulBlocks.")
	zp, xp, yp, step := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI), g.pointer("y", reg.RDX),
		g.pointer("step", reg.RBX)
	g.eachBlock(func() {
		g.load(xp, x)
		for i := range x {
			g.VPADDQ(at(yp, 64*i), x[i], x[i])
		}
		g.carry(x, false, true)
		g.store(x, zp)
		g.ADDQ(step, yp)
	}, zp, xp)
}

func (g *generator) subBlocks() {
	g.function("subBlocks", "func(z, x, y *[8][8]uint64, n, step int, multiple *[8]uint64)",
		"subBlocks subtracts n > 0 blocks as integers: z[i] = x[i] + multiple - y[i], which must "+
			"be in [0, 2^416). step is as in mulBlocks.")
	zp, xp, yp, step := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI), g.pointer("y", reg.RDX),
		g.pointer("step", reg.RBX)
	mp := g.pointer("multiple", reg.R9)
	for i := range limbs {
		g.VPBROADCASTQ(at(mp, 8*i), y[i])
	}
	g.eachBlock(func() {
		for i := range x {
			g.VPADDQ(at(xp, 64*i), y[i], x[i])
			g.VPSUBQ(at(yp, 64*i), x[i], x[i])
		}
		g.carry(x, true, true)
		g.store(x, zp)
		g.ADDQ(step, yp)
	}, zp, xp)
}

// tighten leaves in x, limb by limb, y - q*p for the largest quotient q that the top limb of y lets
// be sure of; q[i] holds p. See the header.
func (g *generator) tighten() {
	g.clear(digit)
	g.VPMADD52HUQ_BCST(at(consts, atInverse), y[7], digit)
	for i := range x {
		product := ring[1][i%len(ring[1])]
		g.clear(product)
		g.VPMADD52LUQ(q[i], digit, product)
		if i > 0 {
			g.VPMADD52HUQ(q[i-1], digit, product)
		}
		g.VPSUBQ(product, y[i], x[i])
	}
	g.carry(x, true, true)
}

func (g *generator) tightenBlocks() {
	g.function("tightenBlocks", "func(z, x *[8][8]uint64, n int)",
		"tightenBlocks subtracts multiples of p: z[i] = x[i] - q*p < 2p for n > 0 blocks x[i] < "+
			"2^16*p.")
	g.reducing(func() {})
}

func (g *generator) reduceBlocks() {
	g.function("reduceBlocks", "func(z, x *[8][8]uint64, n int)",
		"reduceBlocks divides: z[i] = x[i] mod p for n > 0 blocks x[i] < 2^16*p.")
	g.reducing(func() {
		for i := range x {
			g.VMOVDQA64(x[i], y[i])
			g.VPSUBQ(q[i], x[i], x[i])
		}
		g.carry(x, true, true)
		g.VPMOVQ2M(x[7], reg.K1) // negative: it was less than p
		for i := range x {
			g.VMOVDQA64(y[i], reg.K1, x[i])
		}
	})
}

// reducing tightens n blocks and does what comes then.
func (g *generator) reducing(then func()) {
	zp, xp := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI)
	for i := range limbs {
		g.VPBROADCASTQ(at(consts, atP+8*i), q[i])
	}
	g.eachBlock(func() {
		g.load(xp, y)
		g.tighten()
		then()
		g.store(x, zp)
	}, zp, xp)
}

func (g *generator) selectBlocks() {
	g.function("selectBlocks", "func(z, x, y *[8][8]uint64, m *uint8, n, step int)",
		"selectBlocks takes, in n > 0 blocks, lane l of x[i] where bit l of m[i] is set and of "+
			"y[i] elsewhere. step is as in mulBlocks.")
	zp, xp, yp, step := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI), g.pointer("y", reg.RDX),
		g.pointer("step", reg.RBX)
	mp := g.pointer("m", reg.R9)
	g.eachBlock(func() {
		g.KMOVB(at(mp, 0), reg.K1)
		g.load(yp, x)
		for i := range x {
			g.VMOVDQU64(at(xp, 64*i), reg.K1, x[i])
		}
		g.store(x, zp)
		g.INCQ(mp)
		g.ADDQ(step, yp)
	}, zp, xp)
}

// testBlocks makes a function that sets a mask from blocks: test leaves it in K1.
func (g *generator) testBlocks(name, doc string, test func(xp reg.GPPhysical)) {
	g.function(name, "func(m *uint8, x *[8][8]uint64, n int)", doc)
	mp, xp := g.pointer("m", reg.RDI), g.pointer("x", reg.RSI)
	g.eachBlock(func() {
		test(xp)
		g.KMOVB(reg.K1, at(mp, 0))
		g.INCQ(mp)
	}, xp)
}

func (g *generator) isZero(xp reg.GPPhysical) {
	g.VMOVDQU64(at(xp, 0), x[0])
	for i := range limbs - 1 {
		g.VPORQ(at(xp, 64*(i+1)), x[0], x[0])
	}
	g.VPTESTNMQ(x[0], x[0], reg.K1)
}

func (g *generator) isOdd(xp reg.GPPhysical) {
	g.VMOVDQU64(at(xp, 0), x[0])
	g.VPSLLQ(U8(63), x[0], x[0])
	g.VPMOVQ2M(x[0], reg.K1)
}

// transpose transposes x, by way of y.
func (g *generator) transpose() {
	for i := 0; i < limbs; i += 2 {
		g.VPUNPCKLQDQ(x[i+1], x[i], y[i])
		g.VPUNPCKHQDQ(x[i+1], x[i], y[i+1])
	}
	for odd := range 2 {
		g.VSHUFI64X2(U8(0x88), y[odd+2], y[odd], q[0])
		g.VSHUFI64X2(U8(0xdd), y[odd+2], y[odd], q[1])
		g.VSHUFI64X2(U8(0x88), y[odd+6], y[odd+4], q[2])
		g.VSHUFI64X2(U8(0xdd), y[odd+6], y[odd+4], q[3])
		g.VSHUFI64X2(U8(0x88), q[2], q[0], x[odd])
		g.VSHUFI64X2(U8(0x88), q[3], q[1], x[odd+2])
		g.VSHUFI64X2(U8(0xdd), q[2], q[0], x[odd+4])
		g.VSHUFI64X2(U8(0xdd), q[3], q[1], x[odd+6])
	}
}

// eachRow calls move for the eight rows that a block's indices name, with the register and the
// address.
func (g *generator) eachRow(rows, index reg.GPPhysical, move func(z reg.VecPhysical, row Mem)) {
	for i, z := range x {
		g.MOVLQSX(at(index, 4*i), reg.RAX)
		g.SHLQ(U8(6), reg.RAX)
		move(z, Mem{Base: rows, Index: reg.RAX, Scale: 1})
	}
}

func (g *generator) gatherBlocks() {
	g.function("gatherBlocks", "func(z *[8][8]uint64, rows *[8]uint64, index *int32, n int)",
		"gatherBlocks fills n > 0 blocks: lane l of z[i] is row index[8i+l].")
	zp, rows, index := g.pointer("z", reg.RDI), g.pointer("rows", reg.RSI),
		g.pointer("index", reg.RDX)
	g.eachBlock(func() {
		g.eachRow(rows, index, func(z reg.VecPhysical, row Mem) { g.VMOVDQU64(row, z) })
		g.transpose()
		g.store(x, zp)
		g.ADDQ(I32(4*limbs), index)
	}, zp)
}

func (g *generator) scatterBlocks() {
	g.function("scatterBlocks", "func(rows *[8]uint64, index *int32, x *[8][8]uint64, n int)",
		"scatterBlocks is the inverse of gatherBlocks: row index[8i+l] is lane l of x[i], for n "+
			"> 0 blocks.")
	rows, index, xp := g.pointer("rows", reg.RDI), g.pointer("index", reg.RDX),
		g.pointer("x", reg.RSI)
	g.eachBlock(func() {
		g.load(xp, x)
		g.transpose()
		g.eachRow(rows, index, func(z reg.VecPhysical, row Mem) { g.VMOVDQU64(z, row) })
		g.ADDQ(I32(4*limbs), index)
	}, xp)
}

// perRound is how many multiply-adds issueRounds issues a round: a few for each of 24 accumulators,
// so that none waits for the one before and the loop itself costs nothing.
const perRound = 96

func (g *generator) issueRounds() {
	g.function("issueRounds", "func(n int)", "issueRounds issues n > 0 rounds of 96 independent "+
		"multiply-adds, to learn how many the CPU can.")
	for i := range 24 {
		g.VPXORQ(zmm24(i), zmm24(i), zmm24(i))
	}
	g.eachBlock(func() {
		for i := range perRound {
			g.VPMADD52LUQ(mask, mask, zmm24(i%24))
		}
	})
}

func zmm24(i int) reg.VecPhysical { return zmm(i / limbs * limbs)[i%limbs] }
