package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
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

// Counter asks the node for the next number of a client for a service in an epoch: that of the
// first ack that it does not hold. Nobody signs the answer.
func (c *Client) Counter(ctx context.Context, epoch uint32, client uint64, service uint32) (uint32,
	error) {
	next, err := c.counters(ctx, epoch, []seriesKey{{epoch, client, service}})
	if err != nil {
		return 0, err
	}
	return next[0], nil
}

// counters is Counter for up to api.MaxPage series of an epoch.
func (c *Client) counters(ctx context.Context, epoch uint32, keys []seriesKey) ([]uint32, error) {
	req := &api.CounterRequest{Epoch: epoch}
	for _, k := range keys {
		req.Clients, req.Services = append(req.Clients, k.client), append(req.Services, k.service)
	}
	res, err := Call(ctx, c.acks.Counter, req)
	if err == nil && len(res.Next) != len(keys) {
		err = connect.NewError(connect.CodeInternal, fmt.Errorf("%d counters of %d", len(res.Next),
			len(keys)))
	}
	if err != nil {
		return nil, fmt.Errorf("ask for counters: %w", err)
	}
	return res.Next, nil
}

// lookUp asks the node what became of the ack with an ack's number.
func (c *Client) lookUp(ctx context.Context, ack *rollup.Ack) (*api.GetAckResponse, error) {
	return Call(ctx, c.acks.GetAck, &api.GetAckRequest{Epoch: ack.Epoch, Client: ack.Client,
		Service: ack.Service, Number: ack.Number})
}

// isAck reports whether what the node holds under an ack's number is that ack.
func isAck(found *api.GetAckResponse, ack *rollup.Ack) bool {
	return found.State != api.AckState_ACK_STATE_UNKNOWN && found.Units == ack.Units &&
		found.Request == ack.Request.String()
}

// Holds reports whether the node holds an ack durably. That it does not may be because the ack is
// still on its way.
func (c *Client) Holds(ctx context.Context, ack *rollup.Ack) (bool, error) {
	found, err := c.lookUp(ctx, ack)
	if err != nil {
		return false, &NodeError{c.cfg.URL, "GetAck", err}
	}
	return isAck(found, ack), nil
}

// AwaitSealed waits until an accepted ack is in a rollup. It waits for a node that does not answer
// for Config.Patience. An ack that was taken on account and did not stand ends it with its code.
func (c *Client) AwaitSealed(ctx context.Context, ack *rollup.Ack) error {
	again := c.attempts()
	for {
		found, err := c.lookUp(ctx, ack)
		switch {
		case err != nil:
			err = again.after(ctx, "wait for a rollup", err)
		case isAck(found, ack) && found.State != api.AckState_ACK_STATE_POOLED:
			return nil
		case err == nil && found.State == api.AckState_ACK_STATE_REFUSED:
			code, err := rollup.ParseCode(found.Code)
			if err != nil {
				return &NodeError{c.cfg.URL, "GetAck", err}
			}
			return code
		default:
			again.answered()
			err = retry.Pause(ctx, 2*c.cfg.Backoff)
		}
		if err != nil {
			return err
		}
	}
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
