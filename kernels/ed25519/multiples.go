package ed25519

import (
	"encoding/binary"
	"math/bits"
	"sync"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// A scalar is cut into parts of 32 bits, so that a product takes 32 doublings and not 253: of a
// point P stand ready odd multiples of P, 2^32·P, … 2^224·P, and each part is written in a
// non-adjacent form of some width. A wider form has fewer digits and takes more multiples.
const (
	parts     = 8
	partBits  = 32
	keyWidth  = 4 // of a key, of which many stand ready: 32 multiples, 3.8 KB
	baseWidth = 8 // of the base point, which stands ready once: 512 multiples, 61 KB
)

// addend is an affine point (x, y) as an addition wants it: y + x, y − x, 2d·x·y.
type addend struct{ plus, minus, product field.Element }

// multiples is the odd multiples of a point, for each part of a scalar: 1, 3, … 2^(width−1) − 1
// times 2^(32·part). It does not change once it is made.
type multiples [parts][]addend

// newMultiples computes the multiples of p for a width.
func newMultiples(p *edwards25519.Point, width int) *multiples {
	each := 1 << (width - 2)
	points := make([]*edwards25519.Point, 0, parts*each)
	first := new(edwards25519.Point).Set(p)
	for part := range parts {
		if part > 0 {
			for range partBits {
				first.Double(first)
			}
		}
		double := new(edwards25519.Point).Double(first)
		next := new(edwards25519.Point).Set(first)
		for range each {
			points = append(points, next)
			next = new(edwards25519.Point).Add(next, double)
		}
	}
	affine := make([]projective, len(points))
	for i, point := range points {
		x, y, z, _ := point.ExtendedCoordinates()
		affine[i] = projective{*x, *y, *z}
	}
	normalize(affine)
	list := make([]addend, len(points))
	for i := range affine {
		x, y, a := &affine[i].x, &affine[i].y, &list[i]
		a.plus.Add(y, x)
		a.minus.Subtract(y, x)
		a.product.Multiply(x, y)
		a.product.Multiply(&a.product, twiceD())
	}
	m := new(multiples)
	for part := range m {
		m[part] = list[part*each : (part+1)*each]
	}
	return m
}

// twiceD is 2d, twice the curve's constant d = −121665/121666.
var twiceD = sync.OnceValue(func() *field.Element {
	one := new(field.Element).One()
	d := new(field.Element).Mult32(one, 121666)
	d.Invert(d).Mult32(d, 2*121665)
	return d.Negate(d)
})

// baseMultiples is those of the base point.
var baseMultiples = sync.OnceValue(func() *multiples {
	return newMultiples(edwards25519.NewGeneratorPoint(), baseWidth)
})

// projective is the point (x/z, y/z).
type projective struct{ x, y, z field.Element }

// completed is the point (x/z, y/t), which doublings and additions end with.
type completed struct{ x, y, z, t field.Element }

// double sets c to twice p (Hisil, Wong, Carter, Dawson 2008; a = −1).
func (c *completed) double(p *projective) {
	var xx, yy field.Element
	xx.Square(&p.x)
	yy.Square(&p.y)
	c.t.Square(&p.z)
	c.x.Add(&p.x, &p.y)
	c.x.Square(&c.x)
	c.y.Add(&yy, &xx)
	c.z.Subtract(&yy, &xx)
	c.x.Subtract(&c.x, &c.y)
	c.t.Add(&c.t, &c.t)
	c.t.Subtract(&c.t, &c.z)
}

// add adds a, or takes it off. The formula is complete: it holds for every two points of the curve,
// also for equal ones and those of small order, since d is not a square.
func (c *completed) add(a *addend, off bool) {
	var x, y, z, t field.Element
	x.Multiply(&c.x, &c.t)
	y.Multiply(&c.y, &c.z)
	z.Multiply(&c.z, &c.t)
	t.Multiply(&c.x, &c.y)
	plus, minus := &a.plus, &a.minus
	if off {
		plus, minus = minus, plus
	}
	c.x.Add(&y, &x)
	c.x.Multiply(&c.x, plus)
	y.Subtract(&y, &x)
	y.Multiply(&y, minus)
	t.Multiply(&t, &a.product)
	z.Add(&z, &z)
	c.y.Add(&c.x, &y)
	c.x.Subtract(&c.x, &y)
	c.z.Add(&z, &t)
	c.t.Subtract(&z, &t)
	if off {
		c.z, c.t = c.t, c.z
	}
}

func (p *projective) set(c *completed) {
	p.x.Multiply(&c.x, &c.t)
	p.y.Multiply(&c.y, &c.z)
	p.z.Multiply(&c.z, &c.t)
}

// term is a part of a scalar with the multiples that it is to be multiplied with.
type term struct {
	of     []addend
	digits [partBits + 1]int8 // odd or zero, the lowest first
}

// recode writes part as a sum of digits[i]·2^i, where a digit is odd and below 2^(width−1) in size
// or zero, and at least width−1 zeros stand between two others.
func (t *term) recode(part uint32, width int) {
	t.digits = [partBits + 1]int8{}
	u, at := uint64(part), 0
	for u != 0 {
		zeros := bits.TrailingZeros64(u)
		at, u = at+zeros, u>>zeros
		digit := int64(u & (1<<width - 1))
		if digit >= 1<<(width-1) {
			digit -= 1 << width
		}
		t.digits[at] = int8(digit)
		u -= uint64(digit)
	}
}

// sumProducts sets p to [s]B + [k]A of the base point B and the point A with these multiples. The
// scalars, below 2^253, are multiplied as the integers that they are, so that the sum is exact when
// A has a part of small order as well.
func (p *projective) sumProducts(s, k *edwards25519.Scalar, a *multiples) {
	var terms [2 * parts]term
	ofBase, base, ofKey := s.Bytes(), baseMultiples(), k.Bytes()
	for i := range parts {
		terms[i].of = base[i]
		terms[i].recode(binary.LittleEndian.Uint32(ofBase[4*i:]), baseWidth)
		terms[parts+i].of = a[i]
		terms[parts+i].recode(binary.LittleEndian.Uint32(ofKey[4*i:]), keyWidth)
	}
	p.x.Zero()
	p.y.One()
	p.z.One()
	var c completed
	for at := partBits; at >= 0; at-- {
		c.double(p)
		for i := range terms {
			t := &terms[i]
			if digit := t.digits[at]; digit > 0 {
				c.add(&t.of[digit/2], false)
			} else if digit < 0 {
				c.add(&t.of[-digit/2], true)
			}
		}
		p.set(&c)
	}
}

// normalize makes every z one, with a single inversion. No z of a point of this curve is zero.
func normalize(list []projective) {
	before := make([]field.Element, len(list)) // the product of the z before each
	var all field.Element
	all.One()
	for i := range list {
		before[i] = all
		all.Multiply(&all, &list[i].z)
	}
	all.Invert(&all)
	for i := len(list) - 1; i >= 0; i-- {
		var inverse field.Element
		p := &list[i]
		inverse.Multiply(&all, &before[i])
		all.Multiply(&all, &p.z)
		p.x.Multiply(&p.x, &inverse)
		p.y.Multiply(&p.y, &inverse)
		p.z.One()
	}
}

// encoded is the encoding of a point whose z is one.
func (p *projective) encoded() (b [32]byte) {
	copy(b[:], p.y.Bytes())
	b[31] |= byte(p.x.IsNegative() << 7)
	return b
}
