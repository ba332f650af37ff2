//go:build !purego

package fp381

import (
	"math/big"

	"github.com/klauspost/cpuid/v2"

	"github.com/waybill-network/waybill/kernels/cpu"
)

//go:generate go run -C ../../asm ./fp381 -out ../kernels/fp381/fp381_amd64.s

//go:noescape
func mulBlocks(z, x, y *Block, n, step int)

//go:noescape
func sqrBlocks(z, x *Block, n int)

//go:noescape
func sqrMulBlocks(z, x, y *Block, n, blocks int)

//go:noescape
func mul2Blocks(z0, z1, x0, x1, y0, y1 *Block, n int, t *[4]Block)

//go:noescape
func sqr2Blocks(z0, z1, x0, x1 *Block, n int)

//go:noescape
func addBlocks(z, x, y *Block, n, step int)

//go:noescape
func subBlocks(z, x, y *Block, n, step int, multiple *[8]uint64)

//go:noescape
func reduceBlocks(z, x *Block, n int)

//go:noescape
func tightenBlocks(z, x *Block, n int)

//go:noescape
func gatherBlocks(z *Block, rows *Cell, index *int32, n int)

//go:noescape
func scatterBlocks(rows *Cell, index *int32, x *Block, n int)

//go:noescape
func selectBlocks(z, x, y *Block, m *uint8, n, step int)

//go:noescape
func zeroBlocks(m *uint8, x *Block, n int)

//go:noescape
func oddBlocks(m *uint8, x *Block, n int)

//go:noescape
func issueRounds(n int)

func implementations() []cpu.Implementation[Field] {
	return []cpu.Implementation[Field]{
		needing(ifma{lanes{&ifmaMachine}},
			cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512IFMA),
		needing(doubles{lanes{&avx512Machine}}, cpuid.AVX512F, cpuid.AVX512DQ),
		needing(doubles{lanes{&avx2Machine}}, cpuid.AVX2, cpuid.FMA3),
		genericField(),
	}
}

func needing(code Field, features ...cpuid.FeatureID) cpu.Implementation[Field] {
	return cpu.Implementation[Field]{Name: code.Name(), Needs: features, Code: code}
}

// ifma keeps limb i of lane l of a block, 52 bits of x·2^416, in word [i][l].
type ifma struct{ lanes }

var ifmaMachine = machine{
	name:   cpu.AVX512IFMA,
	bounds: bounds{any: 1 << 16, factor: 1 << 16, factor2: 1 << 14},
	format: format{bits: 52, limbs: ifmaLimbs, value: ifmaValue},

	mul: mulBlocks, sqr: sqrBlocks, sqrMul: sqrMulBlocks, add: addBlocks,
	sub:    func(z, x, y *Block, n, step, k int) { subBlocks(z, x, y, n, step, &multiples[k]) },
	reduce: reduceBlocks, tighten: tightenBlocks,
	fromWords: func(*Block, *Block, int) {}, words: reduceBlocks,
	gather: gatherBlocks, scatter: scatterBlocks,
	choose: selectBlocks, zero: zeroBlocks, odd: oddBlocks,
	mulSub: mulSubBlocks, sqrSub: sqrSubBlocks, norm: normBlocks,
	sqr2: sqr2Blocks, sqrSub2: sqrSub2Blocks,
	mul2: func(z0, z1, x0, x1, y0, y1 *Block, n int) {
		w := scratch.Get().(*space)
		defer scratch.Put(w)
		mul2Blocks(z0, z1, x0, x1, y0, y1, n, (*[4]Block)(w[:4]))
	},
	mulAdd2: func(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int) {
		w := scratch.Get().(*space)
		defer scratch.Put(w)
		mulAdd2Blocks(z0, z1, x0, x1, y0, y1, a0, a1, n, (*[4]Block)(w[:4]))
	},
	mulSub2: func(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int) {
		w := scratch.Get().(*space)
		defer scratch.Put(w)
		mulSub2Blocks(z0, z1, x0, x1, y0, y1, a0, a1, n, (*[4]Block)(w[:4]))
	},
}

const ifmaBits = 52

// ifmaLimbs cuts 0 ≤ v < 2^416 into limbs.
func ifmaLimbs(v *big.Int) (l [8]uint64) {
	for i := range l {
		l[i] = new(big.Int).Rsh(v, uint(ifmaBits*i)).Uint64() & (1<<ifmaBits - 1)
	}
	return l
}

func ifmaValue(b *Block, l int) (v *big.Int, ok bool) {
	v, ok = new(big.Int), true
	for i := len(b) - 1; i >= 0; i-- {
		ok = ok && b[i][l]>>ifmaBits == 0
		v.Add(v.Lsh(v, ifmaBits), new(big.Int).SetUint64(b[i][l]))
	}
	return v, ok
}

// multiples are the 2^k·p in limbs.
var multiples = func() (m [16]([8]uint64)) {
	for k := range m {
		m[k] = ifmaLimbs(new(big.Int).Lsh(modulus(), uint(k)))
	}
	return m
}()

// issueMultiplyAdds issues at least n > 0 vector multiply-adds that do not wait for each other and
// returns how many, or 0 on a CPU without them. Timed, it is the roofline of Mul and Sqr, which
// need mulOps and sqrOps a block.
func issueMultiplyAdds(n int) int {
	if _, err := kernel.Implementation(cpu.AVX512IFMA); err != nil {
		return 0
	}
	const perRound = 96
	rounds := (n + perRound - 1) / perRound
	issueRounds(rounds)
	return rounds * perRound
}
