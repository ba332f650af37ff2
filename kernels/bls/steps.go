package bls

// Steps are the single steps of batch verification on one core, for benchmarks that hold them against other libraries.
// It is not safe for concurrent use.
type Steps struct {
	v        *Verifier
	verdicts []Verdict
	points   []affine
}

// NewSteps returns the steps for a suite.
func NewSteps(su Suite) *Steps { return &Steps{v: NewVerifier(su, 1)} }

// Decode decompresses signatures, without the check of the subgroup, and returns how many are points. They are available
// until the next call.
func (s *Steps) Decode(signatures Column) (points int) {
	s.verdicts = grow(s.verdicts, signatures.Len())
	s.v.decode(signatures, s.verdicts)
	s.points = s.points[:0]
	for i, verdict := range s.verdicts {
		if verdict == VerdictPending {
			s.points = append(s.points, s.v.sigs[i].p)
		}
	}
	return len(s.points)
}

// InSubgroup checks the points of the last Decode together, as Verify does: random subset sums, which also make up the
// linear combination that Verify needs, and their membership.
func (s *Steps) InSubgroup() bool {
	s.v.entry = grow(s.v.entry, len(s.points)) // as many coefficients are drawn
	s.v.draw()
	return s.v.inSubgroup(s.v.bitSums(&g1, s.points, s.v.coef), s.points)
}

// HashDeferred hashes messages to the isogenous curve: all that Verify does for each message before the linear
// combination. Isogeny and cofactor follow once per signer.
func (s *Steps) HashDeferred(messages Column) {
	s.points = grow(s.points, messages.Len())
	s.v.spaces[0].hashToIso(s.points, s.v.dst, messages.At)
}

// Hash hashes messages to G1.
func (s *Steps) Hash(messages Column) {
	s.HashDeferred(messages)
	s.v.spaces[0].toG1(s.points)
	s.v.spaces[0].clearCofactors(s.points)
}

// Encoded appends the compressed points of the last Decode or Hash.
func (s *Steps) Encoded(out []byte) []byte {
	for i := range s.points {
		b := s.points[i].Bytes()
		out = append(out, b[:]...)
	}
	return out
}
