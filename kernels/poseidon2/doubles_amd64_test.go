//go:build !purego

package poseidon2

import (
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
	doublesParameters() // their making is no part of what is tested
	cputest.Each(t, kernel, func(t *testing.T, f implementation) {
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

// doublesTop is what a top limb may be in a tight value, whatever the others are.
var doublesTop = new(big.Int).Rsh(thousandths(501), 4*doublesBits).Int64() - 2

// longLimbs are limbs that are at an end of their range, or anything.
func longLimbs(r *rand.Rand) (limbs [5]int64) {
	sign := r.Int64N(2)
	for i := range limbs {
		most := int64(doublesMost)
		if i == len(limbs)-1 {
			most = doublesTop
		}
		if limbs[i] = most; r.IntN(8) == 0 {
			limbs[i] = r.Int64N(most)
		}
		if sign == 1 || r.IntN(4) == 0 {
			limbs[i] = -limbs[i]
		}
	}
	return limbs
}

// setLimbs sets a lane, and returns its value.
func setLimbs(t testing.TB, b *block, l int, limbs [5]int64) *big.Int {
	for i, limb := range limbs {
		b[i][l] = math.Float64bits(float64(limb))
	}
	v, ok := doublesValue(b, l)
	if !ok || !doublesTight(v) {
		t.Fatalf("limbs %v are none", limbs)
	}
	return v
}

// each runs a test for the lanes of doubles that this CPU has.
func eachDoubles(t *testing.T, do func(t *testing.T, f doubles)) {
	for name, f := range map[string]doubles{"avx2": doublesAVX2, "avx512": doublesAVX512} {
		if _, err := kernel.Implementation(name); err != nil {
			t.Log(err)
			continue
		}
		do(t, f)
	}
}

// routines holds every routine of f to math/big, on limbs that a source says.
func routines(t *testing.T, ref *reference, f doubles, source func() [5]int64) {
	r255 := new(big.Int).Lsh(big.NewInt(1), 5*doublesBits)
	inverse := new(big.Int).ModInverse(r255, p)
	c := doublesParameters()
	var state [Width]block
	var x [8][Width]*big.Int
	for l := range f.width {
		for i := range Width {
			x[l][i] = setLimbs(t, &state[i], l, source())
		}
	}
	check := func(what string, b *block, l int, want *big.Int) {
		t.Helper()
		got, ok := doublesValue(b, l)
		if !ok || !doublesTight(got) || new(big.Int).Mod(got.Sub(got, want), p).Sign() != 0 {
			t.Fatalf("%d lanes, %s, lane %d: %v from %v", f.width, what, l, b, x[l])
		}
	}
	times := func(v *big.Int, by *big.Int) *big.Int { return new(big.Int).Mul(v, by) }
	key := func(round, i int) *big.Int { return times(ref.keys[round][i], r255) }
	fifth := func(v *big.Int) *big.Int {
		v = times(v, inverse)
		return times(v.Exp(v, ref.sbox, p), r255)
	}
	var z [Width]block
	f.fifth(&z[0][0][0], &state[0][0][0], Width/2)
	for i := range Width {
		for l := range f.width {
			check("fifth power", &z[i], l, fifth(x[l][i]))
		}
	}
	z = state
	f.keyed(&z[0][0][0], &c.external[1][0][0][0], Width)
	for i := range Width {
		for l := range f.width {
			check("key", &z[i], l, new(big.Int).Add(x[l][i], key(1, i)))
		}
	}
	z = state
	f.external(&z[0][0][0], &c.external[1][0][0][0], 1)
	for l := range f.width {
		for i, want := range ref.times(&ref.external, x[l][:]) {
			check("external matrix", &z[i], l, want.Add(want, key(1, i)))
		}
	}
	var sums block
	f.others(&sums[0][0], &state[0][0][0], 1)
	for l := range f.width {
		want := new(big.Int)
		for _, v := range x[l][1:] {
			want.Add(want, v)
		}
		check("sum", &sums, l, want)
	}
	for _, rounds := range []int{1, 3} {
		z = state
		t := [3]block{state[0], sums}
		f.internal(&z[0][0][0], &t[0][0][0], &c.diagonal[0][0][0][0], &c.internal[0][0][0], rounds)
		for l := range f.width {
			v := x[l][:]
			for round := range rounds {
				if round > 0 {
					v[0] = fifth(v[0])
				}
				v = ref.times(&ref.internal, v)
				v[0].Add(v[0], key(externalRounds/2+1+round, 0))
			}
			for i, want := range v {
				check(fmt.Sprint(rounds, " internal rounds"), &z[i], l, want)
			}
			check("next fifth power", &t[0], l, fifth(v[0]))
		}
	}
	f.leave(&z[0][0][0], &state[0][0][0], Width)
	for i := range Width {
		for l := range f.width {
			e, err := ParseElement(littleEndian(z[i].word(l)))
			if err != nil {
				t.Fatal(err)
			}
			want := times(x[l][i], big.NewInt(2)) // x·2^256/2^255
			if want.Sub(want, integer(e)).Mod(want, p).Sign() != 0 {
				t.Fatalf("%d lanes, words of %v", f.width, state[i])
			}
			check("words", &state[i], l, x[l][i])
		}
	}
}

// littleEndian is the bytes of four words.
func littleEndian(words Element) (b []byte) {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// Limbs as long as they may be, of both signs: sums of products come to the ends of their range.
func TestLongLimbs(t *testing.T) {
	r, ref := seeded(t), newReference(t)
	eachDoubles(t, func(t *testing.T, f doubles) {
		for range 20 {
			routines(t, ref, f, func() [5]int64 { return longLimbs(r) })
		}
	})
}

// TestEnter holds what goes into lanes to math/big, up to the largest element.
func TestEnter(t *testing.T) {
	r255 := new(big.Int).Lsh(big.NewInt(1), 5*doublesBits)
	eachDoubles(t, func(t *testing.T, f doubles) {
		for _, x := range boundaries() {
			var b block
			for l := range f.width {
				b.setWord(l, &x)
			}
			f.enter(&b[0][0], &b[0][0], 1)
			for l := range f.width {
				v, ok := doublesValue(&b, l)
				want := new(big.Int).Mul(integer(x), r255)
				if !ok || !doublesTight(v) || want.Sub(want, v).Mod(want, p).Sign() != 0 {
					t.Fatalf("%v becomes %v", x, b)
				}
			}
			f.leave(&b[0][0], &b[0][0], 1)
			if got := b.word(f.width - 1); got != x {
				t.Fatalf("%v comes back as %v", x, got)
			}
		}
	})
}

// FuzzLimbs is TestLongLimbs on any limbs that are allowed.
func FuzzLimbs(f *testing.F) {
	most := binary.LittleEndian.AppendUint64(nil, doublesMost)
	f.Add(most)
	f.Add(binary.LittleEndian.AppendUint64(most, ^uint64(doublesMost)+1))
	f.Add([]byte{})
	ref := newReference(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		at := 0
		limb := func(most int64) (v int64) {
			if len(raw) >= 8 {
				if at+8 > len(raw) {
					at = 0
				}
				v = int64(binary.LittleEndian.Uint64(raw[at:]))
				at += 8
			}
			if v < -most || v > most {
				v %= most + 1
			}
			return v
		}
		eachDoubles(t, func(t *testing.T, f doubles) {
			routines(t, ref, f, func() (limbs [5]int64) {
				for i := range limbs[:4] {
					limbs[i] = limb(doublesMost)
				}
				limbs[4] = limb(doublesTop)
				return limbs
			})
		})
	})
}
