package fp381

import (
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/internal/kernelbench"
	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// seeded returns a source of randomness whose seed is in the test's log.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func randomElement(r *rand.Rand) (e fp.Element) {
	v := new(big.Int)
	for range 7 {
		v.Add(v.Lsh(v, 64), new(big.Int).SetUint64(r.Uint64()))
	}
	return *e.SetBigInt(v)
}

// boundaries are elements about the ends of the field and about each carry, as integers and in
// Montgomery's form with words of 64 bits and limbs of 52.
func boundaries() (es []fp.Element) {
	p := modulus()
	add := func(v *big.Int) {
		var e fp.Element
		e.SetBigInt(v)
		if v.Sign() >= 0 && v.Cmp(p) < 0 {
			raw := fp.Element{} // v in Montgomery's form
			b := v.FillBytes(make([]byte, 48))
			for i := range raw {
				raw[i] = binary.BigEndian.Uint64(b[40-8*i:])
			}
			es = append(es, raw)
			e416 := new(big.Int).Mul(v, new(big.Int).ModInverse(new(big.Int).Lsh(big.NewInt(1), 416), p))
			var lanes fp.Element
			es = append(es, *lanes.SetBigInt(e416))
		}
		es = append(es, e)
	}
	for d := int64(-2); d <= 2; d++ {
		add(big.NewInt(d))
		add(new(big.Int).Add(p, big.NewInt(d)))
		add(new(big.Int).Add(new(big.Int).Rsh(p, 1), big.NewInt(d)))
	}
	for bits := uint(52); bits < 381; bits += 52 {
		for d := int64(-1); d <= 1; d++ {
			add(new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), bits), big.NewInt(d)))
		}
	}
	return es
}

// pairs returns every pair of boundaries, and random elements.
func pairs(r *rand.Rand) (x, y []fp.Element) {
	b := boundaries()
	for i := range b {
		for j := range b {
			x, y = append(x, b[i]), append(y, b[j])
		}
	}
	for range 1001 {
		x, y = append(x, randomElement(r)), append(y, randomElement(r))
	}
	return x, y
}

func pack(f Field, x []fp.Element) Vec {
	v := NewVec(len(x))
	f.Pack(v, x)
	return v
}

func unpack(f Field, v Vec, n int) []fp.Element {
	x := make([]fp.Element, n)
	f.Unpack(x, v)
	return x
}

// agree compares v with math/big and with gnark-crypto.
func agree(
	t *testing.T, op string, f Field, v Vec, x, y []fp.Element,
	big1 func(z, x, y *big.Int), gnark func(z, x, y *fp.Element),
) {
	t.Helper()
	var a, b, c big.Int
	for i, got := range unpack(f, v, len(x)) {
		var want fp.Element
		gnark(&want, &x[i], &y[i])
		x[i].BigInt(&a)
		y[i].BigInt(&b)
		big1(&c, &a, &b)
		var reference fp.Element
		reference.SetBigInt(&c)
		if got != want || got != reference {
			t.Fatalf("%s of %s and %s: %s, gnark-crypto %s, math/big %s", op,
				x[i].String(), y[i].String(), got.String(), want.String(), reference.String())
		}
	}
}

func TestArithmetic(t *testing.T) {
	x, y := pairs(seeded(t))
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		vx, vy, z := pack(f, x), pack(f, y), NewVec(len(x))
		f.Mul(z, vx, vy)
		agree(t, "product", f, z, x, y,
			func(z, x, y *big.Int) { z.Mul(x, y) },
			func(z, x, y *fp.Element) { z.Mul(x, y) })
		f.Sqr(z, vx)
		agree(t, "square", f, z, x, y,
			func(z, x, _ *big.Int) { z.Mul(x, x) },
			func(z, x, _ *fp.Element) { z.Square(x) })
		f.Add(z, vx, vy)
		agree(t, "sum", f, z, x, y,
			func(z, x, y *big.Int) { z.Add(x, y) },
			func(z, x, y *fp.Element) { z.Add(x, y) })
		for k := range 8 {
			f.Sub(z, vx, vy, k)
			agree(t, "difference", f, z, x, y,
				func(z, x, y *big.Int) { z.Sub(x, y) },
				func(z, x, y *fp.Element) { z.Sub(x, y) })
		}
		f.Reduce(z, z)
		agree(t, "reduced difference", f, z, x, y,
			func(z, x, y *big.Int) { z.Sub(x, y) },
			func(z, x, y *fp.Element) { z.Sub(x, y) })
	})
}

// Results in place of operands, an operand twice, one block against many, and every tail.
func TestShapes(t *testing.T) {
	r := seeded(t)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		for _, n := range []int{0, 1, 7, 8, 9, 15, 16, 17, 65} {
			x, y := make([]fp.Element, n), make([]fp.Element, n)
			for i := range n {
				x[i], y[i] = randomElement(r), randomElement(r)
			}
			check := func(op string, z Vec, want func(z, x, y *fp.Element)) {
				t.Helper()
				for i, got := range unpack(f, z, n) {
					var w fp.Element
					if want(&w, &x[i], &y[i]); got != w {
						t.Fatalf("%s, n=%d: element %d", op, n, i)
					}
				}
			}
			vx, vy := func() Vec { return pack(f, x) }, func() Vec { return pack(f, y) }
			for _, in := range []string{"left", "right"} {
				a, b := vx(), vy()
				z := map[string]Vec{"left": a, "right": b}[in]
				f.Mul(z, a, b)
				check("mul in place of "+in, z, func(z, x, y *fp.Element) { z.Mul(x, y) })
				a, b = vx(), vy()
				z = map[string]Vec{"left": a, "right": b}[in]
				f.Add(z, a, b)
				check("add in place of "+in, z, func(z, x, y *fp.Element) { z.Add(x, y) })
				a, b = vx(), vy()
				z = map[string]Vec{"left": a, "right": b}[in]
				f.Sub(z, a, b, 0)
				check("sub in place of "+in, z, func(z, x, y *fp.Element) { z.Sub(x, y) })
			}
			a := vx()
			f.Mul(a, a, a)
			check("mul of one", a, func(z, x, _ *fp.Element) { z.Square(x) })
			a = vx()
			f.Sqr(a, a)
			check("sqr in place", a, func(z, x, _ *fp.Element) { z.Square(x) })
			c := randomElement(r)
			a = vx()
			f.Mul(a, a, f.Broadcast(c))
			check("mul by one block", a, func(z, x, _ *fp.Element) { z.Mul(x, &c) })
			a = vx()
			f.Add(a, a, f.Broadcast(c))
			check("add one block", a, func(z, x, _ *fp.Element) { z.Add(x, &c) })
			a = vx()
			f.Sub(a, a, f.Broadcast(c), 0)
			check("sub one block", a, func(z, x, _ *fp.Element) { z.Sub(x, &c) })
			a = vx()
			none := NewMask(n)
			if n > 0 {
				none[0] = 1
			}
			f.Select(a, none, a, f.Broadcast(c))
			first := true
			check("select one block", a, func(z, x, _ *fp.Element) {
				if *z = c; first {
					*z, first = *x, false
				}
			})
			a = vx()
			f.PowP34(a, a)
			check("power in place", a, func(z, x, _ *fp.Element) { z.Exp(*x, exponentP34()) })
		}
	})
}

func exponentP34() *big.Int {
	e := new(big.Int).Sub(modulus(), big.NewInt(3))
	return e.Rsh(e, 2)
}

func TestPowP34(t *testing.T) {
	r := seeded(t)
	x := boundaries()
	for range 50 {
		x = append(x, randomElement(r))
	}
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		z := NewVec(len(x))
		f.PowP34(z, pack(f, x))
		agree(t, "power", f, z, x, x,
			func(z, x, _ *big.Int) { z.Exp(x, exponentP34(), modulus()) },
			func(z, x, _ *fp.Element) { z.Exp(*x, exponentP34()) })
		// Times x it is a square root where there is one: the same as gnark-crypto's, up to sign.
		f.Mul(z, z, pack(f, x))
		for i, root := range unpack(f, z, len(x)) {
			var want, minus fp.Element
			if want.Sqrt(&x[i]) == nil {
				continue
			}
			if minus.Neg(&want); root != want && root != minus {
				t.Fatalf("square root of %s: %s", x[i].String(), root.String())
			}
		}
	})
}

func TestChain(t *testing.T) {
	e := big.NewInt(int64(2*chainP34.first + 1))
	multiplications := len(powers{}) // the square among them
	for _, s := range chainP34.steps {
		e.Add(e.Lsh(e, uint(s.squarings)), big.NewInt(int64(2*s.factor+1)))
		multiplications++
	}
	e.Lsh(e, uint(chainP34.last))
	if e.Cmp(exponentP34()) != 0 {
		t.Errorf("the chain raises to the power %x", e)
	}
	t.Logf("%d multiplications", multiplications)
}

func TestMasks(t *testing.T) {
	x, y := pairs(seeded(t))
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		vx, vy, d := pack(f, x), pack(f, y), NewVec(len(x))
		zero, odd := NewMask(len(x)), NewMask(len(x))
		f.Sub(d, vx, vy, 4) // an odd multiple of p above the canonical residue, often
		f.Zero(zero, d)
		f.Odd(odd, d)
		chosen := NewVec(len(x))
		f.Select(chosen, odd, vx, vy)
		for i, e := range unpack(f, chosen, len(x)) {
			var diff fp.Element
			var value big.Int
			diff.Sub(&x[i], &y[i]).BigInt(&value)
			if zero.Has(i) != (value.Sign() == 0) || odd.Has(i) != (value.Bit(0) == 1) {
				t.Fatalf("%v is zero: %v, odd: %v", &value, zero.Has(i), odd.Has(i))
			}
			if want := map[bool]fp.Element{true: x[i], false: y[i]}[odd.Has(i)]; e != want {
				t.Fatalf("element %d: the wrong one was selected", i)
			}
		}
		f.Select(vx, odd, vx, vy)
		f.Select(vy, odd, pack(f, x), vy)
		for i := range vx {
			if vx[i] != chosen[i] || vy[i] != chosen[i] {
				t.Fatal("selection in place of an operand differs")
			}
		}
	})
}

func TestInverse(t *testing.T) {
	r := seeded(t)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		for _, n := range []int{0, 1, 7, 8, 9, 17, 25, 40, 64, 100, 264, 2000} {
			for _, zeros := range []int{0, 1, n} {
				x := make([]fp.Element, n)
				for i := range x {
					if x[i] = randomElement(r); i < zeros {
						x[i] = fp.Element{}
					}
				}
				v := pack(f, x)
				z := NewVec(n)
				Inverse(f, z, v)
				Inverse(f, v, v)
				agree(t, "inverse", f, z, x, x, func(z, x, _ *big.Int) {
					if x.Sign() != 0 {
						z.ModInverse(x, modulus())
					} else {
						z.SetInt64(0)
					}
				}, func(z, x, _ *fp.Element) { z.Inverse(x) })
				if !slices.Equal(unpack(f, z, n), unpack(f, v, n)) {
					t.Fatal("in place, it differs")
				}
			}
		}
	})
}

func TestExtension(t *testing.T) {
	x, y := pairs(seeded(t))
	n := len(x) - 1
	a0, a1, b0, b1 := x[:n], y[:n], y[1:], x[1:]
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		check := func(op string, z Vec2, want func(z, x, y *bls12381.E2)) {
			t.Helper()
			c0, c1 := unpack(f, z.A0, n), unpack(f, z.A1, n)
			for i := range n {
				var w bls12381.E2
				want(&w, &bls12381.E2{A0: a0[i], A1: a1[i]}, &bls12381.E2{A0: b0[i], A1: b1[i]})
				if c0[i] != w.A0 || c1[i] != w.A1 {
					t.Fatalf("%s: element %d", op, i)
				}
			}
		}
		a := func() Vec2 { return Vec2{pack(f, a0), pack(f, a1)} }
		b := func() Vec2 { return Vec2{pack(f, b0), pack(f, b1)} }
		mul, sqr := func(z, x, y *bls12381.E2) { z.Mul(x, y) }, func(z, x, _ *bls12381.E2) { z.Square(x) }
		z, v, w := NewVec2(n), a(), b()
		f.Mul2(z, v, w)
		check("product", z, mul)
		f.Sqr2(z, v)
		check("square", z, sqr)
		f.Mul2(v, v, w)
		check("product in place of left", v, mul)
		v = a()
		f.Mul2(w, v, w)
		check("product in place of right", w, mul)
		f.Mul2(z, v, v)
		check("product of one", z, sqr)
		f.Sqr2(v, v)
		check("square in place", v, sqr)
		mulAdd := func(z, x, y *bls12381.E2) { z.Mul(x, y).Add(z, x) }
		mulSub := func(z, x, y *bls12381.E2) { z.Mul(x, y).Sub(z, x) }
		sqrSub := func(z, x, y *bls12381.E2) { z.Square(x).Sub(z, y) }
		v, w = a(), b()
		f.MulAdd2(z, v, w, v)
		check("product and sum", z, mulAdd)
		f.MulSub2(z, v, w, v)
		check("product and difference", z, mulSub)
		f.SqrSub2(z, v, w)
		check("square and difference", z, sqrSub)
		f.MulAdd2(w, v, w, v)
		check("product and sum in place of a factor", w, mulAdd)
		w = b()
		f.MulSub2(v, v, w, v)
		check("product and difference in place", v, mulSub)
		v = a()
		f.SqrSub2(w, v, w)
		check("square and difference in place of what is subtracted", w, sqrSub)
		w = b()
		f.SqrSub2(v, v, w)
		check("square and difference in place", v, sqrSub)
		v = a()
		f.Norm(z.A0, v)
		clear(z.A1)
		norm := func(z, x, _ *bls12381.E2) {
			var conjugate bls12381.E2
			z.Mul(x, conjugate.Conjugate(x))
		}
		check("norm", z, norm)
		f.Norm(v.A0, v)
		clear(v.A1)
		check("norm in place", v, norm)
	})
}

func TestLengthsMustMatch(t *testing.T) {
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		two, three, one := NewVec(16), NewVec(17), make([]fp.Element, 1)
		for name, call := range map[string]func(){
			"Pack":   func() { f.Pack(two, one) },
			"Unpack": func() { f.Unpack(one, two) },
			"Mul":    func() { f.Mul(two, three, three) },
			"Mul y":  func() { f.Mul(three, three, two) },
			"Sqr":    func() { f.Sqr(two, three) },
			"Add":    func() { f.Add(three, two, two) },
			"Sub":    func() { f.Sub(two, two, three, 1) },
			"Pow":    func() { f.PowP34(two, three) },
			"Reduce": func() { f.Reduce(two, three) },
			"Select": func() { f.Select(two, NewMask(1), two, two) },
			"Zero":   func() { f.Zero(NewMask(1), two) },
			"Odd":    func() { f.Odd(NewMask(8), two) },
			"Mul2":   func() { f.Mul2(Vec2{two, two}, Vec2{two, two}, Vec2{two, three}) },
			"Lines":  func() { f.MulLines(new(Block12), Vec2{two, two}, Vec2{two, three}) },
			"MulAdd": func() { f.MulAdd2(Vec2{two, two}, Vec2{two, two}, Vec2{two, two}, Vec2{two, three}) },
			"MulSub": func() { f.MulSub2(Vec2{two, two}, Vec2{two, two}, Vec2{two, two}, Vec2{two, three}) },
			"SqrSub": func() { f.SqrSub2(Vec2{two, two}, Vec2{two, two}, Vec2{two, three}) },
			"Norm":   func() { f.Norm(two, Vec2{two, three}) },
			"Sqr2":   func() { f.Sqr2(Vec2{two, two}, Vec2{three, two}) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s takes vectors of different lengths", name)
					}
				}()
				call()
			}()
		}
	})
}

// broken is generic with one wrong result.
type broken struct{ generic }

func (broken) Odd(m Mask, x Vec) {
	generic{}.Odd(m, x)
	m[0] ^= 4
}

func TestSelfTestCanFail(t *testing.T) {
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		if err := selfTest(f, generic{}); err != nil {
			t.Error(err)
		}
	})
	if selfTest(broken{}, generic{}) == nil {
		t.Error("a wrong implementation passes")
	}
}

// FuzzField compares all implementations on two elements.
func FuzzField(f *testing.F) {
	for _, e := range boundaries() {
		b := e.Bytes()
		f.Add(b[:], b[:])
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var x, y fp.Element
		x.SetBytes(a)
		y.SetBytes(b)
		for name, field := range kernelbench.Each[Field]("fp381") {
			if err := compare(field, generic{}, []fp.Element{x, y, x}, []fp.Element{y, x, x}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestCells(t *testing.T) {
	r := seeded(t)
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		for _, n := range []int{0, 1, 7, 8, 9, 64, 77} {
			x, order := make([]fp.Element, n), make([]int32, n)
			for i, at := range r.Perm(n) {
				x[i], order[i] = randomElement(r), int32(2*at+1)
			}
			cells := make([]Cell, 2*n+1)
			f.Scatter(cells, order, pack(f, x))
			for i := 0; i < len(cells); i += 2 {
				if cells[i] != (Cell{}) {
					t.Fatalf("n=%d: cell %d was written", n, i)
				}
			}
			for i, j := range r.Perm(n) {
				x[i], x[j], order[i], order[j] = x[j], x[i], order[j], order[i]
			}
			z := NewVec(n)
			f.Gather(z, cells, order)
			for i, e := range unpack(f, z, n) {
				if e != x[i] {
					t.Fatalf("n=%d: element %d is another", n, i)
				}
			}
			if n > 0 {
				order[n-1] = 0
				x[n-1] = fp.Element{}
				f.Gather(z, cells, order)
				blank := NewMask(n)
				f.Blank(blank, z)
				for i := range n {
					if blank.Has(i) != (i == n-1) {
						t.Fatalf("n=%d: element %d is blank: %v", n, i, blank.Has(i))
					}
				}
			}
		}
		for name, index := range map[string][]int32{"negative": {-1}, "beyond": {0, 1, 2}} {
			for op, call := range map[string]func(){
				"gathered":  func() { f.Gather(NewVec(3), make([]Cell, 2), index) },
				"scattered": func() { f.Scatter(make([]Cell, 2), index, NewVec(3)) },
			} {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("a cell %s is %s", name, op)
						}
					}()
					call()
				}()
			}
		}
	})
}
