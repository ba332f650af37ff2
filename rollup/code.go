package rollup

import "fmt"

// Code is a node's answer to one submitted ack (section 11).
type Code uint8

// The answers. Accepted means verified and durable; Known repeats the answer for an ack that was accepted before.
const (
	Accepted Code = iota
	Known
	Malformed
	WrongNetwork
	WrongNode
	WrongEpoch
	WindowClosed
	WindowAhead
	UnknownClient
	UnknownService
	ZeroUnits
	ExcessUnits
	ReplayedSeq
	BadEncoding
	NotOnCurve
	NotInSubgroup
	Identity
	BadSignature
	Overloaded
	Clock
	StoreFailed
	ShuttingDown
	Overflow
)

var codeNames = [...]string{
	Accepted:       "accepted",
	Known:          "known",
	Malformed:      "malformed",
	WrongNetwork:   "wrong_network",
	WrongNode:      "wrong_node",
	WrongEpoch:     "wrong_epoch",
	WindowClosed:   "window_closed",
	WindowAhead:    "window_ahead",
	UnknownClient:  "unknown_client",
	UnknownService: "unknown_service",
	ZeroUnits:      "zero_units",
	ExcessUnits:    "excess_units",
	ReplayedSeq:    "replayed_seq",
	BadEncoding:    "bad_encoding",
	NotOnCurve:     "not_on_curve",
	NotInSubgroup:  "not_in_subgroup",
	Identity:       "identity",
	BadSignature:   "bad_signature",
	Overloaded:     "overloaded",
	Clock:          "clock",
	StoreFailed:    "store_failed",
	ShuttingDown:   "shutting_down",
	Overflow:       "overflow",
}

// NumCodes is the number of codes; they count from 0 without gaps.
const NumCodes = len(codeNames)

// Codes returns every code in order.
func Codes() []Code {
	codes := make([]Code, NumCodes)
	for i := range codes {
		codes[i] = Code(i)
	}
	return codes
}

// String returns the protocol's name of the code.
func (c Code) String() string {
	if int(c) < NumCodes {
		return codeNames[c]
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// ParseCode returns the code with the given name.
func ParseCode(name string) (Code, error) {
	for i, n := range codeNames {
		if n == name {
			return Code(i), nil
		}
	}
	return 0, fmt.Errorf("%w: no code is named %q", ErrMalformed, name)
}

// MarshalText implements [encoding.TextMarshaler].
func (c Code) MarshalText() ([]byte, error) {
	if int(c) >= NumCodes {
		return nil, fmt.Errorf("%w: no code %d", ErrMalformed, uint8(c))
	}
	return []byte(codeNames[c]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Code) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCode(string(text))
	return err
}

// OK reports whether the node holds the ack durably: Accepted or Known.
func (c Code) OK() bool { return c == Accepted || c == Known }

// Retry reports whether the same delivery may be accepted later: after the delay that came with the answer, or, for
// WindowClosed, WindowAhead and WrongEpoch, signed again for the open window. StoreFailed is among them because a
// resent ack that had become durable is answered Known.
func (c Code) Retry() bool {
	switch c {
	case WrongEpoch, WindowClosed, WindowAhead, Overloaded, Clock, StoreFailed, ShuttingDown, Overflow:
		return true
	}
	return false
}
