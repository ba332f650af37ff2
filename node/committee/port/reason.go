package port

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/waybill-network/waybill/rollup"
)

// Reason says why there is no connection to a node.
type Reason uint8

//go:generate go tool stringer -type=Reason -linecomment

// The reasons.
const (
	ReasonNone         Reason = iota // none
	ReasonRefused                    // refused
	ReasonTimeout                    // timeout
	ReasonUnreachable                // unreachable
	ReasonSilent                     // silent
	ReasonClosed                     // closed
	ReasonBusy                       // busy
	ReasonIdentity                   // another key
	ReasonUnregistered               // not registered
	ReasonNotAdmitted                // does not admit this node
	ReasonNetwork                    // another network
	ReasonEngine                     // another engine
	ReasonProtocol                   // broke the protocol
	ReasonDuplicate                  // duplicate
	ReasonReplaced                   // replaced
	ReasonStopped                    // stopped
)

// Error returns the reason with the package's name.
func (r Reason) Error() string { return "port: " + r.String() }

// Refusal is a reason with its details.
type Refusal = rollup.Refusal[Reason]

func refuse(r Reason, err error) *Refusal { return &Refusal{Code: r, Err: err} }

// ReasonOf returns the reason behind an error of a connection.
func ReasonOf(err error) Reason {
	var reason Reason
	var timeout net.Error
	switch {
	case err == nil:
		return ReasonNone
	case errors.As(err, &reason):
		return reason
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReasonRefused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ReasonClosed
	case errors.As(err, new(*net.OpError)), errors.As(err, new(*net.DNSError)):
		return ReasonUnreachable
	default:
		return ReasonProtocol
	}
}
