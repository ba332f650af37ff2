package door

import (
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
)

// Reason says why a call was refused at the door, before its handler saw all of it.
type Reason uint8

// The reasons.
const (
	ReasonCalls Reason = iota + 1 // too many calls of this caller, or of all
	ReasonBytes                   // no room for the bytes of another request
	ReasonSize                    // the request is larger than its handler takes
	ReasonSlow                    // the request came in slower than the least rate
	ReasonYield                   // a newer stream took the place of this one
	ReasonTime                    // the call took longer than it may
)

var reasons = [...]struct {
	name string
	code connect.Code
}{
	ReasonCalls: {"calls", connect.CodeResourceExhausted},
	ReasonBytes: {"bytes", connect.CodeResourceExhausted},
	ReasonSize:  {"size", connect.CodeResourceExhausted},
	ReasonSlow:  {"slow", connect.CodeDeadlineExceeded},
	ReasonYield: {"yield", connect.CodeAborted},
	ReasonTime:  {"time", connect.CodeDeadlineExceeded},
}

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{ReasonCalls, ReasonBytes, ReasonSize, ReasonSlow, ReasonYield, ReasonTime}
}

// String returns the name of the reason.
func (r Reason) String() string {
	if r == 0 || int(r) >= len(reasons) {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return reasons[r].name
}

func (r Reason) Error() string { return "door: refused for " + r.String() }

// Refusal is the error of a call that was refused at the door.
type Refusal struct {
	Reason     Reason
	RetryAfter time.Duration // 0: unknown, or never
	Err        error         // what was wrong
}

func (r *Refusal) Error() string { return fmt.Sprintf("%v: %v", r.Reason, r.Err) }

// Unwrap lets errors.Is find the reason.
func (r *Refusal) Unwrap() []error { return []error{r.Reason, r.Err} }

// Wire returns the refusal as an RPC error.
func (r *Refusal) Wire() *connect.Error {
	wire := connect.NewError(reasons[r.Reason].code, r)
	SetRetryAfter(wire, r.RetryAfter)
	return wire
}

// SetRetryAfter tells the caller when to come again, in whole seconds as HTTP has it.
func SetRetryAfter(wire *connect.Error, after time.Duration) {
	if after > 0 {
		wire.Meta().Set("Retry-After", fmt.Sprint(int64((after+time.Second-1)/time.Second)))
	}
}

func refuse(reason Reason, after time.Duration, format string, args ...any) *Refusal {
	return &Refusal{reason, after, fmt.Errorf(format, args...)}
}

// wired turns a refusal into an RPC error that a generated handler passes on as it is.
func wired(err error) error {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Wire()
	}
	return err
}

func asWire(err error, wire **connect.Error) bool { return errors.As(err, wire) }
