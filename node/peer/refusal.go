package peer

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// Reason says why a member did not sign a rollup.
type Reason uint8

// The reasons. Lagging and Busy pass; the others are final.
const (
	NotOwner Reason = iota + 1 // the caller is not the rollup's node
	Invalid                    // the rollup is not valid
	Conflict                   // another rollup was signed for this window
	Lagging                    // the member's chain has not caught up
	Busy                       // no room to verify
	TooOld                     // the chain orders this epoch no more
	NoProofs                   // the member lacks the key for the evidence's proofs: another rung may do
)

// reasons holds what each reason is called in logs and metrics, and on the wire.
var reasons = [...]struct {
	name string
	code connect.Code
	wire api.PushReason
}{
	NotOwner: {"not_owner", connect.CodePermissionDenied, api.PushReason_PUSH_REASON_NOT_OWNER},
	Invalid:  {"invalid", connect.CodeInvalidArgument, api.PushReason_PUSH_REASON_INVALID},
	Conflict: {"conflict", connect.CodeAlreadyExists, api.PushReason_PUSH_REASON_CONFLICT},
	Lagging:  {"lagging", connect.CodeUnavailable, api.PushReason_PUSH_REASON_LAGGING},
	Busy:     {"busy", connect.CodeResourceExhausted, api.PushReason_PUSH_REASON_BUSY},
	TooOld:   {"too_old", connect.CodeFailedPrecondition, api.PushReason_PUSH_REASON_TOO_OLD},
	NoProofs: {"no_proofs", connect.CodeUnimplemented, api.PushReason_PUSH_REASON_NO_PROOFS},
}

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{NotOwner, Invalid, Conflict, Lagging, Busy, TooOld, NoProofs}
}

// String returns the name of the reason, as in metrics.
func (r Reason) String() string {
	if r == 0 || int(r) >= len(reasons) {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return reasons[r].name
}

// Refusal is the error of a push that a member answered with a refusal.
type Refusal struct {
	Reason Reason
	Prior  rollup.Hash // the id of the rollup that was signed before, for Conflict
	Err    error       // what was wrong; on the pusher's side, the member's words
}

func (r *Refusal) Error() string {
	if r.Reason == Conflict {
		return fmt.Sprintf("push refused: %v: rollup %v was signed for this window: %v", r.Reason, r.Prior, r.Err)
	}
	return fmt.Sprintf("push refused: %v: %v", r.Reason, r.Err)
}

func (r *Refusal) Unwrap() error { return r.Err }

// Retry reports whether the same push may succeed later.
func (r *Refusal) Retry() bool { return r.Reason == Lagging || r.Reason == Busy }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Err: fmt.Errorf(format, args...)}
}

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
	entry := reasons[refusal.Reason]
	wire := connect.NewError(entry.code, refusal.Err)
	message := &api.PushRefusal{Reason: entry.wire}
	if refusal.Reason == Conflict {
		message.Prior = refusal.Prior[:]
	}
	if detail, err := connect.NewErrorDetail(message); err == nil {
		wire.AddDetail(detail)
	}
	return wire
}

// refusalOf recovers the refusal from an RPC error. Errors without one, which a broken connection gives, stay as they
// are.
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
				refusal := &Refusal{Reason: reason, Err: errors.New(wire.Message())}
				if len(push.Prior) == len(refusal.Prior) {
					refusal.Prior = rollup.Hash(push.Prior)
				}
				return refusal
			}
		}
	}
	return err
}
