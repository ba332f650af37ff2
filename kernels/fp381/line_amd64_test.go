//go:build !purego

package fp381

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// TestLineCombine compares the assembly with math/big on integers at the ends of what it takes,
// before any conversion.
func TestLineCombine(t *testing.T) {
	if _, err := kernel.Implementation(cpu.AVX512IFMA); err != nil {
		t.Skip(err)
	}
	r := seeded(t)
	p := modulus()
	// below returns 0, limit - 1, or something between.
	below := func(choice int, multiple int64) *big.Int {
		v := new(big.Int)
		for range 7 {
			v.Add(v.Lsh(v, 64), new(big.Int).SetUint64(r.Uint64()))
		}
		limit := new(big.Int).Mul(p, big.NewInt(multiple))
		switch choice {
		case 0:
			return new(big.Int)
		case 1:
			return limit.Sub(limit, big.NewInt(1))
		}
		return v.Mod(v, limit)
	}
	fill := func(b *Block, multiple int64, choice func(l int) int) {
		for l := range Lanes {
			for i, limb := range ifmaLimbs(below(choice(l), multiple)) {
				b[i][l] = limb
			}
		}
	}
	limit := new(big.Int).Mul(p, big.NewInt(12)) // 1.2p, by 10
	for round := range 200 {
		var x, z Block12
		var products [2][8]Block
		choice := func(l int) int { // two lanes random, then mixed ends, then the same in all
			switch {
			case l < 2:
				return 2
			case l < 6:
				return r.IntN(2)
			}
			return round >> (l - 6) & 1
		}
		for c, half := range [2]*[6]Block{&x.A0, &x.A1} {
			for k := range half {
				fill(&half[k], 2, choice)
			}
			for k := range products[c] {
				fill(&products[c][k], 2, choice)
				if round%2 != 0 {
					uncarry(&products[c][k], r.Uint64())
				}
			}
		}
		lineCombine(&z, &x, &products)
		for l := range Lanes {
			want := combined(&x, &products, l)
			for c, half := range [2]*[6]Block{&z.A0, &z.A1} {
				ifmaMachine.mustBeBelow(half[:], tight)
				for k := range half {
					got := ifmaInteger(&half[k], l)
					small := new(big.Int).Mul(got, big.NewInt(10)).Cmp(limit) < 0
					if !small || got.Mod(got, p).Cmp(want[k][c].Mod(want[k][c], p)) != 0 {
						t.Fatalf("round %d, lane %d, coefficient %d, coordinate %d: %x", round, l, k, c, got)
					}
				}
			}
		}
	}
}

// uncarry adds multiples of 2^52 to limbs and takes them from the next ones, as columns that were
// not carried have them: nine at most for the last but one, or as many below zero, and 2^6 for
// others.
func uncarry(b *Block, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	for l := range Lanes {
		for i := range len(b) - 1 {
			most := int64(64)
			if i == len(b)-2 {
				most = 9
			}
			carry := r.Int64N(2*most+1) - most
			if seed%3 == 0 {
				carry = most
			} else if seed%3 == 1 {
				carry = -most
			}
			b[i][l] += uint64(carry << ifmaBits)
			b[i+1][l] -= uint64(carry)
		}
	}
}

// columnsValue is laneValue of signed limbs.
func columnsValue(b *Block, l int) *big.Int {
	v := new(big.Int)
	for i := len(b) - 1; i >= 0; i-- {
		v.Add(v.Lsh(v, ifmaBits), big.NewInt(int64(b[i][l])))
	}
	return v
}

// combined is what lineCombine computes, coefficient by coefficient.
func combined(x *Block12, products *[2][8]Block, l int) (z [6][2]*big.Int) {
	type two [2]*big.Int
	add := func(a, b two, factor int64) two { // a + factor·b
		var s two
		for c := range s {
			s[c] = new(big.Int).Mul(b[c], big.NewInt(factor))
			s[c].Add(s[c], a[c])
		}
		return s
	}
	xi := func(a two) two { return two{new(big.Int).Sub(a[0], a[1]), new(big.Int).Add(a[0], a[1])} }
	none := two{new(big.Int), new(big.Int)}
	var sum [10]two
	for k := range sum {
		sum[k] = none
	}
	for half := range 2 {
		var r [4]two // at 0, −1, 1 and infinity
		for k := range r {
			r[k] = two{columnsValue(&products[0][4*half+k], l), columnsValue(&products[1][4*half+k], l)}
		}
		at := func(power int) *two { return &sum[2*power+half] }
		*at(0) = add(*at(0), r[0], 2)
		*at(1) = add(add(add(*at(1), r[2], 1), r[1], -1), r[3], -2)
		*at(2) = add(add(add(*at(2), r[2], 1), r[1], 1), r[0], -2)
		*at(3) = add(*at(3), r[3], 2)
	}
	for k := range 6 { // the product with w³
		sum[k+3] = add(sum[k+3], two{ifmaInteger(&x.A0[k], l), ifmaInteger(&x.A1[k], l)}, 2)
	}
	for k := range z {
		if k+6 < len(sum) {
			sum[k] = add(sum[k], xi(sum[k+6]), 1)
		}
		z[k] = sum[k]
	}
	return z
}

// ifmaInteger is the integer in lane l of a block of limbs.
func ifmaInteger(b *Block, l int) *big.Int {
	v, _ := ifmaValue(b, l)
	return v
}
