package bls

import "fmt"

// Multi is signatures of many signers on one message, who have all proved possession of their keys.
// The signers come in parts, each of which is taken or left as a whole: whoever answers for several
// of them answers for all.
type Multi struct {
	Message    []byte
	Keys       []*PublicKey
	Signatures Column // one per key; Width 48
	// where each part ends, increasing up to len(Keys); nil makes every signer a part
	Parts []int
}

func (m *Multi) check() error {
	if m.Signatures.Len() != len(m.Keys) || m.Signatures.Width != SignatureSize {
		return fmt.Errorf("%w: %d keys, %d signatures of %d bytes",
			ErrBatch, len(m.Keys), m.Signatures.Len(), m.Signatures.Width)
	}
	for i, key := range m.Keys {
		if key == nil || key.p.IsInfinity() {
			return fmt.Errorf("%w: signer %d has no usable key", ErrBatch, i)
		}
	}
	end := 0
	for i, e := range m.Parts {
		if e <= end {
			return fmt.Errorf("%w: part %d ends at %d, the one before at %d", ErrBatch, i, e, end)
		}
		end = e
	}
	if m.Parts != nil && end != len(m.Keys) {
		return fmt.Errorf("%w: the parts end at %d of %d signers", ErrBatch, end, len(m.Keys))
	}
	return nil
}

func (m *Multi) parts() int {
	if m.Parts == nil {
		return len(m.Keys)
	}
	return len(m.Parts)
}

// bounds returns the signers of the parts lo to hi.
func (m *Multi) bounds(lo, hi int) (from, to int) {
	if m.Parts == nil {
		return lo, hi
	}
	if lo > 0 {
		from = m.Parts[lo-1]
	}
	return from, m.Parts[hi-1]
}

// VerifyMulti gives every part its verdict, and returns the sum of the signatures of the valid
// ones: their multi-signature, which [Suite.FastAggregateVerify] accepts with their keys. It is the
// identity when no part is valid. The error wraps [ErrBatch].
//
// All signatures are added, and all keys; one check of the subgroup and one pairing check tell
// whether the sums belong together. If they do not, bisection names the parts that spoil them. So a
// verdict is about sums: parts whose owners act together may be valid together without being so
// alone, which is as good a multi-signature of theirs as any. A part with a signature that is no
// point gets the first such verdict, any other bad part gets VerdictBadSignature. For k bad parts
// among n the cost is O(k log n) checks, and never more than 1.3·n + 2.
func (v *Verifier) VerifyMulti(m *Multi, verdicts []Verdict) (Signature, Report, error) {
	if err := m.check(); err != nil {
		return Signature{}, Report{}, err
	}
	if len(verdicts) != m.parts() {
		return Signature{}, Report{}, fmt.Errorf("%w: %d parts, %d verdicts", ErrBatch, m.parts(),
			len(verdicts))
	}
	c := multiCheck{v: v, m: m, verdicts: verdicts}
	c.decode()
	var hashed [1]affine
	v.spaces[0].hashToIso(hashed[:], v.dst, func(int) []byte { return m.Message })
	c.h = clearCofactor(toG1(hashed[0]))
	sum := c.settle()
	for i := range verdicts {
		if verdicts[i] == VerdictPending {
			verdicts[i] = VerdictValid
		} else {
			c.report.Invalid++
		}
	}
	return sum, c.report, nil
}

// multiCheck is one call of VerifyMulti.
type multiCheck struct {
	v        *Verifier
	m        *Multi
	verdicts []Verdict // by part
	h        affine    // of the message
	pending  []int     // parts that decode
	keys     []*PublicKey
	report   Report
}

// decode leaves the points in v.sigs and lists the parts that have one for every signer.
func (c *multiCheck) decode() {
	signers := make([]Verdict, len(c.m.Keys))
	c.v.decode(c.m.Signatures, signers)
	for part := range c.verdicts {
		c.verdicts[part] = VerdictPending
		from, to := c.m.bounds(part, part+1)
		for i := from; i < to && c.verdicts[part] == VerdictPending; i++ {
			c.verdicts[part] = signers[i]
		}
		if c.verdicts[part] == VerdictPending {
			c.pending = append(c.pending, part)
		}
	}
	c.report.Groups = len(c.pending)
}

// settle finds the bad ones among the pending parts and returns the sum of the others.
func (c *multiCheck) settle() Signature {
	if len(c.pending) == 0 {
		return Signature{}
	}
	sum, ok := c.check(c.pending)
	if ok {
		return sum
	}
	all := c.pending
	s := search{
		leaf:  1,
		slack: allowed(len(all)) - workOne*len(all) - 2*workOne, // the first check, and the last
		pass:  func(lo, hi int) bool { _, ok := c.check(all[lo:hi]); return ok },
		cost:  func(lo, hi int) int { return workOne + workPoint*(hi-lo) },
		rest:  func(lo, hi int) int { return workOne * (hi - lo) },
		one:   func(i int) bool { _, ok := c.check(all[i : i+1]); return ok },
		bad:   func(i int) { c.verdicts[all[i]] = VerdictBadSignature },
	}
	s.failing(0, len(all))
	var good []int
	for _, part := range all {
		if c.verdicts[part] == VerdictPending {
			good = append(good, part)
		}
	}
	c.report.Bisected, c.report.Singles = len(all)-len(good), s.singles
	if len(good) == 0 {
		return Signature{}
	}
	if sum, ok = c.check(good); ok {
		return sum
	}
	// What passed in pieces passes together, unless it cancels out: then all of it is by signers
	// who act together.
	for _, part := range good {
		c.verdicts[part] = VerdictBadSignature
	}
	return Signature{}
}

// check adds signatures and keys of some parts and decides whether the sums belong together.
func (c *multiCheck) check(parts []int) (Signature, bool) {
	c.report.Checks++
	l := c.v.spaces[0]
	l.points, c.keys = l.points[:0], c.keys[:0]
	for _, part := range parts {
		from, to := c.m.bounds(part, part+1)
		for i := from; i < to; i++ {
			l.points = append(l.points, c.v.sigs[i].p)
			c.keys = append(c.keys, c.m.Keys[i])
		}
	}
	sum := l.total()
	return Signature{sum}, sum.IsInSubGroup() && l.verifyOne(AggregatePublicKeys(c.keys), &c.h,
		&sum)
}

// Subtract takes another sum away.
func (s *Sum) Subtract(other *Sum) {
	negative := other.p
	negative.Neg(&negative)
	s.p.AddAssign(&negative)
}

// AddEncoded decodes signatures and adds them to a sum. They must have been verified before: their
// subgroup is not checked. The error, which is the first one's that is no point, leaves the sum as
// it was.
func (v *Verifier) AddEncoded(s *Sum, signatures Column) error {
	verdicts := make([]Verdict, signatures.Len())
	v.decode(signatures, verdicts)
	for i, verdict := range verdicts {
		if verdict != VerdictPending {
			return fmt.Errorf("%w: signature %d", verdict, i)
		}
	}
	l := v.spaces[0]
	l.points = grow(l.points, len(verdicts))
	for i := range l.points {
		l.points[i] = v.sigs[i].p
	}
	sum := l.total()
	s.p.AddMixed(&sum)
	return nil
}
