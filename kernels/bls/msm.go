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
	tasks            []bucketTask
	bits             [][coefficientBits]P // by run
}

// adder does additions: points of from into to. It does them in order where these are one slice: a
// result may overwrite an operand of an earlier pair of its run, never of a later one.
type adder[P any] func(to, from []P, pairs []fp381.Pair)

// sum adds the points of every segment, in place, so that its sum stands at its start, if it has
// points.
func (l *sums[P]) sum(pts []P, segs []segment, block int, add adder[P]) {
	for l.halve(pts, segs, block, add) {
	}
}

// halve adds the points of every segment in pairs: many independent additions, of which add gets up
// to block at a time to share an inversion. It reports whether a segment still has more than one
// point.
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

// pair adds an addition to those that wait, and has them done if they are a block. flush has the
// rest done.
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
// Points are added as they are taken, into to.
func (l *sums[P]) sumChosen(to *[]P, from []P, order []int32, segs []segment, block int,
	add adder[P]) {
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
	l.sum(*to, segs, block, add)
}

// bucketTask is the buckets of one window of w bits of a run's coefficients: 2^w segments from
// first on.
type bucketTask struct{ run, window, w, first int }

// bitSums sets l.bits[i][k] to the sum of the points of run i whose coefficient has bit k set. The
// sums serve twice: Σ 2^k·bits[k] is the linear combination of the points, and each
// is an independent random subset sum for the subgroup check.
//
// It is the bucket method with the last step replaced: points are sorted into buckets
// by a window of w bits, and bit sums are then sums of buckets, so all the work is
// independent affine additions. Windows of all runs are done together, up to a number of points.
func (l *sums[P]) bitSums(pts []P, coef []coefficient, runs []segment, block int, add adder[P]) {
	const together = 16384 // points
	l.bits = grow(l.bits, len(runs))
	n := 0
	for i, run := range runs {
		for w, at := windowBits(run.n), 0; at*w < coefficientBits; at++ {
			l.tasks = append(l.tasks, bucketTask{run: i, window: at, w: w})
			if n += max(1, run.n); n >= together {
				l.doTasks(pts, coef, runs, block, add)
				n = 0
			}
		}
	}
	l.doTasks(pts, coef, runs, block, add)
}

// doTasks sets the bits of all tasks, and removes these.
func (l *sums[P]) doTasks(pts []P, coef []coefficient, runs []segment, block int, add adder[P]) {
	l.fillBuckets(coef, runs)
	l.sumChosen(&l.points, pts, l.order, l.segments, block, add)
	l.chooseSubsets()
	l.sumChosen(&l.subsets, l.points, l.order, l.chosen, block, add)
	next := 0
	for _, t := range l.tasks {
		for k := t.window * t.w; k < min(coefficientBits, (t.window+1)*t.w); k++ {
			var none P
			if l.bits[t.run][k] = none; l.chosen[next].n == 1 {
				l.bits[t.run][k] = l.subsets[l.chosen[next].start]
			}
			next++
		}
	}
	l.tasks = l.tasks[:0]
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

// fillBuckets sorts the points of the tasks' runs by digit, as indices in l.order; digit 0 is left
// out.
func (l *sums[P]) fillBuckets(coef []coefficient, runs []segment) {
	buckets, points := 0, 0
	for i := range l.tasks {
		l.tasks[i].first = buckets
		buckets += 1 << l.tasks[i].w
		points += runs[l.tasks[i].run].n
	}
	l.segments = grow(l.segments, buckets)
	l.order = grow(l.order, points)
	clear(l.segments)
	next := 0
	for _, t := range l.tasks {
		run, buckets := runs[t.run], l.segments[t.first:][:1<<t.w]
		coef := coef[run.start:][:run.n]
		for i := range coef {
			buckets[coef[i].digit(t.window*t.w, t.w)].n++
		}
		buckets[0].n = 0
		for d := range buckets {
			buckets[d].start = next
			next += buckets[d].n
			buckets[d].n = 0
		}
		for i := range coef {
			if d := coef[i].digit(t.window*t.w, t.w); d != 0 {
				b := &buckets[d]
				l.order[b.start+b.n] = int32(run.start + i)
				b.n++
			}
		}
	}
	l.order = l.order[:next]
}

// chooseSubsets lists, in l.order, the bucket sums that the bit sums of the tasks are made of.
func (l *sums[P]) chooseSubsets() {
	l.order, l.chosen = l.order[:0], l.chosen[:0]
	for _, t := range l.tasks {
		buckets := l.segments[t.first:][:1<<t.w]
		for k := range min(t.w, coefficientBits-t.window*t.w) {
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
