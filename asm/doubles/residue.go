package doubles

import (
	"math/big"
	"slices"

	"github.com/mmcloughlin/avo/reg"
)

// residue is limbs, and in units of p what their value is less than in magnitude.
type residue struct {
	number
	below float64
}

// tight is what tightening leaves: half of p, and what rounding a quotient may add.
const tight = 0.501

// limit bounds the top limb of x by its value, and what the limbs below come to.
func (p *program) limit(x number, below float64) residue {
	under := 0.0
	for _, v := range x[:p.limbs-1] {
		under = (under + p.upTo(v)) * p.shift()
	}
	top := x[p.limbs-1]
	p.bound(top, min(p.upTo(top), below/p.top()+under+1))
	return residue{x, below}
}

// given is a residue in memory, with limbs as carries of all at once leave them.
func (p *program) given(base reg.Register, offset int, below float64) residue {
	x := p.load(base, offset)
	for _, v := range x {
		p.bound(v, mostGiven)
	}
	return p.limit(x, below)
}

// mostGiven is what kernels/poseidon2 checks, in a build that checks.
const mostGiven = 1<<(digits254-1) + 1<<4

// constantAt is a tight residue in a table, limb after limb, one in all lanes.
func (p *program) constantAt(base reg.Register, offset int) residue {
	x := p.new()
	for i := range x {
		x[i] = p.Broadcast(base, offset+constantBytes*i)
		p.bound(x[i], power(p.digits-1))
	}
	return p.limit(x, tight)
}

// constant is a tight residue known here.
func (p *program) constant(v *big.Int) residue {
	v = new(big.Int).Mod(v, p.modulus)
	if new(big.Int).Lsh(v, 1).Cmp(p.modulus) > 0 {
		v.Sub(v, p.modulus)
	}
	return residue{p.number(p.limbsOf(v)), tight}
}

func (p *program) sum(x, y residue) residue {
	return p.limit(p.add(x.number, y.number), x.below+y.below)
}

// short is x with limbs carried.
func (p *program) short(x residue) residue { return p.limit(p.carry(x.number), x.below) }

// save checks that limbs are no longer than what is given, and stores them at once.
func (p *program) save(x residue, base reg.Register, offset int) {
	for _, v := range x.number {
		if p.upTo(v) > mostGiven {
			panic("doubles: a limb is too long to be stored")
		}
	}
	p.put(x.number, base, offset)
}

// tightened is the limbs x of a value less than below·p, less the multiple of p next to it. What a
// quotient misses by the carries that are still to come is nothing beside a top limb.
func (p *program) tightened(x number, below float64) residue {
	return p.limit(p.carry(p.reduced(x, below)), tight)
}

// reduced is tightened without its carry. Where a limb has room its product with the quotient is
// taken off at once: a multiply-add is exact if its result is. Of the top limb it is, for little is
// left of it.
func (p *program) reduced(x number, below float64) number {
	q := p.nearest(x[p.limbs-1])
	most := float64(int(below + 0.51))
	p.bound(q, most)
	m := p.number(p.limbsOf(p.modulus))
	t := over(slices.Clone(x))
	for i := range x {
		at, left := p.limbs+i, p.upTo(x[i])+most*p.upTo(m[i])
		switch {
		case i == p.limbs-1:
			left = tight/p.top() + 2*exact*p.shift()
			fallthrough
		case left <= exact:
			t.low[at] = p.SubMul(q, m[i], x[i])
			p.bound(t.low[at], left)
		default:
			p.product(&t, at, q, m[i], true)
		}
	}
	return p.upper(&t)
}

// divided clears the lower half of columns, which are a value less than below·p·R, R = 2^255.
func (p *program) divided(t *columns, below float64) (x number, bound float64) {
	for _, step := range []struct{ c, n int }{{0, 2}, {2, 1}, {3, 1}} {
		p.clear(t, step.c, step.n)
		k, _ := new(big.Float).SetInt(p.multiplier(uint(p.digits * step.n))).Float64()
		below += max(k, -k) * power(p.digits*step.n-1+p.digits*step.c-p.digits*p.limbs)
	}
	p.clearOne(t, p.limbs-1)
	return p.upper(t), below + 0.5 + 1./1024 // limbs of quotients may be a little longer
}

// ratio is p/R.
func (p *program) ratio() float64 {
	r := new(big.Int).Lsh(big.NewInt(1), uint(p.digits*p.limbs))
	f, _ := new(big.Rat).SetFrac(p.modulus, r).Float64()
	return f
}

func (p *program) times(x, y residue) (number, float64) {
	t := noColumns()
	p.products(&t, x.number, y.number, false)
	return p.divided(&t, x.below*y.below*p.ratio())
}

func (p *program) squared(x residue) residue {
	t := noColumns()
	p.squares(&t, x.number)
	z, below := p.divided(&t, x.below*x.below*p.ratio())
	return p.limit(p.carry(z), below)
}

// power5 is x^5, tight.
func (p *program) power5(x residue) residue {
	return p.tightened(p.times(x, p.squared(p.squared(x))))
}

// weighted is x times the five residues d, one for each limb of x, and what is added, tight.
func (p *program) weighted(x residue, d [limbs254]residue, add residue) residue {
	t := noColumns()
	copy(t.low[1:], add.number)
	for j := range p.limbs {
		for i := range p.limbs {
			p.product(&t, j, x.number[i], d[i].number[j], false)
		}
	}
	p.clearOne(&t, 0)
	below := 0.5 + add.below
	for i := range p.limbs {
		below += p.upTo(x.number[i]) * d[i].below * p.shift()
	}
	return p.tightened(p.from(&t, 1), below+1./1024)
}

// m4 multiplies by the matrix with rows 5 7 1 3, 4 6 1 1, 1 3 5 7 and 1 1 4 6.
func (p *program) m4(x [4]residue) [4]residue {
	twice := func(v residue) residue { return p.sum(v, v) }
	ab, cd := p.sum(x[0], x[1]), p.sum(x[2], x[3])
	b := p.short(p.sum(twice(x[1]), cd)) // 2b + c + d
	d := p.short(p.sum(twice(x[3]), ab)) // 2d + a + b
	ab, cd = twice(p.short(twice(ab))), twice(p.short(twice(cd)))
	b1, d1 := p.sum(ab, b), p.sum(cd, d) // 4a + 6b + c + d, a + b + 4c + 6d
	return [4]residue{p.sum(d, b1), b1, p.sum(b, d1), d1}
}

// sums adds elements up, and carries them in time.
type sums struct {
	residue
	terms int
}

func (p *program) more(s *sums, x residue) {
	if s.number == nil {
		s.residue = x
		return
	}
	if s.terms++; s.terms == 6 {
		s.residue, s.terms = p.short(s.residue), 0
	}
	s.residue = p.sum(s.residue, x)
}

// ended is their sum, tight.
func (p *program) ended(s sums) residue {
	x := p.short(s.residue)
	return p.tightened(x.number, x.below)
}
