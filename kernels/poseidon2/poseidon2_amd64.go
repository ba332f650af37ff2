//go:build !purego

package poseidon2

import (
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/klauspost/cpuid/v2"

	"github.com/waybill-network/waybill/kernels/cpu"
)

//go:generate go run -C ../../asm ./poseidon2 -out ../kernels/poseidon2/poseidon2_amd64.s

var vectorized = []cpu.Implementation[implementation]{
	{Name: cpu.AVX512IFMA,
		Needs: []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512IFMA}, Code: ifma{}},
	{Name: cpu.AVX512, Needs: []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512DQ},
		Code: doublesAVX512},
	{Name: cpu.AVX2, Needs: []cpuid.FeatureID{cpuid.AVX2, cpuid.FMA3}, Code: doublesAVX2},
}

//go:noescape
func packStates(z *[Width]block, x *Element)

//go:noescape
func mulBlocks(z, x, y *block, n, step int)

//go:noescape
func sqrBlocks(z, x *block, n int)

//go:noescape
func external(x *[Width]block, keys *[Width]limbs)

//go:noescape
func internal(x *[Width]block, t *block, diagonal *[Width][5]limbs, keys *limbs, n int,
	last *[Width]limbs)

const (
	lanes    = 8
	limbBits = 52

	blockBytes = 5 * lanes * 8
)

// limbs are an integer below 2^260, 52 bits each. A block is limb after limb eight of them, an
// element of each of eight states.
type (
	limbs [5]uint64
	block [5][lanes]uint64
)

// ifma permutes eight states at a time; see the head of poseidon2_amd64.s.
type ifma struct{}

// laneConstants are the constants as the assembly wants them: times 2^260, except for the diagonal.
type laneConstants struct {
	// keys that are added behind the external matrix: of the next round
	external [externalRounds + 1][Width]limbs
	// keys that are added to element 0 behind the internal matrix
	internal [internalRounds]limbs
	last     [Width]limbs    // and to all elements behind the last internal matrix
	diagonal [Width][5]limbs // times 2^(52(i+1)), 0 ≤ i < 5
	out      block           // what takes x·2^260 to x·2^256
}

var laneParameters = sync.OnceValue(func() *laneConstants {
	const half = externalRounds / 2
	c, l := parameters(), new(laneConstants)
	for i := range c.external {
		for j := range Width {
			l.external[i][j] = shifted(&c.external[i][j], 260)
		}
	}
	l.last = l.external[half]
	l.external[half] = [Width]limbs{shifted(&c.internal[0], 260)}
	for i := range internalRounds - 1 {
		l.internal[i] = shifted(&c.internal[i+1], 260)
	}
	l.internal[internalRounds-1] = l.last[0]
	for i := range c.diagonal {
		for j := range l.diagonal[i] {
			l.diagonal[i][j] = shifted(&c.diagonal[i], uint(limbBits*(j+1)))
		}
	}
	one := fr.One()
	for i, limb := range shifted(&one, 256) {
		for lane := range lanes {
			l.out[i][lane] = limb
		}
	}
	return l
})

// shifted is x·2^bits mod r in limbs.
func shifted(x *fr.Element, bits uint) (l limbs) {
	v := x.BigInt(new(big.Int))
	v.Lsh(v, bits).Mod(v, fr.Modulus())
	for i := range l {
		l[i] = new(big.Int).Rsh(v, uint(limbBits*i)).Uint64() & (1<<limbBits - 1)
	}
	return l
}

// workspace is eight states and room for their powers.
type workspace struct {
	state, powers [Width]block
	group         [lanes * Width]Element // eight states, when fewer are asked for
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

func (ifma) permuteMany(states []Element) {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	for len(states) > 0 {
		n := min(len(states), lanes*Width)
		w.permute(states[:n])
		mulBlocks(&w.powers[0], &w.state[0], &laneParameters().out, Width, 0)
		for i := range n {
			states[i] = w.powers[i%Width].lane(i / Width)
		}
		states = states[n:]
	}
}

func (ifma) compressMany(out, in []Element) {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	for len(out) > 0 {
		n := min(len(out), lanes)
		w.permute(in[:n*Width])
		mulBlocks(&w.powers[0], &w.state[0], &laneParameters().out, 1, 0)
		for i := range n {
			x := w.powers[0].lane(i)
			add(e(&out[i]), e(&x), e(&in[i*Width]))
		}
		out, in = out[n:], in[n*Width:]
	}
}

// permute leaves the permutations of at most eight states in w.state, as the assembly keeps
// elements.
func (w *workspace) permute(in []Element) {
	c := laneParameters()
	if len(in) < lanes*Width { // lanes that are not used compute what was left there
		copy(w.group[:], in)
		in = w.group[:]
	}
	packStates(&w.state, &in[0])
	external(&w.state, &c.external[0])
	for i := range externalRounds {
		if i == externalRounds/2 {
			w.fifth(&w.powers[0], 1)
			internal(&w.state, &w.powers[0], &c.diagonal, &c.internal[0], internalRounds, &c.last)
		}
		w.fifth(&w.state[0], Width)
		external(&w.state, &c.external[i+1])
	}
}

// fifth sets n blocks z to the fifth powers of the first n of the state, by way of w.powers.
func (w *workspace) fifth(z *block, n int) {
	sqrBlocks(&w.powers[0], &w.state[0], n)
	sqrBlocks(&w.powers[0], &w.powers[0], n)
	mulBlocks(z, &w.state[0], &w.powers[0], n, blockBytes)
}

// lane returns the element in a lane, of which the block has x·2^256 in [0, 2r).
func (b *block) lane(l int) (x Element) {
	x[0] = b[0][l] | b[1][l]<<52
	x[1] = b[1][l]>>12 | b[2][l]<<40
	x[2] = b[2][l]>>24 | b[3][l]<<28
	x[3] = b[3][l]>>36 | b[4][l]<<16
	var zero fr.Element
	add(e(&x), e(&x), &zero)
	return x
}
