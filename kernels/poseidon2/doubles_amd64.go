//go:build !purego

package poseidon2

import (
	"fmt"
	"math"
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

//go:generate go run -C ../../asm ./poseidon2avx2 -out ../kernels/poseidon2/avx2_amd64.s
//go:generate go run -C ../../asm ./poseidon2avx512 -out ../kernels/poseidon2/avx512_amd64.s

//go:noescape
func enterAVX2(z, x *uint64, n int)

//go:noescape
func leaveAVX2(z, x *uint64, n int)

//go:noescape
func keyedAVX2(x, keys *uint64, n int)

//go:noescape
func fifthAVX2(z, x *uint64, n int)

//go:noescape
func externalAVX2(x, keys *uint64, n int)

//go:noescape
func othersAVX2(z, x *uint64, n int)

//go:noescape
func internalAVX2(x, t, diagonal, keys *uint64, n int)

//go:noescape
func setControl(mxcsr uint32) uint32

//go:noescape
func enterAVX512(z, x *uint64, n int)

//go:noescape
func leaveAVX512(z, x *uint64, n int)

//go:noescape
func keyedAVX512(x, keys *uint64, n int)

//go:noescape
func fifthAVX512(z, x *uint64, n int)

//go:noescape
func externalAVX512(x, keys *uint64, n int)

//go:noescape
func othersAVX512(z, x *uint64, n int)

//go:noescape
func internalAVX512(x, t, diagonal, keys *uint64, n int)

// doubles permutes as many states at a time as a vector has doubles, four or eight. Its blocks keep
// limb i of lane l, 51 bits of x·2^255, as a double in word [i][l]; see the head of avx2_amd64.s.
type doubles struct {
	width    int
	enter    func(z, x *uint64, n int)
	leave    func(z, x *uint64, n int)
	keyed    func(x, keys *uint64, n int)
	fifth    func(z, x *uint64, n int)
	external func(x, keys *uint64, n int)
	others   func(z, x *uint64, n int)
	internal func(x, t, diagonal, keys *uint64, n int)
}

var (
	doublesAVX2 = doubles{4, enterAVX2, leaveAVX2, keyedAVX2, fifthAVX2, externalAVX2, othersAVX2,
		internalAVX2}
	doublesAVX512 = doubles{8, enterAVX512, leaveAVX512, keyedAVX512, fifthAVX512, externalAVX512,
		othersAVX512, internalAVX512}
)

const (
	doublesBits = 51
	// doublesMost is what limbs may be: carries of all limbs at once leave a few above 2^50.
	doublesMost = 1<<(doublesBits-1) + 1<<4
)

// copies are a constant's limbs, as doubles, once for each lane of a vector of four.
type copies [5][4]uint64

// doublesConstants are laneConstants for doubles: times 2^255, except for the diagonal, which is
// times 2^(51(i+1)), 0 ≤ i < 5.
type doublesConstants struct {
	external [externalRounds + 1][Width]copies
	internal [internalRounds]copies
	last     [Width]copies
	diagonal [Width][5]copies
}

var doublesParameters = sync.OnceValue(func() *doublesConstants {
	const half = externalRounds / 2
	c, d := parameters(), new(doublesConstants)
	for i := range c.external {
		for j := range Width {
			d.external[i][j] = doublesOf(&c.external[i][j], 5*doublesBits)
		}
	}
	d.last = d.external[half]
	d.external[half] = [Width]copies{doublesOf(&c.internal[0], 5*doublesBits)}
	for i := range internalRounds - 1 {
		d.internal[i] = doublesOf(&c.internal[i+1], 5*doublesBits)
	}
	d.internal[internalRounds-1] = d.last[0]
	for i := range c.diagonal {
		for j := range d.diagonal[i] {
			d.diagonal[i][j] = doublesOf(&c.diagonal[i], uint(doublesBits*(j+1)))
		}
	}
	return d
})

// doublesOf is the least absolute residue of x·2^bits in limbs.
func doublesOf(x *fr.Element, bits uint) (c copies) {
	v := x.BigInt(new(big.Int))
	v.Lsh(v, bits).Mod(v, fr.Modulus())
	if new(big.Int).Lsh(v, 1).Cmp(fr.Modulus()) > 0 {
		v.Sub(v, fr.Modulus())
	}
	for i, limb := range doublesLimbs(v) {
		for l := range c[i] {
			c[i][l] = math.Float64bits(limb)
		}
	}
	return c
}

// doublesLimbs cuts |v| < 2^254 into limbs.
func doublesLimbs(v *big.Int) (limbs [5]float64) {
	v = new(big.Int).Set(v)
	half := big.NewInt(1 << (doublesBits - 1))
	for i := range limbs {
		low := new(big.Int).Set(v)
		if i < len(limbs)-1 { // the residue from −2^50 to 2^50 − 1
			low.Add(v, half)
			low.Sub(low.Sub(low, new(big.Int).Lsh(new(big.Int).Rsh(low, doublesBits), doublesBits)),
				half)
		}
		limbs[i] = float64(low.Int64())
		v.Rsh(v.Sub(v, low), doublesBits)
	}
	return limbs
}

func (f doubles) permuteMany(states []Element) {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	for len(states) > 0 {
		n := min(len(states), f.width*Width)
		f.permute(w, states[:n])
		f.leave(&w.powers[0][0][0], &w.state[0][0][0], Width)
		for i := range n {
			states[i] = w.powers[i%Width].word(i / Width)
		}
		states = states[n:]
	}
}

func (f doubles) compressMany(out, in []Element) {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	for len(out) > 0 {
		n := min(len(out), f.width)
		f.permute(w, in[:n*Width])
		f.leave(&w.powers[0][0][0], &w.state[0][0][0], 1)
		for i := range n {
			x := w.powers[0].word(i)
			add(e(&out[i]), e(&x), e(&in[i*Width]))
		}
		out, in = out[n:], in[n*Width:]
	}
}

// permute leaves the permutations of at most as many states as there are lanes in w.state. Lanes
// that are not used compute on zeros.
func (f doubles) permute(w *workspace, in []Element) {
	c := doublesParameters()
	if len(in) < f.width*Width {
		w.state = [Width]block{}
	}
	for i := range in {
		w.state[i%Width].setWord(i/Width, &in[i])
	}
	x, t := &w.state[0][0][0], &w.powers[0][0][0]
	f.enter(x, x, Width)
	f.external(x, &c.external[0][0][0][0], 1)
	f.require(w.state[:])
	for i := range externalRounds {
		if i == externalRounds/2 {
			f.fifth(t, x, 1)
			f.others(&w.powers[1][0][0], x, 1)
			f.require(w.powers[:2])
			f.internal(x, t, &c.diagonal[0][0][0][0], &c.internal[0][0][0], internalRounds)
			f.keyed(&w.state[1][0][0], &c.last[1][0][0], Width-1)
			f.require(w.state[:])
		}
		f.fifth(x, x, Width/2)
		f.require(w.state[:])
		f.external(x, &c.external[i+1][0][0][0], 1)
		f.require(w.state[:])
	}
}

// require holds blocks to their bounds in a build that checks: limbs are integers as the assembly
// leaves them, and values at most 0.501·r.
func (f doubles) require(blocks []block) {
	if !invariants {
		return
	}
	for i := range blocks {
		for l := range f.width {
			if v, ok := doublesValue(&blocks[i], l); !ok || !doublesTight(v) {
				panic(fmt.Sprintf("poseidon2: block %d, lane %d is %v", i, l, blocks[i]))
			}
		}
	}
}

// doublesValue is the integer in a lane, and whether its limbs are what limbs may be.
func doublesValue(b *block, l int) (v *big.Int, ok bool) {
	v, ok = new(big.Int), true
	for i := len(b) - 1; i >= 0; i-- {
		limb := math.Float64frombits(b[i][l])
		if math.Abs(limb) > doublesMost || limb != math.Trunc(limb) {
			return v, false
		}
		v.Add(v.Lsh(v, doublesBits), big.NewInt(int64(limb)))
	}
	return v, ok
}

// doublesTight reports whether |v| ≤ 0.501·r.
func doublesTight(v *big.Int) bool {
	thousand := new(big.Int).Mul(v, big.NewInt(1000))
	return thousand.CmpAbs(new(big.Int).Mul(fr.Modulus(), big.NewInt(501))) <= 0
}

// setWord cuts an element as it stands in memory into words of 51 bits.
func (b *block) setWord(l int, x *Element) {
	const mask = 1<<doublesBits - 1
	b[0][l] = x[0] & mask
	b[1][l] = (x[0]>>51 | x[1]<<13) & mask
	b[2][l] = (x[1]>>38 | x[2]<<26) & mask
	b[3][l] = (x[2]>>25 | x[3]<<39) & mask
	b[4][l] = x[3] >> 12
}

// word is the inverse of setWord.
func (b *block) word(l int) (x Element) {
	x[0] = b[0][l] | b[1][l]<<51
	x[1] = b[1][l]>>13 | b[2][l]<<38
	x[2] = b[2][l]>>26 | b[3][l]<<25
	x[3] = b[3][l]>>39 | b[4][l]<<12
	return x
}
