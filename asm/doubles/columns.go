package doubles

import "github.com/waybill-network/waybill/asm/straight"

// number is the limbs of one value.
type number [limbs]straight.Value

// none is no value yet: zero, or in a column of high halves B.
const none = straight.Value(-1)

// columns are sums of products. low[c] is what column c has but for high[c-1], the high halves of
// the products of the column before, in units of 2^49 above B.
type columns struct{ low, high [2 * limbs]straight.Value }

// program is a program of a generator.
type program struct {
	*straight.Program
	g *generator
}

func (p *program) double(v float64) straight.Value { return p.g.double(p.Program, v) }

func noColumns() (t columns) {
	for c := range t.low {
		t.low[c], t.high[c] = none, none
	}
	return t
}

// product adds a·b to column c, or subtracts it.
func (p *program) product(t *columns, c int, a, b straight.Value, minus bool) {
	fused := p.MulAdd
	if minus {
		fused = p.SubMul
	}
	before := t.high[c]
	if before == none {
		before = p.double(base)
	}
	t.high[c] = fused(a, b, before)
	low := fused(a, b, p.Sub(before, t.high[c]))
	t.low[c] = p.plus(t.low[c], low)
}

// plus is a + b, where a may be none.
func (p *program) plus(a, b straight.Value) straight.Value {
	if a == none {
		return b
	}
	return p.Add(a, b)
}

// carried is c + r/2^49, where c may be none.
func (p *program) carried(r, c straight.Value) straight.Value {
	if c == none {
		c = p.double(0)
	}
	return p.MulAdd(r, p.double(shift), c)
}

// total gathers column c in its low half.
func (p *program) total(t *columns, c int) straight.Value {
	if c > 0 && t.high[c-1] != none {
		t.low[c] = p.carried(p.Sub(t.high[c-1], p.double(base)), t.low[c])
		t.high[c-1] = none
	}
	return t.low[c]
}

// round is the multiple of 2^49 next to v.
func (p *program) round(v straight.Value) straight.Value {
	return p.Sub(p.Add(v, p.double(rounding)), p.double(rounding))
}

// products adds x·y to t column by column, or subtracts it; then calls after for each.
func (p *program) products(t *columns, x, y number, minus bool) {
	for c := range 2*limbs - 1 {
		for i := max(0, c-limbs+1); i <= min(c, limbs-1); i++ {
			p.product(t, c, x[i], y[c-i], minus)
		}
	}
}

// squares adds x·x to t.
func (p *program) squares(t *columns, x number) {
	var twice number
	for i := range limbs - 1 {
		twice[i] = p.Add(x[i], x[i])
	}
	for c := range 2*limbs - 1 {
		for i := max(0, c-limbs+1); 2*i <= c; i++ {
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
	for c := range 2 * limbs {
		p.total(t, c)
	}
}

// settle carries column c before others are added.
func (p *program) settle(t *columns, c int) {
	v := p.total(t, c)
	r := p.round(v)
	t.low[c] = p.Sub(v, r)
	t.low[c+1] = p.carried(r, t.low[c+1])
}

// clear clears n columns from column c on with the quotient that they are.
func (p *program) clear(t *columns, c, n int) {
	q := make([]straight.Value, n)
	r := none
	for i := range q {
		v := p.total(t, c+i)
		next := p.round(v)
		q[i] = p.Sub(v, next)
		if r != none {
			q[i] = p.carried(r, q[i])
		}
		r = next
	}
	t.low[c+n] = p.carried(r, t.low[c+n])
	m := p.number(limbsOf(cleared(uint(digits * n))))
	for k := range limbs + n - 1 {
		for i := max(0, k-limbs+1); i <= min(k, n-1); i++ {
			p.product(t, c+n+k, q[i], m[k-i], false)
		}
	}
}

// clearLast clears column 7 with p itself.
func (p *program) clearLast(t *columns) {
	const c = limbs - 1
	v := p.total(t, c)
	digit := p.Sub(v, p.round(v))
	k := p.double(float64(multiplier(digits).Int64()))
	high := p.MulAdd(digit, k, p.double(base))
	q := p.MulAdd(digit, k, p.Sub(p.double(base), high))
	for i, m := range p.number(limbsOf(modulus())) {
		p.product(t, c+i, q, m, false)
	}
	t.low[c+1] = p.carried(t.low[c], t.low[c+1])
}

// reduce clears columns 0 to 7.
func (p *program) reduce(t *columns) {
	p.clear(t, 0, 4)
	p.clear(t, 4, 2)
	p.clear(t, 6, 1)
	p.clearLast(t)
}

// number is constants.
func (p *program) number(d [limbs]float64) (n number) {
	for i := range n {
		n[i] = p.double(d[i])
	}
	return n
}

// carry brings limbs back to 49 bits, all at once.
func (p *program) carry(x number) (z number) {
	r := none
	for i := range z {
		z[i] = x[i]
		if i < limbs-1 {
			next := p.round(x[i])
			z[i] = p.Sub(x[i], next)
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

// upper is columns 8 to 15.
func (p *program) upper(t *columns) (x number) {
	for i := range x {
		x[i] = p.total(t, limbs+i)
	}
	return x
}

// tighten subtracts from columns 8 to 15 the multiple of p that is next to them.
func (p *program) tighten(t *columns) {
	v := p.total(t, 2*limbs-1)
	q := p.Sub(p.MulAdd(v, p.double(top), p.double(nearest)), p.double(nearest))
	for i, m := range p.number(limbsOf(modulus())) {
		p.product(t, limbs+i, q, m, true)
	}
}

// over is a number in columns 8 to 15.
func over(x number) columns {
	t := noColumns()
	copy(t.low[limbs:], x[:])
	return t
}
