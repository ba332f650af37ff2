//go:build !purego

package fp381

import (
	"math"
	"math/big"
	"sync"
	"unsafe"
)

//go:generate go run -C ../../asm ./fp381avx2 -out ../kernels/fp381/avx2_amd64.s
//go:generate go run -C ../../asm ./fp381avx512 -out ../kernels/fp381/avx512_amd64.s

// doubles keeps limb i of lane l of a block, 49 bits of x·2^392, as a double in word [i][l]: an
// integer from −2^48 to 2^48, or a little beyond. Values may be negative. The algorithm stands at
// the head of avx2_amd64.s.
type doubles struct{ lanes }

const doublesBits = 49

var (
	doublesBounds = bounds{any: 1 << 8, factor: 40, factor2: 20}
	doublesFormat = format{bits: doublesBits, limbs: doublesLimbs, value: doublesValue}
)

// doublesLimbs cuts |v| < 2^391 into limbs.
func doublesLimbs(v *big.Int) (limbs [8]uint64) {
	v = new(big.Int).Set(v)
	half := big.NewInt(1 << (doublesBits - 1))
	for i := range limbs {
		low := new(big.Int).Set(v)
		if i < len(limbs)-1 { // the residue from −2^48 to 2^48 − 1
			low.Add(v, half)
			low.Sub(low.Sub(low, new(big.Int).Lsh(new(big.Int).Rsh(low, doublesBits), doublesBits)), half)
		}
		limbs[i] = math.Float64bits(float64(low.Int64()))
		v.Rsh(v.Sub(v, low), doublesBits)
	}
	return limbs
}

// doublesMost is what limbs may be: carries of all limbs at once leave a few above 2^48.
const doublesMost = 1<<(doublesBits-1) + 1<<6

func doublesValue(b *Block, l int) (v *big.Int, ok bool) {
	v, ok = new(big.Int), true
	for i := len(b) - 1; i >= 0; i-- {
		limb := math.Float64frombits(b[i][l])
		integer := math.Abs(limb) <= doublesMost && limb == math.Trunc(limb)
		if !integer || limb == 0 && math.Signbit(limb) {
			return v, false
		}
		v.Add(v.Lsh(v, doublesBits), big.NewInt(int64(limb)))
	}
	return v, ok
}

// powerOf is machine.sqrMul by other routines.
func powerOf(
	sqr func(z, x *Block, n int), mul func(z, x, y *Block, n, step int),
) func(z, x, y *Block, n, blocks int) {
	return func(z, x, y *Block, n, blocks int) {
		sqr(z, x, blocks)
		for range n - 1 {
			sqr(z, z, blocks)
		}
		mul(z, z, y, blocks, blockBytes)
	}
}

// pairsOfBlocks is eight blocks of elements of the extension, by coordinate.
type pairsOfBlocks [2][8]Block

// slices are its vectors.
func (b *pairsOfBlocks) slices() Vec2 { return Vec2{b[0][:], b[1][:]} }

type doublesSpace struct {
	other                     Block12
	values, factors, products pairsOfBlocks
	index                     [doublesStretch * Lanes]int32
	mask                      [doublesStretch]uint8
	t                         [4][doublesStretch]Block
}

var doublesSpaces = sync.Pool{New: func() any { return new(doublesSpace) }}

// MulLines follows the section on lines in avx2_amd64.s.
func (f doubles) MulLines(z *Block12, free, slope Vec2) {
	sameLength(len(free.A0), free.A1, slope.A0, slope.A1)
	f.require(tight, z.A0[:], z.A1[:])
	f.require(tight2, free.A0, free.A1, slope.A0, slope.A1)
	w := doublesSpaces.Get().(*doublesSpace)
	defer doublesSpaces.Put(w)
	from, to := z, &w.other
	for i := range free.A0 {
		f.lineFactors(&w.factors, &free.A0[i], &free.A1[i], &slope.A0[i], &slope.A1[i])
		f.lineEvaluate(&w.values, from)
		f.Mul2(w.products.slices(), w.values.slices(), w.factors.slices())
		f.lineCombine(to, from, &w.products)
		from, to = to, from
	}
	if from != z {
		*z = *from
	}
	f.require(tight, z.A0[:], z.A1[:])
}

// doublesStretch and doublesStretch2 are how many blocks of additions are worked on at a time: few,
// so that they stay in the first cache, and enough for each routine to stay in it for a while, too.
const (
	doublesStretch  = 8
	doublesStretch2 = 4 // over the extension
)

// stretches calls one for parts of n blocks of pairs.
func stretches(blocks, most int, pairs []Pair, one func(lo, hi int, pairs []Pair)) {
	for lo := 0; lo < blocks; lo += most {
		hi := min(blocks, lo+most)
		one(lo, hi, pairs[lo*Lanes:min(len(pairs), hi*Lanes)])
	}
}

// The point of a pair.
const (
	ofTo = iota
	ofA
	ofB
)

// cells lists a coordinate of a point of each pair, where points have size cells, and the last
// block's first again in unused lanes.
func (w *doublesSpace) cells(pairs []Pair, point, size, coordinate int) *int32 {
	for i := range pairs {
		p := &pairs[i]
		at := [...]int32{p.To, p.A, p.B}[point]
		w.index[i] = at*int32(size) + int32(coordinate)
	}
	if tail := len(pairs) % Lanes; tail != 0 {
		first := w.index[len(pairs)-tail]
		for i := len(pairs); i < len(pairs)-tail+Lanes; i++ {
			w.index[i] = first
		}
	}
	return &w.index[0]
}

func (f doubles) chords(d, x, s Vec, points []Cell, pairs []Pair) bool {
	w := doublesSpaces.Get().(*doublesSpace)
	defer doublesSpaces.Put(w)
	found := false
	stretches(len(d), doublesStretch, pairs, func(lo, hi int, pairs []Pair) {
		n := hi - lo
		f.gather(&d[lo], &points[0], w.cells(pairs, ofB, 2, 0), n)
		f.gather(&x[lo], &points[0], w.cells(pairs, ofA, 2, 0), n)
		found = found || f.anyBlank(w, d[lo:hi]) || f.anyBlank(w, x[lo:hi])
		f.add(&s[lo], &d[lo], &x[lo], n, blockBytes)
		f.sub(&d[lo], &d[lo], &x[lo], n, blockBytes, 1)
	})
	f.require(tight, x)
	f.require(tight2, d)
	return !found
}

// anyBlank reports whether the words of a lane of at most a stretch are all zero.
func (f doubles) anyBlank(w *doublesSpace, x Vec) bool {
	f.zero(&w.mask[0], &x[0], len(x))
	for _, m := range w.mask[:len(x)] {
		if m != 0 {
			return true
		}
	}
	return false
}

func (f doubles) sums(to, from []Cell, pairs []Pair, d, x, s Vec) {
	w := doublesSpaces.Get().(*doublesSpace)
	defer doublesSpaces.Put(w)
	y1, slope, x3, t := &w.t[0][0], &w.t[1][0], &w.t[2][0], &w.t[3][0]
	stretches(len(d), doublesStretch, pairs, func(lo, hi int, pairs []Pair) {
		n := hi - lo
		f.gather(slope, &from[0], w.cells(pairs, ofB, 2, 1), n)
		f.gather(y1, &from[0], w.cells(pairs, ofA, 2, 1), n)
		f.sub(slope, slope, y1, n, blockBytes, 1)
		f.mul(slope, slope, &d[lo], n, blockBytes)
		f.sqrSub(x3, slope, &s[lo], n) // x1 + x2
		f.sub(t, &x[lo], x3, n, blockBytes, 1)
		f.mulSub(t, slope, t, y1, n)
		f.scatter(&to[0], w.cells(pairs, ofTo, 2, 1), t, n)
		f.scatter(&to[0], w.cells(pairs, ofTo, 2, 0), x3, n)
	})
}

// chords2 leaves in c the conjugate of d, x1 and x1 + x2, by stretch and coordinate: see [flat].
func (f doubles) chords2(c [][6]Block, norm Vec, points []Cell, pairs []Pair) bool {
	w := doublesSpaces.Get().(*doublesSpace)
	defer doublesSpaces.Put(w)
	found := false
	stretches(len(c), doublesStretch2, pairs, func(lo, hi int, pairs []Pair) {
		n, c := hi-lo, flat(c[lo:hi])
		d, x, s := c[:2*n], c[2*n:4*n], c[4*n:]
		for i := range 2 {
			f.gather(&d[i*n], &points[0], w.cells(pairs, ofB, 4, i), n)
			f.gather(&x[i*n], &points[0], w.cells(pairs, ofA, 4, i), n)
		}
		found = found || f.anyBlank(w, d[:n]) || f.anyBlank(w, x[:n])
		f.add(&s[0], &d[0], &x[0], 2*n, blockBytes)
		f.sub(&d[0], &d[0], &x[0], n, blockBytes, 1)
		f.sub(&d[n], &x[n], &d[n], n, blockBytes, 1)
		f.norm(&norm[lo], &d[0], &d[n], n)
	})
	f.require(tight, norm)
	return !found
}

// flat is the blocks of a stretch of c: those of its first coordinate, then of the next.
func flat(c [][6]Block) Vec { return unsafe.Slice(&c[0][0], len(c)*len(c[0])) }

func (f doubles) sums2(to, from []Cell, pairs []Pair, c [][6]Block, inverse Vec) {
	w := doublesSpaces.Get().(*doublesSpace)
	defer doublesSpaces.Put(w)
	stretches(len(c), doublesStretch2, pairs, func(lo, hi int, pairs []Pair) {
		n, c := hi-lo, flat(c[lo:hi])
		d, x1, s := c[:2*n], c[2*n:4*n], c[4*n:]
		y1, slope, x3, t := w.t[0][:2*n], w.t[1][:2*n], w.t[2][:2*n], w.t[3][:2*n]
		for i := range 2 {
			f.gather(&y1[i*n], &from[0], w.cells(pairs, ofA, 4, 2+i), n)
			f.gather(&t[i*n], &from[0], w.cells(pairs, ofB, 4, 2+i), n)
			f.mul(&slope[i*n], &d[i*n], &inverse[lo], n, blockBytes)
		}
		f.sub(&t[0], &t[0], &y1[0], 2*n, blockBytes, 1)
		f.mul2(&slope[0], &slope[n], &t[0], &t[n], &slope[0], &slope[n], n)
		f.sqrSub2(&x3[0], &x3[n], &slope[0], &slope[n], &s[0], &s[n], n)
		f.sub(&t[0], &x1[0], &x3[0], 2*n, blockBytes, 1)
		f.mulSub2(&t[0], &t[n], &slope[0], &slope[n], &t[0], &t[n], &y1[0], &y1[n], n)
		for i := range 2 {
			f.scatter(&to[0], w.cells(pairs, ofTo, 4, 2+i), &t[i*n], n)
			f.scatter(&to[0], w.cells(pairs, ofTo, 4, i), &x3[i*n], n)
		}
	})
}
