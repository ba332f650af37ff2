package doubles

import (
	"fmt"

	"github.com/waybill-network/waybill/asm/straight"
)

// bounds are what the values of a program may be in magnitude, if they are tracked. Then every
// operation is checked to be exact as it is written down, for all operands within their bounds, and
// columns are carried where the next product would make them too long. Where a program states its
// bounds by itself, nothing is tracked, and nothing is carried but what it says.
type bounds struct {
	// most is an integer's bound; that of multiples of 2^digits is in multiples, in carries.
	most, carries map[straight.Value]float64
}

// exact is what integers may be as doubles.
var exact = power(53)

func track() bounds {
	return bounds{map[straight.Value]float64{}, map[straight.Value]float64{}}
}

func (b bounds) tracked() bool { return b.most != nil }

func (b bounds) bound(v straight.Value, most float64) {
	if b.tracked() {
		b.most[v] = most
	}
}

func (b bounds) boundMultiple(r straight.Value, multiples float64) {
	if b.tracked() {
		b.carries[r] = multiples
	}
}

// upTo is the bound of a value, which must have one.
func (b bounds) upTo(v straight.Value) float64 {
	if v == none {
		return 0
	}
	most, ok := b.most[v]
	if !ok {
		panic(fmt.Sprintf("doubles: value %d has no bound", v))
	}
	return most
}

func (b bounds) boundSum(v straight.Value, most float64) {
	if most > exact {
		panic(fmt.Sprintf("doubles: a sum of %g is not exact", most))
	}
	b.most[v] = most
}

// Add is the sum of two integers.
func (p *program) Add(x, y straight.Value) straight.Value {
	v := p.Program.Add(x, y)
	if p.tracked() {
		p.boundSum(v, p.upTo(x)+p.upTo(y))
	}
	return v
}

// Sub is their difference.
func (p *program) Sub(x, y straight.Value) straight.Value {
	v := p.Program.Sub(x, y)
	if p.tracked() {
		p.boundSum(v, p.upTo(x)+p.upTo(y))
	}
	return v
}

func (p *program) boundCarried(v, r, c straight.Value) {
	if p.tracked() {
		multiples, ok := p.carries[r]
		if !ok {
			panic(fmt.Sprintf("doubles: value %d is not known as a multiple", r))
		}
		p.boundSum(v, multiples+p.upTo(c))
	}
}

// boundRounded bounds r, the multiple of 2^digits next to v.
func (p *program) boundRounded(r, v straight.Value) {
	if p.tracked() {
		p.carries[r] = (p.upTo(v) + power(p.digits-1)) * p.shift()
	}
}

// boundHalves bounds r = v less a bit more than half a limb, which is an odd number of halves.
func (p *program) boundHalves(r, v straight.Value, positive bool) {
	if p.tracked() {
		p.most[r] = p.upTo(v) + power(p.digits-1)
		if positive {
			p.most[r] = max(p.upTo(v), power(p.digits-1))
		}
		if p.most[r] > exact/2 {
			panic("doubles: halves are not exact")
		}
	}
}

// makeRoom carries what column c has, if the product of a and b could make it too long. The sum of
// high halves stays less than 2^(digits+51) from B, where its last place is 2^digits; each of its
// roundings may add half of that.
func (p *program) makeRoom(t *columns, c int, a, b straight.Value) {
	if !p.tracked() {
		return
	}
	grows := p.upTo(a)*p.upTo(b) + power(p.digits-1)
	room := power(p.digits+51) * (1 - power(-40)) // what bounds lose as doubles is far less
	if grows > room {
		panic("doubles: a product is too long")
	}
	if t.span[c]+grows > room {
		p.flush(t, c)
	}
	t.span[c] += grows
	if p.upTo(t.low[c])+power(p.digits-1) > exact {
		p.shorten(t, c)
	}
}

// makeRoomFor shortens column c if r/2^digits could make it too long.
func (p *program) makeRoomFor(t *columns, c int, r straight.Value) {
	if p.tracked() && p.upTo(t.low[c])+p.carries[r] > exact {
		p.shorten(t, c)
	}
}

// shorten carries the low halves of column c to the next.
func (p *program) shorten(t *columns, c int) {
	digit, r := p.split(t.low[c])
	t.low[c] = digit
	p.carryTo(t, c+1, r)
}
