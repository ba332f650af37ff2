package doubles

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Routines that move words between blocks and elsewhere, whatever they mean, in vectors of four.
// Those in vectors of eight are the same for limbs of another kind; see ../fp381.

const lanes = 8

func (g *generator) moves() {
	g.selectBlocks()
	g.zeroBlocks()
	g.oddBlocks()
	g.gatherBlocks()
	g.scatterBlocks()
}

func at(base reg.Register, offset int) Mem { return Mem{Base: base, Disp: offset} }

// eachBlock repeats body for n blocks, at least one, and moves the pointers on.
func (g *generator) eachBlock(body func(), pointers ...reg.GPPhysical) {
	n := g.pointer("n", reg.RCX)
	g.Label("block")
	body()
	for _, r := range pointers {
		g.ADDQ(I32(block), r)
	}
	g.DECQ(n)
	g.JNE(LabelRef("block"))
	g.VZEROUPPER()
	g.RET()
}

// bitsOf is where the table has four words with bits first to first + 3.
func (g *generator) bitsOf(first int) Mem {
	at := constantBytes * len(g.at)
	g.at[uint64(first)|1<<63] = at // no double that programs name
	for i := range 4 {
		g.AddDatum(at+8*i, U64(1<<(first+i)))
	}
	return Mem{Base: consts, Disp: at}
}

func (g *generator) selectBlocks() {
	low, high := g.bitsOf(0), g.bitsOf(4)
	g.function("selectBlocks", "func(z, x, y *[8][8]uint64, m *uint8, n, step int)",
		"takes, in n > 0 blocks, lane l of x[i] where bit l of m[i] is set, and of y[i] elsewhere.")
	zp, xp, yp := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI), g.pointer("y", reg.RDX)
	step, mp := g.pointer("step", reg.RBX), g.pointer("m", reg.R9)
	g.VMOVDQU(low, reg.Y14)
	g.VMOVDQU(high, reg.Y15)
	g.eachBlock(func() {
		g.VPBROADCASTB(at(mp, 0), reg.Y0)
		g.VPAND(reg.Y14, reg.Y0, reg.Y12)
		g.VPAND(reg.Y15, reg.Y0, reg.Y13)
		g.VPCMPEQQ(reg.Y14, reg.Y12, reg.Y12)
		g.VPCMPEQQ(reg.Y15, reg.Y13, reg.Y13)
		for i := range limbs {
			for half, mask := range []reg.VecPhysical{reg.Y12, reg.Y13} {
				offset, v := row*i+32*half, reg.Y0
				if i%2 == 1 {
					v = reg.Y1
				}
				g.VMOVUPD(at(yp, offset), v)
				g.VBLENDVPD(mask, at(xp, offset), v, v)
				g.VMOVUPD(v, at(zp, offset))
			}
		}
		g.INCQ(mp)
		g.ADDQ(step, yp)
	}, zp, xp)
}

// test makes a function that sets a mask: half leaves in a register a vector whose signs are bits
// of it.
func (g *generator) test(
	name, doc string, half func(xp reg.GPPhysical, offset int, v reg.VecPhysical),
) {
	g.function(name, "func(m *uint8, x *[8][8]uint64, n int)", doc)
	mp, xp := g.pointer("m", reg.RDI), g.pointer("x", reg.RSI)
	g.eachBlock(func() {
		half(xp, 0, reg.Y0)
		g.VMOVMSKPD(reg.Y0, reg.EAX)
		half(xp, 32, reg.Y0)
		g.VMOVMSKPD(reg.Y0, reg.EDX)
		g.SHLL(U8(4), reg.EDX)
		g.ORL(reg.EDX, reg.EAX)
		g.MOVB(reg.AL, at(mp, 0))
		g.INCQ(mp)
	}, xp)
}

func (g *generator) zeroBlocks() {
	g.test("zeroBlocks", "sets bit l of m[i] if all words of lane l of block i are zero.",
		func(xp reg.GPPhysical, offset int, v reg.VecPhysical) {
			g.VMOVDQU(at(xp, offset), v)
			for i := 1; i < limbs; i++ {
				g.VPOR(at(xp, offset+row*i), v, v)
			}
			g.VPXOR(reg.Y1, reg.Y1, reg.Y1)
			g.VPCMPEQQ(reg.Y1, v, v)
		})
}

func (g *generator) oddBlocks() {
	g.test("oddBlocks", "sets bit l of m[i] if the first word of lane l of block i is odd.",
		func(xp reg.GPPhysical, offset int, v reg.VecPhysical) {
			g.VMOVDQU(at(xp, offset), v)
			g.VPSLLQ(U8(63), v, v)
		})
}

var ys = [lanes]reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7}

// transpose leaves in Y4 to Y7 the columns of the four rows in Y0 to Y3.
func (g *generator) transpose() {
	g.VUNPCKLPD(reg.Y1, reg.Y0, reg.Y8)
	g.VUNPCKHPD(reg.Y1, reg.Y0, reg.Y9)
	g.VUNPCKLPD(reg.Y3, reg.Y2, reg.Y10)
	g.VUNPCKHPD(reg.Y3, reg.Y2, reg.Y11)
	g.VPERM2F128(U8(0x20), reg.Y10, reg.Y8, reg.Y4)
	g.VPERM2F128(U8(0x20), reg.Y11, reg.Y9, reg.Y5)
	g.VPERM2F128(U8(0x31), reg.Y10, reg.Y8, reg.Y6)
	g.VPERM2F128(U8(0x31), reg.Y11, reg.Y9, reg.Y7)
}

// addresses sets four registers to the rows that a block's indices name from lane on.
func (g *generator) addresses(rows, index reg.GPPhysical, lane int) (of [4]reg.GPPhysical) {
	of = [4]reg.GPPhysical{reg.R9, reg.R10, reg.R11, reg.R12}
	for l, r := range of {
		g.MOVLQSX(at(index, 4*(lane+l)), r)
		g.SHLQ(U8(6), r)
		g.ADDQ(rows, r)
	}
	return of
}

func (g *generator) gatherBlocks() {
	g.function("gatherBlocks", "func(z *[8][8]uint64, rows *[8]uint64, index *int32, n int)",
		"fills n > 0 blocks: lane l of z[i] is row index[8i+l].")
	zp, rows := g.pointer("z", reg.RDI), g.pointer("rows", reg.RSI)
	index := g.pointer("index", reg.RDX)
	g.eachBlock(func() {
		for lane := 0; lane < lanes; lane += 4 {
			from := g.addresses(rows, index, lane)
			for word := 0; word < limbs; word += 4 {
				for l, r := range from {
					g.VMOVUPD(at(r, 8*word), ys[l])
				}
				g.transpose()
				for i := range 4 {
					g.VMOVUPD(ys[4+i], at(zp, row*(word+i)+8*lane))
				}
			}
		}
		g.ADDQ(I32(4*lanes), index)
	}, zp)
}

func (g *generator) scatterBlocks() {
	g.function("scatterBlocks", "func(rows *[8]uint64, index *int32, x *[8][8]uint64, n int)",
		"is the inverse of gatherBlocks: row index[8i+l] is lane l of x[i], for n > 0 blocks.")
	rows, xp := g.pointer("rows", reg.RDI), g.pointer("x", reg.RSI)
	index := g.pointer("index", reg.RDX)
	g.eachBlock(func() {
		for lane := 0; lane < lanes; lane += 4 {
			to := g.addresses(rows, index, lane)
			for word := 0; word < limbs; word += 4 {
				for i := range 4 {
					g.VMOVUPD(at(xp, row*(word+i)+8*lane), ys[i])
				}
				g.transpose()
				for l, r := range to {
					g.VMOVUPD(ys[4+l], at(r, 8*word))
				}
			}
		}
		g.ADDQ(I32(4*lanes), index)
	}, xp)
}
