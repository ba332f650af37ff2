// Command poseidon2 prints the AVX-512 IFMA assembly of kernels/poseidon2.
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
Poseidon2 of width 16 over the integers modulo p, the order of BN254's groups, in eight lanes.

A block is eight field elements, one of each of eight states, limb after limb: one zmm register
holds the same 52-bit limb of eight elements, and five registers hold a block. VPMADD52LUQ and
VPMADD52HUQ add the low and the high 52 bits of 52-bit products to 64-bit accumulators; they read
the low 52 bits of a factor and ignore what stands above. x stands for x*R modulo p with R = 2^260 =
84.6*p. A state is sixteen blocks.

MULTIPLICATION computes x*y/R modulo p. Each of the columns of weight 2^(52c), c = 0..9, is one
accumulator. The partial products come first, then the columns 0 to 4 are cleared in turn, each
after the carry of the one before.

    Let k = -1/p mod 2^52 and N = k*p, so that N = -1 mod 2^52. Adding q*N with q = the low limb of
    a column makes that limb zero: the quotient digit is the limb itself and costs nothing. As N + 1
    = 2^52*M, what remains to be added from one column further on is q*M, and what is dropped, (limb
    - q), is zero. Columns 0 to 3 are cleared so. M < 2^254 has five limbs. Column 4 is cleared with
    p itself, q = limb*k mod 2^52, for else the result would be as long as N.

    Multiplications: 50 for x*y, 4*10 for q*M, 11 for q and q*p: 101. Squaring: the 10 products of
    different limbs are added once and doubled: 81.

    For x < a*p, y < b*p the result is less than x*y/R + N*2^208/R + p; as k < 0.123*2^52 that is
    (a*b/84.6 + 1.123)*p.

PRODUCT WITH A CONSTANT d, in the internal rounds: x*d = sum of x_i*D_i/2^52 modulo p, over the
limbs x_i, with the residues D_i = d*2^(52*(i+1)) mod p: 50 multiplications, but the sum is only six
limbs long. One column is cleared, with p: 11. It is less than 5*2^52*p before that and 6*p after.
What is to be added to it is where the columns begin.

TIGHTENING takes a sum x < 2^11*p to below 1.1p. Its columns may have carries, less than 2^11 each.
Let t = floor(p/2^208), the top limb of p, which has 46 bits, c = floor(2^60/(t+1)) = 21668, and x4
the top limb of x. q = floor(floor(x4/2^8) * c / 2^52) is never too large, for c*p = (1 - d)*2^268
with d = 0.00002. It is too small by less than 1.05: by 1 for rounding down, by 2^11*d, and by next
to nothing for what is below x4. What is added is q*(2^260 - p), so that columns only grow;
multiples of 2^260 are masked off the top limb. That may be done before the carries: x - q*p >= d*x,
of which the top limb, when q > 0, is more than 2^29 and so more than what they will bring.

EXTERNAL MATRIX: M4 and the sums over the fours limb by limb, 48 + 28 additions and shifts for
sixteen elements, without carries. The sum of a row of the matrix is at most 80. From states of
values below 16*p, what packing leaves, come sums less than 1280*p. Then round keys are added and
every element is tightened.

INTERNAL ROUNDS. With y = x0^5 and s = y + x1 + ... + x15 the new elements are d0*y + s and di*xi +
s. The next S-box waits for nothing but the first of them. So the products of one round are computed
between the three multiplications of the next S-box and hide their latency. s is tightened and not
carried. xi < 7.1*p, x0 < 8.1*p with the next key, y < 1.3*p, and the sum is less than 108*p.

REGISTERS
    Z0..Z9    the columns
    Z10..Z14  x
    Z15..Z19  y, and the quotient digit that is not a column
    Z20       scratch
    Z21..Z25  the sum of x1 ... x15 of the next round
    Z26..Z30  s
    Z31       the mask 2^52-1
    R8        the constants: broadcast from memory as they are used
`

// limbs of an element, elements of a state, and their bytes.
const (
	limbs = 5
	width = 16
	block = 64 * limbs
	words = 8 * limbs // of a constant
)

var (
	columns = zmm[:2*limbs]
	x       = zmm[10:15]
	y       = zmm[15:20]
	digit   = y[0]
	scratch = zmm[20]
	sum     = zmm[21:26]
	s       = zmm[26:31]
	mask    = zmm[31]
	consts  = reg.R8
)

var zmm = []reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
	reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

// Where the constants lie, in bytes from R8.
const (
	atM       = 0
	atP       = atM + words
	atMinusP  = atP + words
	atK       = atMinusP + words
	atInverse = atK + 8
	atMask    = atInverse + 8
	atStates  = atMask + 8
)

type generator struct {
	*build.Context
	constants Mem
}

func main() {
	g := &generator{Context: build.NewContext()}
	g.ConstraintExpr("!purego")
	g.layConstants()
	g.packStates()
	g.mulBlocks()
	g.sqrBlocks()
	g.external()
	g.internal()
	emit.Avo(g.Context, "poseidon2", doc)
}

// layConstants computes M, p, 2^260-p, k and the inverse of p's top limb and lays them into the
// read-only data.
func (g *generator) layConstants() {
	p, _ := new(big.Int).SetString(
		"30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001", 16)
	power := func(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }
	one := big.NewInt(1)
	k := new(big.Int).ModInverse(new(big.Int).Neg(p), power(52))
	m := new(big.Int).Mul(k, p)
	m.Add(m, one).Rsh(m, 52)
	top := new(big.Int).Rsh(p, 52*(limbs-1))
	g.constants = g.StaticGlobal("constants")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, c := range []struct {
		at    int
		value *big.Int
	}{{atM, m}, {atP, p}, {atMinusP, new(big.Int).Sub(power(52*limbs), p)}} {
		for i := range limbs {
			g.AddDatum(c.at+8*i, U64(new(big.Int).Rsh(c.value, uint(52*i)).Uint64()&(1<<52-1)))
		}
	}
	g.AddDatum(atK, U64(k.Uint64()))
	g.AddDatum(atInverse, U64(new(big.Int).Div(power(60), top.Add(top, one)).Uint64()))
	g.AddDatum(atMask, U64(1<<52-1))
	for lane := range 8 {
		g.AddDatum(atStates+8*lane, U64(lane*width*32))
	}
}

func (g *generator) function(name, signature, doc string) {
	g.Function(name)
	g.Attributes(attr.NOSPLIT)
	g.SignatureExpr(signature)
	g.Doc(doc)
	g.LEAQ(g.constants, consts)
	g.VPBROADCASTQ(at(consts, atMask), mask)
}

func (g *generator) end() {
	g.VZEROUPPER()
	g.RET()
}

// pointer loads a parameter into a register.
func (g *generator) pointer(name string, r reg.GPPhysical) reg.GPPhysical {
	g.Load(g.Param(name), r)
	return r
}

// repeat emits body as a loop over n, which is at least 1.
func (g *generator) repeat(label string, n reg.GPPhysical, body func()) {
	g.Label(label)
	body()
	g.DECQ(n)
	g.JNE(LabelRef(label))
}

func at(base reg.Register, offset int) Mem { return Mem{Base: base, Disp: offset} }

func (g *generator) load(from reg.Register, to []reg.VecPhysical) {
	for i, z := range to {
		g.VMOVDQU64(at(from, 64*i), z)
	}
}

func (g *generator) store(from []reg.VecPhysical, to reg.Register) {
	for i, z := range from {
		g.VMOVDQU64(z, at(to, 64*i))
	}
}

func (g *generator) clear(zs ...reg.VecPhysical) {
	for _, z := range zs {
		g.VPXORQ(z, z, z)
	}
}

// carry propagates what stands above 52 bits of x, but not out of its last limb.
func (g *generator) carry(x []reg.VecPhysical) {
	for i := range len(x) - 1 {
		g.VPSRLQ(U8(52), x[i], scratch)
		g.VPANDQ(mask, x[i], x[i])
		g.VPADDQ(scratch, x[i+1], x[i+1])
	}
}

// addMultiple adds q times the constant at an offset to z, which has a limb more, or drops the
// topmost half product.
func (g *generator) addMultiple(q reg.VecPhysical, base reg.Register, offset int,
	z []reg.VecPhysical) {
	for j := range limbs {
		g.VPMADD52LUQ_BCST(at(base, offset+8*j), q, z[j])
	}
	for j := range min(limbs, len(z)-1) {
		g.VPMADD52HUQ_BCST(at(base, offset+8*j), q, z[j+1])
	}
}

// clearColumn adds the multiple of p to z that makes its lowest limb zero, and the carry of that to
// the next one.
func (g *generator) clearColumn(z []reg.VecPhysical) {
	g.clear(digit)
	g.VPMADD52LUQ_BCST(at(consts, atK), z[0], digit)
	g.addMultiple(digit, consts, atP, z)
	g.VPSRLQ(U8(52), z[0], scratch)
	g.VPADDQ(scratch, z[1], z[1])
}

// reduce leaves the value of the columns divided by R in the upper five.
func (g *generator) reduce() (result []reg.VecPhysical) {
	for i := range limbs - 1 {
		if i > 0 {
			g.VPSRLQ(U8(52), columns[i-1], scratch)
			g.VPADDQ(scratch, columns[i], columns[i])
		}
		g.addMultiple(columns[i], consts, atM, columns[i+1:])
	}
	g.VPSRLQ(U8(52), columns[limbs-2], scratch)
	g.VPADDQ(scratch, columns[limbs-1], columns[limbs-1])
	g.clearColumn(columns[limbs-1:])
	g.carry(columns[limbs:])
	return columns[limbs:]
}

// multiply returns x*y/R.
func (g *generator) multiply() (result []reg.VecPhysical) {
	g.clear(columns...)
	for c := range 2 * limbs {
		for i := max(0, c-limbs+1); i <= min(limbs-1, c); i++ {
			g.VPMADD52LUQ(x[i], y[c-i], columns[c])
		}
		for i := max(0, c-limbs); i <= min(limbs-1, c-1); i++ {
			g.VPMADD52HUQ(x[i], y[c-1-i], columns[c])
		}
	}
	return g.reduce()
}

// square returns x*x/R.
func (g *generator) square() (result []reg.VecPhysical) {
	g.clear(columns...)
	for c := range 2 * limbs {
		for i := max(0, c-limbs+1); i < c-i; i++ {
			g.VPMADD52LUQ(x[i], x[c-i], columns[c])
		}
		for i := max(0, c-limbs); i < c-1-i; i++ {
			g.VPMADD52HUQ(x[i], x[c-1-i], columns[c])
		}
		if 0 < c && c < 2*limbs-1 {
			g.VPADDQ(columns[c], columns[c], columns[c])
		}
		if c%2 == 0 {
			g.VPMADD52LUQ(x[c/2], x[c/2], columns[c])
		} else {
			g.VPMADD52HUQ(x[c/2], x[c/2], columns[c])
		}
	}
	return g.reduce()
}

func (g *generator) mulBlocks() {
	g.function("mulBlocks", "func(z, x, y *[5][8]uint64, n, step int)",
		"mulBlocks multiplies n > 0 blocks: z[i] = x[i]*y[i]/R. step is the distance of the y in "+
			"bytes, 320 or 0.")
	zp, xp := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI)
	yp, step := g.pointer("y", reg.RDX), g.pointer("step", reg.RBX)
	g.repeat("block", g.pointer("n", reg.RCX), func() {
		g.load(xp, x)
		g.load(yp, y)
		g.store(g.multiply(), zp)
		g.ADDQ(step, yp)
		g.ADDQ(I32(block), xp)
		g.ADDQ(I32(block), zp)
	})
	g.end()
}

func (g *generator) sqrBlocks() {
	g.function("sqrBlocks", "func(z, x *[5][8]uint64, n int)",
		"sqrBlocks squares n > 0 blocks: z[i] = x[i]*x[i]/R.")
	zp, xp := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI)
	g.repeat("block", g.pointer("n", reg.RCX), func() {
		g.load(xp, x)
		g.store(g.square(), zp)
		g.ADDQ(I32(block), xp)
		g.ADDQ(I32(block), zp)
	})
	g.end()
}

// packStates gathers the same word of eight states. 16*x is the value at R that x is at 2^256.
func (g *generator) packStates() {
	g.function("packStates", "func(z *[16][5][8]uint64, x *[4]uint64)",
		"packStates packs eight states of sixteen elements that stand one after the other, each "+
			"x*2^256 mod p in\n"+
			"four words. It leaves values less than 16p.")
	zp, xp := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI)
	w, offsets, low, high := zmm[0:4], zmm[4], zmm[5], zmm[6]
	g.VMOVDQU64(at(consts, atStates), offsets)
	g.MOVQ(I32(width), reg.RCX)
	g.repeat("element", reg.RCX, func() {
		for i, z := range w {
			g.KXNORB(reg.K1, reg.K1, reg.K1)
			g.VPGATHERQQ(Mem{Base: xp, Disp: 8 * i, Index: offsets, Scale: 1}, reg.K1, z)
		}
		for i := range limbs { // limb i holds the bits from 52*i-4 on
			switch i {
			case 0:
				g.VPSLLQ(U8(4), w[0], high)
			case limbs - 1:
				g.VPSRLQ(U8(12), w[3], high)
			default:
				g.VPSRLQ(U8(60-12*i), w[i-1], low)
				g.VPSLLQ(U8(4+12*i), w[i], high)
				g.VPORQ(low, high, high)
			}
			g.VPANDQ(mask, high, high)
			g.VMOVDQU64(high, at(zp, 64*i))
		}
		g.ADDQ(I32(32), xp)
		g.ADDQ(I32(block), zp)
	})
	g.end()
}

// external needs sixteen registers for one limb of a state, and four for the sums over the fours.
func (g *generator) external() {
	g.function("external", "func(x *[16][5][8]uint64, keys *[16][5]uint64)",
		"external multiplies eight states of values less than 16p by the external matrix and "+
			"adds round keys. It\n"+
			"leaves values less than 1.1p.")
	xp, keys := g.pointer("x", reg.RSI), g.pointer("keys", reg.RDX)
	g.MOVQ(xp, reg.RDI)
	g.MOVQ(I32(limbs), reg.RCX)
	g.repeat("limb", reg.RCX, func() {
		state, sums := zmm[:width], zmm[16:20]
		for i, z := range state {
			g.VMOVDQU64(at(reg.RDI, block*i), z)
		}
		for i := 0; i < width; i += 4 {
			g.m4(state[i:], zmm[20], zmm[21])
			for j, z := range sums {
				if i == 0 {
					g.VMOVDQA64(state[j], z)
				} else {
					g.VPADDQ(state[i+j], z, z)
				}
			}
		}
		for i, z := range state {
			g.VPADDQ(sums[i%4], z, z)
			g.VMOVDQU64(z, at(reg.RDI, block*i))
		}
		g.ADDQ(I32(64), reg.RDI)
	})
	g.MOVQ(I32(width), reg.RCX)
	g.repeat("element", reg.RCX, func() {
		g.load(xp, x)
		for i := range x {
			g.VPADDQ_BCST(at(keys, 8*i), x[i], x[i])
		}
		g.tighten(x)
		g.carry(x)
		g.VPANDQ(mask, x[limbs-1], x[limbs-1])
		g.store(x, xp)
		g.ADDQ(I32(block), xp)
		g.ADDQ(I32(words), keys)
	})
	g.end()
}

// m4 multiplies a, b, c, d by the matrix with rows 5 7 1 3, 4 6 1 1, 1 3 5 7 and 1 1 4 6.
func (g *generator) m4(v []reg.VecPhysical, ab, cd reg.VecPhysical) {
	a, b, c, d := v[0], v[1], v[2], v[3]
	g.VPADDQ(a, b, ab)
	g.VPADDQ(c, d, cd)
	g.VPADDQ(b, b, b)
	g.VPADDQ(cd, b, b) // 2b + c + d
	g.VPADDQ(d, d, d)
	g.VPADDQ(ab, d, d) // 2d + a + b
	g.VPSLLQ(U8(2), ab, ab)
	g.VPADDQ(b, ab, ab) // 4a + 6b + c + d
	g.VPSLLQ(U8(2), cd, cd)
	g.VPADDQ(d, cd, cd) // a + b + 4c + 6d
	g.VPADDQ(ab, d, a)
	g.VPADDQ(cd, b, c)
	g.VMOVDQA64(ab, b)
	g.VMOVDQA64(cd, d)
}

// tighten adds q*(2^260-p) to z; see the header. digit is q afterwards.
func (g *generator) tighten(z []reg.VecPhysical) {
	g.VPSRLQ(U8(8), z[limbs-1], scratch)
	g.clear(digit)
	g.VPMADD52HUQ_BCST(at(consts, atInverse), scratch, digit)
	g.addMultiple(digit, consts, atMinusP, z)
}

// internal needs n keys.
func (g *generator) internal() {
	const signature = "func(x *[16][5][8]uint64, t *[5][8]uint64, diagonal *[16][5][5]uint64, " +
		"keys *[5]uint64, n int, last *[16][5]uint64)"
	g.function("internal", signature,
		"internal computes n > 0 internal rounds of eight states, the first one from behind its "+
			"S-box: t is the fifth\n"+
			"power of x[0], which itself is not read. keys[i] is added to x[0] after round i, "+
			"last[1] ... last[15] to the\n"+
			"others after the last round. t is overwritten.")
	r := rounds{
		x: g.pointer("x", reg.RSI), diagonal: g.pointer("diagonal", reg.RDX),
		element: reg.RDI, factor: reg.R9, left: reg.RAX,
	}
	t, keys, n := g.pointer("t", reg.R10), g.pointer("keys", reg.RBX), g.pointer("n", reg.RCX)
	for i := 1; i < width; i++ {
		for j, z := range sum {
			if i == 1 {
				g.VMOVDQU64(at(r.x, block+64*j), z)
			} else {
				g.VPADDQ(at(r.x, block*i+64*j), z, z)
			}
		}
	}
	g.JMP(LabelRef("linear"))

	g.Label("round")
	g.rewind(r)
	g.load(r.x, x)
	g.store(g.square(), t)
	g.elements(r, "first", width/3, nil)
	g.load(t, x)
	g.store(g.square(), t)
	g.elements(r, "second", width/3, nil)
	g.load(r.x, x)
	g.load(t, y)
	g.store(g.multiply(), t)
	g.elements(r, "third", width/3, nil)

	g.Label("linear")
	g.load(t, x)
	for j := range s {
		g.VPADDQ(x[j], sum[j], s[j])
	}
	g.tighten(s)
	g.VPANDQ(mask, s[limbs-1], s[limbs-1])
	g.store(g.element(r.diagonal, keys), r.x)
	g.ADDQ(I32(words), keys)
	g.clear(sum...)
	g.DECQ(n)
	g.JNE(LabelRef("round"))

	g.Comment("The elements of the last round.")
	last := g.pointer("last", reg.R11)
	g.ADDQ(I32(words), last)
	g.rewind(r)
	g.elements(r, "last", width-1, last)
	g.end()
}

// rounds are the registers that the internal rounds keep or count in.
type rounds struct{ x, diagonal, element, factor, left reg.GPPhysical }

// rewind goes to element 1.
func (g *generator) rewind(r rounds) {
	g.LEAQ(at(r.x, block), r.element)
	g.LEAQ(at(r.diagonal, limbs*words), r.factor)
}

// elements computes the next n elements of a round, adds keys unless they are nil, and adds the
// elements to the sum.
func (g *generator) elements(r rounds, label string, n int, keys reg.Register) {
	g.MOVQ(I32(n), r.left)
	g.repeat(label, r.left, func() {
		g.load(r.element, x)
		result := g.element(r.factor, keys)
		g.store(result, r.element)
		for j, z := range sum {
			g.VPADDQ(result[j], z, z)
		}
		g.ADDQ(I32(block), r.element)
		g.ADDQ(I32(limbs*words), r.factor)
		if keys != nil {
			g.ADDQ(I32(words), keys)
		}
	})
}

// element returns x times the constant at d, plus s, plus a key unless keys is nil.
func (g *generator) element(d, keys reg.Register) (result []reg.VecPhysical) {
	z := columns[:limbs+1]
	g.clear(z[0])
	for j := range s {
		if keys == nil {
			g.VMOVDQA64(s[j], z[j+1])
		} else {
			g.VPADDQ_BCST(at(keys, 8*j), s[j], z[j+1])
		}
	}
	for i := range x {
		g.addMultiple(x[i], d, words*i, z)
	}
	g.clearColumn(z)
	g.carry(z[1:])
	return z[1:]
}
