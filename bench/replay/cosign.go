package replay

import (
	"context"
	"errors"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/rollup/cosign"
)

// cosign says how the clients answer when a node asks them to co-sign a window.
func (r *Replay) cosign() *client.CosignConfig {
	return &client.CosignConfig{
		Sign: client.CosignWith(r.secretOf),
		// 37 spreads the clients of a node, whose indices are so far apart, over the percentages.
		Willing: func(client uint64) bool {
			return int(client/uint64(len(r.cfg.Nodes))*37%100) >= r.cfg.Rung1
		},
		Payer:    r.payerOf,
		Evidence: r.cfg.Evidence,
	}
}

// payerOf knows who pays for the replay's own clients: nobody else can change that.
func (r *Replay) payerOf(client uint64) (account uint32, known bool) {
	all := r.byIndex.Load()
	if all == nil || (*all)[client] == nil {
		return 0, false
	}
	return (*all)[client].payer, true
}

// follow co-signs beside the deliveries to a node, and after them: a window is offered when it has
// closed.
func (r *Replay) follow(s *server) {
	r.cosigning.Go(func() {
		if err := s.own.Cosign(r.running); !errors.Is(err, context.Canceled) {
			r.mu.Lock()
			defer r.mu.Unlock()
			s.cosignErr = err
		}
	})
}

// Finish waits until the windows of everything delivered are sealed, which they are when their
// clients had the time to co-sign them. It does not wait for nodes that Deliver has given up.
func (r *Replay) Finish(ctx context.Context) error {
	if _, err := r.Cosigned(); r.cfg.Rung1 == 100 || client.NotOffered(err) {
		return nil
	}
	for _, s := range r.servers {
		ack, ok := r.tally.last[s.pin.Node]
		if !ok || s.own == nil || s.failed != nil {
			continue
		}
		if err := s.own.AwaitSealed(ctx, &ack); err != nil {
			return err
		}
	}
	return nil
}

// Cosigned is what the clients did about offers: signatures given, and refusals by reason.
type Cosigned struct {
	Signed  uint64
	Refused map[cosign.Reason]uint64
}

// Cosigned returns what the clients did so far. The error is why a node could not be followed, if
// one could not that Deliver has not given up.
func (r *Replay) Cosigned() (Cosigned, error) {
	sum := Cosigned{Refused: map[cosign.Reason]uint64{}}
	var errs []error
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.servers {
		if s.own == nil {
			continue
		}
		stats := s.own.CosignStats()
		sum.Signed += stats.Signed
		for reason, n := range stats.Refused {
			sum.Refused[reason] += n
		}
		if s.failed == nil {
			errs = append(errs, s.cosignErr)
		}
	}
	return sum, errors.Join(errs...)
}
