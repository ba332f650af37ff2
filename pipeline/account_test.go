package pipeline_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// accountFixture is a fixture that takes acks on account over session 1.
func accountFixture(t *testing.T, clients int, bounds pipeline.OnAccount) *fixture {
	f := newFixture(t, pipelinetest.Config{Clients: clients, Members: 1})
	f.cfg.OnAccount = bounds
	f.cfg.CosignWait = time.Second
	f.session = 1
	return f
}

// away makes clients that hold their keys and are not there to co-sign.
func away(f *fixture) *pipelinetest.Cosigners {
	return &pipelinetest.Cosigners{Network: f.net,
		Away: func(pipeline.Session) bool { return true }}
}

// introduce makes the clients known: as many acks of each, verified first.
func (f *fixture) introduce(each int) (acks []*rollup.Ack) {
	acks = f.acks(each * len(f.net.Clients))
	f.want(f.submit(acks...), all(rollup.CodeAccepted, len(acks))...)
	return acks
}

// forged is an ack whose signature is another's.
func forged(a *rollup.Ack) *rollup.Ack {
	b := *a
	b.Units++
	return &b
}

// billed holds the network to exactly these acks.
func (f *fixture) billed(want ...[]*rollup.Ack) {
	f.t.Helper()
	counts := map[leaf]int{}
	for _, acks := range want {
		for _, a := range acks {
			counts[message(a)] = 1
		}
	}
	if got := f.rolledUp(); !maps.Equal(got, counts) {
		f.t.Fatalf("%d acks are in rollups, want %d", len(got), len(counts))
	}
}

// TestOnAccount: what co-signs is never verified one by one, and all of it settles.
func TestOnAccount(t *testing.T) {
	for _, cosigns := range []bool{true, false} {
		t.Run(fmt.Sprint("cosigns ", cosigns), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := accountFixture(t, 2, pipeline.OnAccount{Acks: 1000})
				f.cfg.Cosigners = away(f)
				if cosigns {
					f.cfg.Cosigners = &pipelinetest.Cosigners{Network: f.net}
				}
				stop := f.blocks()
				f.start(nil)
				first := f.introduce(64)
				acks := f.acks(100)
				f.want(f.submit(acks...), all(rollup.CodeOnAccount, len(acks))...)
				if a := f.p.Stats().Account; cosigns && a.Acks != 100 || a.Known != 2 {
					t.Fatalf("%+v", a)
				}
				more := f.acks(100) // two times 64 were verified
				want := rollup.CodeAccepted
				if cosigns { // of the others, some or all are verified by now
					want = rollup.CodeOnAccount
					f.want(f.submit(more...), all(want, len(more))...)
				} else {
					f.submit(more...)
				}
				f.settled()
				a := f.p.Stats().Account
				if covered := a.Covered > 0; covered != cosigns || a.Acks != 0 || a.Units != 0 ||
					cosigns && a.Verified != 0 || a.Forged+a.Dropped != 0 {
					t.Fatalf("%+v", a)
				}
				f.billed(first, acks, more)
				stop()
			})
		})
	}
}

// TestForgedOnAccount: a forged ack goes with all that follows it, its client starts over from
// there, and nobody else loses anything.
func TestForgedOnAccount(t *testing.T) {
	for _, cosigns := range []bool{true, false} {
		t.Run(fmt.Sprint("cosigns ", cosigns), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := accountFixture(t, 3, pipeline.OnAccount{Acks: 1000})
				f.cfg.Cosigners = away(f)
				if cosigns { // the liar among them does not
					f.cfg.Cosigners = &pipelinetest.Cosigners{Network: f.net,
						Answer: func(_ context.Context, _ *pipeline.Offer,
							answers []pipeline.Cosignature) (kept []pipeline.Cosignature) {
							for _, a := range answers {
								if a.Client != 1 {
									kept = append(kept, a)
								}
							}
							return kept
						}}
				}
				stop := f.blocks()
				f.start(nil)
				first := f.introduce(64)
				good, lie := f.acks(30), f.ack(1, 5)
				behind := []*rollup.Ack{f.ack(1, 6), f.ack(1, 7)}
				others := []*rollup.Ack{f.ack(0, 6), f.ack(2, 7)}
				f.want(f.submit(good...), all(rollup.CodeOnAccount, len(good))...)
				f.want(f.submit(forged(lie)), rollup.CodeOnAccount)
				f.want(f.submit(behind...), all(rollup.CodeOnAccount, 2)...)
				f.want(f.submit(others...), all(rollup.CodeOnAccount, 2)...)
				f.settled()
				a := f.p.Stats().Account
				if a.Forged != 1 || a.Dropped != 2 || a.Acks != 0 || a.Barred != 1 {
					t.Fatalf("%+v", a)
				}
				if found := f.lookup(lie); found.State != pipeline.AckRefused ||
					found.Code != rollup.CodeBadSignature {
					t.Fatalf("%+v", found)
				}
				if found := f.lookup(behind[1]); found.Code != rollup.CodeDropped {
					t.Fatalf("%+v", found)
				}
				f.billed(first, good, others)
				// From there the client goes on, and is verified first.
				rest := append([]*rollup.Ack{lie}, behind...)
				if lie.Epoch == f.open().Epoch {
					f.want(f.submit(rest...), all(rollup.CodeAccepted, 3)...)
					if found := f.lookup(lie); found.State != pipeline.AckPooled {
						t.Fatalf("%+v", found)
					}
					f.settled()
					f.billed(first, good, others, rest)
				}
				stop()
			})
		})
	}
}

// TestAccountBounds: nobody unknown is taken on account, and nobody beyond the bounds.
func TestAccountBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := accountFixture(t, 2, pipeline.OnAccount{Acks: 10, Units: 100})
		f.cfg.Cosigners = &pipelinetest.Cosigners{Network: f.net}
		f.blocks()
		f.start(nil)
		stranger := f.p.OpenSession("stranger", 2)
		f.introduce(64)
		f.want(submit(t, stranger, f.ack(0, 1)), rollup.CodeAccepted)
		f.want(f.submit(f.ack(0, 90)), rollup.CodeOnAccount)
		repeated := f.ack(0, 10)
		f.want(f.submit(repeated), rollup.CodeOnAccount)
		f.want(f.submit(repeated), rollup.CodeBusy) // nothing is said about it yet
		f.want(f.submit(f.ack(1, 1)), rollup.CodeAccepted)
		// What is verified and follows what is not stands and falls with that.
		f.want(f.submit(f.ack(0, 1)), rollup.CodeOnAccount)
		if a := f.p.Stats().Account; a.Acks > 10 || a.Units > 100 {
			t.Fatalf("%+v", a)
		}
		f.settled()
		f.want(f.submit(repeated), rollup.CodeKnown)
	})
}

// TestAccountRecovered: after a crash nothing that was taken on account is sealed unverified, and
// what was dropped stays dropped, whatever the setting is by then.
func TestAccountRecovered(t *testing.T) {
	for _, after := range []int{0, 1000} {
		t.Run(fmt.Sprint("then ", after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := accountFixture(t, 2, pipeline.OnAccount{Acks: 1000})
				f.cfg.Cosigners = &pipelinetest.Cosigners{Network: f.net}
				stop := f.blocks()
				f.start(nil)
				first := f.introduce(64)
				good, lie := f.acks(30), f.ack(1, 5)
				behind := f.ack(1, 6)
				f.want(f.submit(good...), all(rollup.CodeOnAccount, len(good))...)
				f.want(f.submit(forged(lie)), rollup.CodeOnAccount)
				f.want(f.submit(behind), rollup.CodeOnAccount)
				f.p.Close() // what is in the pool stays there
				f.cfg.OnAccount = pipeline.OnAccount{Acks: after}
				f.start(nil)
				if found := f.lookup(lie); found.State != pipeline.AckRefused {
					t.Fatalf("%+v", found)
				}
				f.want(f.submit(good[0]), rollup.CodeKnown)
				rest := []*rollup.Ack{lie, behind}
				f.want(f.submit(rest...), all(rollup.CodeAccepted, 2)...)
				f.settled()
				f.billed(first, good, rest)
				stop()
			})
		})
	}
}

// TestOnAccountChangesNothing: kernels, bounds and crashes give the settlement of verifying
// everything first, less what liars sent. What is expected does not depend on the kernel, which
// WAYBILL_KERNELS chooses.
func TestOnAccountChangesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("several networks")
	}
	for _, bounds := range []int{0, 7, 1000} {
		for crash := range 3 {
			t.Run(fmt.Sprint("bounds ", bounds, " crash ", crash), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { changesNothing(t, bounds, crash) })
			})
		}
	}
}

// changesNothing sends rounds of acks, of which client 0's are forged now and then, and crashes
// after one of them. Client 0 sends again what was dropped, so that all settles in the end.
func changesNothing(t *testing.T, bounds, crash int) {
	f := accountFixture(t, 3, pipeline.OnAccount{Acks: bounds})
	f.cfg.Cosigners = &pipelinetest.Cosigners{Network: f.net, Answer: func(_ context.Context,
		_ *pipeline.Offer, answers []pipeline.Cosignature) []pipeline.Cosignature {
		return answers[min(1, len(answers)):] // the first client stays silent
	}}
	stop := f.blocks()
	f.start(nil)
	honest := f.introduce(64)
	for round := range 3 {
		lie := f.ack(0, 3)
		f.submit(forged(lie))
		acks := f.acks(9)
		f.submit(acks...)
		if round == crash {
			f.p.Close()
			f.start(nil)
		}
		f.settled()
		rest := append([]*rollup.Ack{lie}, acks...)
		for _, a := range rest { // taken already, or now
			if code := f.submit(a)[0]; code.Class() != rollup.ClassTaken {
				t.Fatalf("round %d: ack %d of client %d: %v", round, a.Number, a.Client, code)
			}
		}
		honest = append(honest, rest...)
		f.settled()
	}
	f.billed(honest)
	stop()
}
