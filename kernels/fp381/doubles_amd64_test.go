//go:build !purego

package fp381

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/waybill-network/waybill/kernels/cpu/cputest"
)

// Settings of MXCSR: Go's, and bits in it.
const (
	roundToNearest = 0x1f80
	flushToZero    = 1<<15 | 1<<6 // results and operands
	roundDown      = 1 << 13
	roundUp        = 1 << 14
	roundToZero    = 3 << 13
)

// withControl calls do with another setting of MXCSR. What do does must not depend on Go's
// arithmetic of doubles.
func withControl(mxcsr uint32, do func()) (before uint32) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before = setControl(mxcsr)
	defer setControl(before)
	do()
	return before
}

// Doubles round as Go sets it, and do not depend on subnormal numbers; the self-test sees any other
// rounding.
func TestRounding(t *testing.T) {
	cputest.Each(t, kernel, func(t *testing.T, f Field) {
		if _, ok := f.(doubles); !ok {
			return
		}
		var err error
		before := withControl(roundToNearest|flushToZero, func() { err = selfTest(f, generic{}) })
		if err != nil {
			t.Errorf("without subnormal numbers: %v", err)
		}
		if before&^0x3f != roundToNearest {
			t.Errorf("MXCSR is %#x", before)
		}
		modes := map[string]uint32{"down": roundDown, "up": roundUp, "to zero": roundToZero}
		for name, mode := range modes {
			withControl(roundToNearest|mode, func() {
				defer func() {
					if seen := recover(); seen != nil && invariants { // they see it first
						err = fmt.Errorf("%v", seen)
					}
				}()
				err = selfTest(f, generic{})
			})
			if err == nil {
				t.Errorf("rounding %s passes", name)
			}
		}
	})
}

// Limbs as long as they may be, of both signs: sums of products come to the ends of their range.
func TestLongLimbs(t *testing.T) {
	r := seeded(t)
	p := modulus()
	for name, m := range map[string]*machine{"avx2": &avx2Machine, "avx512": &avx512Machine} {
		if _, err := kernel.Implementation(name); err != nil {
			t.Log(err)
			continue
		}
		for range 300 {
			x, y, z := NewVec2(Lanes), NewVec2(Lanes), NewVec2(Lanes)
			var values [4][Lanes]*big.Int
			for i, v := range []Vec{x.A0, x.A1, y.A0, y.A1} {
				for l := range Lanes {
					values[i][l] = longLimbs(r, &v[0], l)
				}
			}
			// The values are beyond what multiplications take, up to 2^10·p: results may be too,
			// and are congruent.
			check := func(op string, z *Block, want func(a0, a1, b0, b1 *big.Int) *big.Int) {
				t.Helper()
				for l := range Lanes {
					got, _ := m.value(z, l)
					w := want(values[0][l], values[1][l], values[2][l], values[3][l])
					if got.Mod(got, p).Cmp(w.Mod(w.Mul(w, m.inverse()), p)) != 0 {
						t.Fatalf("%s: %s, lane %d of %x", name, op, l, values)
					}
				}
			}
			dot := func(a, b, c, d *big.Int) *big.Int {
				v := new(big.Int).Mul(a, b)
				return v.Add(v, new(big.Int).Mul(c, d))
			}
			none := new(big.Int)
			m.mul(&z.A0[0], &x.A0[0], &y.A0[0], 1, 0)
			check("product", &z.A0[0], func(a0, _, b0, _ *big.Int) *big.Int {
				return dot(a0, b0, none, none)
			})
			m.sqr(&z.A0[0], &x.A0[0], 1)
			check("square", &z.A0[0], func(a0, _, _, _ *big.Int) *big.Int {
				return dot(a0, a0, none, none)
			})
			m.norm(&z.A0[0], &x.A0[0], &x.A1[0], 1)
			check("norm", &z.A0[0], func(a0, a1, _, _ *big.Int) *big.Int {
				return dot(a0, a0, a1, a1)
			})
			m.mul2(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &y.A0[0], &y.A1[0], 1)
			check("real part", &z.A0[0], func(a0, a1, b0, b1 *big.Int) *big.Int {
				return dot(a0, b0, new(big.Int).Neg(a1), b1)
			})
			check("imaginary part", &z.A1[0], func(a0, a1, b0, b1 *big.Int) *big.Int {
				return dot(a0, b1, a1, b0)
			})
		}
	}
}

// longLimbs fills lane l of b with limbs that are, but for the top one, at an end of their range,
// or anything.
func longLimbs(r *rand.Rand, b *Block, l int) *big.Int {
	sign := r.Int64N(2)
	for i := range b {
		limb := int64(1<<(doublesBits-1)) + r.Int64N(2)<<6
		switch {
		case i == len(b)-1:
			limb = r.Int64N(1 << 44)
		case r.IntN(8) == 0:
			limb = r.Int64N(limb)
		}
		if sign == 1 || r.IntN(4) == 0 {
			limb = -limb
		}
		b[i][l] = math.Float64bits(float64(limb))
	}
	v, _ := doublesValue(b, l)
	return v
}

// FuzzLimbs holds products of lanes of doubles to math/big, on limbs of any length and sign that is
// allowed.
func FuzzLimbs(f *testing.F) {
	most := binary.LittleEndian.AppendUint64(nil, doublesMost)
	least := binary.LittleEndian.AppendUint64(nil, ^uint64(doublesMost)+1)
	for _, limb := range [][]byte{make([]byte, 8), most, least, append(most, least...)} {
		f.Add(bytes.Repeat(limb, 32*8/len(limb)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var x, y, z Vec2
		for _, v := range []*Vec2{&x, &y, &z} {
			*v = NewVec2(Lanes)
		}
		var in [4]*big.Int
		for i, v := range []Vec{x.A0, x.A1, y.A0, y.A1} {
			raw = limbsFrom(raw, &v[0])
			in[i], _ = doublesValue(&v[0], 0)
		}
		p := modulus()
		for name, m := range map[string]*machine{"avx2": &avx2Machine, "avx512": &avx512Machine} {
			if _, err := kernel.Implementation(name); err != nil {
				continue
			}
			check := func(op string, z *Block, a, b, c, d *big.Int, sign int64) {
				want := new(big.Int).Mul(c, d)
				want.Mul(want, big.NewInt(sign)).Add(want, new(big.Int).Mul(a, b))
				want.Mod(want.Mul(want, m.inverse()), p)
				got, ok := m.value(z, 0)
				if !ok || got.Mod(got, p).Cmp(want) != 0 {
					t.Errorf("%s: %s of %x: %x, not %x", name, op, in, got, want)
				}
			}
			m.mul(&z.A0[0], &x.A0[0], &y.A0[0], 1, 0)
			check("product", &z.A0[0], in[0], in[2], p, p, 0)
			m.sqr(&z.A0[0], &x.A0[0], 1)
			check("square", &z.A0[0], in[0], in[0], p, p, 0)
			m.mul2(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &y.A0[0], &y.A1[0], 1)
			check("real part", &z.A0[0], in[0], in[2], in[1], in[3], -1)
			check("imaginary part", &z.A1[0], in[0], in[3], in[1], in[2], 1)
			m.norm(&z.A0[0], &x.A0[0], &x.A1[0], 1)
			check("norm", &z.A0[0], in[0], in[0], in[1], in[1], 1)
		}
	})
}

// limbsFrom fills all lanes of b with the same limbs, which bytes say, and returns the bytes that
// are left.
func limbsFrom(raw []byte, b *Block) []byte {
	for i := range b {
		var limb int64
		if len(raw) >= 8 {
			limb, raw = int64(binary.LittleEndian.Uint64(raw)), raw[8:]
		}
		most := int64(doublesMost)
		if i == len(b)-1 {
			most = 1 << 44 // values below 2^8·p have no more
		}
		if limb < -most || limb > most {
			limb %= most + 1
		}
		for l := range Lanes {
			b[i][l] = math.Float64bits(float64(limb))
		}
	}
	return raw
}
