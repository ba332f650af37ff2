package doubles

import (
	"testing"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// tracked is a program whose field has limbs of so many bits.
func tracked(digits int) *program {
	f := scalars254()
	f.digits = digits
	g := &generator{Context: build.NewContext(), constants: constants{map[uint64]int{}}, field: f}
	g.StaticGlobal("doubles")
	return g.tracked(func(*program) {})
}

// limbsOfMost loads a number whose limbs have a bound.
func (p *program) limbsOfMost(most float64) number {
	x := p.load(reg.RSI, 0)
	for _, v := range x {
		p.bound(v, most)
	}
	return x
}

// TestBounds shows that what could be inexact is not written, and what just is not is.
func TestBounds(t *testing.T) {
	half := power(digits254 - 1)
	for name, c := range map[string]struct {
		write   func(p *program, x number)
		most    float64
		refused bool
	}{
		"sum that fits": {func(p *program, x number) { p.Add(x[0], x[1]) }, exact / 2, false},
		"sum too long":  {func(p *program, x number) { p.Add(x[0], x[1]) }, exact/2 + 1, true},
		"difference":    {func(p *program, x number) { p.Sub(x[0], x[1]) }, exact/2 + 1, true},
		"product that fits": {func(p *program, x number) { p.times(residue{x, 1}, residue{x, 1}) },
			half, false},
		"product too long": {func(p *program, x number) { p.times(residue{x, 1}, residue{x, 1}) },
			2*half + 1, true},
		"halves":        {func(p *program, x number) { p.below(x[0], false) }, 3 * half, false},
		"halves beyond": {func(p *program, x number) { p.below(x[0], false) }, 3*half + 1, true},
		"not known": {func(p *program, x number) { p.Add(x[0], p.Load(reg.RSI, 1<<10)) }, 1,
			true},
		"not a multiple": {func(p *program, x number) { p.carried(x[0], x[1]) }, 1, true},
		"a high half lost": {func(p *program, x number) {
			t := noColumns()
			p.product(&t, 2*p.limbs-1, x[0], x[1], false)
			p.upper(&t)
		}, half, true},
		"too long for memory": {func(p *program, x number) {
			p.save(residue{x, 1}, reg.RSI, 0)
		}, mostGiven + 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := tracked(digits254)
			x := p.limbsOfMost(c.most)
			defer func() {
				if seen := recover(); (seen != nil) != c.refused {
					t.Errorf("refused: %v", seen)
				}
			}()
			c.write(p, x)
		})
	}
}

// TestLongColumns: four products of whole limbs need two sums of high halves, and eight low halves
// are carried.
func TestLongColumns(t *testing.T) {
	p := tracked(digits254)
	x := p.limbsOfMost(power(digits254 - 1))
	c := noColumns()
	for n := 1; n <= 40; n++ {
		p.product(&c, 0, x[0], x[1], false)
		if c.span[0] >= power(digits254+51) || p.upTo(c.low[0]) > exact || p.upTo(c.low[1]) > exact {
			t.Fatalf("%d products: %g, %g, %g", n, c.span[0], p.upTo(c.low[0]), p.upTo(c.low[1]))
		}
		if carried := c.low[1] != none; carried != (n > 3) {
			t.Fatalf("%d products, carried %v", n, carried)
		}
	}
}
