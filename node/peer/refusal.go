package peer

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/rollup"
)

// Reason says why a member did not sign a rollup. It is an error, for errors.Is.
type Reason uint8

// The reasons. ReasonLagging and ReasonBusy pass; the others are final.
const (
	ReasonNotOwner Reason = iota + 1 // not_owner
	ReasonInvalid                    // invalid
	ReasonConflict                   // conflict
	ReasonLagging                    // lagging
	ReasonBusy                       // busy
	ReasonTooOld                     // too_old
	ReasonNoProofs                   // no_proofs
	ReasonBadWord                    // bad_word
	ReasonNumbers                    // numbers
	ReasonBehind                     // behind
	ReasonNoTable                    // no_table
)

//go:generate go tool stringer -type=Reason -linecomment

// reasons holds what each reason means, and what it is on the wire.
var reasons = [...]struct {
	meaning string
	code    connect.Code
	wire    api.PushReason
}{
	ReasonNotOwner: {"the caller is not the rollup's node",
		connect.CodePermissionDenied, api.PushReason_PUSH_REASON_NOT_OWNER},
	ReasonInvalid: {"the rollup is not valid",
		connect.CodeInvalidArgument, api.PushReason_PUSH_REASON_INVALID},
	ReasonConflict: {"another rollup was signed for this window",
		connect.CodeAlreadyExists, api.PushReason_PUSH_REASON_CONFLICT},
	ReasonLagging: {"the member's chain has not caught up",
		connect.CodeUnavailable, api.PushReason_PUSH_REASON_LAGGING},
	ReasonBusy: {"no room to verify",
		connect.CodeResourceExhausted, api.PushReason_PUSH_REASON_BUSY},
	ReasonTooOld: {"the epoch is settled",
		connect.CodeFailedPrecondition, api.PushReason_PUSH_REASON_TOO_OLD},
	ReasonNoProofs: {"the member lacks the key of these proofs, another rung may do",
		connect.CodeUnimplemented, api.PushReason_PUSH_REASON_NO_PROOFS},
	ReasonBadWord: {"the node's word that the rollup is its own does not verify",
		connect.CodePermissionDenied, api.PushReason_PUSH_REASON_BAD_WORD},
	ReasonNumbers: {"a number of the rollup was signed before",
		connect.CodeAlreadyExists, api.PushReason_PUSH_REASON_NUMBERS},
	ReasonBehind: {"a later window was signed before",
		connect.CodeFailedPrecondition, api.PushReason_PUSH_REASON_BEHIND},
	ReasonNoTable: {"the member can not know what it signed in this epoch",
		connect.CodeFailedPrecondition, api.PushReason_PUSH_REASON_NO_TABLE},
}

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{ReasonNotOwner, ReasonInvalid, ReasonConflict, ReasonLagging, ReasonBusy,
		ReasonTooOld, ReasonNoProofs, ReasonBadWord, ReasonNumbers, ReasonBehind, ReasonNoTable}
}

func (r Reason) Error() string {
	if r == 0 || int(r) >= len(reasons) {
		return "peer: " + r.String()
	}
	return "peer: push refused: " + reasons[r].meaning
}

// Retry reports whether the same push may succeed later. door.RetryAfter says when, if the member
// did.
func (r Reason) Retry() bool { return r == ReasonLagging || r == ReasonBusy }

// Fault reports whether the rollup, or the node that pushed it, is at fault. Otherwise the member
// tells of itself: it will sign again when its state is another.
func (r Reason) Fault() bool { return atFault[r] }

// Refusal is the error of a push that a member answered with a refusal. On the pusher's side its
// Err is the member's words.
type Refusal = rollup.Refusal[Reason]

// PriorError is the detail of a refusal for ReasonConflict.
type PriorError struct {
	Prior rollup.Hash // the id of the rollup that was signed before
	Err   error
}

func (e *PriorError) Error() string {
	return fmt.Sprintf("rollup %v was signed: %v", e.Prior,
		e.Err)
}

func (e *PriorError) Unwrap() error { return e.Err }

// wireError turns what Member.Push returned into an RPC error.
func wireError(err error) error {
	var refusal *Refusal
	switch {
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	case !errors.As(err, &refusal):
		return connect.NewError(connect.CodeInternal, err)
	}
	entry := reasons[refusal.Code]
	words := refusal.Err
	message := &api.PushRefusal{Reason: entry.wire}
	if prior := (*PriorError)(nil); errors.As(err, &prior) {
		message.Prior, words = prior.Prior[:], prior.Err
	}
	wire := connect.NewError(entry.code, words)
	door.SetRetryAfter(wire)
	if detail, err := connect.NewErrorDetail(message); err == nil {
		wire.AddDetail(detail)
	}
	return wire
}

// refusalOf recovers the refusal from an RPC error. Errors without one, which a broken connection
// gives, stay as they are.
func refusalOf(err error) error {
	var wire *connect.Error
	if !errors.As(err, &wire) {
		return err
	}
	for _, detail := range wire.Details() {
		message, decodeErr := detail.Value()
		if decodeErr != nil {
			continue
		}
		push, ok := message.(*api.PushRefusal)
		if !ok {
			continue
		}
		for _, reason := range Reasons() {
			if reasons[reason].wire == push.Reason {
				return refusalFrom(reason, push, wire)
			}
		}
	}
	return err
}

func refusalFrom(reason Reason, push *api.PushRefusal, wire *connect.Error) *Refusal {
	words := errors.New(wire.Message())
	if prior := (rollup.Hash{}); len(push.Prior) == len(prior) {
		copy(prior[:], push.Prior)
		words = &PriorError{prior, words}
	}
	if after := door.AskedToWait(wire); after > 0 {
		words = &door.DelayError{After: after, Err: words}
	}
	return &Refusal{Code: reason, Err: words}
}
