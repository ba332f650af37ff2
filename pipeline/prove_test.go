package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// rungs gives a fixture clients that co-sign, but client 3, and a prover for which windows wait
// ten seconds.
func (f *fixture) rungs() *pipelinetest.Prover {
	prover := new(pipelinetest.Prover)
	f.session = 1
	silent := func(_ context.Context, _ *pipeline.Offer,
		answers []pipeline.Cosignature) []pipeline.Cosignature {
		return slices.DeleteFunc(answers, func(a pipeline.Cosignature) bool { return a.Client == 3 })
	}
	f.cfg.Cosigners, f.cfg.CosignWait = &pipelinetest.Cosigners{Network: f.net, Answer: silent},
		time.Second
	f.cfg.Certify.Prover, f.cfg.Certify.Proofs, f.cfg.Certify.ProofWait = prover, prover.In,
		10*time.Second
	f.members.Proofs = prover
	return prover
}

// proven is a network of three members, all of whom are a quorum, whose node 0 has taken eight
// acks of four clients.
func proven(t *testing.T, setUp func(f *fixture,
	prover *pipelinetest.Prover)) (*fixture, *pipelinetest.Prover) {
	f := newFixture(t, pipelinetest.Config{Members: 3, Clients: 4, Payers: 2})
	prover := f.rungs()
	setUp(f, prover)
	f.start(nil)
	f.want(f.submit(f.acks(8)...), all(rollup.CodeAccepted, 8)...)
	return f, prover
}

// wantRung checks that all eight acks are ordered in window 0, and by what rung those of the
// clients that co-signed went.
func (f *fixture) wantRung(rung rollup.Rung) {
	f.t.Helper()
	if n := len(f.rolledUp()); n != 8 {
		f.t.Errorf("%d acks ordered", n)
	}
	want := [3]uint64{0: 2}
	want[rung-1] += 6
	if got := f.p.Stats().Certify.Rungs; got != want {
		f.t.Errorf("acks by rung: %v, not %v", got, want)
	}
	for member := range uint32(3) {
		if kept := f.members.Kept(member, rollup.WindowKey{}); len(kept) == 0 || kept[0] != rung {
			f.t.Errorf("member %d signed for rungs %v", member, kept)
		}
	}
}

// wantProof checks that the evidence of rung 3 that is kept for window 0 verifies.
func (f *fixture) wantProof() {
	f.t.Helper()
	kept, err := f.store.Sealed(rollup.WindowKey{})
	if err != nil {
		f.t.Fatal(err)
	}
	encoded, err := kept.Evidence(rollup.RungProof)
	if err != nil {
		f.t.Fatal(err)
	}
	h := kept.Header
	ev, err := rollup.ParseEvidence(encoded)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := rollup.Verify(h, ev, f.net.ID, f.net.View(), f.members.Proofs,
		1); ev.Rung != rollup.RungProof || err != nil {
		f.t.Errorf("rung %d: %v", ev.Rung, err)
	}
	if w := f.state(); w.Rung != rollup.RungProof || w.Proved.IsZero() || w.Segments != 1 ||
		w.Proven != 1 {
		f.t.Errorf("%+v", w)
	}
}

// wantFailure checks that the only failure is this one.
func (f *fixture) wantFailure(why certify.ProofFailure) {
	f.t.Helper()
	s := f.p.Stats()
	for _, reason := range certify.ProofFailures() {
		want := uint64(0)
		if reason == why {
			want = 1
		}
		if failures(s, reason) != want {
			f.t.Errorf("%d failures %q", failures(s, reason), reason)
		}
	}
	if w := f.state(); w.ProofFailure != why.String() || w.Rung != rollup.RungStatements {
		f.t.Errorf("%+v", w)
	}
}

func TestProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, prover := proven(t, func(*fixture, *pipelinetest.Prover) {})
		defer f.blocks()()
		defer f.p.Close()
		f.settled()
		f.wantRung(rollup.RungProof)
		f.wantProof()
		s := f.p.Stats()
		if prover.Calls.Load() != 1 || s.Certify.Proofs != 1 || s.Certify.Prove.Acks != 6 ||
			s.Certify.Prove.Refused != 0 || s.Certify.Prove.Queued != 0 || s.Certify.ProofQueue != 0 ||
			s.Certify.Proving != 0 {
			t.Errorf("%+v, %d proofs", s.Certify.Prove, s.Certify.Proofs)
		}
		// One member besides holds the statements, the one that the id names or the next.
		holders := certify.Holders(f.net.View().Committee(), 0, f.disk.rollup(rollup.WindowKey{}).id)
		if node, ok := f.disk.holder(rollup.WindowKey{}); !ok || node != holders[0] {
			t.Errorf("held by %d, %v, not by %d", node, ok, holders[0])
		}
		for member := range uint32(3) {
			want := []rollup.Rung{rollup.RungProof}
			if member == holders[0] {
				want = append(want, rollup.RungStatements)
			}
			if kept := f.members.Kept(member, rollup.WindowKey{}); !slices.Equal(kept, want) {
				t.Errorf("member %d keeps rungs %v", member, kept)
			}
		}
	})
}

// TestSlowProver: the window does not wait for longer than it may, and a proof that comes later
// is kept.
func TestSlowProver(t *testing.T) {
	for name, wait := range map[string]time.Duration{"not at all": 0,
		"for a while": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _ := proven(t, func(f *fixture, prover *pipelinetest.Prover) {
					f.cfg.Certify.ProofWait = wait
					prover.Before = func(context.Context, *rollup.Segment) error {
						time.Sleep(time.Minute)
						return nil
					}
				})
				defer f.blocks()()
				defer f.p.Close()
				time.Sleep(13 * time.Second) // the window is sealed
				if w := f.state(); (wait > 0) != (w.State == certify.StateProving) ||
					w.Rung != rollup.RungStatements {
					t.Errorf("%+v", w)
				}
				if s := f.p.Stats(); s.Certify.Prove.Queued != 6 || s.Certify.Proving != 1 ||
					(s.Certify.Pending == 1) != (wait > 0) {
					t.Errorf("%+v, %d pending", s.Certify.Prove, s.Certify.Pending)
				}
				time.Sleep(wait)
				if w := f.state(); w.State != certify.StateOrdered ||
					w.Certified.Sub(w.Sealed).Round(time.Second) != wait {
					t.Errorf("%+v", w)
				}
				f.wantRung(rollup.RungStatements)
				time.Sleep(time.Minute)
				f.wantProof()
				f.wantRung(rollup.RungStatements) // a certificate is made once
			})
		})
	}
}

// TestProverDies: it is asked twice, and costs the window no time.
func TestProverDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, prover := proven(t, func(f *fixture, prover *pipelinetest.Prover) {
			prover.Before = func(context.Context, *rollup.Segment) error { return errors.New("killed") }
		})
		defer f.blocks()()
		defer f.p.Close()
		time.Sleep(14 * time.Second)
		f.wantRung(rollup.RungStatements)
		f.wantFailure(certify.ProofError)
		if s := f.p.Stats(); prover.Calls.Load() != 2 || s.Certify.Prove.Refused != 6 {
			t.Errorf("%d calls, %+v", prover.Calls.Load(), s.Certify.Prove)
		}
	})
	synctest.Test(t, func(t *testing.T) { // once does not matter
		var calls atomic.Int64
		f, _ := proven(t, func(f *fixture, prover *pipelinetest.Prover) {
			prover.Before = func(context.Context, *rollup.Segment) error {
				if calls.Add(1) == 1 {
					return errors.New("killed")
				}
				return nil
			}
		})
		defer f.blocks()()
		defer f.p.Close()
		f.settled()
		f.wantRung(rollup.RungProof)
	})
}

// TestWrongProof: what the prover gives is verified before anybody sees it.
func TestWrongProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := proven(t, func(f *fixture, prover *pipelinetest.Prover) { prover.Wrong.Store(true) })
		defer f.blocks()()
		defer f.p.Close()
		f.settled()
		f.wantRung(rollup.RungStatements)
		f.wantFailure(certify.ProofWrong)
		if kept, err := f.store.Sealed(rollup.WindowKey{}); err != nil || kept.Proof != nil {
			t.Errorf("the proof is kept, or nothing is: %v", err)
		}
	})
}

// once refuses the first proof that it sees.
type once struct {
	rollup.ProofVerifier
	seen atomic.Bool
}

func (o *once) VerifyProof(size int, public [32]byte, proof *[rollup.ProofSize]byte) error {
	if !o.seen.Swap(true) {
		return errors.New("a key that this member lacks")
	}
	return o.ProofVerifier.VerifyProof(size, public, proof)
}

// TestMembersRefuseProof: who refuses a proof is shown the statements.
func TestMembersRefuseProof(t *testing.T) {
	for name, refusing := range map[string]int{"all": 3, "one": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _ := proven(t, func(f *fixture, prover *pipelinetest.Prover) {
					if f.members.Proofs = nil; refusing == 1 {
						f.members.Proofs = &once{ProofVerifier: prover}
					}
				})
				defer f.blocks()()
				defer f.p.Close()
				f.settled()
				if got := f.p.Stats().Certify.Rungs; got != [3]uint64{2, 6, 0} {
					t.Errorf("acks by rung: %v", got)
				}
				stated := 0
				for member := range uint32(3) {
					if f.members.Kept(member, rollup.WindowKey{})[0] == rollup.RungStatements {
						stated++
					}
				}
				if stated != refusing || len(f.rolledUp()) != 8 {
					t.Errorf("%d members have seen the statements", stated)
				}
			})
		})
	}
}

// TestCloseWhileProving: Close ends a proof, and the next start makes it.
func TestCloseWhileProving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped atomic.Bool
		f, prover := proven(t, func(f *fixture, prover *pipelinetest.Prover) {
			f.cfg.Certify.ProofWait = time.Hour
			prover.Before = func(ctx context.Context, _ *rollup.Segment) error {
				<-ctx.Done()
				stopped.Store(true)
				return context.Cause(ctx)
			}
		})
		defer f.blocks()()
		time.Sleep(15 * time.Second)
		if w := f.state(); w.State != certify.StateProving {
			t.Errorf("%+v", w)
		}
		f.p.Close()
		if !stopped.Load() || f.disk.rollup(rollup.WindowKey{}).proof != nil {
			t.Error("the prover goes on")
		}
		prover.Before = nil
		f.start(nil)
		defer f.p.Close()
		f.settled()
		f.wantRung(rollup.RungProof)
		f.wantProof()
	})
}

// TestProofIsKept: what was proved before a restart goes out after it, also when nothing can be
// proved any more.
func TestProofIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, prover := proven(t, func(f *fixture, _ *pipelinetest.Prover) {
			f.members.Before = down
		})
		defer f.blocks()()
		time.Sleep(20 * time.Second)
		f.p.Close()
		f.members.Before = nil
		f.cfg.Certify.Prover, f.cfg.Certify.Proofs = nil, nil
		f.start(nil)
		defer f.p.Close()
		f.settled()
		f.wantRung(rollup.RungProof)
		if n := prover.Calls.Load(); n != 1 {
			t.Errorf("%d proofs", n)
		}
	})
}

// TestProofSegments proves a window of more statements than a proof is about.
func TestProofSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Members: 1, Clients: 88, Payers: 3, Services: 3})
		prover := f.rungs()
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		var acks []*rollup.Ack
		for i := range uint64(88 * 3) {
			acks = append(acks, f.ackFor(i/3, uint32(i%3), 1))
		}
		f.want(f.submit(acks...), all(rollup.CodeAccepted, len(acks))...)
		f.settled()
		if s := f.p.Stats(); len(f.rolledUp()) != 264 || s.Certify.Rungs != [3]uint64{3, 0, 261} ||
			prover.Calls.Load() != 2 || s.Certify.Proofs != 2 {
			t.Errorf("%v, %d calls", s.Certify.Rungs, prover.Calls.Load())
		}
	})
}

// TestProofQueue: the queue is bounded, and drops what waited for the longest time; a window
// whose certification waits is proved before those whose is over; what the chain has forgotten is
// not proved.
func TestProofQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// an epoch is settled four epochs after it
		f := newFixture(t, pipelinetest.Config{Members: 1, Clients: 1, EpochSeconds: 1200,
			GraceSeconds: 4800})
		gate := make(chan struct{})
		prover := f.rungs()
		prover.Before = func(ctx context.Context, _ *rollup.Segment) error {
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		f.members.Trusting = true
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		const windows = 1 + 64 + 3
		for range windows {
			f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
			time.Sleep(14 * time.Second)
		}
		time.Sleep(time.Minute)
		s := f.p.Stats()
		if s.Certify.Ordered != windows || failures(s, certify.ProofCrowded) != 3 ||
			s.Certify.ProofQueue != 64 || s.Certify.Proving != 1 || s.Certify.Prove.Queued != 65 {
			t.Errorf("%d ordered, %v, %d and %d", s.Certify.Ordered, s.Certify.ProofFailures,
				s.Certify.ProofQueue, s.Certify.Proving)
		}
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
		time.Sleep(14 * time.Second)
		gate <- struct{}{} // for the first window
		gate <- struct{}{} // for the last, which waits
		synctest.Wait()
		if s = f.p.Stats(); s.Certify.Ordered != windows+1 ||
			s.Certify.Rungs != [3]uint64{0, windows, 1} || failures(s, certify.ProofCrowded) != 4 {
			t.Errorf("%d ordered, %v, %v", s.Certify.Ordered, s.Certify.Rungs, s.Certify.ProofFailures)
		}
		time.Sleep(6000 * time.Second) // one more is in work
		close(gate)
		synctest.Wait()
		s = f.p.Stats()
		if s.Certify.Prove.Batches != 3 || failures(s, certify.ProofLate) != 62 ||
			s.Certify.ProofQueue != 0 || s.Certify.Proving != 0 {
			t.Errorf("%d proved, %v, %d and %d", s.Certify.Prove.Batches, s.Certify.ProofFailures,
				s.Certify.ProofQueue, s.Certify.Proving)
		}
		for i, want := range map[uint32]bool{0: true, 1: false, 4: false, 5: true, 6: false,
			windows: true} {
			if kept := f.disk.rollup(rollup.WindowKey{Window: i}); (kept.proof != nil) != want {
				t.Errorf("window %d: proved is %v", i, !want)
			}
		}
	})
}

// TestProofWaitEnds in the middle of the epoch's grace, whatever is configured.
func TestProofWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f := newFixture(t, pipelinetest.Config{Members: 1, Clients: 1, EpochSeconds: 60,
			GraceSeconds: 20})
		prover := f.rungs()
		prover.Before = func(ctx context.Context, _ *rollup.Segment) error {
			<-ctx.Done()
			return ctx.Err()
		}
		f.cfg.Certify.ProofWait = time.Hour
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted) // sealed in the epoch
		time.Sleep(55 * time.Second)
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted) // sealed after it
		time.Sleep(14 * time.Second)
		if s := f.p.Stats(); s.Certify.Ordered != 0 || s.Certify.Pending != 2 {
			t.Errorf("%d ordered, %d pending", s.Certify.Ordered, s.Certify.Pending)
		}
		time.Sleep(3 * time.Second)
		if s := f.p.Stats(); s.Certify.Ordered != 2 || time.Since(start) > 75*time.Second ||
			f.net.View().NextToSettle() != 0 {
			t.Errorf("%d ordered, epoch %d is next to be settled", s.Certify.Ordered,
				f.net.View().NextToSettle())
		}
	})
}

// TestHolders: a member that is down or refuses is passed over, and what is not held when the
// node stops is handed over by the next start.
func TestHolders(t *testing.T) {
	for name, c := range map[string]struct {
		down, refuse int // members, in the order in which they are asked
		want         int
	}{"first": {0, 0, 0}, "second": {1, 0, 1}, "last": {1, 1, 2}, "nobody": {0, 3, -1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, pipelinetest.Config{Members: 4, Clients: 1})
				f.rungs()
				m := &scriptedMembers{answer: map[uint32]func(context.Context, uint32,
					[]byte) ([48]byte, error){}, pushes: map[uint32]int{}}
				f.members.Before = m.before
				f.store = f.disk.open(nil)
				f.start(nil)
				defer f.blocks()()
				f.store.before = func(op string) { // between the order and the first attempt
					if op != "ordered" {
						return
					}
					order := certify.Holders(f.net.View().Committee(), 0, f.disk.rollup(rollup.WindowKey{}).id)
					m.set(down, order[:c.down]...)
					m.set(refuse, order[c.down:c.down+c.refuse]...)
				}
				f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
				f.settled()
				time.Sleep(time.Minute)
				want := uint32(certify.NoHolder)
				if c.want >= 0 {
					want = certify.Holders(f.net.View().Committee(), 0,
						f.disk.rollup(rollup.WindowKey{}).id)[c.want]
				}
				if node, ok := f.disk.holder(rollup.WindowKey{}); !ok || node != want {
					t.Errorf("held by %v, %v, not by %d", node, ok, want)
				}
				f.p.Close()
				delete(f.disk.holders, rollup.WindowKey{})
				m.set(nil, 0, 1, 2, 3)
				f.start(nil)
				time.Sleep(time.Second)
				if _, ok := f.disk.holder(rollup.WindowKey{}); !ok {
					t.Error("not handed over after a restart")
				}
				f.p.Close()
			})
		})
	}
}

// TestProofStoreFailure fails every write around a proof.
func TestProofStoreFailure(t *testing.T) {
	failWrites(t, func(f *fixture) { f.rungs() }, "seal", "proof", "certificate", "ordered", "holder")
}

// TestLateProofStoreFailure does so when the proof comes after the certificate.
func TestLateProofStoreFailure(t *testing.T) {
	failWrites(t, func(f *fixture) {
		prover := f.rungs()
		prover.Before = func(ctx context.Context, _ *rollup.Segment) error {
			time.Sleep(time.Second)
			return ctx.Err()
		}
		f.cfg.Certify.ProofWait = 0
	}, "seal", "proof", "certificate", "ordered", "holder")
}
