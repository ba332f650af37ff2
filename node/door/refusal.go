package door

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/rollup"
)

// Reason says why a call was refused or cut off at the door. It is an error, for errors.Is.
type Reason uint8

// The reasons.
const (
	ReasonCalls Reason = iota + 1 // calls
	ReasonBytes                   // bytes
	ReasonSize                    // size
	ReasonSlow                    // slow
	ReasonYield                   // yield
)

//go:generate go tool stringer -type=Reason -linecomment

// meanings says what each reason is to people, and as which RPC error it is answered.
var meanings = [...]struct {
	text string
	code connect.Code
}{
	ReasonCalls: {"too many calls", connect.CodeResourceExhausted},
	ReasonBytes: {"no room for the bytes of another request", connect.CodeResourceExhausted},
	ReasonSize:  {"the request is too large", connect.CodeResourceExhausted},
	ReasonSlow:  {"the request came in too slowly", connect.CodeDeadlineExceeded},
	ReasonYield: {"a newer call took the place of this one", connect.CodeAborted},
}

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{ReasonCalls, ReasonBytes, ReasonSize, ReasonSlow, ReasonYield}
}

func (r Reason) Error() string {
	if r == 0 || int(r) >= len(meanings) {
		return "door: " + r.String()
	}
	return "door: " + meanings[r].text
}

// Refusal is the error of a call that was refused at the door.
type Refusal = rollup.Refusal[Reason]

// DelayError is the detail of a refusal that says when to come again.
type DelayError struct {
	After time.Duration
	Err   error
}

func (e *DelayError) Error() string {
	return fmt.Sprintf("%v; try again after %v", e.Err, e.After.Round(time.Millisecond))
}

func (e *DelayError) Unwrap() error { return e.Err }

// RetryAfter lets those who do not know this package find the delay with errors.As.
func (e *DelayError) RetryAfter() time.Duration { return e.After }

// RetryAfter returns when to come again after an error that says so, or 0.
func RetryAfter(err error) time.Duration {
	var delay *DelayError
	if errors.As(err, &delay) {
		return delay.After
	}
	return 0
}

// retry is the delay that is asked of callers who found no place. Calls are short.
const retry = time.Second

// later is a refusal that passes.
func later(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Code: reason, Err: &DelayError{retry, fmt.Errorf(format, args...)}}
}

// Wire returns a refusal as an RPC error. Its header Retry-After has whole seconds, as in HTTP.
func Wire(r *Refusal) error {
	wire := connect.NewError(meanings[r.Code].code, r)
	SetRetryAfter(wire)
	return wire
}

// SetRetryAfter puts the delay that an error asks for into its header.
func SetRetryAfter(wire *connect.Error) {
	if after := RetryAfter(wire); after > 0 {
		wire.Meta().Set("Retry-After", fmt.Sprint(int64((after+time.Second-1)/time.Second)))
	}
}

// wired turns a refusal into an RPC error, which a generated handler passes on as it is.
func wired(err error) error {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return Wire(refusal)
	}
	return err
}

// maxWait bounds the delay that a caller accepts to be asked for.
const maxWait = 10 * time.Minute

// AskedToWait returns the delay that an answer's header asks for, or 0.
func AskedToWait(wire *connect.Error) time.Duration {
	seconds, err := strconv.ParseUint(wire.Meta().Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxWait)
}
