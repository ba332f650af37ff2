package rollup

import "fmt"

//go:generate go tool stringer -type=Code,Class -linecomment -output=code_string.go

// Code is a node's answer to one submitted ack (section 11). Every code but CodeAccepted, CodeKnown
// and CodeOnAccount is a refusal; as an error, a code has its name behind the package's.
type Code uint8

// The answers. CodeAccepted means verified and durable; CodeKnown repeats the answer for an ack
// that was accepted before. CodeOnAccount means durable, and not verified yet. Numbers 6 and 7 are
// not used.
const (
	CodeAccepted              Code = 0  // accepted
	CodeKnown                 Code = 1  // known
	CodeMalformed             Code = 2  // malformed
	CodeWrongNetwork          Code = 3  // wrong_network
	CodeWrongNode             Code = 4  // wrong_node
	CodePastEpoch             Code = 5  // past_epoch
	CodeUnknownClient         Code = 8  // unknown_client
	CodeUnknownService        Code = 9  // unknown_service
	CodeZeroUnits             Code = 10 // zero_units
	CodeExcessUnits           Code = 11 // excess_units
	CodeNumberUsed            Code = 12 // number_used
	CodeBadEncoding           Code = 13 // bad_encoding
	CodeNotOnCurve            Code = 14 // not_on_curve
	CodeNotInSubgroup         Code = 15 // not_in_subgroup
	CodeIdentity              Code = 16 // identity
	CodeBadSignature          Code = 17 // bad_signature
	CodeOverloaded            Code = 18 // overloaded
	CodeClock                 Code = 19 // clock
	CodeStoreFailed           Code = 20 // store_failed
	CodeShuttingDown          Code = 21 // shutting_down
	CodeOverflow              Code = 22 // overflow
	CodeBusy                  Code = 23 // busy
	CodeGap                   Code = 24 // gap
	CodeEpochAhead            Code = 25 // epoch_ahead
	CodeInsufficientReserve   Code = 26 // insufficient_reserve
	CodeInsufficientAllowance Code = 27 // insufficient_allowance
	CodeOwnLimit              Code = 28 // own_limit
	CodeNotValid              Code = 29 // not_valid
	CodeBeyondLimit           Code = 30 // beyond_limit
	CodeNotGranted            Code = 31 // not_granted
	CodeOnAccount             Code = 32 // on_account
	CodeDropped               Code = 33 // dropped
)

// Class is what a client does with an answer (section 11).
type Class uint8

// The classes.
const (
	ClassTaken  Class = iota // taken
	ClassNotNow              // not_now
	ClassNever               // never
	ClassFaulty              // faulty
)

// NumCodes is one more than the largest code, for tables that are indexed by codes.
const NumCodes = int(CodeDropped) + 1

// Defined reports whether the code is one of the protocol's.
func (c Code) Defined() bool { return int(c) < NumCodes && c != 6 && c != 7 }

// Codes returns every code in order.
func Codes() []Code {
	codes := make([]Code, 0, NumCodes)
	for c := range Code(NumCodes) {
		if c.Defined() {
			codes = append(codes, c)
		}
	}
	return codes
}

// Class returns what a client does about the code: ClassTaken, it keeps the answer; ClassNotNow, it
// sends the same bytes again, until the epoch's end; ClassNever, the delivery stays unpaid and is
// not signed again; ClassFaulty, it mends its program, and nothing follows from it.
func (c Code) Class() Class {
	switch c {
	case CodeAccepted, CodeKnown, CodeOnAccount:
		return ClassTaken
	case CodeUnknownClient, CodeUnknownService, CodeOverloaded, CodeClock, CodeStoreFailed,
		CodeShuttingDown, CodeOverflow, CodeBusy, CodeEpochAhead, CodeGap, CodeInsufficientReserve,
		CodeInsufficientAllowance, CodeOwnLimit, CodeDropped:
		return ClassNotNow
	case CodePastEpoch, CodeNumberUsed, CodeNotValid, CodeBeyondLimit:
		return ClassNever
	}
	return ClassFaulty
}

// Answer is what a node says to one submitted ack. Arg is the next number for CodeGap, the height
// at which it is worth to come again for the codes of credit, and else 0.
type Answer struct {
	Code Code   `json:"code"`
	Arg  uint64 `json:"arg"`
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
	if !c.Defined() {
		return nil, fmt.Errorf("%w: no code %d", ErrMalformed, uint8(c))
	}
	return []byte(c.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Code) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCode(string(text))
	return err
}

// OK reports whether the node holds the ack durably: CodeAccepted, CodeKnown or CodeOnAccount.
func (c Code) OK() bool {
	return c == CodeAccepted || c == CodeKnown || c == CodeOnAccount
}
