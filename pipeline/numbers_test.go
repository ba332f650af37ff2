package pipeline_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// TestOrder streams runs of acks through several workers whose batches end in any order: each
// number is taken after the one before it, and none is refused.
func TestOrder(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, pipelinetest.Config{Clients: 6, Services: 2})
			f.cfg.Workers, f.cfg.MaxBatch, f.cfg.WindowAge = 4, 7, time.Hour
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(seed, 1))
			f.cfg.NewVerifier = func() pipeline.BatchVerifier {
				return &stub{Accepting: pipelinetest.NewAccepting(), took: func(int, int) {
					mu.Lock()
					d := time.Duration(rng.IntN(40)) * time.Millisecond
					mu.Unlock()
					time.Sleep(d)
				}}
			}
			f.start(nil)
			defer f.blocks()()
			defer f.p.Close()
			var streams sync.WaitGroup
			for i := range uint64(3) { // two clients and two services each
				source := f.p.Open("stream")
				defer source.Close()
				streams.Go(func() {
					var futures []*pipeline.Future
					numbers := [4]uint32{}
					for round := range 60 {
						var acks []*rollup.Ack
						for range 1 + round%9 {
							series := (round + len(acks)/2) % 4
							acks = append(acks, f.net.Unsigned(now, 2*i+uint64(series%2), uint32(series/2),
								numbers[series], 1))
							numbers[series]++
						}
						future, err := source.SubmitAsync(frames(acks...))
						if err != nil {
							t.Error(err)
						}
						futures = append(futures, future)
					}
					for n, future := range futures {
						codes := wait(t, future)
						if slices.Max(codes) != rollup.CodeAccepted {
							t.Errorf("submission %d of stream %d: %v", n, i, codes)
						}
					}
				})
			}
			streams.Wait()
			next := map[numbered]uint32{}
			for b := f.disk.pools[now]; len(b) > 0; b = b[rollup.AckSize:] {
				a := rollup.Frame(b[:rollup.AckSize])
				n := numbered{0, a.Client(), a.Service()}
				if a.Number() != next[n] {
					t.Fatalf("number %d of %+v, where %d is next", a.Number(), n, next[n])
				}
				next[n]++
			}
			if len(next) != 12 {
				t.Errorf("%d series", len(next))
			}
		})
	}
}

// TestGap: when a number in the middle of a stream is refused, those behind it are a gap, up to
// which the answer says; sent again from there, all are taken.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2})
		f.cfg.Workers, f.cfg.MaxBatch, f.cfg.WindowAge = 3, 5, time.Hour
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		const n, bad = 60, 23
		acks := make([]*rollup.Ack, n)
		for i := range acks {
			acks[i] = f.ack(0, 1)
		}
		broken := *acks[bad]
		broken.Signature = acks[bad+1].Signature
		sent := slices.Clone(acks)
		sent[bad] = &broken
		var futures []*pipeline.Future
		for i := 0; i < n; i += 4 {
			future, err := f.source.SubmitAsync(frames(sent[i : i+4]...))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, future)
		}
		for i := range n {
			answers, _, err := futures[i/4].Wait(t.Context())
			got, want := answers[i%4], rollup.Answer{Code: rollup.CodeAccepted}
			switch {
			case i == bad:
				want.Code = rollup.CodeBadSignature
			case i > bad: // of a suspect now: some may be judged before those ahead of the bad one
				want = rollup.Answer{Code: rollup.CodeGap, Arg: min(bad, got.Arg)}
			}
			if err != nil || got != want {
				t.Errorf("ack %d: %+v, %v, want %+v", i, got, err, want)
			}
		}
		f.want(f.submit(f.net.Ack(now, 1, 0, 0, 1)), rollup.CodeAccepted) // another client's
		f.want(f.submit(acks[bad-2:]...), append(all(rollup.CodeKnown, 2),
			all(rollup.CodeAccepted, n-bad)...)...)
		// A lone ack too far ahead is not even verified.
		before := f.p.Stats()
		f.want(f.submit(f.net.Ack(now, 0, 0, n+1, 1)), rollup.CodeGap)
		after := f.p.Stats()
		if after.Stage(pipeline.StageVerify).Batches != before.Stage(pipeline.StageVerify).Batches {
			t.Error("a gap was verified")
		}
	})
}

// TestReconnect: a client that lost its connection sends the same acks through another one, while
// the first are in flight, and goes on there.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		gate := make(chan struct{})
		f.cfg.Workers, f.cfg.MaxBatch, f.cfg.WindowAge = 2, 4, time.Hour
		f.cfg.NewVerifier = func() pipeline.BatchVerifier {
			return &stub{Accepting: pipelinetest.NewAccepting(), gate: gate}
		}
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		acks := f.unsigned(16)
		first, err := f.source.SubmitAsync(frames(acks[:8]...))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		again := f.p.Open("again")
		defer again.Close()
		second, err := again.SubmitAsync(frames(acks...))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(gate)
		one, two := wait(t, first), wait(t, second)
		for i, code := range two {
			if !code.OK() || i < 8 && !(code == rollup.CodeKnown || one[i] == rollup.CodeKnown) {
				t.Errorf("ack %d: %v", i, code)
			}
		}
		if slices.Max(one) > rollup.CodeKnown {
			t.Errorf("%v", one)
		}
		if n := len(f.disk.pools[now]) / rollup.AckSize; n != 16 {
			t.Errorf("%d acks are in the pool", n)
		}
	})
}

// TestRecall: the acks of windows that are in memory no more are known, in this epoch and in past
// ones, after a restart too; and their numbers are used.
func TestRecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2, EpochSeconds: 600, GraceSeconds: 1800})
		f.start(nil)
		defer f.blocks()()
		var acks []*rollup.Ack
		const windows = 14 // more than the cache has room for
		for range windows {
			for range 3 {
				acks = append(acks, f.ack(0, 1), f.ack(1, 2))
			}
			f.want(f.submit(acks[len(acks)-6:]...), all(rollup.CodeAccepted, 6)...)
			time.Sleep(12 * time.Second)
		}
		check := func(next rollup.Code) {
			t.Helper()
			f.settled()
			f.want(f.submit(acks...), all(rollup.CodeKnown, len(acks))...)
			for i, a := range acks {
				other := f.net.Ack(now, a.Client, 0, a.Number, 9)
				forged := *other
				forged.Signature = a.Signature
				f.want(f.submit(other, &forged), rollup.CodeNumberUsed, rollup.CodeBadSignature)
				want := uint32(i / 6)
				if got := f.lookup(a); got.State != pipeline.AckOrdered || got.Units != a.Units ||
					got.Request != a.Request || got.Window != want {
					t.Errorf("%+v", got)
				}
			}
			f.want(f.submit(f.net.Ack(now, 1, 0, 3*windows+1, 1)), next)
		}
		check(rollup.CodeGap)
		if next, ok := f.p.Counter(0, 1, 0); next != 3*windows || !ok {
			t.Errorf("number %d is next, %v", next, ok)
		}
		f.p.Close()
		f.start(nil)
		check(rollup.CodeGap)
		if next, ok := f.p.Counter(0, 1, 0); next != 3*windows || !ok {
			t.Errorf("after a restart number %d is next, %v", next, ok)
		}
		time.Sleep(650 * time.Second) // another epoch
		check(rollup.CodePastEpoch)
		if next, ok := f.p.Counter(0, 1, 0); ok {
			t.Errorf("number %d of a past epoch is next", next)
		}
		f.p.Close()
		f.start(nil)
		check(rollup.CodePastEpoch)
		// What the store has forgotten, the node says nothing of for good.
		f.disk.mu.Lock()
		f.disk.since = 1
		f.disk.mu.Unlock()
		f.want(f.submit(acks[0], f.net.Ack(now, 1, 0, 99, 1)), rollup.CodeStoreFailed,
			rollup.CodeStoreFailed)
		f.p.Close()
	})
}

// TestPastEpoch: an epoch's acks are refused for good when it is over, and only those that are
// signed; an ack that was taken is never refused.
func TestPastEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2, EpochSeconds: 60, GraceSeconds: 600})
		f.cfg.Tail = time.Nanosecond
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		time.Sleep(55 * time.Second)
		a := f.ack(0, 1)
		f.want(f.submit(a), rollup.CodeAccepted)
		ahead := f.net.Ack(rollup.WindowKey{Epoch: 1}, 0, 0, 0, 1)
		f.want(f.submit(ahead), rollup.CodeEpochAhead)
		time.Sleep(7 * time.Second) // its window is closed, and not sealed yet or just so
		next := f.net.Ack(now, 0, 0, 1, 1)
		unsigned := *next
		unsigned.Units++
		f.want(f.submit(a, next, &unsigned, ahead), rollup.CodeKnown, rollup.CodePastEpoch,
			rollup.CodeBadSignature, rollup.CodeAccepted)
		f.settled()
		f.want(f.submit(a, next), rollup.CodeKnown, rollup.CodePastEpoch)
		if n := len(f.rolledUp()); n != 2 {
			t.Errorf("%d acks rolled up", n)
		}
	})
}

// TestRevoked: the door takes no more from a client that is revoked, and knows what it took.
func TestRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2})
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		a, b := f.ack(0, 1), f.ack(0, 1)
		f.want(f.submit(a), rollup.CodeAccepted)
		if err := f.net.Revoke(0); err != nil {
			t.Fatal(err)
		}
		f.want(f.submit(a, b, f.net.Ack(now, 0, 0, 0, 9), f.ack(1, 1)), rollup.CodeKnown,
			rollup.CodeNotValid, rollup.CodeNumberUsed, rollup.CodeAccepted)
		f.settled() // what was taken before is good
		if n := len(f.rolledUp()); n != 2 {
			t.Errorf("%d acks rolled up", n)
		}
	})
}

// TestNewStore: a node whose store is new takes nothing in the running epoch, for it can not know
// what it took in it, and says nothing for good. It begins with an epoch that the store knows all
// of.
func TestNewStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1, EpochSeconds: 60, GraceSeconds: 600})
		f.start(nil)
		defer f.blocks()()
		taken := f.ack(0, 1)
		f.want(f.submit(taken), rollup.CodeAccepted)
		f.settled()
		f.p.Close()
		f.disk = newDisk()
		f.disk.unknown = true
		f.start(nil)
		defer func() { f.p.Close() }()
		lost := func() {
			t.Helper()
			f.want(f.submit(taken, f.net.Ack(now, 0, 0, 0, 9), f.net.Ack(now, 0, 0, 1, 1)),
				all(rollup.CodeStoreFailed, 3)...)
			if err := f.p.Ready(); !errors.Is(err, pipeline.ErrNew) {
				t.Error(err)
			}
			if s := f.p.Stats(); s.Closed == "" {
				t.Error("the statistics say nothing of it")
			}
			if w := f.p.OpenWindow(); !w.Closes.IsZero() {
				t.Errorf("%+v is open", w)
			}
			if next, ok := f.p.Counter(0, 0, 0); ok {
				t.Errorf("number %d is next", next)
			}
		}
		lost()
		f.disk.mu.Lock()
		f.disk.since, f.disk.unknown = 1, false
		f.disk.mu.Unlock()
		lost()
		time.Sleep(60 * time.Second)
		if err := f.p.Ready(); err != nil {
			t.Error(err)
		}
		f.want(f.submit(taken), rollup.CodeStoreFailed)
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
		f.p.Close()
		f.start(nil)
		f.settled()
		if o := f.net.Ordered(); len(o) != 2 || o[1].Key.Epoch != 1 {
			t.Errorf("%+v", o)
		}
	})
	synctest.Test(t, func(t *testing.T) { // one that learns that it is as old as the node
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		f.disk.unknown = true
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		f.want(f.submit(f.net.Ack(now, 0, 0, 0, 1)), rollup.CodeStoreFailed)
		f.disk.mu.Lock()
		f.disk.unknown = false
		f.disk.mu.Unlock()
		time.Sleep(2 * time.Second) // the next block
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
		if err := f.p.Ready(); err != nil {
			t.Error(err)
		}
	})
}

// TestBusy: a copy of an ack whose number was taken while it was verified, and whose window has
// left memory since, is to be sent again.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		var slow sync.Map
		f.cfg.Workers = 2
		f.cfg.NewVerifier = func() pipeline.BatchVerifier { return &dawdling{slow: &slow} }
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		a := f.ack(0, 7)
		slow.Store(uint64(7), time.Minute)
		late, err := f.source.SubmitAsync(frames(a))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		slow.Delete(uint64(7))
		other := f.p.Open("other")
		defer other.Close()
		f.want(submit(t, other, a), rollup.CodeAccepted)
		f.want(wait(t, late), rollup.CodeBusy)
		f.want(f.submit(a), rollup.CodeKnown)
		f.settled()
		if n := len(f.rolledUp()); n != 1 {
			t.Errorf("%d acks rolled up", n)
		}
	})
}

// dawdling is a verifier that takes its time over acks with some units.
type dawdling struct {
	inner *bls.Verifier
	slow  *sync.Map
}

func (d *dawdling) Verify(b *bls.Batch, verdicts []bls.Verdict) (bls.Report, error) {
	var a rollup.Ack
	a.SetLeaf(b.Messages.At(0)[rollup.MessageSize-rollup.LeafSize:])
	if wait, ok := d.slow.Load(a.Units); ok {
		time.Sleep(wait.(time.Duration))
	}
	if d.inner == nil {
		d.inner = bls.NewVerifier(bls.Default, 1)
	}
	return d.inner.Verify(b, verdicts)
}

func (d *dawdling) Signatures() []bls.Signature { return d.inner.Signatures() }

// TestHeldIsGone: of an ack whose window is sealed the signature is not kept, and nothing is shown
// in its place.
func TestHeldIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		a, twin := f.ack(0, 1), f.net.Ack(now, 0, 0, 0, 2)
		f.want(f.submit(a), rollup.CodeAccepted)
		for _, want := range [][]byte{a.Append(nil), nil} {
			future, err := f.source.SubmitAsync(frames(f.net.Ack(now, 0, 0, 1, 0), twin))
			if err != nil {
				t.Fatal(err)
			}
			f.want(wait(t, future), rollup.CodeZeroUnits, rollup.CodeNumberUsed)
			if !bytes.Equal(future.Held(1), want) || future.Held(0) != nil {
				t.Errorf("held is %x", future.Held(1))
			}
			f.settled()
		}
	})
}

// TestFirstAcks streams through a connection that is new: while its first acks wait for their turn
// among those of other new ones, later ones are verified as those of a known one, and are judged
// behind them all the same. Closing answers all.
func TestFirstAcks(t *testing.T) {
	for _, closes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, pipelinetest.Config{Clients: 4})
			f.cfg.Workers, f.cfg.MaxBatch, f.cfg.WindowAge = 3, 64, time.Hour
			f.cfg.NewVerifier = func() pipeline.BatchVerifier {
				return &stub{Accepting: pipelinetest.NewAccepting(), took: slow, bad: 13}
			}
			f.start(nil)
			defer f.blocks()()
			defer f.p.Close()
			var futures []*pipeline.Future
			submit := func(s *pipeline.Source, acks []*rollup.Ack) {
				future, err := s.SubmitAsync(frames(acks...))
				if err != nil {
					t.Fatal(err)
				}
				futures = append(futures, future)
			}
			numbers := [4]uint32{}
			next := func(client uint64, n int) (acks []*rollup.Ack) {
				for range n {
					acks = append(acks, f.net.Unsigned(now, client, 0, numbers[client], 1))
					numbers[client]++
				}
				return acks
			}
			sources := []*pipeline.Source{f.source, f.p.Open("b"), f.p.Open("c"), f.p.Open("d")}
			for range 12 { // all are new
				for client, source := range sources {
					submit(source, next(uint64(client), 40))
				}
			}
			for range 40 { // and become known, one after the other
				time.Sleep(100 * time.Millisecond)
				for client, source := range sources {
					submit(source, next(uint64(client), 10))
				}
			}
			if closes {
				time.Sleep(200 * time.Millisecond)
				f.p.Close()
			}
			refused := false
			for n, future := range futures {
				for _, code := range wait(t, future) {
					refused = refused || code == rollup.CodeShuttingDown
					if code != rollup.CodeAccepted && !(closes && refused) {
						t.Fatalf("submission %d: %v", n, code)
					}
				}
			}
			if b := f.p.Stats().Budget; b.Acks != 0 || b.Bytes != 0 {
				t.Errorf("the budget has lent out %+v", b)
			}
		})
	}
}
