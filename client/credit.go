package client

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// CreditError says that a payer cannot have more acks at a node for now: its reserve or its
// allowance does not cover them, or the node risks no more. It is the node's word, which nobody
// signed. Amounts are micro-credits.
type CreditError struct {
	Node  string // its URL
	Phase string // of what was to be done
	// Code is rollup.CodeInsufficientReserve, CodeInsufficientAllowance or CodeOwnLimit.
	Code         rollup.Code
	Payer, Epoch uint32
	Reserve      uint64        // what acks of the epoch may be paid from
	Allowance    uint64        // what one node may charge the payer in the epoch
	Charged      uint64        // of it, what the node was allowed for windows that are ordered
	Exposure     uint64        // what the node has taken and the chain has not ordered
	Limit        uint64        // of exposure: what the node risks
	Left         uint64        // what it would take besides
	Height       uint64        // of the chain, at which it is worth to come again
	Wait         time.Duration // about when that is
}

// Error implements error.
func (e *CreditError) Error() string {
	return fmt.Sprintf("node %s: %s: %v: payer %d has %s credits left for acks of epoch %d: "+
		"%s reserved, %s of %s that one node may charge are charged, and of %s that the node risks "+
		"%s wait for the chain; again at height %d, in about %v", e.Node, e.Phase, e.Code, e.Payer,
		credits(e.Left), e.Epoch, credits(e.Reserve), credits(e.Charged), credits(e.Allowance),
		credits(e.Limit), credits(e.Exposure), e.Height, e.Wait.Round(time.Millisecond))
}

// Unwrap returns the code.
func (e *CreditError) Unwrap() error { return e.Code }

func credits(micro uint64) string { return fmt.Sprintf("%d.%06d", micro/1e6, micro%1e6) }

// isCredit reports whether a code says that the payer cannot have the ack.
func isCredit(code rollup.Code) bool {
	return code >= rollup.CodeInsufficientReserve && code <= rollup.CodeOwnLimit
}

// creditOf reads a node's word. A code that is none of credit's is taken for the node's own limit.
func creditOf(c *api.Credit) *CreditError {
	code, err := rollup.ParseCode(c.Code)
	if err != nil || !isCredit(code) {
		code = rollup.CodeOwnLimit
	}
	return &CreditError{Code: code, Payer: c.Payer, Epoch: c.Epoch, Reserve: c.Reserve,
		Allowance: c.Allowance, Charged: c.Charged, Exposure: c.Exposure, Limit: c.Limit,
		Left: c.Left, Height: c.Height, Wait: time.Duration(c.RetryAfterMs) * time.Millisecond}
}

// credit returns what the node said of the payer of an ack with a code of credit.
func (a *Answer) credit(answer rollup.Answer) *CreditError {
	for _, c := range a.Credits {
		if c.Code == answer.Code && c.Height == answer.Arg {
			return c
		}
	}
	return &CreditError{Code: answer.Code, Height: answer.Arg}
}

// Credit asks the node how much of a payer's acks it would take now. Code says what is in the way
// of more.
func (c *Client) Credit(ctx context.Context, payer uint32) (*CreditError, error) {
	res, err := Call(ctx, c.acks.GetCredit, &api.GetCreditRequest{Payer: payer})
	if err != nil {
		return nil, fmt.Errorf("ask for credit: %w", err)
	}
	credit := creditOf(res.GetCredit())
	credit.Node, credit.Phase = c.cfg.URL, "ask for credit"
	return credit, nil
}

// maxCreditWait bounds how long acks wait for credit before they are sent again: a payer may be
// given more at any time.
const maxCreditWait = 15 * time.Second

// wanting has an ack wait for its payer's credit.
func (d *deliverer) wanting(p *item, credit *CreditError) {
	credit.Node, credit.Phase = d.client.cfg.URL, "deliver"
	backoff := d.client.cfg.Backoff
	wait := cmp.Or(credit.Wait, backoff<<min(p.attempts-1, 16))
	p.due = time.Now().Add(min(max(wait, backoff), maxCreditWait))
	p.credit, d.credit = credit, credit
	if told := d.told[credit.Payer]; told.code != credit.Code || told.epoch != credit.Epoch {
		d.told[credit.Payer] = toldOf{credit.Code, credit.Epoch}
		d.client.cfg.Logger.Warn("acks wait: their payer has no credit at the node", "err", credit)
		if d.client.cfg.Waiting != nil {
			d.client.cfg.Waiting(credit)
		}
	}
}

// toldOf is what was told of a payer.
type toldOf struct {
	code  rollup.Code
	epoch uint32
}
