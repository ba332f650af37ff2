// Package fp381 computes in the base field of BLS12-381, the integers modulo the 381-bit prime p,
// on vectors: eight elements at a time where the CPU can.
//
// A [Vec] holds elements in blocks of eight, the lanes of a vector register. What stands in a block
// is the business of the implementation that filled it: [Field.Pack] and [Field.Unpack] convert
// from and to gnark-crypto's [fp.Element]. All vectors of one computation belong to one Field,
// which [Use] returns:
//
//	avx512ifma  eight lanes of AVX-512 IFMA: limbs of 52 bits; see the head of fp381_amd64.s
//	avx512      eight lanes of AVX-512 without IFMA: limbs of 49 bits in doubles; see avx2_amd64.s
//	avx2        two times four lanes of AVX2 with FMA, which compute the same
//	generic     gnark-crypto's scalar arithmetic, and the specification
//
// # Lazy values
//
// Elements are represented by any of their residues below 2^8·p, so that additions and subtractions
// need no reduction. Implementations in doubles have negative ones too; then bounds are those of
// magnitudes. Each method says what it takes and leaves, in multiples of p:
//
//	Pack                    leaves < 1
//	Mul, Sqr, PowP34        take < 40, leave < 2
//	Add                     leaves the sum of both bounds, which must be ≤ 2^8
//	Sub(z, x, y, k)         takes y < 2^k, leaves the bound of x plus 2^k, which must be ≤ 2^8
//	Tighten                 takes < 2^8, leaves < 2
//	Reduce                  takes < 2^8, leaves < 1
//	MulSub, SqrSub          take < 40, subtract < 2^3, leave < 2
//	Mul2, Sqr2              take < 20, leave < 2 and < 2^2
//	MulAdd2                 takes < 20, leaves what it adds plus 2
//	MulSub2, SqrSub2        take < 20, subtract < 2^3, leave < 2
//	Norm                    takes < 20, leaves < 2
//	MulLines, Sqr12         take and leave < 2; lines are < 2^2
//	Select, Gather, Scatter leave what they find
//	Zero                    takes < 2^8
//	Odd, Unpack             take < 40
//
// A build with the tag invariants checks every operand and panics beyond its bound. That of
// avx512ifma takes more: bounds for all hold in doubles.
//
// Data are taken to be public: nothing here runs in constant time. All functions are safe for
// concurrent use on vectors that nobody else writes. A result may be the same vector as an operand;
// vectors that overlap otherwise must not meet.
package fp381

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// Lanes is the number of elements of a block.
const Lanes = 8

// Cell is one element by itself, in the form of one Field, for data that meet in blocks in another
// order than they stand. The zero Cell is zero.
type Cell [8]uint64

// Block is eight elements in the form of one Field.
type Block [8][Lanes]uint64

// Vec is a vector of elements. Lanes of the last block that are not used hold any valid element,
// zero after Pack.
type Vec []Block

// Vec2 is a vector of elements A0 + A1·u of the quadratic extension, u² = −1.
type Vec2 struct{ A0, A1 Vec }

// Mask is a set of elements of a vector: element i is in it if bit i%8 of byte i/8 is set.
type Mask []uint8

// NewVec returns a vector for n elements.
func NewVec(n int) Vec { return make(Vec, (n+Lanes-1)/Lanes) }

// NewVec2 returns a vector for n elements of the extension.
func NewVec2(n int) Vec2 { return Vec2{NewVec(n), NewVec(n)} }

// NewMask returns an empty mask for n elements.
func NewMask(n int) Mask { return make(Mask, (n+Lanes-1)/Lanes) }

// Has reports whether element i is in m.
func (m Mask) Has(i int) bool { return m[i/Lanes]>>(i%Lanes)&1 != 0 }

// Field is an implementation. Vectors of one call have the same number of blocks, except that the
// operand y of Mul, Add, Sub and Select may be a single block, which then meets every block of x:
// see [Field.Broadcast]. Masks cover the vector at least. Other lengths panic.
type Field interface {
	// Name is that of the implementation, as package cpu has it.
	Name() string

	// Pack fills z with x, and unused lanes with zero. Unpack is its inverse.
	Pack(z Vec, x []fp.Element)
	Unpack(x []fp.Element, z Vec)
	// Broadcast returns one block of eight times c.
	Broadcast(c fp.Element) Vec

	Mul(z, x, y Vec)        // z = x·y
	Sqr(z, x Vec)           // z = x²
	Add(z, x, y Vec)        // z = x + y
	Sub(z, x, y Vec, k int) // z = x − y for y < 2^k·p, 0 ≤ k < 8
	Reduce(z, x Vec)        // z = x, in a residue below p
	Tighten(z, x Vec)       // z = x, in a residue below 2p
	// PowP34 sets z = x^((p−3)/4): square roots are x·z, inverse square roots z, up to sign.
	PowP34(z, x Vec)

	Select(z Vec, m Mask, x, y Vec) // z = x where m, else y
	Zero(m Mask, x Vec)             // m = the elements that are zero
	// Odd sets m to the elements that are odd as integers in [0, p): sgn0 of RFC 9380, section 4.1.
	Odd(m Mask, x Vec)

	// Blank sets m to the elements whose words are all zero, as Pack, new cells and Select make them.
	Blank(m Mask, x Vec)

	// Gather fills z with cells[index[i]], and unused lanes with one of them. Scatter sets
	// cells[index[i]] to element i.
	Gather(z Vec, cells []Cell, index []int32)
	Scatter(cells []Cell, index []int32, x Vec)

	MulSub(z, x, y, a Vec) // z = x·y − a, for vectors of one length
	SqrSub(z, x, a Vec)    // z = x² − a

	Mul2(z, x, y Vec2) // z = x·y in the extension
	Sqr2(z, x Vec2)    // z = x² in the extension

	MulAdd2(z, x, y, a Vec2) // z = x·y + a
	MulSub2(z, x, y, a Vec2) // z = x·y − a
	SqrSub2(z, x, a Vec2)    // z = x² − a
	Norm(z Vec, x Vec2)      // z = A0² + A1²

	// MulLines multiplies z by free[i] + slope[i]·w² + w³, and by two, for each block i: lines of a
	// Miller loop, one a lane.
	MulLines(z *Block12, free, slope Vec2)

	// The two halves of ChordSums.Add and of ChordSums2.Add. chords reports false if an x may be
	// zero.
	chords(d, x, s Vec, points []Cell, pairs []Pair) bool
	sums(to, from []Cell, pairs []Pair, d, x, s Vec)
	chords2(c [][6]Block, norm Vec, points []Cell, pairs []Pair) bool
	sums2(to, from []Cell, pairs []Pair, c [][6]Block, inverse Vec)
}

var kernel = cpu.Register[Field]("fp381", selfTest, implementations()...)

// Use returns the implementation for this CPU.
func Use() Field { return kernel.Use() }

// Wide reports whether the implementation in use computes eight elements at a time. Where it does
// not, its vectors gain nothing over scalar code, and unused lanes lose.
func Wide() bool {
	_, scalar := Use().(generic)
	return !scalar
}

var errLanes = errors.New("lanes differ from generic")

// selfTest compares all operations of f and g on products and sums of boundary values.
func selfTest(f, g Field) error {
	var one, top fp.Element
	one.SetOne()
	top.Sub(&top, &one)
	x := []fp.Element{
		{}, one, top, {1}, {0, 0, 0, 0, 0, 1}, {^uint64(0), ^uint64(0)}, {0, ^uint64(0), 0, ^uint64(0)},
		{7, 6, 5, 4, 3, 2}, top,
	}
	y := []fp.Element{
		top, top, top, {3, ^uint64(0)}, {0, 0, 0, 0, ^uint64(0), 1}, {^uint64(0)}, one,
		{2, 3, 4, 5, 6, 7}, {1},
	}
	if chordTrace(f, new(ChordSums).Add, y[3:]) != chordTrace(g, new(ChordSums).Add, y[3:]) ||
		chordTrace(f, new(ChordSums2).Add, y[3:]) != chordTrace(g, new(ChordSums2).Add, y[3:]) {
		return fmt.Errorf("sums of points: %w", errLanes)
	}
	return compare(f, g, x, y)
}

// chordTrace adds pairs of points until one is left. They are on no curve, which the sums do not
// ask.
func chordTrace(
	f Field, add func(f Field, to, from []Cell, pairs []Pair) bool, x []fp.Element,
) (sum [4]fp.Element) {
	const points = 32 // of the extension
	coordinates, index := make([]fp.Element, 4*points), make([]int32, 4*points)
	for i := range coordinates {
		coordinates[i].Add(&coordinates[max(0, i-1)], &x[i%len(x)])
		index[i] = int32(i)
	}
	v, cells := NewVec(len(coordinates)), make([]Cell, len(coordinates))
	f.Pack(v, coordinates)
	f.Scatter(cells, index, v)
	for n := points / 2; n > 0; n /= 2 {
		pairs := make([]Pair, n)
		for i := range pairs {
			pairs[i] = Pair{int32(i), int32(2 * i), int32(2*i + 1)}
		}
		if !add(f, cells, cells, pairs) {
			return sum
		}
	}
	f.Gather(v[:1], cells, index[:len(sum)])
	f.Unpack(sum[:], v[:1])
	return sum
}

func compare(f, g Field, x, y []fp.Element) error {
	a, b := trace(f, x, y), trace(g, x, y)
	for step := range a {
		for i := range a[step] {
			if a[step][i] != b[step][i] {
				return fmt.Errorf("step %d, element %d: %w", step, i, errLanes)
			}
		}
	}
	return nil
}

// trace runs every operation of f once and returns all results.
func trace(f Field, x, y []fp.Element) (results [][]fp.Element) {
	n := len(x)
	vx, vy, vz := NewVec(n), NewVec(n), NewVec(n)
	z := Vec2{NewVec(n), NewVec(n)}
	m := NewMask(n)
	f.Pack(vx, x)
	f.Pack(vy, y)
	keep := func(v Vec) {
		r := make([]fp.Element, n)
		f.Unpack(r, v)
		results = append(results, r)
	}
	f.Mul(vz, vx, vy)
	keep(vz)
	f.Sqr(vz, vy)
	keep(vz)
	f.Add(vz, vx, vy)
	keep(vz)
	f.Sub(vz, vx, vy, 3)
	keep(vz)
	f.Odd(m, vz)
	f.Select(vz, m, vz, vx)
	f.Tighten(vz, vz)
	f.Reduce(vz, vz)
	keep(vz)
	cells, index := make([]Cell, n), make([]int32, n)
	for i := range index {
		index[i] = int32(n - 1 - i)
	}
	f.Scatter(cells, index, vz)
	f.Gather(vz, cells, index[:n:n])
	f.Add(vz, vz, vx)
	keep(vz)
	f.Zero(m, vx)
	f.Select(vz, m, vz, vy)
	f.PowP34(vz, vz)
	keep(vz)
	f.Mul2(z, Vec2{vx, vy}, Vec2{vz, vx})
	keep(z.A0)
	keep(z.A1)
	f.Sqr2(z, z)
	keep(z.A0)
	keep(z.A1)
	var t Block12
	for k := range t.A0 {
		f.Tighten(t.A0[k:k+1], z.A0[k%len(z.A0):][:1])
		f.Tighten(t.A1[k:k+1], vx[k%len(vx):][:1])
	}
	f.MulLines(&t, z, Vec2{vy, vx})
	f.MulAdd2(z, z, Vec2{vy, vx}, Vec2{vx, vz})
	f.MulSub2(z, z, z, Vec2{vy, vz})
	f.SqrSub2(z, z, z)
	keep(z.A0)
	keep(z.A1)
	f.Norm(vz, z)
	keep(vz)
	f.MulSub(vz, vz, vx, vz)
	keep(vz)
	f.SqrSub(vz, vz, vx)
	keep(vz)
	Sqr12(f, &t)
	n = len(t.A0) * Lanes
	keep(t.A0[:])
	keep(t.A1[:])
	return results
}

// sameLength panics unless all vectors have n blocks.
func sameLength(n int, vs ...Vec) {
	for _, v := range vs {
		if len(v) != n {
			panic("fp381: vectors of different lengths")
		}
	}
}

// fits panics unless v is the vector of n elements.
func fits(v Vec, n int) {
	if len(v) != (n+Lanes-1)/Lanes {
		panic("fp381: the vector and the elements differ in length")
	}
}

// checkBinary panics unless the lengths allow z = x∘y.
func checkBinary(z, x, y Vec) {
	sameLength(len(z), x)
	if len(y) != 1 {
		sameLength(len(z), y)
	}
}

// covers panics unless m has a bit for every element of v.
func covers(m Mask, v Vec) {
	if len(m) < len(v) {
		panic("fp381: the mask is shorter than the vector")
	}
}

// checkIndex panics unless every index names a cell.
func checkIndex(cells []Cell, index []int32) {
	for _, at := range index {
		if uint(at) >= uint(len(cells)) {
			panic("fp381: no such cell")
		}
	}
}

// Cells returns the coordinates of points as one slice, without a copy: those of points[0], then
// those of points[1].
func Cells[P [2]Cell | [4]Cell](points []P) []Cell {
	if len(points) == 0 {
		return nil
	}
	return unsafe.Slice((*Cell)(unsafe.Pointer(&points[0])), len(points)*len(points[0]))
}
