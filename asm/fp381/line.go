package main

import (
	"math/big"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const lineDoc = `
LINES. A value z = g + h*w of Fp12 = Fp2[w]/(w^6 - xi), g and h in Fp6 = Fp2[v], v = w^2, v^3 = xi = 1 + u, becomes
2*z*(f - s*v + v*w). As a polynomial of v, g*(f - s*v) has degree 3: it is interpolated from its values r0 at 0, m at -1, n at 1,
and from r3 = g2*s, with four products in Fp2. The doubling saves halving:

    2*g*(f - s*v) = 2*r0 + (n - m + 2*r3)*v + (n + m - 2*r0)*v^2 - 2*r3*v^3.

lineFactors and lineEvaluate lay out the factors, mul2Blocks multiplies them, and lineCombine puts the products together and
adds 2*z*v*w, all of that in limbs that are carried once, when 32*p have been added and a multiple of p subtracted.

    For z < 2*p and products < 4*p a coordinate lies between -16*p and 20*p, so what is reduced lies between 16*p and 52*p. Its
    limbs are sums of at most eleven of 52 bits, and what is carried into the top limb v7 is between -12 and 12. The quotient
    q = floor((v7 - 16) * floor(2^52/(t+1)) / 2^52) is then never too large, and too small by less than 1 + 93/t: the result is
    less than 1.01*p. Subtracted is q*p in the form of q*(2^416 - p), whose part above 2^416 is masked away.
`

// Where the constants lie, in bytes from R9.
const (
	atTwo        = 0   // 2*p
	atThirtyTwo  = 64  // 32*p
	atComplement = 128 // 2^416 - p
	atSlack      = 192
	lineSlack    = 16
)

var lineConsts = reg.R9

// lines makes the functions of products with lines.
func (g *generator) lines() {
	constants := g.StaticGlobal("lineConstants")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	complement := new(big.Int).Lsh(big.NewInt(1), 52*limbs)
	for k, v := range []*big.Int{new(big.Int).Lsh(modulus(), 1), new(big.Int).Lsh(modulus(), 5), complement.Sub(complement, modulus())} {
		for i := range limbs {
			g.AddDatum(64*k+8*i, limb(v, i))
		}
	}
	g.AddDatum(atSlack, U64(lineSlack))
	begin := func(name, signature, doc string) {
		g.function(name, signature, doc)
		g.LEAQ(constants, lineConsts)
	}
	g.lineFactors(begin)
	g.lineEvaluate(begin)
	g.lineCombine(begin)
}

// threePoints stores the values at -1 and 1 of a polynomial: sum, in x, is that of the even coefficients and odd that of the
// odd ones, less than 2*p.
func (g *generator) threePoints(odd Mem, minus, plus Mem) {
	for i := range limbs {
		g.VMOVDQU64(odd.Offset(64*i), q[i])
		g.VPADDQ_BCST(at(lineConsts, atTwo+8*i), x[i], y[i])
		g.VPSUBQ(q[i], y[i], y[i])
		g.VPADDQ(q[i], x[i], x[i])
	}
	g.carry(y, true, true)
	for i := range limbs {
		g.VMOVDQU64(y[i], minus.Offset(64*i))
	}
	g.carry(x, false, true)
	for i := range limbs {
		g.VMOVDQU64(x[i], plus.Offset(64*i))
	}
}

func (g *generator) lineFactors(begin func(name, signature, doc string)) {
	begin("lineFactors", "func(b *[2][4][8][8]uint64, f0, f1, s0, s1 *[8][8]uint64)",
		"lineFactors lays out f, f + s, f - s and s, the values of f - s*v at 0, -1, 1 and, less its sign, infinity, for f and s < 2p. b[c] is coordinate c.")
	b := g.pointer("b", reg.RDI)
	for c, names := range [2][2]string{{"f0", "s0"}, {"f1", "s1"}} {
		f, s := g.pointer(names[0], reg.RSI), g.pointer(names[1], reg.RDX)
		out := func(k int) Mem { return at(b, (4*c+k)*block) }
		for i := range limbs {
			g.VMOVDQU64(at(f, 64*i), x[i])
			g.VMOVDQU64(x[i], out(0).Offset(64*i))
			g.VMOVDQU64(at(s, 64*i), q[i])
			g.VMOVDQU64(q[i], out(3).Offset(64*i))
		}
		g.threePoints(at(s, 0), out(2), out(1))
	}
	g.VZEROUPPER()
	g.RET()
}

func (g *generator) lineEvaluate(begin func(name, signature, doc string)) {
	begin("lineEvaluate", "func(a *[2][8][8][8]uint64, z *[2][6][8][8]uint64)",
		"lineEvaluate lays out the values of g at 0, -1, 1 and infinity, then those of h, for z < 2p. a[c] and z[c] are coordinates c; z[c][k] is the coefficient of w^k.")
	a, z := g.pointer("a", reg.RDI), g.pointer("z", reg.RSI)
	for c := range 2 {
		for half := range 2 {
			out := func(k int) Mem { return at(a, (8*c+4*half+k)*block) }
			in := func(k int) Mem { return at(z, (6*c+2*k+half)*block) }
			for i := range limbs {
				g.VMOVDQU64(in(0).Offset(64*i), x[i])
				g.VMOVDQU64(x[i], out(0).Offset(64*i))
				g.VMOVDQU64(in(2).Offset(64*i), q[i])
				g.VMOVDQU64(q[i], out(3).Offset(64*i))
				g.VPADDQ(q[i], x[i], x[i])
			}
			g.threePoints(in(1), out(1), out(2))
		}
	}
	g.VZEROUPPER()
	g.RET()
}

// term is a block to add or subtract.
type term struct {
	minus bool
	at    Mem
}

// lineCombine computes, with the products r0, m, n, r3 of its half, of z*(f - s*v + v*w) twice
//
//	g0: r0 + xi*(h1 - r3)    h0: r0 + xi*(g2 - r3)
//	g1: r3 + xi*h2           h1: r3 + g0             and n - m once
//	g2: h0 - r0              h2: g1 - r0             and n + m once
func (g *generator) lineCombine(begin func(name, signature, doc string)) {
	begin("lineCombine", "func(z, x *[2][6][8][8]uint64, p *[2][8][8][8]uint64)",
		"lineCombine sets z, which must not be x, to twice the product of x with a line, < 2p, from the products p < 4p of what lineEvaluate and lineFactors leave. x < 2p.")
	zp, xp, pp := g.pointer("z", reg.RDI), g.pointer("x", reg.RSI), g.pointer("p", reg.RDX)
	for half := range 2 {
		for c := range 2 {
			old := func(k, c int) Mem { return at(xp, (6*c+(2*k+half+3)%6)*block) } // coefficient of w^(2k+half-3)
			r := func(k, c int) Mem { return at(pp, (8*c+4*half+k)*block) }
			timesXi := func(k int, subtract ...Mem) (ts []term) { // coordinate c of xi*(old k - subtract)
				for d := range 2 {
					minus := c == 0 && d == 1
					ts = append(ts, term{minus, old(k, d)})
					if subtract != nil {
						ts = append(ts, term{!minus, subtract[d]})
					}
				}
				return ts
			}
			wraps := func(k int) bool { return 2*k+half < 3 }
			plain := func(k int) []term {
				if wraps(k) {
					return timesXi(k)
				}
				return []term{{false, old(k, c)}}
			}
			g.coordinate(at(zp, (6*c+half)*block), append([]term{{false, r(0, c)}}, timesXi(0, r(3, 0), r(3, 1))...), nil)
			g.coordinate(at(zp, (6*c+2+half)*block), append([]term{{false, r(3, c)}}, plain(1)...), []term{{false, r(2, c)}, {true, r(1, c)}})
			g.coordinate(at(zp, (6*c+4+half)*block), append(plain(2), term{true, r(0, c)}), []term{{false, r(2, c)}, {false, r(1, c)}})
		}
	}
	g.VZEROUPPER()
	g.RET()
}

// coordinate stores the sum of twice some terms, the first of which is positive, and once others, reduced below 1.01*p.
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
		g.VPADDQ_BCST(at(lineConsts, atThirtyTwo+8*i), x[i], x[i])
	}
	add(once)
	g.VPSUBQ_BCST(at(lineConsts, atSlack), x[7], scratch)
	g.clear(digit)
	g.VPMADD52HUQ_BCST(at(consts, atInverse), scratch, digit)
	for i := range x {
		g.VPMADD52LUQ_BCST(at(lineConsts, atComplement+8*i), digit, x[i])
	}
	for i := range limbs - 1 {
		g.VPMADD52HUQ_BCST(at(lineConsts, atComplement+8*i), digit, x[i+1])
	}
	g.carry(x, true, true)
	g.VPANDQ(mask, x[7], x[7])
	for i := range x {
		g.VMOVDQU64(x[i], to.Offset(64*i))
	}
}
