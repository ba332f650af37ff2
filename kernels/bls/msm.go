package bls

// coefficientBits is the size of the random coefficients of a batch.
const coefficientBits = 128

// coefficient is a random multiplier, low word first.
type coefficient [2]uint64

// digit returns w bits of the coefficient from bit position at; w is below 64.
func (k *coefficient) digit(at, w int) int {
	word, shift := at/64, at%64
	d := k[word] >> shift
	if shift+w > 64 && word == 0 {
		d |= k[1] << (64 - shift)
	}
	return int(d & (1<<w - 1))
}

// bitSums sets l.bits[k] to the sum of the points whose coefficient has bit k set. The
// sums serve twice: Σ 2^k·bits[k] is the linear combination of the points, and each
// is an independent random subset sum for the subgroup check.
//
// It is the bucket method with the last step replaced: points are sorted into buckets
// by a window of w bits, and bit sums are then sums of buckets, so all the work is
// independent affine additions.
func (l *lane) bitSums(c *curve, pts []affine, coef []coefficient) {
	const tilePoints = 4096 // windows are done together up to this many points
	w := windowBits(len(pts))
	windows := (coefficientBits + w - 1) / w
	tile := max(1, tilePoints/max(1, len(pts)))
	for lo := 0; lo < windows; lo += tile {
		hi := min(lo+tile, windows)
		l.fillBuckets(c, pts, coef, w, lo, hi)
		l.sumSubsets(c, w, lo, hi)
	}
}

// windowBits minimises the number of additions: n to fill the buckets of a window, and
// w sums of half of them.
func windowBits(n int) int {
	best, bestCost := 1, coefficientBits*n
	for w := 2; w <= 10; w++ {
		cost := (coefficientBits + w - 1) / w * (n - n>>w + w*min(n, 1<<(w-1)))
		if cost < bestCost {
			best, bestCost = w, cost
		}
	}
	return best
}

// fillBuckets sums the points by digit, for the windows lo to hi: segment
// (window-lo)·2^w + digit; digit 0 is left out.
func (l *lane) fillBuckets(c *curve, pts []affine, coef []coefficient, w, lo, hi int) {
	l.segments = grow(l.segments, (hi-lo)<<w)
	l.points = grow(l.points, (hi-lo)*len(pts))
	clear(l.segments)
	next := 0
	for window := lo; window < hi; window++ {
		buckets := l.segments[(window-lo)<<w:][:1<<w]
		for i := range coef {
			buckets[coef[i].digit(window*w, w)].n++
		}
		buckets[0].n = 0
		for d := range buckets {
			buckets[d].start = next
			next += buckets[d].n
			buckets[d].n = 0
		}
		for i := range coef {
			if d := coef[i].digit(window*w, w); d != 0 {
				b := &buckets[d]
				l.points[b.start+b.n] = pts[i]
				b.n++
			}
		}
	}
	l.sum(c, l.points, l.segments)
}

// sumSubsets derives the bit sums of the windows lo to hi from their buckets.
func (l *lane) sumSubsets(c *curve, w, lo, hi int) {
	l.subsets, l.chosen = l.subsets[:0], l.chosen[:0]
	for window := lo; window < hi; window++ {
		buckets := l.segments[(window-lo)<<w:][:1<<w]
		for k := range min(w, coefficientBits-window*w) {
			start := len(l.subsets)
			for d, b := range buckets {
				if d>>k&1 == 1 && b.n == 1 {
					l.subsets = append(l.subsets, l.points[b.start])
				}
			}
			l.chosen = append(l.chosen, segment{start, len(l.subsets) - start})
		}
	}
	l.sum(c, l.subsets, l.chosen)
	for i, s := range l.chosen {
		l.bits[lo*w+i] = affine{}
		if s.n == 1 {
			l.bits[lo*w+i] = l.subsets[s.start]
		}
	}
}

// combine returns Σ 2^k·bits[k].
func (c *curve) combine(bits *[coefficientBits]affine) affine {
	var acc jacobian
	for k := coefficientBits - 1; k >= 0; k-- {
		c.double(&acc)
		c.addMixed(&acc, &bits[k])
	}
	return acc.affine()
}
