package bls

import (
	"math/bits"
	"sync/atomic"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// search finds the bad elements of a range by bisection. With the coefficients fixed,
// a range passes if and only if all its parts do, but for the probability stated at
// [Verifier.Verify]; so when a failing range's first half passes, its second half fails
// and needs no check, and a failing single element is bad for certain.
type search struct {
	pass   func(lo, hi int) bool // whether a range is good as a whole
	one    func(i int) bool      // whether an element is good
	bad    func(i int)           // receives each bad element once
	leaf   int                   // ranges up to this size are checked one by one
	budget int                   // calls of pass left; then the rest is checked one by one

	checks, singles int // calls of pass and of one so far
}

// failing searches a range that is known to fail.
func (s *search) failing(lo, hi int) {
	if hi-lo == 1 {
		s.bad(lo)
		return
	}
	if s.exhausted(lo, hi) {
		s.oneByOne(lo, hi)
		return
	}
	mid := (lo + hi) / 2
	if s.spend(lo, mid) {
		s.failing(mid, hi)
		return
	}
	s.failing(lo, mid)
	switch {
	case s.exhausted(mid, hi):
		s.oneByOne(mid, hi)
	case !s.spend(mid, hi):
		s.failing(mid, hi)
	}
}

func (s *search) exhausted(lo, hi int) bool { return s.budget <= 0 || hi-lo <= s.leaf }

func (s *search) spend(lo, hi int) bool {
	s.budget--
	s.checks++
	return s.pass(lo, hi)
}

func (s *search) oneByOne(lo, hi int) {
	for i := lo; i < hi; i++ {
		s.singles++
		if !s.one(i) {
			s.bad(i)
		}
	}
}

// budgetFor lets bisection among n candidates find one bad element, or a few, and stops
// it when so many are bad that it would cost more than looking at each.
func budgetFor(n int) int { return n/8 + bits.Len(uint(n)) }

// locate gives BadSignature to the wrong entries of a batch that failed its check.
// Points and hashes are those of the batch; nothing is decoded or hashed again.
func (v *Verifier) locate(verdicts []Verdict) {
	if !v.cleared {
		v.clearHashes()
	}
	bad := v.badGroups()
	v.report.Bisected = len(bad)
	var checks, singles atomic.Int64
	v.each(len(bad), func(l *lane, task int) {
		g := &v.groups[bad[task]]
		s := search{
			leaf:   1,
			budget: budgetFor(g.hi - g.lo),
			pass:   func(lo, hi int) bool { return v.runIsValid(l, g.key, lo, hi) },
			one: func(i int) bool {
				h := clearCofactor(toG1(v.hashed[i]))
				return verifyOne(g.key, &h, &v.sigma[i])
			},
			bad: func(i int) { verdicts[v.entry[i]] = BadSignature },
		}
		s.failing(g.lo, g.hi)
		checks.Add(int64(s.checks))
		singles.Add(int64(s.singles))
	})
	v.report.Checks += int(checks.Load())
	v.report.Singles += int(singles.Load())
}

// badGroups returns the groups that hold wrong signatures. Each group's Miller loops
// are computed once; a check of several is their product and a final exponentiation.
func (v *Verifier) badGroups() (bad []int) {
	v.loops = grow(v.loops, len(v.groups))
	v.p, v.q = grow(v.p, 2*len(v.groups)), grow(v.q, 2*len(v.groups))
	part := v.loopPart(len(v.groups), loopPairs/2)
	v.each((len(v.groups)+part-1)/part, func(l *lane, task int) {
		lo, hi := part*task, min(len(v.groups), part*(task+1))
		p, q := v.p[2*lo:2*hi], v.q[2*lo:2*hi] // the sums of signatures, then the groups
		for i := range v.groups[lo:hi] {
			g := &v.groups[lo+i]
			p[i], q[i] = g1.combine(l.bitSums(&g1, v.sigma[g.lo:g.hi], v.coef[g.lo:g.hi])), minusG2
			p[hi-lo+i], q[hi-lo+i] = g.h, g.key.p
		}
		l.millerLoops(v.loops[lo:hi], p, q)
	})
	s := search{
		leaf:   1,
		budget: budgetFor(len(v.groups)),
		pass:   func(lo, hi int) bool { return productIsOne(v.loops[lo:hi]) },
		one:    func(i int) bool { return isOne(&v.loops[i]) },
		bad:    func(i int) { bad = append(bad, i) },
	}
	s.failing(0, len(v.groups))
	v.report.Checks += s.checks + s.singles
	return bad
}

// runIsValid checks the entries lo to hi, all by one signer.
func (v *Verifier) runIsValid(l *lane, key *PublicKey, lo, hi int) bool {
	s := g1.combine(l.bitSums(&g1, v.sigma[lo:hi], v.coef[lo:hi]))
	h := clearCofactor(toG1(iso.combine(l.bitSums(&iso, v.hashed[lo:hi], v.coef[lo:hi]))))
	f := millerLoop([]affine{s, h}, []bls12381.G2Affine{minusG2, key.p})
	return isOne(&f)
}

// productIsOne reports whether the product of Miller loops is one after the final
// exponentiation.
func productIsOne(loops []bls12381.GT) bool {
	f := product(loops)
	return isOne(&f)
}

// product multiplies Miller loops; that of none is one.
func product(loops []bls12381.GT) (f bls12381.GT) {
	f.SetOne()
	for i := range loops {
		f.Mul(&f, &loops[i])
	}
	return f
}
