package ingest

import (
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// answers says what each code means to people and, for one that refuses a single ack, as which RPC error.
var answers = [...]struct {
	meaning string
	code    connect.Code
}{
	rollup.CodeAccepted:       {"the ack is verified and durable", 0},
	rollup.CodeKnown:          {"the ack was accepted before and counts once", 0},
	rollup.CodeMalformed:      {"the length or the tag is not that of an ack", connect.CodeInvalidArgument},
	rollup.CodeWrongNetwork:   {"the ack is of another network", connect.CodeInvalidArgument},
	rollup.CodeWrongNode:      {"the ack is for another node", connect.CodeInvalidArgument},
	rollup.CodeWrongEpoch:     {"the ack is not of the current epoch; sign it again for the open window", connect.CodeFailedPrecondition},
	rollup.CodeWindowClosed:   {"the window takes no more acks; sign it again for the open window", connect.CodeFailedPrecondition},
	rollup.CodeWindowAhead:    {"the window is not open yet; sign it again for the open window", connect.CodeFailedPrecondition},
	rollup.CodeUnknownClient:  {"no such client is registered", connect.CodeNotFound},
	rollup.CodeUnknownService: {"no such service is registered", connect.CodeNotFound},
	rollup.CodeZeroUnits:      {"an ack is for at least one unit", connect.CodeInvalidArgument},
	rollup.CodeExcessUnits:    {"the units exceed the service's cap", connect.CodeInvalidArgument},
	rollup.CodeReplayedSeq:    {"the client used this seq for another ack of this window", connect.CodeAlreadyExists},
	rollup.CodeBadEncoding:    {"the signature is not canonical", connect.CodeInvalidArgument},
	rollup.CodeNotOnCurve:     {"the signature is not on the curve", connect.CodeInvalidArgument},
	rollup.CodeNotInSubgroup:  {"the signature is not in the subgroup", connect.CodeInvalidArgument},
	rollup.CodeIdentity:       {"the signature is the identity", connect.CodeInvalidArgument},
	rollup.CodeBadSignature:   {"the signature does not verify under the client's key", connect.CodeInvalidArgument},
	rollup.CodeOverloaded:     {"the node has no room; send the ack again after the delay given", connect.CodeResourceExhausted},
	rollup.CodeClock:          {"the node's clock is not in step with the chain's", connect.CodeUnavailable},
	rollup.CodeStoreFailed:    {"the node could not make the ack durable; whether it is will be known when the node has restarted", connect.CodeUnavailable},
	rollup.CodeShuttingDown:   {"the node is shutting down", connect.CodeUnavailable},
	rollup.CodeOverflow:       {"the window's sum for this payer and service would overflow; sign it again for the next window", connect.CodeFailedPrecondition},
}

// refusal makes the error for an ack that was refused.
func refusal(code rollup.Code, epoch, window uint32, retry time.Duration) error {
	entry := answers[code]
	err := connect.NewError(entry.code, fmt.Errorf("%s: %s", code.String(), entry.meaning))
	if retry > 0 {
		err.Meta().Set("Retry-After", fmt.Sprint(int64((retry+time.Second-1)/time.Second)))
	}
	return withDetail(err, &api.AckRefusal{Code: code.String(), OpenEpoch: epoch, OpenWindow: window,
		RetryAfterMs: milliseconds(retry)})
}

// milliseconds rounds up, so that a short delay does not read as none.
func milliseconds(d time.Duration) uint32 {
	return uint32((d + time.Millisecond - 1) / time.Millisecond)
}
