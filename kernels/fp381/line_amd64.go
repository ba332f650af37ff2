//go:build !purego

package fp381

import "sync"

//go:noescape
func lineFactors(b *[4]operand, f0, f1, s0, s1 *Block)

//go:noescape
func lineEvaluate(a *[8]operand, z *Block12)

//go:noescape
func lineProducts(p *[2][8]Block, a *[8]operand, b *[4]operand, t *[4]Block)

//go:noescape
func lineCombine(z, x *Block12, p *[2][8]Block)

//go:noescape
func mulAdd2Blocks(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int, t *[4]Block)

//go:noescape
func mulSub2Blocks(z0, z1, x0, x1, y0, y1, a0, a1 *Block, n int, t *[4]Block)

//go:noescape
func sqrSub2Blocks(z0, z1, x0, x1, a0, a1 *Block, n int)

//go:noescape
func normBlocks(z, x0, x1 *Block, n int)

//go:noescape
func mulSubBlocks(z, x, y, a *Block, n int)

//go:noescape
func sqrSubBlocks(z, x, a *Block, n int)

// operand is a factor in the extension, or its coordinates and their sum.
type operand [3]Block

// lineSpace is a workspace for products with lines.
type lineSpace struct {
	other    Block12
	values   [8]operand
	factors  [4]operand
	products [2][8]Block // by coordinate
	columns  [4]Block
}

var lineSpaces = sync.Pool{New: func() any { return new(lineSpace) }}

// MulLines follows the section on lines in fp381_amd64.s.
func (f ifma) MulLines(z *Block12, free, slope Vec2) {
	sameLength(len(free.A0), free.A1, slope.A0, slope.A1)
	f.require(tight, z.A0[:], z.A1[:])
	f.require(tight2, free.A0, free.A1, slope.A0, slope.A1)
	w := lineSpaces.Get().(*lineSpace)
	defer lineSpaces.Put(w)
	from, to := z, &w.other
	for i := range free.A0 {
		lineFactors(&w.factors, &free.A0[i], &free.A1[i], &slope.A0[i], &slope.A1[i])
		lineEvaluate(&w.values, from)
		lineProducts(&w.products, &w.values, &w.factors, &w.columns)
		lineCombine(to, from, &w.products)
		from, to = to, from
	}
	if from != z {
		*z = *from
	}
	f.require(tight, z.A0[:], z.A1[:])
}

func (f ifma) MulAdd2(z, x, y, a Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1, y.A0, y.A1, a.A0, a.A1)
	f.require(loose2, x.A0, x.A1, y.A0, y.A1, a.A0, a.A1)
	if n := len(z.A0); n > 0 {
		t := scratch.Get().(*[4]Block)
		defer scratch.Put(t)
		mulAdd2Blocks(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &y.A0[0], &y.A1[0], &a.A0[0], &a.A1[0], n, t)
	}
	f.require(loose, z.A0, z.A1)
}

func (f ifma) MulSub2(z, x, y, a Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1, y.A0, y.A1, a.A0, a.A1)
	f.require(loose2, x.A0, x.A1, y.A0, y.A1)
	f.require(subtrahend, a.A0, a.A1)
	if n := len(z.A0); n > 0 {
		t := scratch.Get().(*[4]Block)
		defer scratch.Put(t)
		mulSub2Blocks(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &y.A0[0], &y.A1[0], &a.A0[0], &a.A1[0], n, t)
	}
	f.require(tight, z.A0, z.A1)
}

func (f ifma) SqrSub2(z, x, a Vec2) {
	sameLength(len(z.A0), z.A1, x.A0, x.A1, a.A0, a.A1)
	f.require(loose2, x.A0, x.A1)
	f.require(subtrahend, a.A0, a.A1)
	if n := len(z.A0); n > 0 {
		sqrSub2Blocks(&z.A0[0], &z.A1[0], &x.A0[0], &x.A1[0], &a.A0[0], &a.A1[0], n)
	}
	f.require(tight, z.A0, z.A1)
}

func (f ifma) Norm(z Vec, x Vec2) {
	sameLength(len(z), x.A0, x.A1)
	f.require(loose2, x.A0, x.A1)
	if n := len(z); n > 0 {
		normBlocks(&z[0], &x.A0[0], &x.A1[0], n)
	}
	f.require(tight, z)
}

func (f ifma) MulSub(z, x, y, a Vec) {
	sameLength(len(z), x, y, a)
	f.require(loose, x, y)
	f.require(subtrahend, a)
	if len(z) > 0 {
		mulSubBlocks(&z[0], &x[0], &y[0], &a[0], len(z))
	}
	f.require(tight, z)
}

func (f ifma) SqrSub(z, x, a Vec) {
	sameLength(len(z), x, a)
	f.require(loose, x)
	f.require(subtrahend, a)
	if len(z) > 0 {
		sqrSubBlocks(&z[0], &x[0], &a[0], len(z))
	}
	f.require(tight, z)
}
