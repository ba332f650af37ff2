package bls

import (
	"fmt"
	"testing"
)

// work is what a report counts, in the units of allowed.
func (r Report) work() int { return workLoop*r.Loops + workExp*r.Exponentiations }

// bads are which entries of a batch are bad: the distributions that bisection likes least.
var bads = []struct {
	name string
	bad  func(i, n, signers int) bool
}{
	{"none", func(i, n, signers int) bool { return false }},
	{"first", func(i, n, signers int) bool { return i == 0 }},
	{"last", func(i, n, signers int) bool { return i == n-1 }},
	{"all", func(i, n, signers int) bool { return true }},
	{"all but one", func(i, n, signers int) bool { return i != n/3 }},
	{"every second", func(i, n, signers int) bool { return i%2 == 0 }},
	{"every second of a signer", func(i, n, signers int) bool { return i/signers%2 == 0 }},
	{"every third", func(i, n, signers int) bool { return i%3 == 0 }},
	{"every fifth", func(i, n, signers int) bool { return i%5 == 0 }},
	{"every eighth", func(i, n, signers int) bool { return i%8 == 7 }},
	{"every 17th", func(i, n, signers int) bool { return i%17 == 0 }},
	{"one of each signer", func(i, n, signers int) bool { return i < signers }},
	{"one of every second signer", func(i, n, signers int) bool { return i < signers && i%2 == 0 }},
	{"one of every eighth signer", func(i, n, signers int) bool { return i < signers && i%8 == 0 }},
	{"all of one signer", func(i, n, signers int) bool { return i%signers == 0 }},
	{"the second half", func(i, n, signers int) bool { return i >= n/2 }},
}

// TestWorstCase counts the products that batches take, whatever is bad in them: at most 1.3 times,
// and one, what their entries take one by one. Where points are malformed as well, the entries that
// are none do not count.
func TestWorstCase(t *testing.T) {
	worst, where := 0.0, ""
	for _, c := range []struct{ n, signers int }{
		{1, 1}, {2, 2}, {3, 3}, {5, 1}, {8, 4}, {24, 8}, {64, 1}, {64, 64}, {90, 30}, {80, 40},
	} {
		base := newFixture(t, c.n, c.signers)
		for _, malformed := range []bool{false, true} {
			if malformed && c.n < 90 {
				continue
			}
			for _, d := range bads {
				f, expected, points := base.clone(), want(c.n, VerdictValid), 0
				for i := range expected {
					switch {
					case malformed && i%7 == 3:
						f.Signatures.At(i)[0] = 0xff
						expected[i] = VerdictBadEncoding
						continue
					case malformed && i%11 == 5:
						f.shift(t, i, torsion())
						expected[i] = VerdictNotInSubgroup
						continue
					case d.bad(i, c.n, c.signers):
						f.Signatures.At(i)[0] ^= flagLargest
						expected[i] = VerdictBadSignature
					}
					points++
				}
				report := f.verify(t, NewVerifier(Default, 1+c.n%2), expected)
				if points == 0 {
					continue
				}
				name := fmt.Sprintf("%d by %d, %s, malformed %v", c.n, c.signers, d.name, malformed)
				if report.work() > allowed(points) {
					t.Errorf("%s: %d of work, where %d may be: %+v", name, report.work(),
						allowed(points), report)
				}
				if ratio := float64(report.work()) / float64(workOne*points); ratio > worst &&
					points >= 64 {
					worst, where = ratio, name
				}
			}
		}
	}
	t.Logf("worst of 64 and more: %.2f times one by one (%s)", worst, where)
}

// TestWorkIsCounted is the companion: what a report counts is what was done, so that a search
// without a bound is seen.
func TestWorkIsCounted(t *testing.T) {
	const n = 64
	f := newFixture(t, n, 1)
	v := NewVerifier(Default, 1)
	if report := f.verify(t, v, want(n, VerdictValid)); report.Loops != 2 ||
		report.Exponentiations != 1 {
		t.Errorf("a good batch of one signer: %+v", report)
	}
	before := v.spaces[0].pairings
	s := search{
		leaf:  1,
		slack: 1 << 30, // no account
		pass:  func(lo, hi int) bool { v.runIsValid(v.spaces[0], f.Keys[0], lo, hi); return false },
		cost:  func(lo, hi int) int { return 0 },
		rest:  func(lo, hi int) int { return 0 },
		one:   func(int) bool { v.runIsValid(v.spaces[0], f.Keys[0], 0, 1); return false },
		bad:   func(int) {},
	}
	s.failing(0, n)
	report := Report{
		Loops:           v.spaces[0].pairings.loops - before.loops,
		Exponentiations: v.spaces[0].pairings.exps - before.exps,
	}
	if report.work() <= allowed(n) {
		t.Errorf("bisection without a bound takes %d of work, %d may be", report.work(), allowed(n))
	}
}
