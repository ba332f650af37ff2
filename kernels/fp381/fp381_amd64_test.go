//go:build !purego

package fp381

import (
	"math/big"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/cpu"
	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// lazyValues are integers in [0, 2^16·p) about multiples of p, about every carry, and with limbs of ones.
func lazyValues(t *testing.T) (vs []*big.Int) {
	p := modulus()
	limit := new(big.Int).Lsh(p, loose)
	around := func(v *big.Int) {
		for d := int64(-1); d <= 1; d++ {
			if e := new(big.Int).Add(v, big.NewInt(d)); e.Sign() >= 0 && e.Cmp(limit) < 0 {
				vs = append(vs, e)
			}
		}
	}
	for k := range uint(loose + 1) {
		multiple := new(big.Int).Lsh(p, k)
		around(multiple)
		around(new(big.Int).Sub(multiple, p))
	}
	for bits := uint(0); bits < 397; bits += 13 {
		around(new(big.Int).Lsh(big.NewInt(1), bits))
	}
	ones := big.NewInt(1<<limbBits - 1)
	for i := range uint(7) {
		around(new(big.Int).Lsh(ones, limbBits*i))
	}
	r := seeded(t)
	for range 100 {
		around(new(big.Int).Mul(p, big.NewInt(r.Int64N(1<<loose))))
		v := new(big.Int)
		for range 7 {
			v.Add(v.Lsh(v, 64), new(big.Int).SetUint64(r.Uint64()))
		}
		around(v.Mod(v, limit))
	}
	return vs
}

// blocks lays values into lanes, limb by limb.
func blocks(vs []*big.Int) Vec {
	v := NewVec(len(vs))
	for i := range vs {
		for j, limb := range limbsOf(vs[i]) {
			v[i/Lanes][j][i%Lanes] = limb
		}
	}
	return v
}

// TestLazyValues compares the assembly with math/big on the integers in the lanes, before any conversion.
func TestLazyValues(t *testing.T) {
	vs := lazyValues(t)
	p := modulus()
	inverse := new(big.Int).ModInverse(new(big.Int).Lsh(big.NewInt(1), 416), p)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		if _, ok := f.(ifma); !ok {
			return // the others have no limbs
		}
		check := func(op string, z Vec, limit int, want func(i int) *big.Int) {
			t.Helper()
			bound := new(big.Int).Lsh(p, uint(limit))
			for i := range vs {
				got := laneValue(&z[i/Lanes], i%Lanes)
				if got.Cmp(bound) >= 0 || new(big.Int).Mod(got, p).Cmp(new(big.Int).Mod(want(i), p)) != 0 {
					t.Fatalf("%s of %x: %x", op, vs[i], got)
				}
			}
			mustBeBelow(z, limit)
		}
		x, z := blocks(vs), NewVec(len(vs))
		one := func(i int) *big.Int { return vs[i] }
		f.Tighten(z, x)
		check("tightening", z, tight, one)
		f.Reduce(z, x)
		check("residue", z, 0, one)
		f.Sqr(z, x)
		check("square", z, tight, func(i int) *big.Int {
			v := new(big.Int).Mul(vs[i], vs[i])
			return v.Mul(v, inverse)
		})
		m := NewMask(len(vs))
		f.Zero(m, x)
		for i := range vs {
			if m.Has(i) != (new(big.Int).Mod(vs[i], p).Sign() == 0) {
				t.Fatalf("%x is zero: %v", vs[i], m.Has(i))
			}
		}
		y := make([]*big.Int, len(vs))
		for shift := 1; shift < len(vs); shift += 7 {
			for i := range y {
				y[i] = vs[(i+shift)%len(vs)]
			}
			vy := blocks(y)
			f.Mul(z, x, vy)
			check("product", z, tight, func(i int) *big.Int {
				v := new(big.Int).Mul(vs[i], y[i])
				return v.Mul(v, inverse)
			})
		}
		half, quarter := make([]*big.Int, len(vs)), make([]*big.Int, len(vs))
		for i := range vs {
			half[i], quarter[i] = new(big.Int).Rsh(vs[i], 1), new(big.Int).Rsh(vs[len(vs)-1-i], 1)
		}
		f.Add(z, blocks(half), blocks(quarter))
		check("sum", z, loose, func(i int) *big.Int { return new(big.Int).Add(half[i], quarter[i]) })
		f.Sub(z, blocks(half), blocks(quarter), loose-1)
		check("difference", z, loose, func(i int) *big.Int { return new(big.Int).Sub(half[i], quarter[i]) })
	})
}

// TestLazyExtension does the same for the extension.
func TestLazyExtension(t *testing.T) {
	vs := lazyValues(t)
	n, p := len(vs), modulus()
	quarter := func(shift int) (q []*big.Int) { // < 2^14·p
		for i := range vs {
			q = append(q, new(big.Int).Rsh(vs[(i+shift)%n], loose-loose2))
		}
		return q
	}
	inverse := new(big.Int).ModInverse(new(big.Int).Lsh(big.NewInt(1), 416), p)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		if _, ok := f.(ifma); !ok {
			return // the others have no limbs
		}
		for shift := 0; shift < n; shift += 11 {
			a0, a1, b0, b1 := quarter(0), quarter(shift), quarter(3*shift), quarter(n-1-shift)
			check := func(op string, z Vec, want func(i int) *big.Int) {
				t.Helper()
				mustBeBelow(z, tight2)
				for i := range vs {
					w := want(i)
					if got := laneValue(&z[i/Lanes], i%Lanes); got.Mod(got, p).Cmp(w.Mod(w.Mul(w, inverse), p)) != 0 {
						t.Fatalf("%s, %x and %x, %x and %x", op, a0[i], a1[i], b0[i], b1[i])
					}
				}
			}
			dot := func(sign int64, a, b, c, d *big.Int) *big.Int { // ab ± cd
				v, w := new(big.Int).Mul(a, b), new(big.Int).Mul(c, d)
				return v.Add(v, w.Mul(w, big.NewInt(sign)))
			}
			z := NewVec2(n)
			x, y := Vec2{blocks(a0), blocks(a1)}, Vec2{blocks(b0), blocks(b1)}
			f.Mul2(z, x, y)
			check("real part", z.A0, func(i int) *big.Int { return dot(-1, a0[i], b0[i], a1[i], b1[i]) })
			check("imaginary part", z.A1, func(i int) *big.Int { return dot(1, a0[i], b1[i], a1[i], b0[i]) })
			f.Sqr2(z, x)
			check("real part of the square", z.A0, func(i int) *big.Int { return dot(-1, a0[i], a0[i], a1[i], a1[i]) })
			check("imaginary part of the square", z.A1, func(i int) *big.Int { return dot(1, a0[i], a1[i], a1[i], a0[i]) })
			eighth := func(vs []*big.Int) (e []*big.Int) { // < 2^3·p
				for i := range vs {
					e = append(e, new(big.Int).Rsh(vs[i], loose2-subtrahend))
				}
				return e
			}
			c0, c1 := eighth(b1), eighth(a0)
			less := func(v, c *big.Int) *big.Int { // v − c·R, for check divides by R
				return v.Sub(v, new(big.Int).Lsh(c, 416))
			}
			c := Vec2{blocks(c0), blocks(c1)}
			f.MulSub2(z, x, y, c)
			check("real part less another", z.A0, func(i int) *big.Int { return less(dot(-1, a0[i], b0[i], a1[i], b1[i]), c0[i]) })
			check("imaginary part less another", z.A1, func(i int) *big.Int { return less(dot(1, a0[i], b1[i], a1[i], b0[i]), c1[i]) })
			mustBeBelow(z.A0, tight)
			mustBeBelow(z.A1, tight)
			f.SqrSub2(z, x, c)
			check("real part of the square less another", z.A0, func(i int) *big.Int { return less(dot(-1, a0[i], a0[i], a1[i], a1[i]), c0[i]) })
			check("imaginary part of the square less another", z.A1, func(i int) *big.Int { return less(dot(1, a0[i], a1[i], a1[i], a0[i]), c1[i]) })
			mustBeBelow(z.A0, tight)
			mustBeBelow(z.A1, tight)
			f.MulAdd2(z, x, y, Vec2{NewVec(n), NewVec(n)})
			check("real part and nothing", z.A0, func(i int) *big.Int { return dot(-1, a0[i], b0[i], a1[i], b1[i]) })
			f.MulAdd2(z, x, y, y)
			mustBeBelow(z.A0, loose)
			f.Tighten(z.A0, z.A0)
			check("real part and another", z.A0, func(i int) *big.Int { return less(dot(-1, a0[i], b0[i], a1[i], b1[i]), new(big.Int).Neg(b0[i])) })
			f.Norm(z.A0, x)
			mustBeBelow(z.A0, tight)
			check("norm", z.A0, func(i int) *big.Int { return dot(1, a0[i], a0[i], a1[i], a1[i]) })
		}
	})
}

func TestSqrMulBlocks(t *testing.T) {
	if _, err := kernel.Implementation(cpu.AVX512IFMA); err != nil {
		t.Skip(err)
	}
	vs := lazyValues(t)
	for count := 1; count <= 3; count++ {
		x, y, want := blocks(vs[:count*Lanes]), blocks(vs[len(vs)-count*Lanes:]), make(Vec, count)
		for n := 1; n < 6; n++ {
			copy(want, x)
			for range n {
				sqrBlocks(&want[0], &want[0], count)
			}
			mulBlocks(&want[0], &want[0], &y[0], count, blockBytes)
			z := make(Vec, count+1)
			if sqrMulBlocks(&z[0], &x[0], &y[0], n, count); !slices.Equal(z[:count], want) || z[count] != (Block{}) {
				t.Errorf("%d blocks after %d squarings: %x, not %x", count, n, z, want)
			}
		}
	}
}

func TestIssueMultiplyAdds(t *testing.T) {
	_, err := kernel.Implementation(cpu.AVX512IFMA)
	if n := IssueMultiplyAdds(1000); n < 1000 && err == nil || n != 0 && err != nil {
		t.Errorf("%d of 1000 issued", n)
	}
}

// A value beyond its bound is seen in builds with the tag invariants; the check itself is in every build.
func TestBoundsAreChecked(t *testing.T) {
	v := blocks([]*big.Int{new(big.Int).Lsh(modulus(), 3)})
	mustBeBelow(v, 4)
	wide := NewVec(1)
	wide[0][2][5] = 1 << limbBits
	for name, call := range map[string]func(){
		"value": func() { mustBeBelow(v, 3) },
		"limb":  func() { mustBeBelow(wide, loose) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a %s beyond its bound passes", name)
				}
			}()
			call()
		}()
	}
}
