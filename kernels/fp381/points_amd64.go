//go:build !purego

package fp381

//go:noescape
func chordBlocks(d, x, s *Block, points *Cell, pairs *Pair, n int) uint64

//go:noescape
func sumBlocks(to, from *Cell, pairs *Pair, d, x, s *Block, n int, t *[4]Block)

//go:noescape
func chord2Blocks(c *[6]Block, norm *Block, points *Cell, pairs *Pair, n int) uint64

//go:noescape
func sum2Blocks(to, from *Cell, pairs *Pair, c *[6]Block, inverse *Block, n int, t *[14]Block)

func (f ifma) chords(d, x, s Vec, points []Cell, pairs []Pair) bool {
	zero, whole := uint64(0), len(pairs)/Lanes
	if whole > 0 {
		zero = chordBlocks(&d[0], &x[0], &s[0], &points[0], &pairs[0], whole)
	}
	if whole < len(d) {
		last := lastPairs(pairs)
		zero |= chordBlocks(&d[whole], &x[whole], &s[whole], &points[0], &last[0], 1)
	}
	f.require(tight, x)
	f.require(tight2, d)
	return zero == 0
}

func (f ifma) sums(to, from []Cell, pairs []Pair, d, x, s Vec) {
	w := scratch.Get().(*space)
	defer scratch.Put(w)
	t := (*[4]Block)(w[:4])
	whole := len(pairs) / Lanes
	if whole > 0 {
		sumBlocks(&to[0], &from[0], &pairs[0], &d[0], &x[0], &s[0], whole, t)
	}
	if whole < len(d) {
		last := lastPairs(pairs)
		sumBlocks(&to[0], &from[0], &last[0], &d[whole], &x[whole], &s[whole], 1, t)
	}
}

func (f ifma) chords2(c [][6]Block, norm Vec, points []Cell, pairs []Pair) bool {
	zero, whole := uint64(0), len(pairs)/Lanes
	if whole > 0 {
		zero = chord2Blocks(&c[0], &norm[0], &points[0], &pairs[0], whole)
	}
	if whole < len(c) {
		last := lastPairs(pairs)
		zero |= chord2Blocks(&c[whole], &norm[whole], &points[0], &last[0], 1)
	}
	f.require(tight, norm)
	return zero == 0
}

func (f ifma) sums2(to, from []Cell, pairs []Pair, c [][6]Block, inverse Vec) {
	w := scratch.Get().(*space)
	defer scratch.Put(w)
	t := (*[14]Block)(w[:14])
	whole := len(pairs) / Lanes
	if whole > 0 {
		sum2Blocks(&to[0], &from[0], &pairs[0], &c[0], &inverse[0], whole, t)
	}
	if whole < len(c) {
		last := lastPairs(pairs)
		sum2Blocks(&to[0], &from[0], &last[0], &c[whole], &inverse[whole], 1, t)
	}
}
