package bls

import (
	"sync/atomic"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/waybill-network/waybill/kernels/fp381"
)

const (
	// subgroupBits is how many random subset sums are checked for membership in the
	// subgroup. The points outside it that a batch may hold survive one check with
	// probability at most 1/2, whatever their order: a subset with one such point and the
	// same subset without it cannot both sum to a member.
	subgroupBits = 64
	// subgroupBatch is the batch size from which that beats checking every point.
	subgroupBatch = 96
	// splitSize is how many points of one linear combination are worth a goroutine.
	splitSize = 1024
)

// AggregateVerify checks that sig is the sum of the signatures of every entry of the
// batch. It hashes all messages, sums them by signer, and computes one Miller loop per
// signer and one final exponentiation. The keys must have proved possession; messages
// need not be distinct. A malformed or empty batch is false, and so is one with sums of keys.
func (v *Verifier) AggregateVerify(b *Batch, sig *Signature) bool {
	if b.check() != nil || len(b.Signer) == 0 || len(b.sums) > 0 || sig.IsIdentity() {
		return false
	}
	v.arrange(b, nil)
	v.group(b)
	v.hashMessages(b)
	v.eachChunk(len(v.groups), func(l *workspace, lo, hi int) {
		groups := v.groups[lo:hi]
		first := groups[0].lo
		l.segments, l.combined = grow(l.segments, len(groups)), grow(l.combined, len(groups))
		for i, g := range groups {
			l.segments[i] = segment{g.lo - first, g.hi - g.lo}
		}
		run := v.hashed[first:groups[len(groups)-1].hi]
		l.sum(&iso, run, l.segments)
		for i := range groups {
			l.combined[i] = run[l.segments[i].start]
		}
		l.toG1(l.combined)
		for i := range groups {
			groups[i].h = l.combined[i]
		}
	})
	return v.check(&sig.p)
}

// sumSignatures returns Σ rᵢσᵢ over the entries. Those outside the subgroup get their
// verdict and are removed first.
func (v *Verifier) sumSignatures(verdicts []Verdict) affine {
	v.sigma = grow(v.sigma, len(v.entry))
	for at, i := range v.entry {
		v.sigma[at] = v.sigs[i].p
	}
	bits := v.bitSums(&g1, v.sigma, v.coef)
	if !v.inSubgroup(bits, v.sigma) {
		v.expel(verdicts)
		bits = v.bitSums(&g1, v.sigma, v.coef)
	}
	return g1.combine(bits)
}

// inSubgroup checks points whose bit sums are given: the sums if the points are many,
// else the points.
func (v *Verifier) inSubgroup(bits *[coefficientBits]affine, pts []affine) bool {
	if len(pts) >= subgroupBatch {
		pts = bits[:subgroupBits]
	}
	var outside atomic.Bool
	v.each((len(pts)+wideChunk-1)/wideChunk, func(l *workspace, task int) {
		if !outside.Load() && !l.inSubgroup(pts[task*wideChunk:min(len(pts), (task+1)*wideChunk)]) {
			outside.Store(true)
		}
	})
	return !outside.Load()
}

// expel finds the entries outside the subgroup and removes them from the columns.
func (v *Verifier) expel(verdicts []Verdict) {
	// A test of membership is less than a sixteenth of a verification, and so are the additions of
	// two points. The search may take one for each point beyond the one that looking at it takes.
	s := search{
		leaf:  subgroupBatch,
		slack: len(v.sigma),
		cost:  func(lo, hi int) int { return subgroupBits + (hi-lo+1)/2*workPoint },
		rest:  func(lo, hi int) int { return hi - lo },
		pass: func(lo, hi int) bool {
			pts := v.sigma[lo:hi]
			return v.inSubgroup(v.bitSums(&g1, pts, v.coef[lo:hi]), pts)
		},
		one: func(i int) bool { return v.sigma[i].IsInSubGroup() },
		bad: func(i int) { verdicts[v.entry[i]] = VerdictNotInSubgroup },
	}
	s.failing(0, len(v.sigma))
	kept := 0
	for at, i := range v.entry {
		if verdicts[i] == VerdictPending {
			v.entry[kept], v.sigma[kept], v.coef[kept] = i, v.sigma[at], v.coef[at]
			kept++
		}
	}
	v.entry, v.sigma, v.coef = v.entry[:kept], v.sigma[:kept], v.coef[:kept]
}

// bitSums is workspace.bitSums in all workspaces. The result is valid until the next call.
func (v *Verifier) bitSums(c *curve, pts []affine, coef []coefficient) *[coefficientBits]affine {
	parts := min(len(v.spaces), len(pts)/splitSize)
	if parts <= 1 {
		return v.spaces[0].bitSums(c, pts, coef)
	}
	v.partial = grow(v.partial, parts)
	v.each(parts, func(l *workspace, task int) {
		lo, hi := len(pts)*task/parts, len(pts)*(task+1)/parts
		v.partial[task] = *l.bitSums(c, pts[lo:hi], coef[lo:hi])
	})
	l := v.spaces[0]
	l.points = grow(l.points, parts*coefficientBits)
	l.segments = grow(l.segments, coefficientBits)
	bits := &v.partial[0]
	for k := range bits {
		for part := range parts {
			l.points[k*parts+part] = v.partial[part][k]
		}
		l.segments[k] = segment{k * parts, parts}
	}
	l.sum(c, l.points, l.segments)
	for k := range bits {
		bits[k] = l.points[k*parts]
	}
	return bits
}

// sumHashes sets h of every group: large groups one by one in all workspaces, those of a few
// entries together, if that is worth it, and the others some in each workspace.
func (v *Verifier) sumHashes() {
	large, few := len(v.entry)+1, v.scaleFew()
	if len(v.spaces) > 1 {
		large = 2 * splitSize
	}
	v.eachChunk(len(v.groups), func(l *workspace, lo, hi int) {
		l.some = l.some[:0]
		for i := lo; i < hi; i++ {
			if g := &v.groups[i]; g.hi-g.lo > few && g.hi-g.lo < large {
				l.some = append(l.some, g)
			}
		}
		l.sumGroups(v.hashed, v.coef, l.some)
	})
	for i := range v.groups {
		if g := &v.groups[i]; g.hi-g.lo >= large {
			g.h = toG1(iso.combine(v.bitSums(&iso, v.hashed[g.lo:g.hi], v.coef[g.lo:g.hi])))
		}
	}
}

// scaleFew sums the groups of up to few entries, each of which is multiplied alone. few is 0 where
// that is not worth it.
func (v *Verifier) scaleFew() (few int) {
	v.few, v.scaled = v.few[:0], v.scaled[:0]
	for i := range v.groups {
		if g := &v.groups[i]; g.hi-g.lo <= crossover().scaled {
			v.few = append(v.few, int32(i))
			v.scaled = append(v.scaled, v.hashed[g.lo:g.hi]...)
			v.scaledBy = append(v.scaledBy[:len(v.scaled)-(g.hi-g.lo)], v.coef[g.lo:g.hi]...)
		}
	}
	if len(v.scaled) < scaleFrom || !fp381.Wide() {
		return 0
	}
	part := v.loopPart(len(v.scaled), scalePoints)
	v.each((len(v.scaled)+part-1)/part, func(l *workspace, task int) {
		lo, hi := part*task, min(len(v.scaled), part*(task+1))
		l.scale(&iso, v.scaled[lo:hi], v.scaledBy[lo:hi])
	})
	l, at := v.spaces[0], 0
	l.segments = grow(l.segments, len(v.few))
	for i, group := range v.few {
		g := &v.groups[group]
		l.segments[i] = segment{at, g.hi - g.lo}
		at += g.hi - g.lo
	}
	l.sum(&iso, v.scaled, l.segments)
	for i := range v.few {
		v.scaled[i] = v.scaled[l.segments[i].start]
	}
	v.eachChunk(len(v.few), func(l *workspace, lo, hi int) {
		l.toG1(v.scaled[lo:hi])
		for i := lo; i < hi; i++ {
			v.groups[v.few[i]].h = v.scaled[i]
		}
	})
	return crossover().scaled
}

// sumGroups sets h of groups, in order.
func (l *workspace) sumGroups(hashed []affine, coef []coefficient, groups []*group) {
	if len(groups) == 0 {
		return
	}
	lo, hi := groups[0].lo, groups[len(groups)-1].hi
	w := l.wideFor(hi - lo)
	if w == nil {
		for _, g := range groups {
			g.h = toG1(iso.combine(l.bitSums(&iso, hashed[g.lo:g.hi], coef[g.lo:g.hi])))
		}
		return
	}
	l.runs, l.combined = grow(l.runs, len(groups)), grow(l.combined, len(groups))
	for i, g := range groups {
		l.runs[i] = segment{g.lo - lo, g.hi - g.lo}
	}
	w.combineIso(l.combined, w.bitSums(&iso, hashed[lo:hi], coef[lo:hi], l.runs))
	for i, g := range groups {
		g.h = l.combined[i]
	}
}

// eachChunk runs a function on parts of n things, whole blocks of eight, in the workspaces, and
// waits.
func (v *Verifier) eachChunk(n int, run func(l *workspace, lo, hi int)) {
	if n == 0 {
		return
	}
	part := min(wideChunk, v.loopPart(n, n))
	v.each((n+part-1)/part,
		func(l *workspace, task int) { run(l, task*part, min(n, (task+1)*part)) })
}

// check reports whether e(total, -g2)·Π e(h', key) = 1 over the groups, where h' is h without its
// cofactor, which is still in it. A point's part outside the subgroup pairs to one, so e(h', key)
// is e(h, key) to the power of the effective cofactor; and instead of all h, total may lose it.
func (v *Verifier) check(total *affine) bool {
	v.report.Checks++
	v.cleared = len(v.groups) < crossover().cleared
	scaled := *total
	if v.cleared {
		v.clearHashes()
	} else {
		scaled.ScalarMultiplication(total, inverseCofactor)
	}
	v.p, v.q = append(v.p[:0], scaled), append(v.q[:0], minusG2)
	v.pairUp()
	f := v.millerLoop(v.p, v.q)
	return v.spaces[0].isOne(&f)
}

// millerLoop is workspace.millerLoop of any number of pairs, in all workspaces.
func (v *Verifier) millerLoop(p []affine, q []bls12381.G2Affine) bls12381.GT {
	part := v.loopPart(len(p), loopPairs)
	parts := (len(p) + part - 1) / part
	v.loops = grow(v.loops, parts)
	v.each(parts, func(l *workspace, task int) {
		lo, hi := part*task, min(len(p), part*(task+1))
		v.loops[task] = l.millerLoop(p[lo:hi], q[lo:hi])
	})
	return product(v.loops)
}

// clearHashes clears the cofactor of every h.
func (v *Verifier) clearHashes() {
	v.eachChunk(len(v.groups), func(l *workspace, lo, hi int) {
		l.combined = grow(l.combined, hi-lo)
		for i := range l.combined {
			l.combined[i] = v.groups[lo+i].h
		}
		l.clearCofactors(l.combined)
		for i := range l.combined {
			v.groups[lo+i].h = l.combined[i]
		}
	})
}

// loopPart is how many of n Miller loops, or groups of them, one workspace does at a time: whole
// blocks of eight, an equal share
// of what the workspaces of this verifier do together, but not more than most.
func (v *Verifier) loopPart(n, most int) int {
	share := (n + len(v.spaces) - 1) / len(v.spaces)
	rounds := (share + most - 1) / most
	share = (share + rounds - 1) / rounds
	return (share + fp381.Lanes - 1) / fp381.Lanes * fp381.Lanes
}
