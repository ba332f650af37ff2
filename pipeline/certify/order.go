package certify

import (
	"errors"
	"time"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// order offers the certificate until the chain has the window. Errors: a Reason, the context's.
func (j *job) order() error {
	o := j.o
	var tx []byte
	var told string // why it was not taken, as the log has it
	delays := newBackoff()
	for again := time.Now(); ; {
		updated := o.chain.Updated()
		switch {
		case o.ordered(j.key):
			return nil
		case o.expired(j.key):
			return ReasonLate
		}
		if tx == nil {
			c, err := rollup.ParseCertificate(j.certificate)
			if err != nil {
				return rollup.Refuse(ReasonUnreadable, "its certificate: %w", err)
			}
			tx = ledger.NewTicket(o.cfg.Network, c)
		}
		if time.Until(again) <= 0 {
			err := o.chain.SubmitTx(o.ctx, tx)
			if errors.Is(err, ledger.CodeSettled) && !o.ordered(j.key) {
				return rollup.Refuse(ReasonLate, "%w", err)
			}
			if err != nil && o.ctx.Err() == nil && !errors.Is(err, ledger.CodeAlreadyOrdered) &&
				err.Error() != told { // it is offered again and again
				told = err.Error()
				o.log.Warn("certificate not taken", "epoch", j.key.Epoch, "window", j.key.Window,
					"err", err)
			}
			again = time.Now().Add(delays.Next())
		}
		timer := time.NewTimer(time.Until(again))
		select {
		case <-updated:
		case <-timer.C:
		case <-o.ctx.Done():
		}
		timer.Stop()
		if o.ctx.Err() != nil {
			return o.ctx.Err()
		}
	}
}

// Retries wait from retryFirst to retryLast.
const (
	retryFirst = 100 * time.Millisecond
	retryLast  = 10 * time.Second
)

func newBackoff() *retry.Backoff { return retry.New(retryFirst, retryLast) }
