//go:build !purego

package fp381

import (
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
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
func gatherBlocks(z *Block, rows *Row, index *int32, n int)

//go:noescape
func scatterBlocks(rows *Row, index *int32, x *Block, n int)

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
		{Name: cpu.AVX512IFMA, Needs: []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512IFMA}, Code: ifma{}},
		genericField(),
	}
}

// ifma keeps limb i of lane l of a block, 52 bits of x·2^416, in word [i][l].
type ifma struct{}

// constants of the conversions, each in all lanes.
var constants = sync.OnceValue(func() *struct{ in, out, one Block } {
	var c struct{ in, out, one Block }
	power := func(n uint) *big.Int {
		v := new(big.Int).Lsh(big.NewInt(1), n)
		return v.Mod(v, modulus())
	}
	for b, v := range map[*Block]*big.Int{
		&c.in:  power(448), // x·2^384 to x·2^416: 448 = 416 + 416 − 384
		&c.out: power(384), // and back: 384 = 384 + 416 − 416
		&c.one: power(0),   // x·2^416 to x
	} {
		for i, limb := range limbsOf(v) {
			for l := range Lanes {
				b[i][l] = limb
			}
		}
	}
	return &c
})

func (f ifma) Pack(z Vec, x []fp.Element) {
	fits(z, len(x))
	for i := range z {
		for l := range Lanes {
			var e fp.Element
			if j := i*Lanes + l; j < len(x) {
				e = x[j]
			}
			z[i].setLimbs(l, &e)
		}
	}
	if len(z) > 0 {
		c := constants()
		mulBlocks(&z[0], &z[0], &c.in, len(z), 0)
		reduceBlocks(&z[0], &z[0], len(z))
	}
}

func (f ifma) Unpack(x []fp.Element, z Vec) {
	fits(z, len(x))
	f.require(loose, z)
	c := constants()
	for i := range z {
		var b Block
		mulBlocks(&b, &z[i], &c.out, 1, 0)
		reduceBlocks(&b, &b, 1)
		for l := range min(Lanes, len(x)-i*Lanes) {
			b.limbs(l, &x[i*Lanes+l])
		}
	}
}

func (f ifma) Broadcast(c fp.Element) Vec {
	v := make(Vec, 1)
	f.Pack(v, []fp.Element{c, c, c, c, c, c, c, c})
	return v
}

// setLimbs cuts the six words of e into eight limbs, without a change of value.
func (b *Block) setLimbs(l int, e *fp.Element) {
	const mask = 1<<limbBits - 1
	b[0][l] = e[0] & mask
	b[1][l] = (e[0]>>52 | e[1]<<12) & mask
	b[2][l] = (e[1]>>40 | e[2]<<24) & mask
	b[3][l] = (e[2]>>28 | e[3]<<36) & mask
	b[4][l] = (e[3]>>16 | e[4]<<48) & mask
	b[5][l] = e[4] >> 4 & mask
	b[6][l] = (e[4]>>56 | e[5]<<8) & mask
	b[7][l] = e[5] >> 44
}

// limbs is the inverse of setLimbs.
func (b *Block) limbs(l int, e *fp.Element) {
	e[0] = b[0][l] | b[1][l]<<52
	e[1] = b[1][l]>>12 | b[2][l]<<40
	e[2] = b[2][l]>>24 | b[3][l]<<28
	e[3] = b[3][l]>>36 | b[4][l]<<16
	e[4] = b[4][l]>>48 | b[5][l]<<4 | b[6][l]<<56
	e[5] = b[6][l]>>8 | b[7][l]<<44
}

// require checks operands in builds with the tag invariants.
func (ifma) require(k int, vs ...Vec) {
	if invariants {
		for _, v := range vs {
			mustBeBelow(v, k)
		}
	}
}

const blockBytes = len(Block{}) * Lanes * 8

// stride is the step from block to block of a second operand.
func stride(x, y Vec) int {
	if len(y) == 1 && len(x) != 1 {
		return 0
	}
	return blockBytes
}

func (f ifma) Mul(z, x, y Vec) {
	checkBinary(z, x, y)
	f.require(loose, x, y)
	if len(z) > 0 {
		mulBlocks(&z[0], &x[0], &y[0], len(z), stride(x, y))
	}
	f.require(tight, z)
}

func (f ifma) Sqr(z, x Vec) {
	sameLength(len(z), x)
	f.require(loose, x)
	if len(z) > 0 {
		sqrBlocks(&z[0], &x[0], len(z))
	}
	f.require(tight, z)
}

func (f ifma) Add(z, x, y Vec) {
	checkBinary(z, x, y)
	f.require(loose, x, y)
	if len(z) > 0 {
		addBlocks(&z[0], &x[0], &y[0], len(z), stride(x, y))
	}
	f.require(loose, z)
}

func (f ifma) Sub(z, x, y Vec, k int) {
	checkBinary(z, x, y)
	f.require(loose, x)
	f.require(k, y)
	if len(z) > 0 {
		subBlocks(&z[0], &x[0], &y[0], len(z), stride(x, y), &multiples[k])
	}
	f.require(loose, z)
}

func (f ifma) Reduce(z, x Vec) {
	sameLength(len(z), x)
	f.require(loose, x)
	if len(z) > 0 {
		reduceBlocks(&z[0], &x[0], len(z))
	}
	f.require(0, z)
}

func (f ifma) Tighten(z, x Vec) {
	sameLength(len(z), x)
	f.require(loose, x)
	if len(z) > 0 {
		tightenBlocks(&z[0], &x[0], len(z))
	}
	f.require(tight, z)
}

func (f ifma) Gather(z Vec, rows []Row, index []int32) {
	fits(z, len(index))
	checkIndex(rows, index)
	whole := len(index) / Lanes
	if whole > 0 {
		gatherBlocks(&z[0], &rows[0], &index[0], whole)
	}
	if whole < len(z) {
		var last [Lanes]int32 // in unused lanes, the first row again
		for l := range last {
			last[l] = index[whole*Lanes]
		}
		copy(last[:], index[whole*Lanes:])
		gatherBlocks(&z[whole], &rows[0], &last[0], 1)
	}
}

var inOrder = [Lanes]int32{0, 1, 2, 3, 4, 5, 6, 7}

func (f ifma) Scatter(rows []Row, index []int32, x Vec) {
	fits(x, len(index))
	checkIndex(rows, index)
	whole := len(index) / Lanes
	if whole > 0 {
		scatterBlocks(&rows[0], &index[0], &x[0], whole)
	}
	if whole < len(x) {
		var last [Lanes]Row
		scatterBlocks(&last[0], &inOrder[0], &x[whole], 1)
		for l, at := range index[whole*Lanes:] {
			rows[at] = last[l]
		}
	}
}

func (f ifma) Blank(m Mask, x Vec) {
	covers(m, x)
	if len(x) > 0 {
		zeroBlocks(&m[0], &x[0], len(x))
	}
}

// together is how many blocks PowP34 raises by turns. Their tables of powers stay in the first cache.
const together = 2

type powerTable [len(powers{})][together]Block

var powerTables = sync.Pool{New: func() any { return new(powerTable) }}

func (f ifma) PowP34(z, x Vec) {
	sameLength(len(z), x)
	f.require(loose, x)
	odd := powerTables.Get().(*powerTable)
	defer powerTables.Put(odd)
	for i := 0; i < len(x); i += together {
		n := min(together, len(x)-i)
		copy(odd[0][:], x[i:i+n])
		sqrBlocks(&z[i], &x[i], n)
		for j := range len(odd) - 1 {
			mulBlocks(&odd[j+1][0], &odd[j][0], &z[i], n, blockBytes)
		}
		copy(z[i:i+n], odd[chainP34.first][:])
		for _, s := range chainP34.steps {
			sqrMulBlocks(&z[i], &z[i], &odd[s.factor][0], s.squarings, n)
		}
		for range chainP34.last {
			sqrBlocks(&z[i], &z[i], n)
		}
	}
	f.require(tight, z)
}

func (f ifma) Select(z Vec, m Mask, x, y Vec) {
	checkBinary(z, x, y)
	covers(m, z)
	f.require(loose, x, y)
	if len(z) > 0 {
		selectBlocks(&z[0], &x[0], &y[0], &m[0], len(z), stride(x, y))
	}
}

func (f ifma) Zero(m Mask, x Vec) {
	covers(m, x)
	f.require(loose, x)
	var b Block
	for i := range x {
		reduceBlocks(&b, &x[i], 1)
		zeroBlocks(&m[i], &b, 1)
	}
}

func (f ifma) Odd(m Mask, x Vec) {
	covers(m, x)
	f.require(loose, x)
	var b Block
	for i := range x {
		mulBlocks(&b, &x[i], &constants().one, 1, 0)
		reduceBlocks(&b, &b, 1)
		oddBlocks(&m[i], &b, 1)
	}
}

// scratch is temporaries of assembly.
var scratch = sync.Pool{New: func() any { return new([4]Block) }}

func (f ifma) Mul2(z, x, y Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1, y.A0, y.A1)
	f.require(loose2, x.A0, x.A1, y.A0, y.A1)
	if n := len(z.A0); n > 0 {
		t := scratch.Get().(*[4]Block)
		defer scratch.Put(t)
		mul2Blocks(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &y.A0[0], &y.A1[0], n, t)
	}
	f.require(tight, z.A0, z.A1)
}

func (f ifma) Sqr2(z, x Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1)
	f.require(loose2, x.A0, x.A1)
	if n := len(z.A0); n > 0 {
		sqr2Blocks(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], n)
	}
	f.require(tight2, z.A0, z.A1)
}

// IssueMultiplyAdds issues at least n > 0 vector multiply-adds that do not wait for each other and returns how many, or 0
// on a CPU without them. Timed, it is the roofline of Mul and Sqr, which need MulOps and SqrOps a block.
func IssueMultiplyAdds(n int) int {
	if _, err := kernel.Implementation(cpu.AVX512IFMA); err != nil {
		return 0
	}
	const perRound = 96
	rounds := (n + perRound - 1) / perRound
	issueRounds(rounds)
	return rounds * perRound
}
