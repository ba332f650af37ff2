package doubles

import (
	"github.com/mmcloughlin/avo/reg"
)

// put is store for blocks that the program does not load.
func (p *program) put(x number, base reg.Register, offset int) {
	for i := range x {
		p.Put(x[i], base, offset+row*i)
	}
}

func (g *generator) lineRoutines() {
	g.lineFactors()
	g.lineEvaluate()
	g.lineCombine()
}

func (g *generator) lineFactors() {
	b := reg.RDI
	f := [2]parameter{{"f0", reg.RSI, nil}, {"f1", reg.RAX, nil}}
	s := [2]parameter{{"s0", reg.RDX, nil}, {"s1", reg.RBX, nil}}
	g.perBlock("lineFactors", "func(b *[2][8][8][8]uint64, f0, f1, s0, s1 *[8][8]uint64)",
		"lays out f, f - s, f + s and s, f + s*v at 0, -1, 1 and infinity, for both halves.",
		[]parameter{{"b", b, nil}, f[0], f[1], s[0], s[1]}, func(p *program) {
			for c := range 2 {
				f, s := p.of(f[c]), p.of(s[c])
				for point, v := range []number{f, p.carry(p.sub(f, s)), p.carry(p.add(f, s)), s} {
					p.put(v, b, block*(8*c+point))
					p.put(v, b, block*(8*c+4+point))
				}
			}
		})
}

func (g *generator) lineEvaluate() {
	a, z := reg.RDI, reg.RSI
	g.perBlock("lineEvaluate", "func(a *[2][8][8][8]uint64, z *[2][6][8][8]uint64)",
		"lays out the values of g at 0, -1, 1 and infinity, then h's. z[c][k] is coordinate c of w^k's.",
		[]parameter{{"a", a, nil}, {"z", z, nil}}, func(p *program) {
			for c := range 2 {
				for half := range 2 {
					of := func(k int) number { return p.load(z, block*(6*c+2*k+half)) }
					even, odd := p.add(of(0), of(2)), of(1)
					minus, plus := p.carry(p.sub(even, odd)), p.carry(p.add(even, odd))
					for point, v := range []number{of(0), minus, plus, of(2)} {
						p.put(v, a, block*(8*c+4*half+point))
					}
				}
			}
		})
}

// lineCombine computes, with the products r, m, n, k of its half, of z*(f + s*v + v*w) twice
//
//	g0: r + xi*(h1 + k)    h0: r + xi*(g2 + k)
//	g1: xi*h2 - k          h1: g0 - k             and n - m once
//	g2: h0 - r             h2: g1 - r             and n + m once
func (g *generator) lineCombine() {
	zp, xp, pp := reg.RDI, reg.RSI, reg.RDX
	g.perBlock("lineCombine", "func(z, x *[2][6][8][8]uint64, p *[2][8][8][8]uint64)",
		"sets z, which must not be x, to twice the product of x with a line, tight, from products p.",
		[]parameter{{"z", zp, nil}, {"x", xp, nil}, {"p", pp, nil}}, func(p *program) {
			for half := range 2 {
				for c := range 2 {
					old := func(k, c int) number { return p.load(xp, block*(6*c+(2*k+half+3)%6)) }
					product := func(k, c int) number { return p.load(pp, block*(8*c+4*half+k)) }
					r, m, n, k := product(0, c), product(1, c), product(2, c), product(3, c)
					timesXi := func(of func(c int) number) number { // coordinate c of xi times it
						if c == 0 {
							return p.sub(of(0), of(1))
						}
						return p.add(of(0), of(1))
					}
					put := func(k int, v number) {
						t := over(v)
						p.tighten(&t)
						p.put(p.carry(p.upper(&t)), zp, block*(6*c+2*k+half))
					}
					lowest := p.add(
						timesXi(func(c int) number { return old(0, c) }),
						timesXi(func(c int) number { return product(3, c) }))
					lowest = p.add(lowest, r)
					put(0, p.add(lowest, lowest))
					middle := old(1, c)
					if half == 0 {
						middle = timesXi(func(c int) number { return old(1, c) })
					}
					middle = p.sub(middle, k)
					put(1, p.sub(p.add(p.add(middle, middle), n), m))
					highest := p.sub(old(2, c), r)
					put(2, p.add(p.add(p.add(highest, highest), n), m))
				}
			}
		})
}
