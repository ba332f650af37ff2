package client

import (
	"errors"
	"fmt"
)

// Errors of this package. What a node answers is wrapped beside them.
var (
	// ErrUnknownOutcome is the error of a submission whose answer was lost: the node may hold its
	// acks or not. Send the same frames again (those it holds are answered rollup.CodeKnown), or
	// ask GetAck. Of a delivery it says that an ack of it is in the book: the next Deliver sends
	// it.
	ErrUnknownOutcome = errors.New("client: the answer was lost: the node may hold the acks or not")

	// ErrNotSent is the error of a submission that never left, because the stream had ended; and of
	// a delivery for which nothing was signed.
	ErrNotSent = errors.New("client: not sent: the stream has ended")

	// ErrNotPinned says that a client without Config.Pin was to sign.
	ErrNotPinned = errors.New("client: no node to sign for (Config.Pin)")

	// ErrNoCommittee says that a client without Config.Committee was to sign.
	ErrNoCommittee = errors.New("client: no committee to hold epochs to (Config.Committee)")

	// ErrNotShown says that for Config.Patience a node has named an epoch that none of its records
	// shows. It may yet be certified.
	ErrNotShown = errors.New("client: the epoch that the node names is not certified yet")

	// ErrNoNumber says that nothing was signed for a delivery, since its client has used all
	// numbers for the service in this epoch. In the next epoch there are new ones.
	ErrNoNumber = errors.New("client: all numbers of the epoch are used")

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
	// Accepted and Refused deliveries have the node's last word. For Unsent ones nothing was
	// signed. Acks of Unknown ones are in the book without a last word. Deliver took no others from
	// its sequence.
	Accepted, Refused, Unsent, Unknown uint64
	// Credit is what acks waited for at the end, if their payer lacked credit.
	Credit *CreditError
	Err    error
}

// Error implements error.
func (e *DeliveryError) Error() string {
	text := fmt.Sprintf(
		"node %s: deliver: %d accepted, %d refused, %d not sent, %d without an answer: %v",
		e.Node,
		e.Accepted,
		e.Refused,
		e.Unsent,
		e.Unknown,
		e.Err,
	)
	if e.Credit != nil {
		text += "; acks waited for credit: " + e.Credit.Error()
	}
	return text
}

// Unwrap returns the reason, and what acks waited for.
func (e *DeliveryError) Unwrap() []error {
	if e.Credit == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Credit}
}
