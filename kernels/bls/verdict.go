package bls

//go:generate go tool stringer -type=Verdict -linecomment

// Verdict says what was found out about one entry of a batch. As an error it has its name behind
// the package's; errors of the parsers wrap one, so that errors.Is(err, VerdictNotOnCurve) works.
type Verdict uint8

// The verdicts. Each but the first two is a refusal.
const (
	// VerdictPending: not examined. A successful call never leaves it behind.
	VerdictPending Verdict = iota // pending
	// VerdictValid: the signature verifies; of a public key alone, it decodes.
	VerdictValid // valid
	// VerdictBadEncoding: not a canonical encoding.
	VerdictBadEncoding // bad encoding
	// VerdictNotOnCurve: no point has this x.
	VerdictNotOnCurve // not on curve
	// VerdictNotInSubgroup: a point outside the subgroup of order r.
	VerdictNotInSubgroup // not in subgroup
	// VerdictIdentity: the identity element.
	VerdictIdentity // identity
	// VerdictBadSignature: a proper point, but not this key's signature on this message.
	VerdictBadSignature // bad signature
)

// Error returns the verdict's name behind the package's.
func (v Verdict) Error() string { return "bls: " + v.String() }

// Err returns v as an error if it is a refusal, and nil for VerdictPending and VerdictValid.
func (v Verdict) Err() error {
	if v <= VerdictValid {
		return nil
	}
	return v
}
