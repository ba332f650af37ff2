package bls

import (
	"sync/atomic"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// Work is counted in sixteenths of what verifying one signature takes: a product of two Miller
// loops and its final exponentiation. In multiplications of the base field, on scalar code, a loop
// takes 4500 of these 19000, and the exponentiation with the squarings that the loops share 10000.
// Loops in lanes take less, so that no kernel does more than what is counted.
const (
	workLoop = 4
	workExp  = 8
	workOne  = 2*workLoop + workExp
	// workPoint is what one entry adds to the linear combinations of a check: some 30
	// additions on each curve.
	workPoint = 1
)

// allowed is the work that verifying a batch of n entries may take: 1.3 times that of verifying
// them one by one, and one verification more for batches of a few.
func allowed(n int) int { return n*workOne*13/10 + workOne }

// search finds the bad elements of a range by bisection. With the coefficients fixed,
// a range passes if and only if all its parts do, but for the probability stated at
// [Verifier.Verify]; so when a failing range's first half passes, its second half fails
// and needs no check, and a failing single element is bad for certain.
//
// Its work is bounded as follows. The work of looking at every element of the range was set aside
// before. A check of a part is paid from slack alone, and made only when slack suffices; the
// elements that it clears give back to slack what was set aside for them. When slack does not
// suffice, what is left is looked at one by one, for which the work is there. So the search takes
// no more than what was set aside and the slack that it began with.
type search struct {
	pass func(lo, hi int) bool // whether a range is good as a whole
	cost func(lo, hi int) int  // the work that pass takes
	rest func(lo, hi int) int  // the work that was set aside for a range
	one  func(i int) bool      // whether an element is good
	bad  func(i int)           // receives each bad element once
	leaf int                   // ranges up to this size are looked at one by one

	slack           int
	checks, singles int // calls of pass and of one so far
}

// failing searches a range that is known to fail.
func (s *search) failing(lo, hi int) {
	if hi-lo == 1 {
		s.bad(lo)
		return
	}
	mid := (lo + hi) / 2
	if !s.affords(lo, mid, hi) {
		s.oneByOne(lo, hi)
		return
	}
	if s.passes(lo, mid) {
		s.failing(mid, hi)
		return
	}
	s.failing(lo, mid)
	switch {
	case !s.affords(mid, hi, hi):
		s.oneByOne(mid, hi)
	case !s.passes(mid, hi):
		s.failing(mid, hi)
	}
}

// affords reports whether the part up to mid of the range lo to hi is worth a check.
func (s *search) affords(lo, mid, hi int) bool {
	return hi-lo > s.leaf && s.cost(lo, mid) <= s.slack
}

func (s *search) passes(lo, hi int) bool {
	s.slack -= s.cost(lo, hi)
	s.checks++
	if !s.pass(lo, hi) {
		return false
	}
	s.slack += s.rest(lo, hi)
	return true
}

func (s *search) oneByOne(lo, hi int) {
	for i := lo; i < hi; i++ {
		s.singles++
		if !s.one(i) {
			s.bad(i)
		}
	}
}

// locate gives VerdictBadSignature to the wrong entries of a batch that failed its check.
// Points and hashes are those of the batch; nothing is decoded or hashed again.
func (v *Verifier) locate(verdicts []Verdict) {
	if !v.cleared {
		v.clearHashes()
	}
	slack := allowed(len(v.entry)) - workOne*len(v.entry) - v.workOfCheck()
	suspects := []suspect{{0, true}}
	if len(v.groups) > 1 {
		suspects, slack = v.suspectGroups(verdicts, slack)
	}
	v.report.Bisected = len(suspects)
	left := 0
	for _, of := range suspects {
		left += v.groups[of.group].hi - v.groups[of.group].lo
	}
	var checks, singles atomic.Int64
	v.each(len(suspects), func(l *workspace, task int) {
		g := &v.groups[suspects[task].group]
		n := g.hi - g.lo
		s := search{
			leaf:  1,
			slack: slack * n / left, // the same in whichever workspace
			pass:  func(lo, hi int) bool { return v.runIsValid(l, g.key, lo, hi) },
			cost:  func(lo, hi int) int { return workOne + workLoop + workPoint*(hi-lo) },
			rest:  func(lo, hi int) int { return workOne * (hi - lo) },
			one: func(i int) bool {
				h := clearCofactor(toG1(v.hashed[i]))
				return l.verifyOne(g.key, &h, &v.sigma[i])
			},
			bad: func(i int) { verdicts[v.entry[i]] = VerdictBadSignature },
		}
		if suspects[task].fails {
			s.failing(g.lo, g.hi)
		} else {
			s.oneByOne(g.lo, g.hi)
		}
		checks.Add(int64(s.checks))
		singles.Add(int64(s.singles))
	})
	v.report.Checks += int(checks.Load())
	v.report.Singles += int(singles.Load())
}

// workOfCheck is the work of the check of the whole batch: a loop for each group and one more.
func (v *Verifier) workOfCheck() int { return workLoop*(len(v.groups)+1) + workExp }

// suspect is a group whose entries are to be looked at. It fails, or nobody knows.
type suspect struct {
	group int
	fails bool
}

// part is what suspectGroups looks at: a group, or one entry of a group of at most splitMost.
type part struct {
	group int
	entry int // -1: the whole group
}

// splitMost is up to how many entries a group is taken apart at once. The loops of a group of three
// cost less than what three entries may cost beyond their own; those of a group of two do not.
const splitMost = 2

// suspectGroups returns the groups that may hold wrong signatures and are not settled yet: of those
// of at most splitMost entries, the bad entries get their verdicts here. Each part's Miller loops
// are computed once; a check of several parts is the product of their loops and a final
// exponentiation. For an entry, these loops are those of verifying it alone; for a group they are
// paid from slack. What is left of slack is returned.
func (v *Verifier) suspectGroups(verdicts []Verdict, slack int) (suspects []suspect, left int) {
	v.parts = v.parts[:0]
	for i, g := range v.groups {
		if g.hi-g.lo > splitMost {
			v.parts = append(v.parts, part{i, -1})
			slack -= 2 * workLoop
			continue
		}
		for at := g.lo; at < g.hi; at++ {
			v.parts = append(v.parts, part{i, at})
		}
	}
	v.loopParts()
	rest := func(lo, hi int) (work int) {
		for _, p := range v.parts[lo:hi] {
			if work += workExp; p.entry < 0 {
				work += workOne*(v.groups[p.group].hi-v.groups[p.group].lo) - workExp
			}
		}
		return work
	}
	s := search{
		leaf:  1,
		slack: slack,
		pass:  func(lo, hi int) bool { return productIsOne(v.spaces[0], v.loops[lo:hi]) },
		cost:  func(lo, hi int) int { return workExp },
		rest:  rest,
		bad: func(i int) {
			if p := v.parts[i]; p.entry < 0 {
				suspects = append(suspects, suspect{p.group, true})
			} else {
				verdicts[v.entry[p.entry]] = VerdictBadSignature
			}
		},
	}
	s.one = func(i int) bool {
		switch p := v.parts[i]; {
		case p.entry >= 0:
			return v.spaces[0].isOne(&v.loops[i])
		case s.cost(i, i+1) > s.slack: // what is set aside is for the group's entries
			suspects = append(suspects, suspect{p.group, false})
			return true
		}
		return s.passes(i, i+1)
	}
	s.failing(0, len(v.parts))
	v.report.Checks += s.checks + s.singles
	return suspects, s.slack
}

// loopParts sets v.loops to the product of the two Miller loops of every part, with coefficients.
func (v *Verifier) loopParts() {
	n := len(v.parts)
	v.loops = grow(v.loops, n)
	v.p, v.q = grow(v.p, 2*n), grow(v.q, 2*n)
	share := v.loopPart(n, loopPairs/2)
	v.each((n+share-1)/share, func(l *workspace, task int) {
		lo, hi := share*task, min(n, share*(task+1))
		p, q := v.p[2*lo:2*hi], v.q[2*lo:2*hi] // the sums of signatures, then the groups
		v.partPoints(l, p[:hi-lo], p[hi-lo:], v.parts[lo:hi])
		for i, part := range v.parts[lo:hi] {
			q[i], q[hi-lo+i] = minusG2, v.groups[part.group].key.p
		}
		l.millerLoops(v.loops[lo:hi], p, q)
	})
}

// partPoints sets sigma and h to what is paired for each part: sums of signatures and hashes with
// their coefficients, the hashes without their cofactor.
func (v *Verifier) partPoints(l *workspace, sigma, h []affine, parts []part) {
	var signatures, hashes scaledRun
	for i, part := range parts {
		g := &v.groups[part.group]
		h[i] = g.h
		switch {
		case part.entry < 0:
			sigma[i] = g1.combine(l.bitSums(&g1, v.sigma[g.lo:g.hi], v.coef[g.lo:g.hi]))
			continue
		case g.hi-g.lo > 1:
			hashes.add(i, v.hashed[part.entry], v.coef[part.entry])
		}
		signatures.add(i, v.sigma[part.entry], v.coef[part.entry])
	}
	l.scale(&g1, signatures.points, signatures.coef)
	signatures.store(sigma)
	l.scale(&iso, hashes.points, hashes.coef)
	l.toG1(hashes.points)
	l.clearCofactors(hashes.points)
	hashes.store(h)
}

// scaledRun is points to be multiplied, and where the products belong.
type scaledRun struct {
	points []affine
	coef   []coefficient
	to     []int
}

func (r *scaledRun) add(to int, p affine, k coefficient) {
	r.points, r.coef, r.to = append(r.points, p), append(r.coef, k), append(r.to, to)
}

func (r *scaledRun) store(dst []affine) {
	for i, to := range r.to {
		dst[to] = r.points[i]
	}
}

// runIsValid checks the entries lo to hi, all by one signer.
func (v *Verifier) runIsValid(l *workspace, key *PublicKey, lo, hi int) bool {
	s := g1.combine(l.bitSums(&g1, v.sigma[lo:hi], v.coef[lo:hi]))
	h := clearCofactor(toG1(iso.combine(l.bitSums(&iso, v.hashed[lo:hi], v.coef[lo:hi]))))
	l.pairings.loops += 2
	f := millerLoop([]affine{s, h}, []bls12381.G2Affine{minusG2, key.p})
	return l.isOne(&f)
}

// pairings counts what was computed.
type pairings struct{ loops, exps int }

// verifyOne is the function of that name, counted.
func (l *workspace) verifyOne(pk *PublicKey, h, sig *affine) bool {
	l.pairings.loops, l.pairings.exps = l.pairings.loops+2, l.pairings.exps+1
	return verifyOne(pk, h, sig)
}

// isOne is the function of that name, counted.
func (l *workspace) isOne(f *bls12381.GT) bool {
	l.pairings.exps++
	return isOne(f)
}

// productIsOne reports whether the product of Miller loops is one after the final
// exponentiation.
func productIsOne(l *workspace, loops []bls12381.GT) bool {
	f := product(loops)
	return l.isOne(&f)
}

// product multiplies Miller loops; that of none is one.
func product(loops []bls12381.GT) (f bls12381.GT) {
	f.SetOne()
	for i := range loops {
		f.Mul(&f, &loops[i])
	}
	return f
}
