//go:build !purego

package fp381

import "github.com/waybill-network/waybill/kernels/cpu"

// The routines of avx2_amd64.s and of avx512_amd64.s. The latter lack those that only move words,
// for which limbs are as good as any others: see fp381_amd64.s.

//go:noescape
func mulBlocksAVX2(z, x, y *Block, n, step int)

//go:noescape
func sqrBlocksAVX2(z, x *Block, n int)

//go:noescape
func addBlocksAVX2(z, x, y *Block, n, step int)

//go:noescape
func subBlocksAVX2(z, x, y *Block, n, step int)

//go:noescape
func tightenBlocksAVX2(z, x *Block, n int)

//go:noescape
func limbBlocksAVX2(z, x *Block, n int)

//go:noescape
func wordBlocksAVX2(z, x *Block, n int)

//go:noescape
func mulSubBlocksAVX2(z, x, y, a *Block, n int)

//go:noescape
func sqrSubBlocksAVX2(z, x, a *Block, n int)

//go:noescape
func normBlocksAVX2(z, x0, x1 *Block, n int)

//go:noescape
func mul2BlocksAVX2(z0, z1, x0, x1, y0, y1 *Block, n int)

//go:noescape
func sqr2BlocksAVX2(z0, z1, x0, x1 *Block, n int)

//go:noescape
func mulAdd2BlocksAVX2(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int)

//go:noescape
func mulSub2BlocksAVX2(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int)

//go:noescape
func sqrSub2BlocksAVX2(z0, z1, x0, x1, a0, a1 *Block, n int)

//go:noescape
func lineFactorsAVX2(b *pairsOfBlocks, f0, f1, s0, s1 *Block)

//go:noescape
func lineEvaluateAVX2(a *pairsOfBlocks, z *Block12)

//go:noescape
func lineCombineAVX2(z, x *Block12, p *pairsOfBlocks)

//go:noescape
func selectBlocksAVX2(z, x, y *Block, m *uint8, n, step int)

//go:noescape
func zeroBlocksAVX2(m *uint8, x *Block, n int)

//go:noescape
func oddBlocksAVX2(m *uint8, x *Block, n int)

//go:noescape
func gatherBlocksAVX2(z *Block, rows *Cell, index *int32, n int)

//go:noescape
func scatterBlocksAVX2(rows *Cell, index *int32, x *Block, n int)

//go:noescape
func mulBlocksAVX512(z, x, y *Block, n, step int)

//go:noescape
func sqrBlocksAVX512(z, x *Block, n int)

//go:noescape
func addBlocksAVX512(z, x, y *Block, n, step int)

//go:noescape
func subBlocksAVX512(z, x, y *Block, n, step int)

//go:noescape
func tightenBlocksAVX512(z, x *Block, n int)

//go:noescape
func limbBlocksAVX512(z, x *Block, n int)

//go:noescape
func wordBlocksAVX512(z, x *Block, n int)

//go:noescape
func mulSubBlocksAVX512(z, x, y, a *Block, n int)

//go:noescape
func sqrSubBlocksAVX512(z, x, a *Block, n int)

//go:noescape
func normBlocksAVX512(z, x0, x1 *Block, n int)

//go:noescape
func mul2BlocksAVX512(z0, z1, x0, x1, y0, y1 *Block, n int)

//go:noescape
func sqr2BlocksAVX512(z0, z1, x0, x1 *Block, n int)

//go:noescape
func mulAdd2BlocksAVX512(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int)

//go:noescape
func mulSub2BlocksAVX512(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int)

//go:noescape
func sqrSub2BlocksAVX512(z0, z1, x0, x1, a0, a1 *Block, n int)

//go:noescape
func lineFactorsAVX512(b *pairsOfBlocks, f0, f1, s0, s1 *Block)

//go:noescape
func lineEvaluateAVX512(a *pairsOfBlocks, z *Block12)

//go:noescape
func lineCombineAVX512(z, x *Block12, p *pairsOfBlocks)

//go:noescape
func setControl(mxcsr uint32) uint32

var avx2Machine = machine{
	name:   cpu.AVX2,
	bounds: doublesBounds, format: doublesFormat,

	mul: mulBlocksAVX2, sqr: sqrBlocksAVX2, sqrMul: powerOf(sqrBlocksAVX2, mulBlocksAVX2),
	add: addBlocksAVX2, sub: func(z, x, y *Block, n, step, _ int) { subBlocksAVX2(z, x, y, n, step) },
	reduce: tightenBlocksAVX2, tighten: tightenBlocksAVX2,
	fromWords: limbBlocksAVX2, words: wordBlocksAVX2,
	gather: gatherBlocksAVX2, scatter: scatterBlocksAVX2,
	choose: selectBlocksAVX2, zero: zeroBlocksAVX2, odd: oddBlocksAVX2,
	mulSub: mulSubBlocksAVX2, sqrSub: sqrSubBlocksAVX2, norm: normBlocksAVX2,
	mul2: mul2BlocksAVX2, sqr2: sqr2BlocksAVX2,
	mulAdd2: mulAdd2BlocksAVX2, mulSub2: mulSub2BlocksAVX2, sqrSub2: sqrSub2BlocksAVX2,
	lineFactors: lineFactorsAVX2, lineEvaluate: lineEvaluateAVX2, lineCombine: lineCombineAVX2,
}

var avx512Machine = machine{
	name:   cpu.AVX512,
	bounds: doublesBounds, format: doublesFormat,

	mul: mulBlocksAVX512, sqr: sqrBlocksAVX512, sqrMul: powerOf(sqrBlocksAVX512, mulBlocksAVX512),
	add:    addBlocksAVX512,
	sub:    func(z, x, y *Block, n, step, _ int) { subBlocksAVX512(z, x, y, n, step) },
	reduce: tightenBlocksAVX512, tighten: tightenBlocksAVX512,
	fromWords: limbBlocksAVX512, words: wordBlocksAVX512,
	gather: gatherBlocks, scatter: scatterBlocks,
	choose: selectBlocks, zero: zeroBlocks, odd: oddBlocks,
	mulSub: mulSubBlocksAVX512, sqrSub: sqrSubBlocksAVX512, norm: normBlocksAVX512,
	mul2: mul2BlocksAVX512, sqr2: sqr2BlocksAVX512,
	mulAdd2: mulAdd2BlocksAVX512, mulSub2: mulSub2BlocksAVX512, sqrSub2: sqrSub2BlocksAVX512,
	lineFactors: lineFactorsAVX512, lineEvaluate: lineEvaluateAVX512, lineCombine: lineCombineAVX512,
}
