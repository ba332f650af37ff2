//go:build !purego

package fp381

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/cpu"
	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// machineOf is the machine of an implementation in assembly.
func machineOf(f Field) *machine {
	switch f := f.(type) {
	case ifma:
		return f.machine
	case doubles:
		return f.machine
	}
	return nil // others have no limbs
}

// signed reports whether values may be negative.
func (m *machine) signed() bool { return m.bits == doublesBits }

// lazyValues are integers in [0, limit·p), or in (−limit·p, limit·p), about multiples of p, about
// every carry, and with limbs of ones.
func (m *machine) lazyValues(t *testing.T, limit int64) (vs []*big.Int) {
	p := modulus()
	bound := new(big.Int).Mul(p, big.NewInt(limit))
	around := func(v *big.Int) {
		for d := int64(-1); d <= 1; d++ {
			e := new(big.Int).Add(v, big.NewInt(d))
			if e.Sign() >= 0 && e.Cmp(bound) < 0 {
				vs = append(vs, e)
			}
			if m.signed() && e.CmpAbs(bound) < 0 && e.Sign() != 0 {
				vs = append(vs, e.Neg(e))
			}
		}
	}
	for k := int64(1); k <= 2*limit; k *= 2 {
		multiple := new(big.Int).Mul(p, big.NewInt(min(k, limit)))
		around(multiple)
		around(new(big.Int).Sub(multiple, p))
		around(new(big.Int).Rsh(multiple, 1))
	}
	for bits := uint(0); bits < 397; bits++ {
		if bits%13 == 0 || bits%m.bits == m.bits-1 || bits%m.bits == 0 {
			around(new(big.Int).Lsh(big.NewInt(1), bits))
		}
	}
	ones := big.NewInt(1<<m.bits - 1)
	high := new(big.Int) // limbs as large as they may be
	for i := range uint(7) {
		around(new(big.Int).Lsh(ones, m.bits*i))
		around(new(big.Int).Lsh(new(big.Int).Rsh(ones, 1), m.bits*i))
		high.Add(high, new(big.Int).Lsh(new(big.Int).Rsh(ones, 1), m.bits*i))
		around(high)
	}
	r := seeded(t)
	for range 100 {
		around(new(big.Int).Mul(p, big.NewInt(r.Int64N(limit))))
		v := new(big.Int)
		for range 7 {
			v.Add(v.Lsh(v, 64), new(big.Int).SetUint64(r.Uint64()))
		}
		around(v.Mod(v, bound))
	}
	return vs
}

// blocks lays values into lanes, limb by limb.
func (m *machine) blocks(vs []*big.Int) Vec {
	v := NewVec(len(vs))
	for i := range vs {
		for j, limb := range m.limbs(vs[i]) {
			v[i/Lanes][j][i%Lanes] = limb
		}
	}
	return v
}

// inverse is 1/R.
func (m *machine) inverse() *big.Int {
	return new(big.Int).ModInverse(new(big.Int).Lsh(big.NewInt(1), 8*m.bits), modulus())
}

// scaled is vs·to/from, rounded towards zero.
func scaled(vs []*big.Int, to, from int64) (s []*big.Int) {
	for _, v := range vs {
		e := new(big.Int).Mul(v, big.NewInt(to))
		s = append(s, e.Quo(e, big.NewInt(from)))
	}
	return s
}

// TestLazyValues compares the assembly with math/big on the integers in the lanes, before any
// conversion.
func TestLazyValues(t *testing.T) {
	p := modulus()
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		m := machineOf(f)
		if m == nil {
			return
		}
		inverse := m.inverse()
		any := m.lazyValues(t, m.any)
		check := func(op string, z Vec, limit int64, vs []*big.Int, want func(i int) *big.Int) {
			t.Helper()
			for i := range vs {
				got, _ := m.value(&z[i/Lanes], i%Lanes)
				if new(big.Int).Mod(got, p).Cmp(new(big.Int).Mod(want(i), p)) != 0 {
					t.Fatalf("%s of %x: %x", op, vs[i], got)
				}
			}
			m.mustBeBelow(z, limit)
		}
		vs := any
		x, z := m.blocks(vs), NewVec(len(vs))
		one := func(i int) *big.Int { return vs[i] }
		f.Tighten(z, x)
		check("tightening", z, tight, vs, one)
		f.Reduce(z, x)
		check("residue", z, 1, vs, one)
		mask := NewMask(len(vs))
		f.Zero(mask, x)
		for i := range vs {
			if mask.Has(i) != (new(big.Int).Mod(vs[i], p).Sign() == 0) {
				t.Fatalf("%x is zero: %v", vs[i], mask.Has(i))
			}
		}
		m.words(&z[0], &x[0], len(z))
		for i := range vs {
			words := new(big.Int)
			for j := 7; j >= 0; j-- {
				words.Add(words.Lsh(words, m.bits), new(big.Int).SetUint64(z[i/Lanes][j][i%Lanes]))
			}
			if words.Cmp(new(big.Int).Mod(vs[i], p)) != 0 {
				t.Fatalf("words of %x: %x", vs[i], words)
			}
		}
		m.fromWords(&z[0], &z[0], len(z))
		check("words and back", z, 1, vs, one)
		half, quarter := scaled(vs, 1, 2), make([]*big.Int, len(vs))
		for i := range vs {
			quarter[i] = new(big.Int).Quo(vs[len(vs)-1-i], big.NewInt(4))
		}
		f.Add(z, m.blocks(half), m.blocks(quarter))
		check("sum", z, m.any, half, func(i int) *big.Int {
			return new(big.Int).Add(half[i], quarter[i])
		})
		f.Sub(z, m.blocks(half), m.blocks(quarter), bits.Len64(uint64(m.any-1))-1)
		check("difference", z, m.any, half, func(i int) *big.Int {
			return new(big.Int).Sub(half[i], quarter[i])
		})

		vs = m.lazyValues(t, m.factor)
		x, z = m.blocks(vs), NewVec(len(vs))
		subtrahends := scaled(vs, subtrahend, m.factor)
		slices.Reverse(subtrahends)
		a := m.blocks(subtrahends)
		square := func(i int) *big.Int {
			v := new(big.Int).Mul(vs[i], vs[i])
			return v.Mul(v, inverse)
		}
		f.Sqr(z, x)
		check("square", z, tight, vs, square)
		f.SqrSub(z, x, a)
		check("square less another", z, tight, vs, func(i int) *big.Int {
			return new(big.Int).Sub(square(i), subtrahends[i])
		})
		y := make([]*big.Int, len(vs))
		for shift := 1; shift < len(vs); shift += len(vs)/20 + 1 {
			for i := range y {
				y[i] = vs[(i+shift)%len(vs)]
			}
			vy := m.blocks(y)
			product := func(i int) *big.Int {
				v := new(big.Int).Mul(vs[i], y[i])
				return v.Mul(v, inverse)
			}
			f.Mul(z, x, vy)
			check("product", z, tight, vs, product)
			f.MulSub(z, x, vy, a)
			check("product less another", z, tight, vs, func(i int) *big.Int {
				return new(big.Int).Sub(product(i), subtrahends[i])
			})
		}
		f.Odd(mask, x)
		for i := range vs {
			v := new(big.Int).Mul(vs[i], inverse)
			if odd := v.Mod(v, p).Bit(0) == 1; mask.Has(i) != odd {
				t.Fatalf("%x is odd: %v", vs[i], mask.Has(i))
			}
		}
	})
}

// TestLazyExtension does the same for the extension.
func TestLazyExtension(t *testing.T) {
	p := modulus()
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		m := machineOf(f)
		if m == nil {
			return
		}
		vs, inverse := m.lazyValues(t, m.factor2), m.inverse()
		n := len(vs)
		shifted := func(shift int) (q []*big.Int) { // < factor2·p
			for i := range vs {
				q = append(q, vs[(i+shift)%n])
			}
			return q
		}
		for shift := 0; shift < n; shift += n/9 + 1 {
			a0, a1, b0, b1 := shifted(0), shifted(shift), shifted(3*shift), shifted(n-1-shift)
			check := func(op string, z Vec, want func(i int) *big.Int) {
				t.Helper()
				m.mustBeBelow(z, tight2)
				for i := range vs {
					w := want(i)
					got, _ := m.value(&z[i/Lanes], i%Lanes)
					if got.Mod(got, p).Cmp(w.Mod(w.Mul(w, inverse), p)) != 0 {
						t.Fatalf("%s, %x and %x, %x and %x", op, a0[i], a1[i], b0[i], b1[i])
					}
				}
			}
			dot := func(sign int64, a, b, c, d *big.Int) *big.Int { // ab ± cd
				v, w := new(big.Int).Mul(a, b), new(big.Int).Mul(c, d)
				return v.Add(v, w.Mul(w, big.NewInt(sign)))
			}
			z := NewVec2(n)
			x, y := Vec2{m.blocks(a0), m.blocks(a1)}, Vec2{m.blocks(b0), m.blocks(b1)}
			f.Mul2(z, x, y)
			check("real part", z.A0, func(i int) *big.Int {
				return dot(-1, a0[i], b0[i], a1[i], b1[i])
			})
			check("imaginary part", z.A1, func(i int) *big.Int {
				return dot(1, a0[i], b1[i], a1[i], b0[i])
			})
			f.Sqr2(z, x)
			check("real part of the square", z.A0, func(i int) *big.Int {
				return dot(-1, a0[i], a0[i], a1[i], a1[i])
			})
			check("imaginary part of the square", z.A1, func(i int) *big.Int {
				return dot(1, a0[i], a1[i], a1[i], a0[i])
			})
			c0, c1 := scaled(b1, subtrahend, m.factor2), scaled(a0, subtrahend, m.factor2)
			less := func(v, c *big.Int) *big.Int { // v − c·R, for check divides by R
				return v.Sub(v, new(big.Int).Lsh(c, 8*m.bits))
			}
			c := Vec2{m.blocks(c0), m.blocks(c1)}
			f.MulSub2(z, x, y, c)
			check("real part less another", z.A0, func(i int) *big.Int {
				return less(dot(-1, a0[i], b0[i], a1[i], b1[i]), c0[i])
			})
			check("imaginary part less another", z.A1, func(i int) *big.Int {
				return less(dot(1, a0[i], b1[i], a1[i], b0[i]), c1[i])
			})
			m.mustBeBelow(z.A0, tight)
			m.mustBeBelow(z.A1, tight)
			f.SqrSub2(z, x, c)
			check("real part of the square less another", z.A0, func(i int) *big.Int {
				return less(dot(-1, a0[i], a0[i], a1[i], a1[i]), c0[i])
			})
			check("imaginary part of the square less another", z.A1, func(i int) *big.Int {
				return less(dot(1, a0[i], a1[i], a1[i], a0[i]), c1[i])
			})
			m.mustBeBelow(z.A0, tight)
			m.mustBeBelow(z.A1, tight)
			f.MulAdd2(z, x, y, Vec2{NewVec(n), NewVec(n)})
			check("real part and nothing", z.A0, func(i int) *big.Int {
				return dot(-1, a0[i], b0[i], a1[i], b1[i])
			})
			f.MulAdd2(z, x, y, y)
			m.mustBeBelow(z.A0, m.factor2+tight)
			f.Tighten(z.A0, z.A0)
			check("real part and another", z.A0, func(i int) *big.Int {
				return less(dot(-1, a0[i], b0[i], a1[i], b1[i]), new(big.Int).Neg(b0[i]))
			})
			f.Norm(z.A0, x)
			m.mustBeBelow(z.A0, tight)
			check("norm", z.A0, func(i int) *big.Int { return dot(1, a0[i], a0[i], a1[i], a1[i]) })
		}
	})
}

func TestSqrMulBlocks(t *testing.T) {
	if _, err := kernel.Implementation(cpu.AVX512IFMA); err != nil {
		t.Skip(err)
	}
	m := &ifmaMachine
	vs := m.lazyValues(t, m.factor)
	for count := 1; count <= 3; count++ {
		x, y, want := m.blocks(vs[:count*Lanes]), m.blocks(vs[len(vs)-count*Lanes:]), make(Vec, count)
		for n := 1; n < 6; n++ {
			copy(want, x)
			for range n {
				sqrBlocks(&want[0], &want[0], count)
			}
			mulBlocks(&want[0], &want[0], &y[0], count, blockBytes)
			z := make(Vec, count+1)
			sqrMulBlocks(&z[0], &x[0], &y[0], n, count)
			if !slices.Equal(z[:count], want) || z[count] != (Block{}) {
				t.Errorf("%d blocks after %d squarings: %x, not %x", count, n, z, want)
			}
		}
	}
}

func TestIssueMultiplyAdds(t *testing.T) {
	_, err := kernel.Implementation(cpu.AVX512IFMA)
	if n := issueMultiplyAdds(1000); n < 1000 && err == nil || n != 0 && err != nil {
		t.Errorf("%d of 1000 issued", n)
	}
}

// A value beyond its bound is seen in builds with the tag invariants; the check itself is in every
// build.
func TestBoundsAreChecked(t *testing.T) {
	cases := map[string]func(){}
	for name, m := range map[string]*machine{"ifma": &ifmaMachine, "doubles": &avx2Machine} {
		v := m.blocks([]*big.Int{new(big.Int).Lsh(modulus(), 3)})
		m.mustBeBelow(v, 9)
		cases[name+": value"] = func() { m.mustBeBelow(v, 8) }
		long := NewVec(1)
		long[0][2][5] = m.limbs(big.NewInt(1 << 20))[0]
		m.mustBeBelow(long, m.any)
		if long[0][2][5] = 1 << ifmaBits; m.signed() {
			long[0][2][5] = math.Float64bits(doublesMost + 1)
		}
		cases[name+": limb"] = func() { m.mustBeBelow(long, m.any) }
	}
	for what, limb := range map[string]float64{
		"fraction": 0.5, "zero with a sign": math.Copysign(0, -1), "NaN": math.NaN(),
	} {
		v := NewVec(1)
		v[0][3][2] = math.Float64bits(limb)
		cases[what] = func() { avx2Machine.mustBeBelow(v, avx2Machine.any) }
	}
	for name, call := range cases {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s beyond its bound passes", name)
				}
			}()
			call()
		}()
	}
}

// lift adds p to the residue in a cell.
func lift(f Field, r *Cell) {
	m := machineOf(f)
	if m == nil {
		return // always reduced
	}
	var b Block
	for i := range r {
		b[i][0] = r[i]
	}
	v, _ := m.value(&b, 0)
	*r = m.limbs(v.Add(v, modulus()))
}

// below panics unless v is below limit·p.
func below(f Field, v Vec, limit int64) {
	if m := machineOf(f); m != nil {
		m.mustBeBelow(v, limit)
	}
}
