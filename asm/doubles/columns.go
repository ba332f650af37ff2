package doubles

import (
	"slices"

	"github.com/waybill-network/waybill/asm/straight"
)

// number is the limbs of one value.
type number []straight.Value

// none is no value yet: zero, or in a column of high halves B.
const none = straight.Value(-1)

// columns are sums of products. low[c] is what column c has but for high[c-1], the high halves of
// the products of the column before, in units of 2^digits above B. span is how far from B high may
// be.
type columns struct {
	low, high [2 * limbs]straight.Value
	span      [2 * limbs]float64
}

// program is a program of a generator.
type program struct {
	*straight.Program
	field
	bounds
	g *generator
}

func (p *program) new() number { return make(number, p.limbs) }

func (p *program) double(v float64) straight.Value {
	d := p.g.double(p.Program, v)
	p.bound(d, max(v, -v))
	return d
}

func noColumns() (t columns) {
	for c := range t.low {
		t.low[c], t.high[c] = none, none
	}
	return t
}

// product adds a·b to column c, or subtracts it.
func (p *program) product(t *columns, c int, a, b straight.Value, minus bool) {
	p.makeRoom(t, c, a, b)
	fused := p.MulAdd
	if minus {
		fused = p.SubMul
	}
	before := t.high[c]
	if before == none {
		before = p.double(p.base())
	}
	t.high[c] = fused(a, b, before)
	low := fused(a, b, p.Program.Sub(before, t.high[c]))
	p.bound(low, power(p.digits-1))
	t.low[c] = p.plus(t.low[c], low)
}

// plus is a + b, where a may be none.
func (p *program) plus(a, b straight.Value) straight.Value {
	if a == none {
		return b
	}
	return p.Add(a, b)
}

// carried is c + r/2^digits, where c may be none.
func (p *program) carried(r, c straight.Value) straight.Value {
	if c == none {
		c = p.double(0)
	}
	v := p.MulAdd(r, p.double(p.shift()), c)
	p.boundCarried(v, r, c)
	return v
}

// total gathers column c in its low half.
func (p *program) total(t *columns, c int) straight.Value {
	if c > 0 && t.high[c-1] != none {
		p.flush(t, c-1)
	}
	return t.low[c]
}

// flush carries the high halves of column c to the next.
func (p *program) flush(t *columns, c int) {
	r := p.Program.Sub(t.high[c], p.double(p.base()))
	p.boundMultiple(r, t.span[c]*p.shift())
	p.carryTo(t, c+1, r)
	t.high[c], t.span[c] = none, 0
}

// carryTo adds r/2^digits to column c.
func (p *program) carryTo(t *columns, c int, r straight.Value) {
	p.makeRoomFor(t, c, r)
	t.low[c] = p.carried(r, t.low[c])
}

// round is the multiple of 2^digits next to v.
func (p *program) round(v straight.Value) straight.Value {
	r := p.Program.Sub(p.Program.Add(v, p.double(p.base())), p.double(p.base()))
	p.boundRounded(r, v)
	return r
}

// split is the multiple of 2^digits next to v, and what v is beyond it.
func (p *program) split(v straight.Value) (digit, r straight.Value) {
	r = p.round(v)
	digit = p.Program.Sub(v, r)
	p.bound(digit, power(p.digits-1))
	return digit, r
}

// products adds x·y to t column by column, or subtracts it.
func (p *program) products(t *columns, x, y number, minus bool) {
	for c := range 2*p.limbs - 1 {
		for i := max(0, c-p.limbs+1); i <= min(c, p.limbs-1); i++ {
			p.product(t, c, x[i], y[c-i], minus)
		}
	}
}

// squares adds x·x to t.
func (p *program) squares(t *columns, x number) {
	twice := p.new()
	for i := range p.limbs - 1 {
		twice[i] = p.Add(x[i], x[i])
	}
	for c := range 2*p.limbs - 1 {
		for i := max(0, c-p.limbs+1); 2*i <= c; i++ {
			if j := c - i; i == j {
				p.product(t, c, x[i], x[i], false)
			} else {
				p.product(t, c, twice[i], x[j], false)
			}
		}
	}
}

// gather gathers all columns, so that others can be added without a high half growing too long.
func (p *program) gather(t *columns) {
	for c := range 2 * p.limbs {
		p.total(t, c)
	}
}

// settle carries column c before others are added.
func (p *program) settle(t *columns, c int) {
	digit, r := p.split(p.total(t, c))
	t.low[c] = digit
	p.carryTo(t, c+1, r)
}

// clear clears n columns from column c on with the quotient that they are.
func (p *program) clear(t *columns, c, n int) {
	q := make([]straight.Value, n)
	r := none
	for i := range q {
		digit, next := p.split(p.total(t, c+i))
		q[i] = digit
		if r != none {
			q[i] = p.carried(r, q[i])
		}
		r = next
	}
	p.carryTo(t, c+n, r)
	m := p.number(p.limbsOf(p.cleared(uint(p.digits * n))))
	for k := range p.limbs + n - 1 {
		for i := max(0, k-p.limbs+1); i <= min(k, n-1); i++ {
			p.product(t, c+n+k, q[i], m[k-i], false)
		}
	}
}

// clearOne clears column c, which nothing is below, with p itself.
func (p *program) clearOne(t *columns, c int) {
	digit, _ := p.split(p.total(t, c))
	k := p.double(float64(p.multiplier(uint(p.digits)).Int64()))
	high := p.MulAdd(digit, k, p.double(p.base()))
	q := p.MulAdd(digit, k, p.Program.Sub(p.double(p.base()), high))
	p.bound(q, power(p.digits-1))
	for i, m := range p.number(p.limbsOf(p.modulus)) {
		p.product(t, c+i, q, m, false)
	}
	p.boundMultiple(t.low[c], p.most[t.low[c]]*p.shift())
	p.carryTo(t, c+1, t.low[c])
}

// reduce clears columns 0 to 7.
func (p *program) reduce(t *columns) {
	p.clear(t, 0, 4)
	p.clear(t, 4, 2)
	p.clear(t, 6, 1)
	p.clearOne(t, 7)
}

// number is constants.
func (p *program) number(d []float64) number {
	n := p.new()
	for i := range n {
		n[i] = p.double(d[i])
	}
	return n
}

// carry brings limbs back to their width, all at once.
func (p *program) carry(x number) number {
	z := p.new()
	r := none
	for i := range z {
		z[i] = x[i]
		if i < p.limbs-1 {
			digit, next := p.split(x[i])
			z[i] = digit
			if r != none {
				z[i] = p.carried(r, z[i])
			}
			r = next
		} else {
			z[i] = p.carried(r, z[i])
		}
	}
	return z
}

// from is the number in columns c and above.
func (p *program) from(t *columns, c int) number {
	x := p.new()
	for i := range x {
		x[i] = p.total(t, c+i)
	}
	if p.tracked() && t.high[c+p.limbs-1] != none {
		panic("doubles: a high half is lost")
	}
	return x
}

// upper is what is left when as many columns are cleared as there are limbs.
func (p *program) upper(t *columns) number { return p.from(t, p.limbs) }

// tighten subtracts from the upper columns the multiple of p that is next to them.
func (p *program) tighten(t *columns) {
	q := p.nearest(p.total(t, 2*p.limbs-1))
	for i, m := range p.number(p.limbsOf(p.modulus)) {
		p.product(t, p.limbs+i, q, m, true)
	}
}

// nearest is the integer next to the quotient by p of a number with top limb v.
func (p *program) nearest(v straight.Value) straight.Value {
	rounded := p.MulAdd(v, p.double(p.top()), p.double(nearest))
	return p.Program.Sub(rounded, p.double(nearest))
}

// over is a number in the upper columns.
func over(x number) columns {
	t := noColumns()
	copy(t.low[len(x):], x)
	return t
}

// canonical is x in limbs from 0 to 2^digits − 1, plus p if it is negative.
func (p *program) canonical(x number) number {
	x = p.ripple(x, false)
	negative := p.MulAdd(p.below(x[p.limbs-1], false), p.double(p.shift()), p.double(0)) // −1 or 0
	for i, m := range p.number(p.unsignedLimbsOf(p.modulus)) {
		v := p.SubMul(negative, m, x[i])
		p.bound(v, p.most[x[i]]+p.most[m])
		x[i] = v
	}
	return p.ripple(x, true)
}

// ripple carries from limb to limb, and leaves all but the last one in [0, 2^digits). They may
// be known not to be negative.
func (p *program) ripple(x number, positive bool) number {
	z := slices.Clone(x)
	for i := range p.limbs - 1 {
		r := p.below(z[i], positive)
		digit := p.Program.Sub(z[i], r)
		p.bound(digit, power(p.digits)-1)
		z[i] = digit
		z[i+1] = p.carried(r, z[i+1])
	}
	return z
}

// below is the largest multiple of 2^digits that is not above v.
func (p *program) below(v straight.Value, positive bool) straight.Value {
	r := p.Program.Sub(v, p.double(p.floor()))
	p.boundHalves(r, v, positive)
	return p.round(r)
}
