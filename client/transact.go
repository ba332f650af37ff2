package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// SubmitTx submits a transaction and returns its hash. An error that wraps *ledger.Refusal is the
// ledger's answer. After any other a node may have taken the transaction; submitting it again does
// no harm, since the ledger executes it once.
func (c *Client) SubmitTx(ctx context.Context, tx []byte) (hash string, err error) {
	response, err := c.nodes.SubmitTx(ctx, txRequest(tx))
	if err != nil {
		return "", txError(err)
	}
	return response.Msg.Hash, nil
}

func txRequest(tx []byte) *connect.Request[api.SubmitTxRequest] {
	return connect.NewRequest(&api.SubmitTxRequest{Tx: hex.EncodeToString(tx)})
}

// txError finds the ledger's refusal in the error of a call.
func txError(err error) error {
	if detail, ok := Detail[*api.TxRefusal](err); ok {
		if code, unknown := ledger.ParseTxCode(detail.Code); unknown == nil {
			refusal := &ledger.Refusal{Code: code}
			if text := refusalText(err, detail.Code); text != "" {
				refusal.Err = errors.New(text)
			}
			return fmt.Errorf("submit transaction: %w", refusal)
		}
	}
	return fmt.Errorf("submit transaction: %w", err)
}

// refusalText is what the node said beside the code.
func refusalText(err error, code string) string {
	var wire *connect.Error
	if !errors.As(err, &wire) {
		return err.Error()
	}
	return strings.TrimPrefix(strings.TrimPrefix(wire.Message(), code), ": ")
}

// NextNonce returns how many transactions a key has had executed. NotFound says of the error that
// the key has no account.
func (c *Client) NextNonce(ctx context.Context, key ledger.Key) (uint64, error) {
	account, err := Call(ctx, c.nodes.GetAccount, accountOf(key))
	return account.GetNextNonce(), err
}

func accountOf(key ledger.Key) *api.GetAccountRequest {
	return &api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: key.String()}}
}

// ahead is how many transactions of one sender Execute has wait for a block. A mempool has room for
// some thousands, of all senders.
const ahead = 512

// resubmission is after how many backoffs Execute hands in again what was taken and is not
// executed: the node may have lost it, with all behind it, to a restart or to a block in which it
// failed; or it is cut off from the committee.
const resubmission = 30

// errStalled is why Execute turns to another node when nothing happens.
var errStalled = errors.New("client: transactions were taken and are not executed")

// Execute submits transactions of one sender, in the order of their nonces, from first on without a
// gap, and waits until the sender's count shows that all were executed. What may pass is waited
// for: a broken connection, a node that is busy. It turns to another node when one does not answer,
// or takes transactions that are not executed. What any node answers afterwards includes their
// effect. Errors: the ledger's final refusal, which wraps *ledger.Refusal; what can not pass; and,
// when ctx ends, its error with the last one that stood in the way.
func (c *Client) Execute(
	ctx context.Context,
	sender ledger.Key,
	first uint64,
	txs ...[]byte,
) error {
	if len(txs) == 0 {
		return nil
	}
	x := &execution{
		nodes:    c.nodes,
		sender:   sender,
		txs:      txs,
		first:    first,
		next:     first,
		sent:     first,
		taken:    first,
		resubmit: resubmission * c.cfg.Backoff,
	}
	x.again = time.Now().Add(x.resubmit)
	for {
		done, err := x.step(ctx)
		if done || err != nil {
			return err
		}
		if err := retry.Pause(ctx, c.cfg.Backoff/2); err != nil {
			err = fmt.Errorf("%d of %d transactions were executed: %w", x.next-first, len(txs), err)
			if x.why != nil {
				err = fmt.Errorf("%w; %w", err, x.why)
			}
			return err
		}
	}
}

// ExecuteGrants submits a transaction of grants, which has no sender and no nonce, and returns the
// indices of the clients with the given keys, at most api.MaxPage, when all are registered. It may
// be called again with the same transaction. What any node answers afterwards includes the effect.
// Errors are those of Execute; a grant that falls alone, while others of its transaction stand, is
// waited for until ctx ends.
func (c *Client) ExecuteGrants(ctx context.Context, keys []ledger.BLSKey, tx []byte) ([]uint64,
	error) {
	var submit time.Time
	for {
		at := c.nodes.first()
		indices, err := c.registered(ctx, at, keys)
		if err == nil && len(indices) < len(keys) && !time.Now().Before(submit) {
			submit = time.Now().Add(resubmission * c.cfg.Backoff)
			if _, err = c.nodes.write(ctx, at, txRequest(tx)); err != nil {
				err = txError(err)
			}
			if err != nil && !elsewhere(err) { // for it may have been executed just now
				if late, lateErr := c.registered(ctx, at, keys); lateErr == nil {
					indices = late
				}
				if len(indices) == len(keys) {
					err = nil
				}
			}
		}
		switch {
		case err == nil && len(indices) == len(keys):
			return indices, nil
		case err != nil && !elsewhere(err) && ctx.Err() == nil:
			return nil, err
		}
		if paused := retry.Pause(ctx, c.cfg.Backoff/2); paused != nil {
			return nil, errors.Join(fmt.Errorf("%d of %d clients are registered: %w", len(indices),
				len(keys), paused), err)
		}
	}
}

// registered asks a node for the indices of those keys that have one.
func (c *Client) registered(ctx context.Context, at *endpoint, keys []ledger.BLSKey) ([]uint64,
	error) {
	req := &api.GetClientsRequest{}
	for _, key := range keys {
		req.Keys = append(req.Keys, key.String())
	}
	err := c.nodes.current(ctx, at)
	var found *api.GetClientsResponse
	if err == nil {
		found, err = Call(ctx, at.ledger.GetClients, req)
	}
	var indices []uint64
	for _, client := range found.GetClients() {
		if client.Index != nil {
			indices = append(indices, client.GetIndex())
		}
	}
	if err == nil && len(indices) == len(keys) {
		var height int64
		if height, err = c.nodes.heightOf(ctx, at); err == nil {
			c.nodes.reached(height)
		}
	}
	if err != nil && elsewhere(err) && ctx.Err() == nil {
		c.nodes.fell(at, err)
	}
	return indices, named(at, "GetClients", err)
}

// execution is the state of one Execute. Numbers are nonces.
type execution struct {
	nodes  *nodes
	sender ledger.Key
	txs    [][]byte
	first  uint64 // of txs[0]
	next   uint64 // the first that is not executed
	sent   uint64 // the first that is not submitted
	taken  uint64 // the first that no node can have taken yet
	seen   uint64 // the largest count that a node answered

	resubmit time.Duration
	again    time.Time // when to hand in again what is not executed
	why      error     // what stood in the way last, before the caller's context ended
}

// step submits what there is room for, and looks what has been executed. An error is final.
func (x *execution) step(ctx context.Context) (done bool, _ error) {
	at := x.nodes.first()
	stuck := x.submit(ctx, at)
	asked := x.nodes.first() // another one, if that did not answer
	count, err := x.count(ctx, asked)
	end := x.first + uint64(len(x.txs))
	final := stuck != nil && !Temporary(stuck) && ctx.Err() == nil && asked == at
	switch {
	case final && err == nil && count > x.sent && x.sent >= x.taken:
		return false, stuck // another transaction had this nonce
	case err == nil && count >= end:
		return true, nil
	case err != nil && !elsewhere(err) && ctx.Err() == nil:
		return false, err
	case err != nil:
		stuck = err
	case count > x.next:
		x.next, x.sent = count, max(x.sent, count)
		x.again = time.Now().Add(x.resubmit)
	case final && x.sent == x.next && (!x.behind(count) || time.Now().After(x.again)):
		return false, stuck // nothing of this sender is on its way that could change the answer
	case time.Now().After(x.again):
		x.nodes.fell(asked, errStalled)
		x.sent = x.next
		x.again = time.Now().Add(x.resubmit)
	}
	x.seen = max(x.seen, count)
	if ctx.Err() == nil {
		x.why = stuck
	}
	return false, nil
}

// behind reports whether a node's count may be that of a chain behind another's.
func (x *execution) behind(count uint64) bool {
	return count < x.seen || count < x.next && len(x.nodes.list) > 1
}

// submit hands transactions to a node until one fails, or enough are on their way.
func (x *execution) submit(ctx context.Context, at *endpoint) error {
	end := x.first + uint64(len(x.txs))
	for x.sent < min(x.next+ahead, end) {
		_, err := x.nodes.write(ctx, at, txRequest(x.txs[x.sent-x.first]))
		if err != nil {
			err = txError(err)
		}
		if err == nil || Temporary(err) {
			x.taken = max(x.taken, x.sent+1)
		}
		if err != nil {
			return err
		}
		x.sent++
	}
	return nil
}

// count asks a node how many transactions of the sender were executed. When it is all of them,
// nodes whose chains are behind that are asked nothing from then on.
func (x *execution) count(ctx context.Context, at *endpoint) (uint64, error) {
	err := x.nodes.current(ctx, at)
	var account *api.GetAccountResponse
	if err == nil {
		account, err = Call(ctx, at.ledger.GetAccount, accountOf(x.sender))
	}
	if err == nil && account.NextNonce >= x.first+uint64(len(x.txs)) {
		var height int64
		if height, err = x.nodes.heightOf(ctx, at); err == nil {
			x.nodes.reached(height)
		}
	}
	switch {
	case ctx.Err() != nil:
	case err != nil && elsewhere(err):
		x.nodes.fell(at, err)
	default:
		x.nodes.up(at)
	}
	return account.GetNextNonce(), named(at, "GetAccount", err)
}
