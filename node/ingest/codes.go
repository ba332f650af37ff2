package ingest

import (
	"encoding/hex"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
)

// answers says what each code means to people and, for one that refuses a single ack, as which RPC
// error.
var answers = [...]struct {
	meaning string
	code    connect.Code
}{
	rollup.CodeAccepted: {"the ack is verified and durable", 0},
	rollup.CodeKnown:    {"the ack was accepted before and counts once", 0},
	rollup.CodeMalformed: {
		"the length or the tag is not that of an ack",
		connect.CodeInvalidArgument,
	},
	rollup.CodeWrongNetwork: {"the ack is of another network", connect.CodeInvalidArgument},
	rollup.CodeWrongNode:    {"the ack is for another node", connect.CodeInvalidArgument},
	rollup.CodePastEpoch: {
		"the ack's epoch takes no more acks",
		connect.CodeFailedPrecondition,
	},
	rollup.CodeUnknownClient:  {"no such client is registered", connect.CodeNotFound},
	rollup.CodeUnknownService: {"no such service is registered", connect.CodeNotFound},
	rollup.CodeZeroUnits:      {"an ack is for at least one unit", connect.CodeInvalidArgument},
	rollup.CodeExcessUnits:    {"the units exceed the service's cap", connect.CodeInvalidArgument},
	rollup.CodeNumberUsed: {
		"the client used this number for another ack",
		connect.CodeAlreadyExists,
	},
	rollup.CodeBadEncoding: {"the signature is not canonical", connect.CodeInvalidArgument},
	rollup.CodeNotOnCurve:  {"the signature is not on the curve", connect.CodeInvalidArgument},
	rollup.CodeNotInSubgroup: {
		"the signature is not in the subgroup",
		connect.CodeInvalidArgument,
	},
	rollup.CodeIdentity: {"the signature is the identity", connect.CodeInvalidArgument},
	rollup.CodeBadSignature: {
		"the signature does not verify under the client's key",
		connect.CodeInvalidArgument,
	},
	rollup.CodeOverloaded: {
		"the node has no room; send the ack again after the delay given",
		connect.CodeResourceExhausted,
	},
	rollup.CodeClock: {
		"the node's clock is not in step with the chain's",
		connect.CodeUnavailable,
	},
	rollup.CodeStoreFailed: {
		"the node could not make the ack durable; whether it is will be known after a restart",
		connect.CodeUnavailable,
	},
	rollup.CodeShuttingDown: {"the node is shutting down", connect.CodeUnavailable},
	rollup.CodeOverflow: {
		"the sum for this payer and service would overflow; send the ack again",
		connect.CodeFailedPrecondition,
	},
	rollup.CodeBusy: {
		"another ack under this number is being verified; send the ack again",
		connect.CodeUnavailable,
	},
	rollup.CodeGap: {
		"acks before this one are missing; send them from the number on that the argument names",
		connect.CodeFailedPrecondition,
	},
	rollup.CodeEpochAhead: {
		"the ack's epoch has not begun here; send the ack again",
		connect.CodeUnavailable,
	},
	rollup.CodeInsufficientReserve: {
		"the payer's reserve does not cover it; come again when more is reserved",
		connect.CodeFailedPrecondition,
	},
	rollup.CodeInsufficientAllowance: {
		"the payer lets one node charge no more in this epoch; come again in the next one",
		connect.CodeFailedPrecondition,
	},
	rollup.CodeOwnLimit: {
		"this node risks no more for the payer until the chain has ordered what it took",
		connect.CodeFailedPrecondition,
	},
	rollup.CodeNotValid: {
		"the client may not sign in the ack's epoch",
		connect.CodeFailedPrecondition,
	},
	rollup.CodeBeyondLimit: {
		"the client has used all numbers that were granted to it",
		connect.CodeFailedPrecondition,
	},
	rollup.CodeNotGranted: {
		"the service was not granted to the client",
		connect.CodePermissionDenied,
	},
	rollup.CodeOnAccount: {
		"the ack is durable, and will stand if its signature verifies",
		0,
	},
	rollup.CodeDropped: {
		"an ack before this one did not verify; send the ack again",
		connect.CodeUnavailable,
	},
}

// refusal makes the error for an ack that was refused; held is the ack that has its number.
func refusal(answer rollup.Answer, held []byte, retry time.Duration) error {
	return refused(answer, refusalDetail(answer), held, retry)
}

// creditOf puts what a payer has left into a message.
func creditOf(s *pipeline.Shortage) *api.Credit {
	return &api.Credit{Payer: s.Payer, Epoch: s.Epoch, Code: s.Code.String(), Reserve: s.Reserve,
		Allowance: s.Allowance, Charged: s.Charged, Exposure: s.Exposure, Limit: s.Limit,
		Left: s.Left, Height: s.Height, RetryAfterMs: milliseconds(s.Wait)}
}

// refused is refusal with a detail in which the node's word stands.
func refused(answer rollup.Answer, detail *api.AckRefusal, held []byte,
	retry time.Duration) error {
	entry := answers[answer.Code]
	err := connect.NewError(entry.code, fmt.Errorf("%s: %s", answer.Code.String(), entry.meaning))
	if retry > 0 {
		err.Meta().Set("Retry-After", fmt.Sprint(int64((retry+time.Second-1)/time.Second)))
	}
	detail.Held, detail.RetryAfterMs = hex.EncodeToString(held), milliseconds(retry)
	return withDetail(err, detail)
}

func refusalDetail(answer rollup.Answer) *api.AckRefusal {
	return &api.AckRefusal{Code: answer.Code.String(), Class: answer.Code.Class().String(),
		Arg: answer.Arg, Meaning: answers[answer.Code].meaning}
}

// milliseconds rounds up, so that a short delay does not read as none.
func milliseconds(d time.Duration) uint32 {
	return uint32((d + time.Millisecond - 1) / time.Millisecond)
}
