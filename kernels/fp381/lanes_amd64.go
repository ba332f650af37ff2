//go:build !purego

package fp381

import (
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// lanes is what implementations in assembly share: limbs of eight elements stand side by side, limb
// i of lane l in word [i][l] of a block. What a limb is differs.
type lanes struct{ *machine }

// machine is the routines of an implementation. n is a number of blocks, at least one; step the
// distance of the blocks y in bytes, 0 if there is only one.
type machine struct {
	name string
	bounds
	format

	mul, add  func(z, x, y *Block, n, step int)
	sub       func(z, x, y *Block, n, step, k int) // of y < 2^k·p
	sqr       func(z, x *Block, n int)
	sqrMul    func(z, x, y *Block, n, blocks int) // z = x^(2^n)·y
	tighten   func(z, x *Block, n int)
	reduce    func(z, x *Block, n int)
	words     func(z, x *Block, n int) // the canonical residues in words of as many bits as limbs have
	fromWords func(z, x *Block, n int) // its inverse
	gather    func(z *Block, cells *Cell, index *int32, n int)
	scatter   func(cells *Cell, index *int32, x *Block, n int)
	choose    func(z, x, y *Block, m *uint8, n, step int)
	zero      func(m *uint8, x *Block, n int) // all words are zero
	odd       func(m *uint8, x *Block, n int) // the first word is odd
	mulSub    func(z, x, y, a *Block, n int)
	sqrSub    func(z, x, a *Block, n int)
	norm      func(z, x0, x1 *Block, n int)
	mul2      func(z0, z1, x0, x1, y0, y1 *Block, n int)
	sqr2      func(z0, z1, x0, x1 *Block, n int)
	mulAdd2   func(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int)
	mulSub2   func(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int)
	sqrSub2   func(z0, z1, x0, x1, a0, a1 *Block, n int)

	// For doubles only: other machines have their own ways with lines.
	lineFactors  func(b *pairsOfBlocks, f0, f1, s0, s1 *Block)
	lineEvaluate func(a *pairsOfBlocks, z *Block12)
	lineCombine  func(z, x *Block12, p *pairsOfBlocks)

	once           sync.Once
	in, out, plain Block // factors of the conversions, in all lanes
}

// constants returns m with the factors of the conversions, between x·2^384, as an fp.Element has
// it, x·R and x.
func (m *machine) constants() *machine {
	m.once.Do(func() {
		m.in, m.out, m.plain = m.all(m.power(2*8*m.bits-384)), m.all(m.power(384)), m.all(m.power(0))
	})
	return m
}

// power is 2^n modulo p.
func (*format) power(n uint) *big.Int {
	v := new(big.Int).Lsh(big.NewInt(1), n)
	return v.Mod(v, modulus())
}

func (f lanes) Name() string { return f.name }

// space is temporaries of routines.
type space [16]Block

var scratch = sync.Pool{New: func() any { return new(space) }}

func (f lanes) Pack(z Vec, x []fp.Element) {
	fits(z, len(x))
	for i := range z {
		for l := range Lanes {
			var e fp.Element
			if j := i*Lanes + l; j < len(x) {
				e = x[j]
			}
			z[i].setLimbs(l, &e, f.bits)
		}
	}
	if n := len(z); n > 0 {
		f.fromWords(&z[0], &z[0], n)
		f.mul(&z[0], &z[0], &f.constants().in, n, 0)
		f.reduce(&z[0], &z[0], n)
	}
	f.require(1, z)
}

func (f lanes) Unpack(x []fp.Element, z Vec) {
	fits(z, len(x))
	f.require(f.factor, z)
	w := scratch.Get().(*space)
	defer scratch.Put(w)
	for lo := 0; lo < len(z); lo += len(w) {
		n := min(len(w), len(z)-lo)
		f.mul(&w[0], &z[lo], &f.constants().out, n, 0)
		f.words(&w[0], &w[0], n)
		for j := range min(n*Lanes, len(x)-lo*Lanes) {
			w[j/Lanes].limbs(j%Lanes, &x[lo*Lanes+j], f.bits)
		}
	}
}

func (f lanes) Broadcast(c fp.Element) Vec {
	v := make(Vec, 1)
	f.Pack(v, []fp.Element{c, c, c, c, c, c, c, c})
	return v
}

// setLimbs cuts the six words of e into eight limbs, without a change of value.
func (b *Block) setLimbs(l int, e *fp.Element, bits uint) {
	for i := range b {
		at := uint(i) * bits
		v := e[at/64] >> (at % 64)
		if at/64+1 < uint(len(e)) {
			v |= e[at/64+1] << 1 << (63 - at%64)
		}
		b[i][l] = v & (1<<bits - 1)
	}
}

// limbs is the inverse of setLimbs.
func (b *Block) limbs(l int, e *fp.Element, bits uint) {
	*e = fp.Element{}
	for i := range b {
		at, v := uint(i)*bits, b[i][l]
		e[at/64] |= v << (at % 64)
		if at/64+1 < uint(len(e)) {
			e[at/64+1] |= v >> 1 >> (63 - at%64)
		}
	}
}

// require checks operands in builds with the tag invariants.
func (f lanes) require(limit int64, vs ...Vec) {
	if invariants {
		for _, v := range vs {
			f.mustBeBelow(v, limit)
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

func (f lanes) Mul(z, x, y Vec) {
	checkBinary(z, x, y)
	f.require(f.factor, x, y)
	if len(z) > 0 {
		f.mul(&z[0], &x[0], &y[0], len(z), stride(x, y))
	}
	f.require(tight, z)
}

func (f lanes) Sqr(z, x Vec) {
	sameLength(len(z), x)
	f.require(f.factor, x)
	if len(z) > 0 {
		f.sqr(&z[0], &x[0], len(z))
	}
	f.require(tight, z)
}

func (f lanes) Add(z, x, y Vec) {
	checkBinary(z, x, y)
	f.require(f.any, x, y)
	if len(z) > 0 {
		f.add(&z[0], &x[0], &y[0], len(z), stride(x, y))
	}
	f.require(f.any, z)
}

func (f lanes) Sub(z, x, y Vec, k int) {
	checkBinary(z, x, y)
	f.require(f.any, x)
	f.require(1<<k, y)
	if len(z) > 0 {
		f.sub(&z[0], &x[0], &y[0], len(z), stride(x, y), k)
	}
	f.require(f.any, z)
}

func (f lanes) Reduce(z, x Vec) {
	sameLength(len(z), x)
	f.require(f.any, x)
	if len(z) > 0 {
		f.reduce(&z[0], &x[0], len(z))
	}
	f.require(1, z)
}

func (f lanes) Tighten(z, x Vec) {
	sameLength(len(z), x)
	f.require(f.any, x)
	if len(z) > 0 {
		f.tighten(&z[0], &x[0], len(z))
	}
	f.require(tight, z)
}

var lastIndices = sync.Pool{New: func() any { return new([Lanes]int32) }}

func (f lanes) Gather(z Vec, cells []Cell, index []int32) {
	fits(z, len(index))
	checkIndex(cells, index)
	whole := len(index) / Lanes
	if whole > 0 {
		f.gather(&z[0], &cells[0], &index[0], whole)
	}
	if whole < len(z) {
		last := lastIndices.Get().(*[Lanes]int32) // in unused lanes, the first cell again
		defer lastIndices.Put(last)
		for l := range last {
			last[l] = index[whole*Lanes]
		}
		copy(last[:], index[whole*Lanes:])
		f.gather(&z[whole], &cells[0], &last[0], 1)
	}
}

var inOrder = [Lanes]int32{0, 1, 2, 3, 4, 5, 6, 7}

func (f lanes) Scatter(cells []Cell, index []int32, x Vec) {
	fits(x, len(index))
	checkIndex(cells, index)
	whole := len(index) / Lanes
	if whole > 0 {
		f.scatter(&cells[0], &index[0], &x[0], whole)
	}
	if whole < len(x) {
		w := scratch.Get().(*space)
		defer scratch.Put(w)
		last := w[0][:]
		f.scatter((*Cell)(&last[0]), &inOrder[0], &x[whole], 1)
		for l, at := range index[whole*Lanes:] {
			cells[at] = last[l]
		}
	}
}

func (f lanes) Blank(m Mask, x Vec) {
	covers(m, x)
	if len(x) > 0 {
		f.zero(&m[0], &x[0], len(x))
	}
}

// together is how many blocks PowP34 raises by turns. Their tables of powers stay in the first
// cache.
const together = 2

type powerTable [len(powers{})][together]Block

var powerTables = sync.Pool{New: func() any { return new(powerTable) }}

func (f lanes) PowP34(z, x Vec) {
	sameLength(len(z), x)
	f.require(f.factor, x)
	odd := powerTables.Get().(*powerTable)
	defer powerTables.Put(odd)
	for i := 0; i < len(x); i += together {
		n := min(together, len(x)-i)
		copy(odd[0][:], x[i:i+n])
		f.sqr(&z[i], &x[i], n)
		for j := range len(odd) - 1 {
			f.mul(&odd[j+1][0], &odd[j][0], &z[i], n, blockBytes)
		}
		copy(z[i:i+n], odd[chainP34.first][:])
		for _, s := range chainP34.steps {
			f.sqrMul(&z[i], &z[i], &odd[s.factor][0], s.squarings, n)
		}
		for range chainP34.last {
			f.sqr(&z[i], &z[i], n)
		}
	}
	f.require(tight, z)
}

func (f lanes) Select(z Vec, m Mask, x, y Vec) {
	checkBinary(z, x, y)
	covers(m, z)
	f.require(f.any, x, y)
	if len(z) > 0 {
		f.choose(&z[0], &x[0], &y[0], &m[0], len(z), stride(x, y))
	}
}

func (f lanes) Zero(m Mask, x Vec) {
	covers(m, x)
	f.require(f.any, x)
	f.masks(m, x, f.reduce, f.zero)
}

func (f lanes) Odd(m Mask, x Vec) {
	covers(m, x)
	f.require(f.factor, x)
	f.masks(m, x, func(z, x *Block, n int) {
		f.mul(z, x, &f.constants().plain, n, 0)
		f.words(z, z, n)
	}, f.odd)
}

// masks sets m to what test finds in what make makes of x.
func (f lanes) masks(
	m Mask, x Vec, make func(z, x *Block, n int), test func(m *uint8, x *Block, n int),
) {
	w := scratch.Get().(*space)
	defer scratch.Put(w)
	for lo := 0; lo < len(x); lo += len(w) {
		n := min(len(w), len(x)-lo)
		make(&w[0], &x[lo], n)
		test(&m[lo], &w[0], n)
	}
}

func (f lanes) MulSub(z, x, y, a Vec) {
	sameLength(len(z), x, y, a)
	f.require(f.factor, x, y)
	f.require(subtrahend, a)
	if len(z) > 0 {
		f.mulSub(&z[0], &x[0], &y[0], &a[0], len(z))
	}
	f.require(tight, z)
}

func (f lanes) SqrSub(z, x, a Vec) {
	sameLength(len(z), x, a)
	f.require(f.factor, x)
	f.require(subtrahend, a)
	if len(z) > 0 {
		f.sqrSub(&z[0], &x[0], &a[0], len(z))
	}
	f.require(tight, z)
}

func (f lanes) Mul2(z, x, y Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1, y.A0, y.A1)
	f.require(f.factor2, x.A0, x.A1, y.A0, y.A1)
	if n := len(z.A0); n > 0 {
		f.mul2(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &y.A0[0], &y.A1[0], n)
	}
	f.require(tight, z.A0, z.A1)
}

func (f lanes) Sqr2(z, x Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1)
	f.require(f.factor2, x.A0, x.A1)
	if n := len(z.A0); n > 0 {
		f.sqr2(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], n)
	}
	f.require(tight2, z.A0, z.A1)
}

func (f lanes) MulAdd2(z, x, y, a Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1, y.A0, y.A1, a.A0, a.A1)
	f.require(f.factor2, x.A0, x.A1, y.A0, y.A1, a.A0, a.A1)
	if n := len(z.A0); n > 0 {
		f.mulAdd2(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &y.A0[0], &y.A1[0], &a.A0[0], &a.A1[0], n)
	}
	f.require(f.any, z.A0, z.A1)
}

func (f lanes) MulSub2(z, x, y, a Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1, y.A0, y.A1, a.A0, a.A1)
	f.require(f.factor2, x.A0, x.A1, y.A0, y.A1)
	f.require(subtrahend, a.A0, a.A1)
	if n := len(z.A0); n > 0 {
		f.mulSub2(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &y.A0[0], &y.A1[0], &a.A0[0], &a.A1[0], n)
	}
	f.require(tight, z.A0, z.A1)
}

func (f lanes) SqrSub2(z, x, a Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1, a.A0, a.A1)
	f.require(f.factor2, x.A0, x.A1)
	f.require(subtrahend, a.A0, a.A1)
	if n := len(z.A0); n > 0 {
		f.sqrSub2(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &a.A0[0], &a.A1[0], n)
	}
	f.require(tight, z.A0, z.A1)
}

func (f lanes) Norm(z Vec, x Vec2) {
	sameLength(len(z), x.A0, x.A1)
	f.require(f.factor2, x.A0, x.A1)
	if n := len(z); n > 0 {
		f.norm(&z[0], &x.A0[0], &x.A1[0], n)
	}
	f.require(tight, z)
}
