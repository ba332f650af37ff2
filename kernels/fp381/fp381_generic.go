package fp381

import (
	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// generic keeps lane l of a block as the fp.Element in its first six words of row l, always
// reduced.
type generic struct{}

func genericField() cpu.Implementation[Field] {
	return cpu.Implementation[Field]{Name: cpu.Generic, Code: generic{}}
}

func (generic) Name() string { return cpu.Generic }

// lane returns lane l of b in generic form.
func (b *Block) lane(l int) *fp.Element { return (*fp.Element)(b[l][:6]) }

// second returns block i of the second operand of n blocks: its only one if there is just one.
func second(y Vec, n, i int) *Block {
	if len(y) == 1 && n != 1 {
		return &y[0]
	}
	return &y[i]
}

func (generic) Pack(z Vec, x []fp.Element) {
	fits(z, len(x))
	for i := range z {
		for l := range Lanes {
			var e fp.Element
			if j := i*Lanes + l; j < len(x) {
				e = x[j]
			}
			*z[i].lane(l) = e
		}
	}
}

func (generic) Unpack(x []fp.Element, z Vec) {
	fits(z, len(x))
	for j := range x {
		x[j] = *z[j/Lanes].lane(j % Lanes)
	}
}

func (generic) Broadcast(c fp.Element) Vec {
	v := make(Vec, 1)
	for l := range Lanes {
		*v[0].lane(l) = c
	}
	return v
}

// lanewise1 and lanewise2 apply op to every lane.
func lanewise1(z, x Vec, op func(z, x *fp.Element)) {
	sameLength(len(z), x)
	for i := range z {
		for l := range Lanes {
			op(z[i].lane(l), x[i].lane(l))
		}
	}
}

func lanewise2(z, x, y Vec, op func(z, x, y *fp.Element)) {
	checkBinary(z, x, y)
	for i := range z {
		b := second(y, len(z), i)
		for l := range Lanes {
			op(z[i].lane(l), x[i].lane(l), b.lane(l))
		}
	}
}

func (generic) Mul(z, x, y Vec) { lanewise2(z, x, y, func(z, x, y *fp.Element) { z.Mul(x, y) }) }
func (generic) Add(z, x, y Vec) { lanewise2(z, x, y, func(z, x, y *fp.Element) { z.Add(x, y) }) }
func (generic) Sub(z, x, y Vec, _ int) {
	lanewise2(z, x, y, func(z, x, y *fp.Element) { z.Sub(x, y) })
}
func (generic) Sqr(z, x Vec)    { lanewise1(z, x, func(z, x *fp.Element) { z.Square(x) }) }
func (generic) Reduce(z, x Vec) { lanewise1(z, x, func(z, x *fp.Element) { *z = *x }) }

func (generic) Tighten(z, x Vec) { generic{}.Reduce(z, x) }

func (generic) Gather(z Vec, cells []Cell, index []int32) {
	fits(z, len(index))
	checkIndex(cells, index)
	for i := range z {
		for l := range Lanes {
			at := i*Lanes + l
			if at >= len(index) {
				at = i * Lanes
			}
			z[i][l] = cells[index[at]]
		}
	}
}

func (generic) Scatter(cells []Cell, index []int32, x Vec) {
	fits(x, len(index))
	checkIndex(cells, index)
	for i, at := range index {
		cells[at] = x[i/Lanes][i%Lanes]
	}
}

func (generic) Blank(m Mask, x Vec) { generic{}.Zero(m, x) }

func (generic) PowP34(z, x Vec) {
	lanewise1(z, x, func(z, x *fp.Element) {
		var odd [len(powers{})]fp.Element
		var square fp.Element
		odd[0] = *x
		square.Square(x)
		for i := range len(odd) - 1 {
			odd[i+1].Mul(&odd[i], &square)
		}
		*z = odd[chainP34.first]
		for _, s := range chainP34.steps {
			for range s.squarings {
				z.Square(z)
			}
			z.Mul(z, &odd[s.factor])
		}
		for range chainP34.last {
			z.Square(z)
		}
	})
}

func (generic) Select(z Vec, m Mask, x, y Vec) {
	checkBinary(z, x, y)
	covers(m, z)
	for i := range z {
		b := second(y, len(z), i)
		for l := range Lanes {
			if m[i]>>l&1 != 0 {
				*z[i].lane(l) = *x[i].lane(l)
			} else {
				*z[i].lane(l) = *b.lane(l)
			}
		}
	}
}

func (generic) Zero(m Mask, x Vec) { mark(m, x, (*fp.Element).IsZero) }

func (generic) Odd(m Mask, x Vec) {
	mark(m, x, func(e *fp.Element) bool { return e.Bits()[0]&1 != 0 })
}

func mark(m Mask, x Vec, test func(*fp.Element) bool) {
	covers(m, x)
	for i := range x {
		m[i] = 0
		for l := range Lanes {
			if test(x[i].lane(l)) {
				m[i] |= 1 << l
			}
		}
	}
}

// inExtension applies op to every lane of vectors in the extension.
func inExtension(z, x, y, a Vec2, op func(x, y, a bls12381.E2) bls12381.E2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1, y.A0, y.A1, a.A0, a.A1)
	for i := range z.A0 {
		for l := range Lanes {
			e := op(x.lane(i, l), y.lane(i, l), a.lane(i, l))
			*z.A0[i].lane(l), *z.A1[i].lane(l) = e.A0, e.A1
		}
	}
}

func (generic) Mul2(z, x, y Vec2) {
	inExtension(z, x, y, y, func(x, y, _ bls12381.E2) bls12381.E2 { return *x.Mul(&x, &y) })
}

func (generic) Sqr2(z, x Vec2) {
	inExtension(z, x, x, x, func(x, _, _ bls12381.E2) bls12381.E2 { return *x.Square(&x) })
}

func (generic) MulAdd2(z, x, y, a Vec2) {
	inExtension(z, x, y, a, func(x, y, a bls12381.E2) bls12381.E2 {
		return *x.Mul(&x, &y).Add(&x, &a)
	})
}

func (generic) MulSub2(z, x, y, a Vec2) {
	inExtension(z, x, y, a, func(x, y, a bls12381.E2) bls12381.E2 {
		return *x.Mul(&x, &y).Sub(&x, &a)
	})
}

func (generic) SqrSub2(z, x, a Vec2) {
	inExtension(z, x, x, a, func(x, _, a bls12381.E2) bls12381.E2 { return *x.Square(&x).Sub(&x, &a) })
}

func (generic) MulSub(z, x, y, a Vec) {
	sameLength(len(z), x, y, a)
	for i := range z {
		for l := range Lanes {
			var e fp.Element
			e.Mul(x[i].lane(l), y[i].lane(l))
			z[i].lane(l).Sub(&e, a[i].lane(l))
		}
	}
}

func (generic) SqrSub(z, x, a Vec) { generic{}.MulSub(z, x, x, a) }

func (generic) Norm(z Vec, x Vec2) {
	sameLength(len(z), x.A0, x.A1)
	for i := range z {
		for l := range Lanes {
			e := x.lane(i, l)
			e.A0.Square(&e.A0)
			e.A1.Square(&e.A1)
			z[i].lane(l).Add(&e.A0, &e.A1)
		}
	}
}

func (generic) MulLines(z *Block12, free, slope Vec2) {
	sameLength(len(free.A0), free.A1, slope.A0, slope.A1)
	var one bls12381.E2
	one.SetOne()
	for l := range Lanes {
		var e bls12381.E12
		each := func(do func(coefficient *bls12381.E2, k int)) {
			for k := range z.A0 {
				half := &e.C0
				if k%2 != 0 {
					half = &e.C1
				}
				do([]*bls12381.E2{&half.B0, &half.B1, &half.B2}[k/2], k)
			}
		}
		v := z.Coefficients(0, 6)
		each(func(c *bls12381.E2, k int) { *c = v.lane(k, l) })
		for i := range free.A0 {
			f, s := free.lane(i, l), slope.lane(i, l)
			e.MulBy014(&f, &s, &one)
			e.C0.Double(&e.C0)
			e.C1.Double(&e.C1)
		}
		each(func(c *bls12381.E2, k int) { *z.A0[k].lane(l), *z.A1[k].lane(l) = c.A0, c.A1 })
	}
}

// lane returns lane l of block i in generic form.
func (v Vec2) lane(i, l int) bls12381.E2 {
	return bls12381.E2{A0: *v.A0[i].lane(l), A1: *v.A1[i].lane(l)}
}
