package rollup

import "fmt"

//go:generate go tool stringer -type=Code -linecomment

// Code is a node's answer to one submitted ack (section 11). Every code but CodeAccepted and
// CodeKnown is a refusal; as an error, a code has its name behind the package's.
type Code uint8

// The answers. CodeAccepted means verified and durable; CodeKnown repeats the answer for an ack
// that was accepted before.
const (
	CodeAccepted       Code = iota // accepted
	CodeKnown                      // known
	CodeMalformed                  // malformed
	CodeWrongNetwork               // wrong_network
	CodeWrongNode                  // wrong_node
	CodeWrongEpoch                 // wrong_epoch
	CodeWindowClosed               // window_closed
	CodeWindowAhead                // window_ahead
	CodeUnknownClient              // unknown_client
	CodeUnknownService             // unknown_service
	CodeZeroUnits                  // zero_units
	CodeExcessUnits                // excess_units
	CodeReplayedSeq                // replayed_seq
	CodeBadEncoding                // bad_encoding
	CodeNotOnCurve                 // not_on_curve
	CodeNotInSubgroup              // not_in_subgroup
	CodeIdentity                   // identity
	CodeBadSignature               // bad_signature
	CodeOverloaded                 // overloaded
	CodeClock                      // clock
	CodeStoreFailed                // store_failed
	CodeShuttingDown               // shutting_down
	CodeOverflow                   // overflow
)

// NumCodes is the number of codes; they count from 0 without gaps.
const NumCodes = len(_Code_index) - 1

// Codes returns every code in order.
func Codes() []Code {
	codes := make([]Code, NumCodes)
	for i := range codes {
		codes[i] = Code(i)
	}
	return codes
}

// Error returns the code's name behind the package's.
func (c Code) Error() string { return "rollup: " + c.String() }

// ParseCode returns the code with the given name.
func ParseCode(name string) (Code, error) {
	for _, c := range Codes() {
		if c.String() == name {
			return c, nil
		}
	}
	return 0, fmt.Errorf("%w: no code is named %q", ErrMalformed, name)
}

// MarshalText implements [encoding.TextMarshaler].
func (c Code) MarshalText() ([]byte, error) {
	if int(c) >= NumCodes {
		return nil, fmt.Errorf("%w: no code %d", ErrMalformed, uint8(c))
	}
	return []byte(c.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Code) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCode(string(text))
	return err
}

// OK reports whether the node holds the ack durably: CodeAccepted or CodeKnown.
func (c Code) OK() bool { return c == CodeAccepted || c == CodeKnown }

// Retry reports whether the same delivery may be accepted later: after the delay that came with the
// answer, or, for CodeWindowClosed, CodeWindowAhead and CodeWrongEpoch, signed again for the open
// window. CodeStoreFailed is among them because a resent ack that had become durable is answered
// CodeKnown.
func (c Code) Retry() bool {
	switch c {
	case CodeWrongEpoch, CodeWindowClosed, CodeWindowAhead, CodeOverloaded, CodeClock, CodeStoreFailed,
		CodeShuttingDown, CodeOverflow:
		return true
	}
	return false
}
