package pipeline_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// mib is what 2^20 units cost in these tests, in micro-credits.
const mib = 1 << 10

// TestCredit: an ack that its payer cannot pay for is refused, with what is left and when to come
// again; the next ones at the door, before their signature is looked at. What was taken stays
// known.
func TestCredit(t *testing.T) {
	for name, c := range map[string]struct {
		code      rollup.Code
		reserve   uint64
		allowance uint64
		limit     uint64
		wait      time.Duration
	}{
		"reserve":   {rollup.CodeInsufficientReserve, 10 * mib, 1 << 40, 1 << 40, 10 * time.Second},
		"allowance": {rollup.CodeInsufficientAllowance, 1 << 40, 10 * mib, 1 << 40, time.Hour},
		"own limit": {rollup.CodeOwnLimit, 1 << 40, 1 << 40, 10 * mib, 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, pipelinetest.Config{Clients: 2, Payers: 2, Reserve: c.reserve,
					Allowance: c.allowance})
				f.cfg.Exposure = c.limit
				f.start(nil)
				defer f.blocks()()
				defer f.p.Close()
				first := f.ack(0, 8<<20)
				f.want(f.submit(first, f.ack(0, 2<<20-1)), rollup.CodeAccepted, rollup.CodeAccepted)
				more := f.ack(0, 1<<20) // the floor of ten less one unit, and one more
				f.refuses(more, c.code, c.wait, 1)
				unsigned := *more
				unsigned.Signature[5]++
				f.refuses(&unsigned, c.code, c.wait, 1)
				f.want(f.submit(first), rollup.CodeKnown)
				f.want(f.submit(f.ack(1, 1<<20)), rollup.CodeAccepted) // of another payer

				f.settled() // ordered by now
				got := f.p.Credit(f.payer(0), 0)
				if got.Exposure != 0 || got.Charged != 10*mib-1 || got.RefusedReserve+
					got.RefusedAllowance+got.RefusedLimit != 2 || got.Refusal != c.code {
					t.Errorf("%+v", got)
				}
				if c.code == rollup.CodeOwnLimit {
					f.want(f.submit(more), rollup.CodeAccepted)
				} else {
					f.refuses(more, c.code, c.wait, 1)
				}
			})
		})
	}
}

// payer returns the account that pays for a client.
func (f *fixture) payer(client uint64) uint32 {
	c, _ := f.net.View().Client(client)
	return c.Payer
}

// refuses submits an ack that is refused for want of credit.
func (f *fixture) refuses(a *rollup.Ack, code rollup.Code, wait time.Duration, left uint64) {
	f.t.Helper()
	answers := make([]rollup.Answer, 1)
	receipt, err := f.source.Submit(f.t.Context(), frames(a), answers)
	if err != nil || answers[0].Code != code || len(receipt.Short) != 1 {
		f.t.Fatalf("%v, %v, %+v, want %v", answers, err, receipt, code)
	}
	s := receipt.Short[0]
	height := f.net.View().Height()
	if s.Code != code || s.Left != left || s.Payer != f.payer(a.Client) ||
		s.Height != answers[0].Arg || s.Height <= uint64(height) {
		f.t.Errorf("%+v, answered %v at %d", s, answers[0], height)
	}
	if s.Wait > wait+2*time.Second || s.Wait < wait-15*time.Second || s.Wait <= 0 {
		f.t.Errorf("come again after %v, want about %v", s.Wait, wait)
	}
}

// TestCreditSurvives: what is in the pool, and what is sealed and not ordered, counts in the next
// run as it did in the one before.
func TestCreditSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2, Payers: 2, Reserve: 100 * mib})
		f.cfg.Exposure = 10 * mib
		var today atomic.Bool
		f.net.Refuse = func([]byte) error {
			if today.Load() {
				return nil
			}
			return errors.New("not today")
		}
		f.start(nil)
		defer f.blocks()()
		f.want(f.submit(f.ack(0, 3<<20+5), f.ack(1, 1<<20)), all(rollup.CodeAccepted, 2)...)
		time.Sleep(15 * time.Second) // sealed
		f.want(f.submit(f.ack(0, 4<<20-7), f.ack(1, 1<<19)), all(rollup.CodeAccepted, 2)...)
		before := f.p.Credits()
		f.p.Close()
		if len(f.disk.sealed) != 1 || len(f.disk.pools) != 1 {
			t.Fatalf("%d sealed, %d in the pool", len(f.disk.sealed), len(f.disk.pools))
		}
		f.start(nil)
		after := f.p.Credits()
		if len(before) != 2 || len(after) != 2 || before[0] != after[0] || before[1] != after[1] {
			t.Fatalf("%+v, and it was %+v", after, before)
		}
		if c := after[0]; c.Exposure != 7*mib-1 || c.Left != 3*mib+1 {
			t.Errorf("%+v", c)
		}
		f.want(f.submit(f.ack(0, 4<<20)), rollup.CodeOwnLimit)
		today.Store(true)
		f.settled()
		for _, c := range f.p.Credits() {
			if c.Exposure != 0 {
				t.Errorf("ordered: %+v", c)
			}
		}
		f.p.Close()
	})
}

// TestCreditOfStuckWindows: a window that will never be ordered binds no credit.
func TestCreditOfStuckWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1, Members: 1, Reserve: 100 * mib})
		f.cfg.Exposure = 10 * mib
		f.members.Before = func(context.Context, uint32, []byte) (share [48]byte, err error) {
			return share, &pipelinetest.Refusal{Err: errors.New("never")}
		}
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		f.want(f.submit(f.ack(0, 9<<20)), rollup.CodeAccepted)
		time.Sleep(30 * time.Second)
		if n := pipelinetest.Count(f.p.Stats().Certify.States, string(certify.StateStuck)); n != 1 {
			t.Fatalf("%d windows are stuck", n)
		}
		if c := f.p.Credit(f.payer(0), 0); c.Exposure != 0 || c.Left != 10*mib {
			t.Errorf("%+v", c)
		}
	})
}
