package client

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
)

// Call makes one unary call, as in Call(ctx, client.Ledger().GetNodes, &api.GetNodesRequest{}), for callers that have no
// use for headers.
func Call[Req, Res any](ctx context.Context, method func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error), req *Req) (*Res, error) {
	res, err := method(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

// Temporary reports whether a failed call may succeed when it is made again later: the connection broke, or the node has
// no room or is not ready. A call whose caller gave up is none.
func Temporary(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeResourceExhausted, connect.CodeDeadlineExceeded, connect.CodeAborted:
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

// Retry is Call, again and again while it fails for what may pass, until ctx ends.
func Retry[Req, Res any](ctx context.Context, method func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error), req *Req) (*Res, error) {
	for {
		res, err := Call(ctx, method, req)
		if err == nil || !Temporary(err) || ctx.Err() != nil {
			return res, err
		}
		if pause(ctx, insistence) != nil {
			return nil, err // which says more than that ctx ended
		}
	}
}

const insistence = 50 * time.Millisecond

// NotOffered reports whether co-signing ended because the node asks nobody to.
func NotOffered(err error) bool {
	return err != nil && connect.CodeOf(err) == connect.CodeUnimplemented
}

// WaitForHeight waits until the other nodes' chains have come to where this one's is, so that they know who is registered here: a
// node refuses acks of clients that it does not know yet.
func (c *Client) WaitForHeight(ctx context.Context, others ...*Client) error {
	here, err := Retry(ctx, c.ledger.GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return err
	}
	for _, other := range others {
		for {
			there, err := Retry(ctx, other.ledger.GetStatus, &api.GetStatusRequest{})
			if err != nil {
				return err
			}
			if there.Height >= here.Height {
				break
			}
			if err := pause(ctx, insistence); err != nil {
				return err
			}
		}
	}
	return nil
}
