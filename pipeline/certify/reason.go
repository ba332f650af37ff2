package certify

//go:generate go tool stringer -type=Reason,ProofFailure -linecomment

// Reason is why a window is stuck: its acks were accepted, and the chain will not order it. It is
// an error, which wraps what exactly happened.
type Reason uint8

// The reasons.
const (
	ReasonRefused    Reason = iota // refused
	ReasonLate                     // late
	ReasonUnreadable               // unreadable
	reasons          = iota
)

// Reasons returns every reason.
func Reasons() []Reason { return []Reason{ReasonRefused, ReasonLate, ReasonUnreadable} }

// Error says what happened.
func (r Reason) Error() string {
	switch r {
	case ReasonRefused:
		return "certify: too many members refuse the rollup for good"
	case ReasonLate:
		return "certify: the epoch is settled, without the rollup"
	}
	return "certify: what is kept of the window can not be read"
}

// Advice says what an operator can do.
func (r Reason) Advice() string {
	switch r {
	case ReasonRefused:
		return "look for \"refuses a rollup\" in this node's log and ask those members' operators; " +
			"once the cause is gone, restart this node: it asks them again until the epoch is settled"
	case ReasonLate:
		return "nothing brings it back: the window's epoch is settled without it; its evidence stays " +
			"in the store (export rollup); find out why the node or a quorum of members was away"
	}
	return "the store is damaged: restore it from a copy and restart this node"
}

// ProofFailure says why a window stays without a proof. It goes to the committee with its
// statements then. It is an error, which wraps what exactly happened.
type ProofFailure uint8

// The reasons.
const (
	ProofError    ProofFailure = iota // error
	ProofWrong                        // wrong
	ProofLate                         // late
	ProofCrowded                      // crowded
	proofFailures = iota
)

// ProofFailures returns every reason.
func ProofFailures() []ProofFailure {
	return []ProofFailure{ProofError, ProofWrong, ProofLate, ProofCrowded}
}

// Error says what happened.
func (f ProofFailure) Error() string {
	switch f {
	case ProofWrong:
		return "certify: the prover's proof does not verify"
	case ProofLate:
		return "certify: the epoch was settled before the window's turn to be proved came"
	case ProofCrowded:
		return "certify: newer windows took its place in the prover's queue"
	}
	return "certify: the prover gave no proof"
}
