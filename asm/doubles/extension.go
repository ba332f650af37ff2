package doubles

import (
	"github.com/mmcloughlin/avo/reg"
)

// Operands in the extension, by their registers.
var (
	z0 = parameter{"z0", reg.RDI, nil}
	z1 = parameter{"z1", reg.RSI, nil}
	x0 = parameter{"x0", reg.RAX, nil}
	x1 = parameter{"x1", reg.RBX, nil}
	y0 = parameter{"y0", reg.RDX, nil}
	y1 = parameter{"y1", reg.R9, nil}
	a0 = parameter{"a0", reg.R10, nil}
	a1 = parameter{"a1", reg.R12, nil}
)

func (p *program) of(x parameter) number { return p.load(x.reg, 0) }

func (p *program) into(z parameter, x number) { p.store(x, z.reg, 0) }

func (g *generator) extensionRoutines() {
	g.productRoutines()
	g.perBlock("sqr2Blocks", "func(z0, z1, x0, x1 *[8][8]uint64, n int)",
		"squares n > 0 blocks in the extension: z[i] = x[i]*x[i]/R.",
		[]parameter{z0, z1, x0, x1}, func(p *program) {
			t0, t1 := p.square2(p.of(x0), p.of(x1))
			p.into(z0, p.carry(p.upper(&t0)))
			p.into(z1, p.carry(p.upper(&t1)))
		})
	g.perBlock("sqrSub2Blocks", "func(z0, z1, x0, x1, a0, a1 *[8][8]uint64, n int)",
		"squares n > 0 blocks in the extension and subtracts: z[i] = x[i]*x[i]/R - a[i], tight.",
		[]parameter{z0, z1, x0, x1, a0, a1}, func(p *program) {
			t0, t1 := p.square2(p.of(x0), p.of(x1))
			p.into(z0, p.less(&t0, p.of(a0)))
			p.into(z1, p.less(&t1, p.of(a1)))
		})
	g.perBlock("normBlocks", "func(z, x0, x1 *[8][8]uint64, n int)",
		"adds the squares of n > 0 blocks: z[i] = (x0[i]*x0[i] + x1[i]*x1[i])/R.",
		[]parameter{{"z", reg.RDI, nil}, x0, x1}, func(p *program) {
			t := noColumns()
			p.squares(&t, p.of(x0))
			p.gather(&t)
			p.squares(&t, p.of(x1))
			p.settleMiddle(&t)
			p.reduce(&t)
			p.store(p.carry(p.upper(&t)), reg.RDI, 0)
		})
}

// productRoutines makes those of products, which differ in what is done with their columns.
func (g *generator) productRoutines() {
	product := func(
		name, doc, args string, operands []parameter,
		finish func(p *program, t *columns, a parameter) number,
	) {
		g.perBlock(name, "func("+args+" *[8][8]uint64, n int)", doc, operands, func(p *program) {
			p.multiply2(p.of(x0), p.of(x1), p.of(y0), p.of(y1), func(coordinate int, t *columns) {
				z, a := z0, a0
				if coordinate == 1 {
					z, a = z1, a1
				}
				p.into(z, finish(p, t, a))
			})
		})
	}
	two := []parameter{z0, z1, x0, x1, y0, y1}
	three := append(append([]parameter{}, two...), a0, a1)
	product("mul2Blocks", "multiplies n > 0 blocks in the extension: z[i] = x[i]*y[i]/R.",
		"z0, z1, x0, x1, y0, y1", two,
		func(p *program, t *columns, _ parameter) number { return p.carry(p.upper(t)) })
	product("mulAdd2Blocks",
		"multiplies n > 0 blocks in the extension and adds: z[i] = x[i]*y[i]/R + a[i].",
		"z0, z1, x0, x1, y0, y1, a0, a1", three,
		func(p *program, t *columns, a parameter) number { return p.carry(p.add(p.upper(t), p.of(a))) })
	product("mulSub2Blocks",
		"multiplies n > 0 blocks in the extension and subtracts: z[i] = x[i]*y[i]/R - a[i], tight.",
		"z0, z1, x0, x1, y0, y1, a0, a1", three,
		func(p *program, t *columns, a parameter) number { return p.less(t, p.of(a)) })
}

// multiply2 multiplies in the extension, with three products after Gauss, and calls end with the
// columns of each coordinate.
func (p *program) multiply2(x0, x1, y0, y1 number, end func(coordinate int, t *columns)) {
	t := noColumns()
	p.products(&t, p.carry(p.add(x0, x1)), y0, false)
	p.gather(&t)
	for coordinate, other := range []number{x1, x0} {
		t := t
		if coordinate == 0 {
			p.products(&t, other, p.carry(p.add(y0, y1)), true)
		} else {
			p.products(&t, other, p.carry(p.sub(y1, y0)), false)
		}
		p.settleMiddle(&t)
		p.reduce(&t)
		end(coordinate, &t)
	}
}

// settleMiddle carries the columns in which two products are longest.
func (p *program) settleMiddle(t *columns) {
	for c := limbs - 1; c <= limbs+1; c++ {
		p.settle(t, c)
	}
}

// square2 squares in the extension: (x0 + x1)·(x0 − x1) and 2·x0·x1.
func (p *program) square2(x0, x1 number) (t0, t1 columns) {
	t0, t1 = noColumns(), noColumns()
	p.products(&t0, p.carry(p.add(x0, x1)), p.carry(p.sub(x0, x1)), false)
	p.reduce(&t0)
	p.products(&t1, p.carry(p.add(x0, x0)), x1, false)
	p.reduce(&t1)
	return t0, t1
}
