package mainjob

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/progress"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/cosign"
)

// settle waits until everything accepted is in a certified settlement, for three epochs at most.
func (j *job) settle(ctx context.Context, r *Result) error {
	bar := progress.New(j.Progress, "settle", "acks")
	defer bar.End("")
	last, err := j.epoch(ctx)
	if err != nil {
		return err
	}
	for r.Settled < r.Accepted || j.settled.Load() < 2 {
		if j.settled.Load() > last+3 {
			break
		}
		if err := j.take(ctx, r); err != nil {
			return err
		}
		bar.Set(int(r.Settled), int(r.Accepted), text.Plural(uint64(j.settled.Load()), "epoch"))
	}
	bar.End(fmt.Sprintf("%s in %s", text.Plural(r.Settled, "ack"),
		text.Plural(uint64(len(r.Epochs)), "epoch")))
	r.names(j.replay)
	r.Differs = Reconcile(j.fetching.books, r.sums())
	return errors.Join(j.cosigned(), j.rotate(ctx, r))
}

// rotate waits until the committee has changed as often as it has to, while epochs settle.
func (j *job) rotate(ctx context.Context, r *Result) error {
	if j.Rotates == 0 {
		return nil
	}
	bar := progress.New(j.Progress, "rotate", "hand-overs")
	defer bar.End("")
	for r.HandOvers = j.term(); r.HandOvers < j.Rotates; r.HandOvers = j.term() {
		if err := j.take(ctx, r); err != nil {
			return err
		}
		bar.Set(int(r.HandOvers), int(j.Rotates), text.Plural(j.settled.Load(), "epoch"))
	}
	bar.End(text.Plural(r.HandOvers, "hand-over"))
	return nil
}

// term is that of the committee in office, as the first node has it: how often seats changed hands.
func (j *job) term() uint32 { return j.Nodes[0].View().Committee().Term }

// take adds the next settlement to the result if it is certified, or waits a little. Nodes keep
// settlements for some epochs only, so that it has to be called all along.
func (j *job) take(ctx context.Context, r *Result) error {
	s, err := j.settlement(ctx, j.settled.Load())
	switch {
	case err == nil && s.Certified:
		r.add(s)
		j.settled.Add(1)
		return nil
	case err != nil && !client.NotReady(err) && !client.Temporary(err):
		return err
	}
	return pause(ctx)
}

// cosigned is an error when a client refused an offer, for the nodes are honest, or could not
// follow offers.
func (j *job) cosigned() error {
	did, err := j.replay.Cosigned()
	for reason, n := range did.Refused {
		if reason != cosign.ReasonDeclined {
			err = errors.Join(err, fmt.Errorf("%s refused to co-sign: %v", text.Plural(n, "client"),
				reason))
		}
	}
	return err
}

// settlement asks for the rows of an epoch page by page.
func (j *job) settlement(ctx context.Context, epoch uint32) (*api.GetSettlementResponse, error) {
	first := &api.GetSettlementRequest{Epoch: epoch}
	all, err := client.Call(ctx, j.client.Ledger().GetSettlement, first)
	for err == nil && len(all.Rows) < int(all.Total) {
		var next *api.GetSettlementResponse
		page := &api.GetSettlementRequest{Epoch: epoch, From: uint32(len(all.Rows))}
		if next, err = client.Call(ctx, j.client.Ledger().GetSettlement, page); err == nil {
			if len(next.Rows) == 0 {
				return nil, fmt.Errorf("epoch %d: %d of %d rows", epoch, len(all.Rows), all.Total)
			}
			all.Rows = append(all.Rows, next.Rows...)
		}
	}
	return all, err
}
