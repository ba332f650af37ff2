package ptau

import (
	"fmt"
	"math/big"
	"runtime"
	"sync"

	"github.com/consensys/gnark-crypto/ecc"
	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"

	"github.com/waybill-network/waybill/rollup"
)

// A geometric progression P_0 … P_{n-1} of ratio τ is checked by one sum S = Σ r^i·P_i for a secret
// random r. Without its last term it is Σ r^i·P_i for i < n-1; without its first term, divided by
// r, it is Σ r^i·P_{i+1} over the same i. The second is τ times the first, or else a polynomial in
// r of degree n-2 that is not zero is zero at a random r: 2^-225 for 2^29 points.

// random is the point at which the progressions are evaluated.
type random struct{ r, inverse fr.Element }

func newRandom() (x random, err error) {
	for x.r.IsZero() {
		if _, err := x.r.SetRandom(); err != nil {
			return x, fmt.Errorf("ptau: %w", err)
		}
	}
	x.inverse.Inverse(&x.r)
	return x, nil
}

// powers returns the next n powers of r, of which *next is the first, and moves *next behind them.
func (x *random) powers(next *fr.Element, n int) []fr.Element {
	list := make([]fr.Element, n)
	for i := range list {
		list[i] = *next
		next.Mul(next, &x.r)
	}
	return list
}

// progression1 sums up points of G1 that come in pieces.
type progression1 struct {
	random
	next        fr.Element // r^n
	sum         curve.G1Jac
	first, last curve.G1Affine
	n           uint64
}

func (p *progression1) add(points []curve.G1Affine) error {
	if p.n == 0 {
		p.first = points[0]
		p.next.SetOne()
	}
	var part curve.G1Jac
	if _, err := part.MultiExp(points, p.powers(&p.next, len(points)),
		ecc.MultiExpConfig{}); err != nil {
		return fmt.Errorf("ptau: %w", err)
	}
	p.sum.AddAssign(&part)
	p.last = points[len(points)-1]
	p.n += uint64(len(points))
	return nil
}

// terms returns the sum without its last term, and the one that is τ times it.
func (p *progression1) terms() (low, high curve.G1Affine) {
	var exponent big.Int
	var of fr.Element
	of.Mul(&p.next, &p.inverse).BigInt(&exponent)
	var term curve.G1Affine
	term.ScalarMultiplication(&p.last, &exponent)
	low.FromJacobian(&p.sum)
	high.Sub(&low, &p.first)
	low.Sub(&low, &term)
	high.ScalarMultiplication(&high, p.inverse.BigInt(&exponent))
	return low, high
}

// progression2 is the same in G2.
type progression2 struct {
	random
	next        fr.Element
	sum         curve.G2Jac
	first, last curve.G2Affine
	n           uint64
}

func (p *progression2) add(points []curve.G2Affine) error {
	if p.n == 0 {
		p.first = points[0]
		p.next.SetOne()
	}
	var part curve.G2Jac
	if _, err := part.MultiExp(points, p.powers(&p.next, len(points)),
		ecc.MultiExpConfig{}); err != nil {
		return fmt.Errorf("ptau: %w", err)
	}
	p.sum.AddAssign(&part)
	p.last = points[len(points)-1]
	p.n += uint64(len(points))
	return nil
}

func (p *progression2) terms() (low, high curve.G2Affine) {
	var exponent big.Int
	var of fr.Element
	of.Mul(&p.next, &p.inverse).BigInt(&exponent)
	var term curve.G2Affine
	term.ScalarMultiplication(&p.last, &exponent)
	low.FromJacobian(&p.sum)
	high.Sub(&low, &p.first)
	low.Sub(&low, &term)
	high.ScalarMultiplication(&high, p.inverse.BigInt(&exponent))
	return low, high
}

// check holds what is looked at of a set of powers while they pass.
type check struct {
	tau1, alpha, beta progression1
	tau2              progression2
	beta2             curve.G2Affine
	tau               curve.G1Affine // τ in G1
	tauDomain         curve.G1Affine // τ^n in G1, for n powers in G2
	tauG2             curve.G2Affine
}

func newCheck() (*check, error) {
	x, err := newRandom()
	if err != nil {
		return nil, err
	}
	c := new(check)
	c.tau1.random, c.alpha.random, c.beta.random, c.tau2.random = x, x, x, x
	return c, nil
}

var generator1, generator2 = func() (curve.G1Affine, curve.G2Affine) {
	_, _, g1, g2 := curve.Generators()
	return g1, g2
}()

// verdict decides when all points have passed. The error is a Reason.
func (c *check) verdict() error {
	switch {
	case !c.tau1.first.Equal(&generator1) || !c.tau2.first.Equal(&generator2):
		return ReasonStart
	case c.tau.Equal(&generator1) || c.alpha.first.Equal(&generator1) ||
		c.beta.first.Equal(&generator1):
		return rollup.Refuse(ReasonNobody, "one of its secrets is 1")
	case c.tauDomain.Equal(&generator1): // a root of unity, at which circuits prove anything
		return rollup.Refuse(ReasonPowers, "τ is a root of unity")
	}
	for _, s := range []struct {
		name string
		p    *progression1
	}{{"τ in G1", &c.tau1}, {"ατ in G1", &c.alpha}, {"βτ in G1", &c.beta}} {
		if low, high := s.p.terms(); !sameRatio(&low, &high, &generator2, &c.tauG2) {
			return rollup.Refuse(ReasonPowers, "%s", s.name)
		}
	}
	if low, high := c.tau2.terms(); !sameRatio(&generator1, &c.tau, &low, &high) {
		return rollup.Refuse(ReasonPowers, "τ in G2")
	}
	if !samePair(&c.beta.first, &c.beta2) {
		return rollup.Refuse(ReasonPowers, "β in G2")
	}
	return nil
}

// sameRatio says whether b is to a as d is to c.
func sameRatio(a, b *curve.G1Affine, c, d *curve.G2Affine) bool {
	var minus curve.G1Affine
	minus.Neg(a)
	ok, err := curve.PairingCheck([]curve.G1Affine{*b, minus}, []curve.G2Affine{*c, *d})
	return err == nil && ok
}

// samePair says whether both are the same multiple of their generators.
func samePair(p *curve.G1Affine, q *curve.G2Affine) bool {
	return sameRatio(&generator1, p, &generator2, q)
}

// each calls f for all numbers below n on all cores, and returns an error of f.
func each(n int, f func(i int) error) error {
	workers := min(runtime.GOMAXPROCS(0), n)
	failed := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers && failed[w] == nil; i++ {
				failed[w] = f(i)
			}
		})
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}
