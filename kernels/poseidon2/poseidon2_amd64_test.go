//go:build !purego

package poseidon2

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// requireLanes skips what calls the assembly directly; whether it must run is for the tests that
// walk implementations.
func requireLanes(t *testing.T) {
	if _, err := kernel.Implementation(cpu.AVX512IFMA); err != nil {
		t.Skip(err)
	}
}

var (
	p     = fr.Modulus()
	r260  = new(big.Int).Lsh(big.NewInt(1), 260)
	inv   = new(big.Int).ModInverse(r260, p)
	ulimb = int64(1<<limbBits - 1)
)

// thousandths is n/1000 of p.
func thousandths(n int64) *big.Int {
	v := new(big.Int).Mul(p, big.NewInt(n))
	return v.Div(v, big.NewInt(1000))
}

func setLane(b *block, lane int, v *big.Int) {
	for i := range b {
		b[i][lane] = new(big.Int).And(new(big.Int).Rsh(v, uint(limbBits*i)),
			big.NewInt(ulimb)).Uint64()
	}
}

// value is the integer in a lane, whose limbs must have 52 bits.
func value(t *testing.T, b *block, lane int) *big.Int {
	t.Helper()
	v := new(big.Int)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i][lane]>>limbBits != 0 {
			t.Fatalf("limb %d is %#x", i, b[i][lane])
		}
		v.Add(v.Lsh(v, limbBits), new(big.Int).SetUint64(b[i][lane]))
	}
	return v
}

// lazyValues are integers below a bound: about multiples of p, about every carry, with limbs of
// ones, and random ones.
func lazyValues(r *rand.Rand, below *big.Int) (vs []*big.Int) {
	around := func(v *big.Int) {
		for d := int64(-1); d <= 1; d++ {
			if e := new(big.Int).Add(v, big.NewInt(d)); e.Sign() >= 0 && e.Cmp(below) < 0 {
				vs = append(vs, e)
			}
		}
	}
	around(below)
	for k := int64(0); k < 85; k = k*5/4 + 1 {
		around(new(big.Int).Mul(p, big.NewInt(k)))
	}
	for bits := uint(0); bits < 260; bits += 13 {
		around(new(big.Int).Lsh(big.NewInt(1), bits))
	}
	ones := big.NewInt(ulimb)
	for i := range uint(5) {
		around(new(big.Int).Lsh(ones, limbBits*i))
	}
	for range 50 {
		v := new(big.Int)
		for range 5 {
			v.Add(v.Lsh(v, 64), new(big.Int).SetUint64(r.Uint64()))
		}
		vs = append(vs, v.Mod(v, below))
	}
	return vs
}

// congruent checks a lane: its residue, and that it is below a limit.
func congruent(t *testing.T, what string, got, want, limit *big.Int) {
	t.Helper()
	if got.Cmp(limit) >= 0 || new(big.Int).Mod(got, p).Cmp(new(big.Int).Mod(want, p)) != 0 {
		t.Fatalf("%s: %x, limit %x, modulo p %x", what, got, limit, new(big.Int).Mod(want, p))
	}
}

// TestLazyProducts holds multiplication and squaring to math/big and to the bound of their header.
func TestLazyProducts(t *testing.T) {
	requireLanes(t)
	vs := lazyValues(seeded(t), thousandths(83000))
	n := len(vs)
	check := func(op string, x, y, got *big.Int) {
		product := new(big.Int).Mul(x, y)
		limit := new(big.Int).Add(new(big.Int).Rsh(product, 260), thousandths(1123))
		congruent(t, op, got, product.Mul(product, inv), limit)
	}
	for shift := range n {
		var x, y, z [2]block
		for i := range 2 * lanes {
			setLane(&x[i/lanes], i%lanes, vs[(shift+i)%n])
			setLane(&y[i/lanes], i%lanes, vs[(3*shift+5*i)%n])
		}
		mulBlocks(&z[0], &x[0], &y[0], 2, blockBytes)
		for i := range 2 * lanes {
			check("product", vs[(shift+i)%n], vs[(3*shift+5*i)%n], value(t, &z[i/lanes], i%lanes))
		}
		mulBlocks(&z[0], &x[0], &y[1], 2, 0)
		for i := range 2 * lanes {
			one := vs[(3*shift+5*(lanes+i%lanes))%n]
			check("product with one", vs[(shift+i)%n], one, value(t, &z[i/lanes], i%lanes))
		}
		sqrBlocks(&z[0], &x[0], 2)
		for i := range 2 * lanes {
			check("square", vs[(shift+i)%n], vs[(shift+i)%n], value(t, &z[i/lanes], i%lanes))
		}
		if sqrBlocks(&x[0], &x[0], 2); x != z {
			t.Fatal("square in place")
		}
	}
}

// TestLazyExternal gives the external matrix the largest values that packing leaves, and the
// largest keys.
func TestLazyExternal(t *testing.T) {
	requireLanes(t)
	ref := newReference(t)
	vs := lazyValues(seeded(t), thousandths(16000))
	top := new(big.Int).Sub(p, big.NewInt(1))
	var keys [Width]limbs
	for i := range keys {
		var e fr.Element
		keys[i] = shifted(e.SetInt64(int64(i)-1), 0) // the first is the largest
	}
	for shift := range vs {
		var state [Width]block
		in := func(i, lane int) *big.Int {
			if lane == 0 {
				return vs[shift] // everywhere
			}
			return vs[(shift+i*lane)%len(vs)]
		}
		for i := range Width * lanes {
			setLane(&state[i%Width], i/Width, in(i%Width, i/Width))
		}
		external(&state, &keys)
		for lane := range lanes {
			x := make([]*big.Int, Width)
			for i := range x {
				x[i] = in(i, lane)
			}
			for i, want := range ref.times(&ref.external, x) {
				key := new(big.Int).Add(top, big.NewInt(int64(i)))
				congruent(t, "external", value(t, &state[i], lane), want.Add(want, key),
					thousandths(1100))
			}
		}
	}
}

// TestLazyInternal runs internal rounds from values as large as they can be there.
func TestLazyInternal(t *testing.T) {
	requireLanes(t)
	ref, c := newReference(t), laneParameters()
	vs := lazyValues(seeded(t), thousandths(1100))
	fifths := lazyValues(seeded(t), thousandths(1300))
	for _, rounds := range []int{1, 2, 3, internalRounds} {
		for shift := 0; shift < len(vs); shift += 1 + rounds/2 {
			var state [Width]block
			var fifth block
			x := make([][]*big.Int, lanes)
			for lane := range lanes {
				for i := range Width {
					v := vs[(shift+i*lane)%len(vs)]
					if i == 0 {
						v = fifths[(shift+lane)%len(fifths)]
						setLane(&fifth, lane, v)
					} else {
						setLane(&state[i], lane, v)
					}
					x[lane] = append(x[lane], v)
				}
			}
			keys := append([]limbs(nil), c.internal[:rounds]...)
			keys[rounds-1] = c.last[0]
			internal(&state, &fifth, &c.diagonal, &keys[0], rounds, &c.last)
			for lane := range lanes {
				for i, want := range internalRoundsOf(ref, x[lane], rounds) {
					congruent(t, "internal", value(t, &state[i], lane), want, thousandths(8100))
				}
			}
		}
	}
}

// internalRoundsOf computes with integers that stand for themselves times 2^260.
func internalRoundsOf(ref *reference, x []*big.Int, rounds int) []*big.Int {
	mont := func(v *big.Int) *big.Int {
		v = new(big.Int).Mul(v, r260)
		return v.Mod(v, p)
	}
	for round := range rounds {
		x = ref.times(&ref.internal, x)
		if round == rounds-1 {
			break
		}
		v := x[0].Add(x[0], mont(ref.keys[externalRounds/2+round+1][0]))
		v.Mul(v, inv).Exp(v, ref.sbox, p)
		x[0] = mont(v)
	}
	for i, key := range ref.keys[externalRounds/2+internalRounds] {
		x[i].Add(x[i], mont(key))
	}
	return x
}

func TestPackStates(t *testing.T) {
	requireLanes(t)
	b := boundaries()
	for shift := range b {
		var in [lanes * Width]Element
		for i := range in {
			in[i] = b[(shift+i)%len(b)]
		}
		var state [Width]block
		packStates(&state, &in[0])
		for i := range in {
			want := new(big.Int).Mul(integer(in[i]), r260)
			congruent(t, "packed", value(t, &state[i%Width], i/Width), want, thousandths(16000))
		}
	}
}
