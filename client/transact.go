package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// SubmitTx submits a transaction and returns its hash. An error that wraps *ledger.Refusal is the ledger's answer.
func (c *Client) SubmitTx(ctx context.Context, tx []byte) (hash string, err error) {
	response, err := Call(ctx, c.ledger.SubmitTx, &api.SubmitTxRequest{Tx: hex.EncodeToString(tx)})
	if err != nil {
		if detail, ok := Detail[*api.TxRefusal](err); ok {
			if code, unknown := ledger.ParseTxCode(detail.Code); unknown == nil {
				refusal := &ledger.Refusal{Code: code}
				if text := refusalText(err, detail.Code); text != "" {
					refusal.Err = errors.New(text)
				}
				return "", fmt.Errorf("submit transaction: %w", refusal)
			}
		}
		return "", fmt.Errorf("submit transaction: %w", err)
	}
	return response.Hash, nil
}

// refusalText is what the node said beside the code.
func refusalText(err error, code string) string {
	var wire *connect.Error
	if !errors.As(err, &wire) {
		return err.Error()
	}
	return strings.TrimPrefix(strings.TrimPrefix(wire.Message(), code), ": ")
}

// NextNonce returns how many transactions a key has had executed. NotFound says of the error that the key has no account.
func (c *Client) NextNonce(ctx context.Context, key ledger.Key) (uint64, error) {
	account, err := Call(ctx, c.ledger.GetAccount, &api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: key.String()}})
	if err != nil {
		return 0, err
	}
	return account.NextNonce, nil
}

// ahead is how many transactions of one sender Execute has wait for a block.
const ahead = 32

// patience is after how many backoffs Execute hands in again what was taken and is not executed: the node may have lost
// it, with all behind it, to a restart or to a block in which it failed.
const patience = 30

// Execute submits transactions of one sender, in the order of their nonces, from first on without a gap, and waits until
// the sender's count shows that all were executed. What may pass is waited for: a broken connection, a node that is
// busy. Errors: the ledger's final refusal, which wraps *ledger.Refusal; what can not pass; and, when ctx ends, its
// error with the last one that stood in the way.
func (c *Client) Execute(ctx context.Context, sender ledger.Key, first uint64, txs ...[]byte) error {
	next, sent := first, first // the first that is not executed, the first that is not submitted
	taken := first             // the first that no node can have taken yet
	end := first + uint64(len(txs))
	resubmit := patience * c.cfg.Backoff
	var why error // what stood in the way last, before ctx ended
	for again := time.Now().Add(resubmit); first < end; {
		var stuck error
		for stuck == nil && sent < min(next+ahead, end) {
			_, stuck = c.SubmitTx(ctx, txs[sent-first])
			if stuck == nil || Temporary(stuck) {
				taken = max(taken, sent+1)
			}
			if stuck == nil {
				sent++
			}
		}
		count, err := c.NextNonce(ctx, sender)
		refused := stuck != nil && !Temporary(stuck) && ctx.Err() == nil
		switch {
		case refused && count > sent && sent >= taken:
			return stuck // another transaction had this nonce
		case err == nil && count >= end:
			return nil
		case err != nil && !Temporary(err) && ctx.Err() == nil:
			return err
		case err != nil:
			stuck = err
		case count > next:
			next, sent = count, max(sent, count)
			again = time.Now().Add(resubmit)
		case refused && sent == next:
			return stuck // nothing of this sender is on its way that could change the answer
		case time.Now().After(again):
			sent = next
			again = time.Now().Add(resubmit)
		}
		if ctx.Err() == nil {
			why = stuck
		}
		if err := pause(ctx, c.cfg.Backoff/2); err != nil {
			err = fmt.Errorf("%d of %d transactions were executed: %w", next-first, len(txs), err)
			if why != nil {
				err = fmt.Errorf("%w; %w", err, why)
			}
			return err
		}
	}
	return nil
}
