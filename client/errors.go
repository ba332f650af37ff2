package client

import (
	"errors"
	"fmt"
)

// Errors of this package. What a node answers is wrapped beside them.
var (
	// ErrUnknownOutcome is the error of a submission whose answer was lost: the node may hold its
	// acks or not. Send the same frames again while their window takes acks (those it holds are
	// answered rollup.CodeKnown), or ask GetAck.
	ErrUnknownOutcome = errors.New("client: the answer was lost: the node may hold the acks or not")

	// ErrNotSent is the error of a submission that never left, because the stream had ended.
	ErrNotSent = errors.New("client: not sent: the stream has ended")

	// ErrNoAnswer says that a node was silent for too long: within a call for Config.CallTimeout,
	// or in all attempts for Config.Patience.
	ErrNoAnswer = errors.New("client: no answer")

	// ErrBehind says that a node's chain is behind what another node has answered already.
	ErrBehind = errors.New("client: the node's chain is behind")
)

// NodeError says at which node something failed, and in which phase of what was to be done.
type NodeError struct {
	Node  string // its URL
	Phase string // such as "follow windows", or the name of a call
	Err   error
}

// Error implements error.
func (e *NodeError) Error() string { return fmt.Sprintf("node %s: %s: %v", e.Node, e.Phase, e.Err) }

// Unwrap returns the cause.
func (e *NodeError) Unwrap() error { return e.Err }

// DeliveryError says how far Deliver came before it ended. It wraps the reason.
type DeliveryError struct {
	Node string // its URL
	// Accepted and Refused acks have the node's final word. Unsent ones it does not hold. Unknown
	// ones it may hold: their answer was lost. Deliver took no others from its sequence.
	Accepted, Refused, Unsent, Unknown uint64
	Err                                error
}

// Error implements error.
func (e *DeliveryError) Error() string {
	return fmt.Sprintf(
		"node %s: deliver: %d accepted, %d refused, %d not sent, %d without an answer: %v",
		e.Node,
		e.Accepted,
		e.Refused,
		e.Unsent,
		e.Unknown,
		e.Err,
	)
}

// Unwrap returns the reason.
func (e *DeliveryError) Unwrap() error { return e.Err }
