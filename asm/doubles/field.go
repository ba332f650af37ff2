package doubles

import (
	"github.com/mmcloughlin/avo/reg"

	"github.com/waybill-network/waybill/asm/straight"
)

var unary = []parameter{{"z", reg.RDI, nil}, {"x", reg.RSI, nil}}

var binary = []parameter{{"z", reg.RDI, nil}, {"x", reg.RSI, nil}, {"y", reg.RDX, reg.RBX}}

const (
	unaryArgs  = "func(z, x *[8][8]uint64, n int)"
	binaryArgs = "func(z, x, y *[8][8]uint64, n, step int)"
)

func (g *generator) fieldRoutines() {
	g.productsOfOne()
	g.perBlock("addBlocks", binaryArgs,
		"adds n > 0 blocks: z[i] = x[i] + y[i]. step is as in mulBlocks.",
		binary, func(p *program) {
			p.store(p.carry(p.add(p.load(reg.RSI, 0), p.load(reg.RDX, 0))), reg.RDI, 0)
		})
	g.perBlock("subBlocks", binaryArgs,
		"subtracts n > 0 blocks: z[i] = x[i] - y[i]. step is as in mulBlocks.",
		binary, func(p *program) {
			p.store(p.carry(p.sub(p.load(reg.RSI, 0), p.load(reg.RDX, 0))), reg.RDI, 0)
		})
	g.perBlock("tightenBlocks", unaryArgs,
		"subtracts multiples of p from n > 0 blocks: z[i] = x[i] - q*p, tight.",
		unary, func(p *program) {
			t := over(p.load(reg.RSI, 0))
			p.tighten(&t)
			p.store(p.carry(p.upper(&t)), reg.RDI, 0)
		})
	g.perBlock("limbBlocks", unaryArgs,
		"makes limbs of n > 0 blocks of words: z[i] = x[i], whose words are integers below 2^49.",
		unary, func(p *program) {
			x := p.load(reg.RSI, 0)
			for i := range x {
				x[i] = p.Sub(p.Or(x[i], p.g.bits(p.Program, exponent)), p.double(power(52)))
			}
			p.store(p.carry(x), reg.RDI, 0)
		})
	g.perBlock("wordBlocks", unaryArgs,
		"is the inverse of limbBlocks: z[i] = x[i] mod p in words that are integers below 2^49.",
		unary, func(p *program) {
			t := over(p.load(reg.RSI, 0))
			p.tighten(&t)
			x := p.canonical(p.upper(&t))
			for i := range x {
				x[i] = p.And(p.Add(x[i], p.double(power(52))), p.g.bits(p.Program, 1<<52-1))
			}
			p.store(x, reg.RDI, 0)
		})
}

// productsOfOne makes the routines with one product.
func (g *generator) productsOfOne() {
	g.perBlock("mulBlocks", binaryArgs,
		"multiplies n > 0 blocks: z[i] = x[i]*y[i]/R. The y are step bytes apart: 512, or 0 for one.",
		binary, func(p *program) {
			p.store(p.multiply(p.load(reg.RSI, 0), p.load(reg.RDX, 0)), reg.RDI, 0)
		})
	g.perBlock("sqrBlocks", unaryArgs, "squares n > 0 blocks: z[i] = x[i]*x[i]/R.",
		unary, func(p *program) { p.store(p.square(p.load(reg.RSI, 0)), reg.RDI, 0) })
	x, y, a := parameter{"x", reg.RSI, nil}, parameter{"y", reg.RDX, nil}, parameter{"a", reg.RAX, nil}
	z := parameter{"z", reg.RDI, nil}
	g.perBlock("mulSubBlocks", "func(z, x, y, a *[8][8]uint64, n int)",
		"multiplies n > 0 blocks and subtracts: z[i] = x[i]*y[i]/R - a[i], tight.",
		[]parameter{z, x, y, a}, func(p *program) {
			t := noColumns()
			p.products(&t, p.of(x), p.of(y), false)
			p.reduce(&t)
			p.into(z, p.less(&t, p.of(a)))
		})
	g.perBlock("sqrSubBlocks", "func(z, x, a *[8][8]uint64, n int)",
		"squares n > 0 blocks and subtracts: z[i] = x[i]*x[i]/R - a[i], tight.",
		[]parameter{z, x, a}, func(p *program) {
			t := noColumns()
			p.squares(&t, p.of(x))
			p.reduce(&t)
			p.into(z, p.less(&t, p.of(a)))
		})
}

func (p *program) multiply(x, y number) number {
	t := noColumns()
	p.products(&t, x, y, false)
	p.reduce(&t)
	return p.carry(p.upper(&t))
}

func (p *program) square(x number) number {
	t := noColumns()
	p.squares(&t, x)
	p.reduce(&t)
	return p.carry(p.upper(&t))
}

// less is columns 8 to 15 less a, tight.
func (p *program) less(t *columns, a number) number {
	for i := range a {
		t.low[limbs+i] = p.minusOf(p.total(t, limbs+i), a[i])
	}
	p.tighten(t)
	return p.carry(p.upper(t))
}

// minusOf is a − b, where a may be none.
func (p *program) minusOf(a, b straight.Value) straight.Value {
	if a == none {
		a = p.double(0)
	}
	return p.Sub(a, b)
}
