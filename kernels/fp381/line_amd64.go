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
