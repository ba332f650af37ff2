//go:build !purego

package fp381

import "sync"

//go:noescape
func lineFactors(b *[2][4]Block, f0, f1, s0, s1 *Block)

//go:noescape
func lineEvaluate(a *[2][8]Block, z *Block12)

//go:noescape
func lineCombine(z, x *Block12, p *[2][8]Block)

// lineSpace is a workspace for products with lines, laid out as the assembly has it: by coordinate.
type lineSpace struct {
	other    Block12
	values   [2][8]Block
	factors  [2][4]Block
	products [2][8]Block
	columns  [4]Block
}

var lineSpaces = sync.Pool{New: func() any { return new(lineSpace) }}

// MulLines follows the section on lines in fp381_amd64.s.
func (f ifma) MulLines(z *Block12, free, slope Vec2) {
	sameLength(len(free.A0), free.A1, slope.A0, slope.A1)
	f.require(tight, free.A0, free.A1, slope.A0, slope.A1, z.A0[:], z.A1[:])
	w := lineSpaces.Get().(*lineSpace)
	defer lineSpaces.Put(w)
	from, to := z, &w.other
	for i := range free.A0 {
		lineFactors(&w.factors, &free.A0[i], &free.A1[i], &slope.A0[i], &slope.A1[i])
		lineEvaluate(&w.values, from)
		for half := 0; half < len(w.products[0]); half += len(w.factors[0]) {
			mul2Blocks(&w.products[0][half], &w.products[1][half], &w.values[0][half], &w.values[1][half],
				&w.factors[0][0], &w.factors[1][0], len(w.factors[0]), &w.columns)
		}
		f.require(tight2, w.products[0][:], w.products[1][:])
		lineCombine(to, from, &w.products)
		from, to = to, from
	}
	if from != z {
		*z = *from
	}
	f.require(tight, z.A0[:], z.A1[:])
}
