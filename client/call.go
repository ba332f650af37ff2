package client

import (
	"context"
	"errors"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/node/api"
)

// Call makes one unary call, as in Call(ctx, c.Ledger().GetNodes, &api.GetNodesRequest{}), for
// callers that have no use for headers.
func Call[Req, Res any](ctx context.Context, method func(context.Context, *connect.Request[Req]) (
	*connect.Response[Res], error), req *Req) (*Res, error) {
	res, err := method(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

// Temporary reports whether a failed call may succeed when it is made again later: the connection
// broke, or the node has no room or is not ready. A call whose caller gave up is none.
func Temporary(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeResourceExhausted, connect.CodeDeadlineExceeded,
		connect.CodeAborted:
		return true
	}
	return false
}

// NotFound reports whether the node answered that there is no such thing.
func NotFound(err error) bool { return err != nil && connect.CodeOf(err) == connect.CodeNotFound }

// NotReady reports whether the node answered that what was asked for has not happened yet.
func NotReady(err error) bool {
	return err != nil && connect.CodeOf(err) == connect.CodeFailedPrecondition
}

// NotOffered reports whether co-signing ended because the node asks nobody to.
func NotOffered(err error) bool {
	return err != nil && connect.CodeOf(err) == connect.CodeUnimplemented
}

// retryAfter is how long a node asked to be left alone; 0 when it did not.
func retryAfter(err error) time.Duration {
	if refusal, ok := Detail[*api.AckRefusal](err); ok && refusal.RetryAfterMs > 0 {
		return time.Duration(refusal.RetryAfterMs) * time.Millisecond
	}
	var wire *connect.Error
	if !errors.As(err, &wire) {
		return 0
	}
	seconds, err := strconv.Atoi(wire.Meta().Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 3600 { // a date, or nonsense
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// passes is what of the failures of calls may pass, for package retry.
func passes(
	err error,
) (atLeast time.Duration, again bool) {
	return retryAfter(err), Temporary(err)
}

// Retry is Call, again and again while it fails for what may pass, until ctx ends.
func Retry[Req, Res any](ctx context.Context, method func(context.Context, *connect.Request[Req]) (
	*connect.Response[Res], error), req *Req) (*Res, error) {
	b := retry.New(firstRetry, time.Second)
	return retry.Do(
		ctx,
		b,
		func(ctx context.Context) (*Res, error) { return Call(ctx, method, req) },
		passes,
	)
}

const firstRetry = 50 * time.Millisecond

// Height returns the height of the ledger from which on all holds that this client was told: that
// Execute's transactions were executed, above all.
func (c *Client) Height(ctx context.Context) (int64, error) {
	status, err := Retry(ctx, c.nodes.GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return 0, err
	}
	c.nodes.reached(status.Height)
	return status.Height, nil
}

// WaitForHeight waits until the chain of the client's own node has come to a height: until it knows
// who is registered by then, since it refuses acks of clients that it does not know yet. It waits
// for a node that does not answer for Config.Patience.
func (c *Client) WaitForHeight(ctx context.Context, height int64) error {
	own, again := c.nodes.list[0], c.attempts()
	for {
		at, err := c.nodes.heightOf(ctx, own)
		switch {
		case err == nil && at >= height:
			return nil
		case err == nil:
			again.answered()
			err = retry.Pause(ctx, firstRetry)
		default:
			err = again.after(ctx, "wait for its chain", err)
		}
		if err != nil {
			return err
		}
	}
}
