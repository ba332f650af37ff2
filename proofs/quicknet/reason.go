package quicknet

// Reason says why a round was not taken for one. It is an error; details come in a
// rollup.Refusal[Reason] around it.
type Reason uint8

// The reasons.
const (
	ReasonFormat     Reason = iota + 1 // not a round as the network publishes it
	ReasonChain                        // of a chained network
	ReasonPoint                        // its signature is no point of the group
	ReasonForged                       // its signature is not the network's
	ReasonRandomness                   // its randomness is not the hash of its signature
)

//go:generate go tool stringer -type=Reason -linecomment

// Error returns the reason behind the package's name.
func (r Reason) Error() string { return "quicknet: " + r.String() }
