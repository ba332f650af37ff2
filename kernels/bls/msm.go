package bls

import "github.com/waybill-network/waybill/kernels/fp381"

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

// sums adds up affine points, kept in the form P, in bulk. Its slices keep their capacity.
type sums[P any] struct {
	pairs            []fp381.Pair
	points, subsets  []P
	order            []int32
	segments, chosen []segment
	bits             [coefficientBits]P
}

// adder does additions: points of from into to. It does them in order where these are one slice: a result may overwrite
// an operand of an earlier pair of its run, never of a later one.
type adder[P any] func(to, from []P, pairs []fp381.Pair)

// sum adds the points of every segment, in place, so that its sum stands at its start, if it has points.
func (l *sums[P]) sum(pts []P, segs []segment, block int, add adder[P]) {
	for l.halve(pts, segs, block, add) {
	}
}

// halve adds the points of every segment in pairs: many independent additions, of which add gets up to block at a time to
// share an inversion. It reports whether a segment still has more than one point.
func (l *sums[P]) halve(pts []P, segs []segment, block int, add adder[P]) (again bool) {
	for i := range segs {
		s := &segs[i]
		if s.n < 2 {
			continue
		}
		keep := s.n & 1 // the first point of an odd run waits for the next round
		for j := range s.n / 2 {
			at := s.start + keep + 2*j
			l.pair(pts, pts, s.start+keep+j, int32(at), int32(at+1), block, add)
		}
		s.n = keep + s.n/2
		again = again || s.n > 1
	}
	l.flush(pts, pts, add)
	return again
}

// pair adds an addition to those that wait, and has them done if they are a block. flush has the rest done.
func (l *sums[P]) pair(to, from []P, result int, a, b int32, block int, add adder[P]) {
	if l.pairs = append(l.pairs, fp381.Pair{To: int32(result), A: a, B: b}); len(l.pairs) == block {
		l.flush(to, from, add)
	}
}

func (l *sums[P]) flush(to, from []P, add adder[P]) {
	if len(l.pairs) > 0 {
		add(to, from, l.pairs)
		l.pairs = l.pairs[:0]
	}
}

// sumChosen is sum for points of from in another order: segments are of order, and then of to.
func (l *sums[P]) sumChosen(to *[]P, from []P, order []int32, segs []segment, block int, add adder[P]) {
	l.halveChosen(to, from, order, segs, block, add)
	l.sum(*to, segs, block, add)
}

// halveChosen is the first round of sumChosen. Points are added as they are taken, into to.
func (l *sums[P]) halveChosen(to *[]P, from []P, order []int32, segs []segment, block int, add adder[P]) {
	*to = grow(*to, len(order)/2+len(segs))
	next := 0
	for i := range segs {
		s := &segs[i]
		chosen := order[s.start:][:s.n]
		s.start, s.n = next, (s.n+1)/2
		next += s.n
		at := s.start
		if len(chosen)&1 == 1 {
			(*to)[at] = from[chosen[0]]
			chosen, at = chosen[1:], at+1
		}
		for j := 0; j < len(chosen); j += 2 {
			l.pair(*to, from, at+j/2, chosen[j], chosen[j+1], block, add)
		}
	}
	l.flush(*to, from, add)
}

// bitSums sets l.bits[k] to the sum of the points whose coefficient has bit k set. The
// sums serve twice: Σ 2^k·bits[k] is the linear combination of the points, and each
// is an independent random subset sum for the subgroup check.
//
// It is the bucket method with the last step replaced: points are sorted into buckets
// by a window of w bits, and bit sums are then sums of buckets, so all the work is
// independent affine additions.
func (l *sums[P]) bitSums(pts []P, coef []coefficient, block int, add adder[P]) {
	const tilePoints = 8192 // windows are done together up to this many points
	w := windowBits(len(pts))
	windows := (coefficientBits + w - 1) / w
	tile := max(1, tilePoints/max(1, len(pts)))
	for lo := 0; lo < windows; lo += tile {
		hi := min(lo+tile, windows)
		l.fillBuckets(coef, w, lo, hi)
		l.sumChosen(&l.points, pts, l.order, l.segments, block, add)
		l.chooseSubsets(w, lo, hi)
		l.sumChosen(&l.subsets, l.points, l.order, l.chosen, block, add)
		for i, s := range l.chosen {
			var none P
			if l.bits[lo*w+i] = none; s.n == 1 {
				l.bits[lo*w+i] = l.subsets[s.start]
			}
		}
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

// fillBuckets sorts the points by digit, for the windows lo to hi: segment
// (window-lo)·2^w + digit of l.order; digit 0 is left out.
func (l *sums[P]) fillBuckets(coef []coefficient, w, lo, hi int) {
	l.segments = grow(l.segments, (hi-lo)<<w)
	l.order = grow(l.order, (hi-lo)*len(coef))
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
				l.order[b.start+b.n] = int32(i)
				b.n++
			}
		}
	}
	l.order = l.order[:next]
}

// chooseSubsets lists, in l.order, the bucket sums that the bit sums of the windows lo to hi are made of.
func (l *sums[P]) chooseSubsets(w, lo, hi int) {
	l.order, l.chosen = l.order[:0], l.chosen[:0]
	for window := lo; window < hi; window++ {
		buckets := l.segments[(window-lo)<<w:][:1<<w]
		for k := range min(w, coefficientBits-window*w) {
			start := len(l.order)
			for d, b := range buckets {
				if d>>k&1 == 1 && b.n == 1 {
					l.order = append(l.order, int32(b.start))
				}
			}
			l.chosen = append(l.chosen, segment{start, len(l.order) - start})
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
