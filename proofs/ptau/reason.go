package ptau

// Reason says why a file of powers was not taken. It is an error; details come in a
// rollup.Refusal[Reason] around it.
type Reason uint8

// The reasons.
const (
	ReasonRead          Reason = iota + 1 // the file cannot be read
	ReasonFormat                          // not a powers-of-tau file
	ReasonSections                        // its sections are not those of such a file
	ReasonCurve                           // of another curve than BN254
	ReasonSize                            // it does not have enough powers
	ReasonPoint                           // not a point of the group
	ReasonStart                           // its powers do not start at the generator
	ReasonNobody                          // nobody has contributed to it
	ReasonPowers                          // not the powers of one secret
	ReasonContributions                   // its contributions are not those of its powers
)

//go:generate go tool stringer -type=Reason -linecomment

// Error returns the reason behind the package's name.
func (r Reason) Error() string { return "ptau: " + r.String() }
