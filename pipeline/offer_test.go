package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// cosigned starts a pipeline whose clients are asked.
func cosigned(t *testing.T, clients int) (*fixture, *pipelinetest.Cosigners) {
	f := newFixture(t, pipelinetest.Config{Clients: clients, Payers: 2, Services: 2})
	co := &pipelinetest.Cosigners{Network: f.net}
	f.cfg.Cosigners, f.cfg.CosignWait = co, 3*time.Second
	return f, co
}

// through hands in acks of some clients for the open window, two each, through a session.
func (f *fixture) through(s pipeline.Session, clients ...uint64) {
	f.t.Helper()
	var acks []*rollup.Ack
	for _, c := range clients {
		acks = append(acks, f.ackFor(c, 0, 5+c), f.ackFor(c, 1, 7))
	}
	source := f.p.OpenSession(fmt.Sprint("session ", s), s)
	defer source.Close()
	f.want(submit(f.t, source, acks...), all(rollup.CodeAccepted, len(acks))...)
}

// header is the rollup of a window.
func (f *fixture) header(key rollup.WindowKey) *rollup.Header {
	f.t.Helper()
	h, err := rollup.ParseHeader(f.disk.sealed[key].header)
	if err != nil {
		f.t.Fatal(err)
	}
	return h
}

// TestOffer: who can be asked is, and whose answer is good moves to the statements; everybody
// else stays. The totals are the same whatever happens, and the chain orders it.
func TestOffer(t *testing.T) {
	drop := func(clients ...uint64) func(context.Context, *pipeline.Offer,
		[]pipeline.Cosignature) []pipeline.Cosignature {
		return func(_ context.Context, _ *pipeline.Offer,
			a []pipeline.Cosignature) []pipeline.Cosignature {
			return slices.DeleteFunc(a,
				func(c pipeline.Cosignature) bool { return slices.Contains(clients, c.Client) })
		}
	}
	spoil := func(client uint64) func(context.Context, *pipeline.Offer,
		[]pipeline.Cosignature) []pipeline.Cosignature {
		return func(_ context.Context, _ *pipeline.Offer,
			a []pipeline.Cosignature) []pipeline.Cosignature {
			for i := range a {
				if a[i].Client == client {
					a[i].Signature = a[(i+1)%len(a)].Signature
				}
			}
			return a
		}
	}
	// Clients 0, 1 and 2 come through session 1, 3 and 4 through session 2, 5 through none, 6
	// through both, 7 through session 1 and none.
	for name, c := range map[string]struct {
		answer     func(context.Context, *pipeline.Offer, []pipeline.Cosignature) []pipeline.Cosignature
		away       func(pipeline.Session) bool
		wait       time.Duration
		signed     int // clients
		statements int
		disproved  []pipeline.Session
	}{
		"all":            {signed: 5, statements: 10},
		"one is silent":  {answer: drop(1), signed: 4, statements: 10},
		"one signs":      {answer: drop(0, 1, 2, 4), signed: 1, statements: 10},
		"nobody answers": {answer: drop(0, 1, 2, 3, 4)},
		"one is bad":     {answer: spoil(3), signed: 3, statements: 10, disproved: []pipeline.Session{2}},
		"session 1 away": {away: func(s pipeline.Session) bool { return s == 1 }, signed: 2,
			statements: 4},
		"all away":  {away: func(pipeline.Session) bool { return true }},
		"not asked": {wait: -1},
		"time is over": {answer: func(ctx context.Context, _ *pipeline.Offer,
			a []pipeline.Cosignature) []pipeline.Cosignature {
			<-ctx.Done() // and then what came until then
			return a[:2]
		}, signed: 2, statements: 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, co := cosigned(t, 8)
				co.Answer, co.Away = c.answer, c.away
				if c.wait < 0 {
					f.cfg.CosignWait = 0
				}
				f.start(nil)
				defer f.p.Close()
				defer f.blocks()()
				key := f.open()
				f.through(1, 0, 1, 2, 7)
				f.through(2, 3, 4)
				f.through(pipeline.NoSession, 5)
				f.through(1, 6)
				f.through(2, 6)
				f.through(pipeline.NoSession, 7)
				f.settled()
				if count := f.rolledUp(); len(count) != 20 {
					t.Errorf("%d acks rolled up", len(count))
				}
				h := f.header(key)
				acks, units := h.Totals()
				var want uint64
				for i := range rollup.Acks(f.disk.sealed[key].acks).Len() {
					want += rollup.Acks(f.disk.sealed[key].acks).Units(i)
				}
				if acks != 20 || units != want {
					t.Errorf("%d acks, %d units, want %d", acks, units, want)
				}
				if int(h.AckCount) != 20-2*c.signed || int(h.StatementCount) != c.statements {
					t.Errorf("%d acks by rung 1, %d statements", h.AckCount, h.StatementCount)
				}
				if _, disproved := co.Seen(); !slices.Equal(disproved, c.disproved) {
					t.Errorf("disproved: %v", disproved)
				}
				s := f.p.Stats()
				if s.Certify.Rungs != [3]uint64{uint64(h.AckCount), uint64(2 * c.signed)} ||
					s.AllWindows()[len(s.AllWindows())-1].Cosigned != 2*c.signed {
					t.Errorf("stats say %v: %+v", s.Certify.Rungs, s.AllWindows())
				}
				// every ack is known and found, whatever its rung
				for i := range rollup.Acks(f.disk.sealed[key].acks).Len() {
					a := rollup.Acks(f.disk.sealed[key].acks).Ack(h, i)
					if found := f.lookup(&a); found.State != pipeline.AckOrdered || found.Rollup != h.ID() ||
						found.Window != key.Window || found.Units != a.Units {
						t.Errorf("%+v", found)
					}
				}
				f.want(f.submit(f.net.Ack(key, 1, 0, 0, 6)), rollup.CodeKnown)
			})
		})
	}
}

// TestOfferSays: an offer names each party's clients with their statements and acks, and nobody
// else's.
func TestOfferSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, co := cosigned(t, 6)
		f.start(nil)
		defer f.p.Close()
		defer f.blocks()()
		key := f.open()
		f.through(7, 4, 2)
		f.through(3, 5)
		f.through(pipeline.NoSession, 0, 3)
		f.settled()
		offers, _ := co.Seen()
		if len(offers) != 1 || offers[0].Key != key || offers[0].Network != f.net.ID ||
			offers[0].Acks.Len() != 10 || offers[0].Tree.Len() != 6 {
			t.Fatalf("%+v", offers)
		}
		o := offers[0]
		want := map[pipeline.Session][]uint64{3: {5}, 7: {2, 4}}
		if len(o.Parties) != len(want) || o.Parties[0].Session != 3 {
			t.Fatalf("%+v", o.Parties)
		}
		for _, p := range o.Parties {
			var clients []uint64
			for _, c := range p.Clients {
				clients = append(clients, c.Client)
				if c.Statements != 2 || c.Acks != 2 {
					t.Errorf("%+v", c)
				}
				for i := range c.Statements {
					if s := o.Tree.Statements()[c.FirstStatement+i]; s.Client != c.Client {
						t.Errorf("statement %d is of client %d, not %d", c.FirstStatement+i, s.Client, c.Client)
					}
				}
				for i := range c.Acks {
					if got := o.Acks.Ack(f.header(key), c.FirstAck+i).Client; got != c.Client {
						t.Errorf("ack %d is of client %d, not %d", c.FirstAck+i, got, c.Client)
					}
				}
			}
			if !slices.Equal(clients, want[p.Session]) {
				t.Errorf("session %d: %v", p.Session, clients)
			}
		}
	})
}

// TestOffersOverlap: several windows are offered at a time while others are sealed, and windows
// that need room end the oldest offer before its time.
func TestOffersOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, co := cosigned(t, 4)
		f.cfg.WindowAge, f.cfg.CosignWait = time.Second, time.Hour
		ended := make(chan rollup.WindowKey, 100)
		co.Answer = func(ctx context.Context, o *pipeline.Offer,
			a []pipeline.Cosignature) []pipeline.Cosignature {
			<-ctx.Done()
			ended <- o.Key
			return a
		}
		f.start(nil)
		defer f.p.Close()
		defer f.blocks()()
		for window := range uint32(8) {
			if f.open().Window != window {
				t.Fatalf("window %d is open, and not %d", f.open().Window, window)
			}
			f.through(1, 0, 1)
			time.Sleep(1500 * time.Millisecond) // of the test's clock: the window closes and the next opens
		}
		offers, _ := co.Seen()
		for i := range len(ended) {
			if key := <-ended; key != offers[i].Key {
				t.Errorf("the offer of %v ended before that of %v", key, offers[i].Key)
			}
		}
		if s := f.p.Stats(); s.Stage(pipeline.StageCosign).Queued == 0 || len(offers) < 6 {
			t.Errorf("%d offers, %d acks in them", len(offers), s.Stage(pipeline.StageCosign).Queued)
		}
	})
}

// TestOfferEndsAtClose: Close does not wait for clients, seals nothing, and the next start seals
// the window without them.
func TestOfferEndsAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, co := cosigned(t, 4)
		f.cfg.CosignWait = time.Hour
		co.Answer = func(ctx context.Context, _ *pipeline.Offer,
			a []pipeline.Cosignature) []pipeline.Cosignature {
			<-ctx.Done()
			return a // what came until then
		}
		f.start(nil)
		defer f.blocks()()
		key := f.open()
		f.through(1, 0, 1, 2, 3)
		time.Sleep(20 * time.Second)
		if s := f.p.Stats(); s.AllWindows()[len(s.AllWindows())-1].State != pipeline.StateCosigning ||
			s.Stage(pipeline.StageCosign).Queued != 8 {
			t.Errorf("%+v", s.AllWindows())
		}
		began := time.Now()
		f.p.Close()
		if took := time.Since(began); took != 0 || len(f.disk.sealed) != 0 ||
			len(f.disk.pools[key]) != 8*rollup.AckSize {
			t.Errorf("closed after %v, %d windows sealed", took, len(f.disk.sealed))
		}
		f.start(nil)
		defer f.p.Close()
		f.settled()
		if h := f.header(key); h.AckCount != 8 || h.StatementCount != 0 || len(f.rolledUp()) != 8 {
			t.Errorf("%+v", h)
		}
	})
}

// TestSealCosignedFailure fails the seal of a co-signed window, both ways.
func TestSealCosignedFailure(t *testing.T) {
	for _, polarity := range []fault{lost, kept} {
		synctest.Test(t, func(t *testing.T) {
			f, _ := cosigned(t, 4)
			f.start(func(op string) fault {
				if op == "seal" {
					return polarity
				}
				return works
			})
			defer f.blocks()()
			key := f.open()
			f.through(1, 0, 1)
			f.through(pipeline.NoSession, 2)
			time.Sleep(30 * time.Second)
			f.p.Close()
			f.start(nil)
			defer f.p.Close()
			f.settled()
			if count := f.rolledUp(); len(count) != 6 {
				t.Errorf("%d acks rolled up", len(count))
			}
			// the sessions of the second start are others
			want := map[fault]uint32{lost: 0, kept: 4}[polarity]
			if h := f.header(key); h.StatementCount != want {
				t.Errorf("%d statements, want %d", h.StatementCount, want)
			}
		})
	}
}

// TestSumWithout: whoever co-signs, the acks of the others verify under the sum that is left.
func TestSumWithout(t *testing.T) {
	for signers := range 7 {
		synctest.Test(t, func(t *testing.T) {
			f, co := cosigned(t, 6)
			co.Answer = func(_ context.Context, _ *pipeline.Offer,
				a []pipeline.Cosignature) []pipeline.Cosignature {
				return a[:signers]
			}
			f.start(nil)
			defer f.p.Close()
			defer f.blocks()()
			key := f.open()
			f.through(1, 5, 4, 3, 2, 1, 0)
			f.settled()
			f.rolledUp() // which verifies
			h := f.header(key)
			if int(h.AckCount) != 12-2*signers ||
				(h.AckSignature == bls.IdentitySignature) != (signers == 6) {
				t.Errorf("%d acks, %x", h.AckCount, h.AckSignature)
			}
		})
	}
}
