package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

func TestFromDoorToOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Members: 4, Clients: 3, Payers: 2, Services: 2})
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		acks := f.acks(20)
		f.want(f.submit(acks...), all(rollup.CodeAccepted, 20)...)
		if got := f.lookup(acks[7]); got.State != pipeline.AckPooled || got.Units != 8 {
			t.Fatalf("%+v", got)
		}
		if next, ok := f.p.Counter(0, 1, 0); next != 7 || !ok {
			t.Errorf("number %d is next, %v", next, ok)
		}
		f.want(f.submit(acks[:2]...), rollup.CodeKnown, rollup.CodeKnown)
		f.settled()
		if got := f.lookup(acks[7]); got.State != pipeline.AckOrdered || got.Units != 8 ||
			got.Request != acks[7].Request {
			t.Fatalf("%+v", got)
		}
		f.want(f.submit(acks[7]), rollup.CodeKnown)
		other := f.net.Ack(rollup.WindowKey{}, 1, 0, 3, 999)
		f.want(f.submit(other), rollup.CodeNumberUsed)
		for i, n := range f.rolledUp() {
			if n != 1 {
				t.Errorf("%x is in %d rollups", i, n)
			}
		}
		if n := len(f.rolledUp()); n != 20 {
			t.Fatalf("%d acks were rolled up", n)
		}
		s := f.p.Stats()
		w := s.AllWindows()[len(s.AllWindows())-1]
		if w.State != certify.StateOrdered || w.Acks != 20 || w.Units != 210 || w.Sealed.IsZero() ||
			w.Ordered.IsZero() {
			t.Errorf("%+v", w)
		}
		if s.Answered(rollup.CodeAccepted) != 20 || s.Answered(rollup.CodeKnown) != 3 ||
			s.Certify.Ordered != 1 || s.Certify.Certified != 1 {
			t.Errorf("%+v", s)
		}
		if s.Budget.Acks != 0 || s.Budget.Bytes != 0 {
			t.Errorf("the budget has lent out %+v", s.Budget)
		}
	})
}

// refusal is a case of TestRefusals. Numbers 0 and 1 of client 0 are taken: 0 in a window that is
// ordered, 1 in the open one. Client 2 is revoked.
type refusal struct {
	code rollup.Code
	ack  func(f *fixture) *rollup.Ack
	arg  uint64
}

// now is the key of the epoch that runs.
var now rollup.WindowKey

var refusals = []refusal{
	{rollup.CodeAccepted, func(f *fixture) *rollup.Ack { return f.net.Ack(now, 1, 0, 0, 1) }, 0},
	{rollup.CodeKnown, func(f *fixture) *rollup.Ack { return f.net.Ack(now, 0, 0, 0, 1) }, 0},
	{rollup.CodeWrongNetwork, func(f *fixture) *rollup.Ack {
		return changed(f, func(a *rollup.Ack) { a.Net[3]++ })
	}, 0},
	{rollup.CodeWrongNode,
		func(f *fixture) *rollup.Ack { return changed(f, func(a *rollup.Ack) { a.Node = 1 }) }, 0},
	{rollup.CodeEpochAhead,
		func(f *fixture) *rollup.Ack { return changed(f, func(a *rollup.Ack) { a.Epoch = 1 }) }, 0},
	{rollup.CodeUnknownClient, func(f *fixture) *rollup.Ack {
		a := f.net.Ack(now, 0, 0, 1, 1)
		a.Client = 77
		return a
	}, 0},
	{rollup.CodeUnknownService,
		func(f *fixture) *rollup.Ack { return f.net.Ack(now, 0, 9, 2, 1) }, 0},
	{rollup.CodeNotGranted, func(f *fixture) *rollup.Ack { return f.net.Ack(now, 0, 3, 0, 1) }, 0},
	{rollup.CodeZeroUnits, func(f *fixture) *rollup.Ack { return f.net.Ack(now, 0, 0, 2, 0) }, 0},
	{rollup.CodeExcessUnits, func(f *fixture) *rollup.Ack {
		return f.net.Ack(now, 0, 0, 2, pipelinetest.UnitCap+1)
	}, 0},
	{rollup.CodeNumberUsed, func(f *fixture) *rollup.Ack { return f.net.Ack(now, 0, 0, 0, 2) }, 0},
	{rollup.CodeGap, func(f *fixture) *rollup.Ack { return f.net.Ack(now, 0, 0, 900, 1) }, 2},
	{rollup.CodeBeyondLimit, func(f *fixture) *rollup.Ack { return f.net.Ack(now, 0, 0, 1000, 1) }, 0},
	{rollup.CodeNotValid, func(f *fixture) *rollup.Ack { return f.net.Ack(now, 2, 0, 0, 1) }, 0},
	{rollup.CodeBadEncoding, func(f *fixture) *rollup.Ack {
		a := f.net.Ack(now, 0, 0, 2, 1)
		a.Signature[0] &^= 0x80 // no longer marked as compressed
		return a
	}, 0},
	{rollup.CodeNotOnCurve, func(f *fixture) *rollup.Ack { return withSignature(f, 0x80, 1) }, 0},
	{rollup.CodeNotInSubgroup, func(f *fixture) *rollup.Ack { return withSignature(f, 0x80, 0) }, 0},
	{rollup.CodeIdentity, func(f *fixture) *rollup.Ack {
		a := f.net.Ack(now, 0, 0, 2, 1)
		a.Signature = bls.IdentitySignature
		return a
	}, 0},
	{rollup.CodeBadSignature, func(f *fixture) *rollup.Ack {
		a := f.net.Ack(now, 0, 0, 2, 1)
		a.Units++
		return a
	}, 0},
}

func changed(f *fixture, change func(a *rollup.Ack)) *rollup.Ack {
	a := f.net.Unsigned(now, 0, 0, 2, 1)
	change(a)
	f.net.Sign(a)
	return a
}

// withSignature returns an ack whose signature has the given x: 0 is on the curve and outside the
// subgroup, and for 1 there is no y.
func withSignature(f *fixture, flag, x byte) *rollup.Ack {
	a := f.net.Unsigned(now, 0, 0, 2, 1)
	a.Signature[0], a.Signature[47] = flag, x
	return a
}

// Codes that depend on the node's state have a test of their own.
var elsewhere = map[rollup.Code]string{
	rollup.CodeMalformed:           "TestMalformed",
	rollup.CodeOverloaded:          "TestOverloadIsFair",
	rollup.CodeClock:               "TestClock",
	rollup.CodeStoreFailed:         "TestStoreFailure",
	rollup.CodeShuttingDown:        "TestClose",
	rollup.CodeOverflow:            "TestRows",
	rollup.CodePastEpoch:           "TestPastEpoch",
	rollup.CodeBusy:                "TestBusy",
	rollup.CodeInsufficientReserve: "TestCredit", rollup.CodeInsufficientAllowance: "TestCredit",
	rollup.CodeOwnLimit: "TestCredit",
	// Of acks on account nothing is said yet.
	rollup.CodeOnAccount: "", rollup.CodeDropped: "",
}

func TestEveryCodeHasACase(t *testing.T) {
	cases := 0
	for _, code := range rollup.Codes() {
		_, there := elsewhere[code]
		if there == slices.ContainsFunc(refusals, func(r refusal) bool { return r.code == code }) {
			t.Errorf("%v has no case, or two", code)
		}
		cases++
	}
	if len(refusals)+len(elsewhere) != cases {
		t.Fatalf("%d cases and %d tests for %d codes", len(refusals), len(elsewhere), cases)
	}
}

// TestRefusals: every code, with what the ack says; and what a node says for good it says of signed
// acks only: with a signature that is none the answer is about that.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 3, Services: 8, Numbers: 1000})
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
		f.settled() // window 0 is closed now
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
		if err := f.net.Revoke(2); err != nil {
			t.Fatal(err)
		}
		before := f.p.Stats().Codes()
		var acks []*rollup.Ack
		for _, r := range refusals {
			a := r.ack(f)
			acks = append(acks, a)
			if class := r.code.Class(); class == rollup.ClassNever || r.code == rollup.CodeKnown {
				unsigned := *a
				unsigned.Signature[9]++
				code := f.submit(&unsigned)[0]
				if code < rollup.CodeBadEncoding || code > rollup.CodeBadSignature {
					t.Errorf("an unsigned ack is answered %v", code)
				}
				before[code]++
			}
			answers := make([]rollup.Answer, 1)
			if _, err := f.source.Submit(t.Context(), frames(a), answers); err != nil {
				t.Fatal(err)
			}
			if want := (rollup.Answer{Code: r.code, Arg: r.arg}); answers[0] != want {
				t.Errorf("%+v where %+v belongs", answers[0], want)
			}
		}
		after := f.p.Stats().Codes()
		for _, r := range refusals {
			if after[r.code] != before[r.code]+1 {
				t.Errorf("%v counted %d times", r.code, after[r.code]-before[r.code])
			}
		}
		// Bad ones and good ones together: each has its own answer.
		codes := f.submit(acks...)
		for i, r := range refusals {
			if want := r.code; want != codes[i] && !(want == rollup.CodeAccepted &&
				codes[i] == rollup.CodeKnown) {
				t.Errorf("together: %v where %v belongs", codes[i], want)
			}
		}
	})
}

func TestMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		f.start(nil)
		defer f.p.Close()
		b := frames(f.acks(2)...)
		b[128]++
		codes := make([]rollup.Answer, 2)
		if _, err := f.source.Submit(t.Context(), b, codes); err != nil ||
			codes[0].Code != rollup.CodeAccepted || codes[1].Code != rollup.CodeMalformed {
			t.Errorf("%v, %v", codes, err)
		}
		if _, err := f.source.Submit(t.Context(), b[:200], codes[:1]); !errors.Is(err,
			pipeline.ErrFrames) {
			t.Error(err)
		}
		if _, err := f.source.Submit(t.Context(), b, codes[:1]); !errors.Is(err, pipeline.ErrFrames) {
			t.Error(err)
		}
		if r, err := f.source.Submit(t.Context(), nil, nil); err != nil || r.RetryAfter != 0 {
			t.Error(r, err)
		}
	})
}

// TestSameAckInFlight submits one ack many times, and another with its number, while a
// write is held up: one is stored, and nobody has an answer before it is.
func TestSameAckInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2})
		f.start(nil)
		defer f.p.Close()
		release := make(chan struct{})
		f.store.before = func(string) { <-release }
		a := f.net.Ack(f.open(), 0, 0, 0, 1)
		twin := f.net.Ack(f.open(), 0, 0, 0, 2)
		futures := []*pipeline.Future{}
		for _, ack := range []*rollup.Ack{a, a, twin, a} {
			future, err := f.source.SubmitAsync(frames(ack))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			futures = append(futures, future)
		}
		for _, future := range futures {
			select {
			case <-future.Done():
				t.Fatal("answered before the write returned")
			default:
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := futures[0].Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		close(release)
		for i, want := range []rollup.Code{rollup.CodeAccepted, rollup.CodeKnown, rollup.CodeNumberUsed,
			rollup.CodeKnown} {
			if codes := wait(t, futures[i]); codes[0] != want {
				t.Errorf("%v, want %v", codes, want)
			}
		}
		if held := futures[2].Held(0); !bytes.Equal(held, a.Append(nil)) {
			t.Errorf("held is %x", held)
		}
		if futures[0].Held(0) != nil {
			t.Error("an ack that was taken has another under its number")
		}
		if n := len(f.disk.pools[f.open()]); n != rollup.AckSize {
			t.Errorf("%d bytes in the pool", n)
		}
	})
}

func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 40})
		f.start(nil)
		defer f.p.Close()
		f.store.before = func(string) { time.Sleep(time.Second) }
		acks := f.acks(40)
		var wg sync.WaitGroup
		for _, a := range acks {
			wg.Go(func() {
				if code := f.submit(a)[0]; code != rollup.CodeAccepted {
					t.Error(code)
				}
			})
		}
		wg.Wait()
		if n := f.p.Stats().Writes; n > 3 {
			t.Errorf("%d writes for acks that came within one", n)
		}
	})
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		var offset time.Duration
		f.cfg.Now = func() time.Time { return time.Now().Add(offset) }
		f.cfg.MaxSkew, f.cfg.WindowAge = 10*time.Second, time.Hour // a sealed window makes a block
		f.start(nil)
		stop := f.blocks()
		defer f.p.Close()
		time.Sleep(time.Minute) // an idle chain makes blocks, and is no reason
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
		for _, offset = range []time.Duration{12 * time.Second, -12 * time.Second} {
			f.want(f.submit(f.net.Ack(f.open(), 0, 0, 1, 1)), rollup.CodeClock)
			if err := f.p.Ready(); !errors.Is(err, pipeline.ErrClock) {
				t.Error(err)
			}
		}
		offset = 0
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
		stop()
		time.Sleep(11 * time.Second) // the chain stands still
		f.want(f.submit(f.ack(0, 1)), rollup.CodeClock)
	})
}

// TestClose closes with acks in every stage.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2})
		f.cfg.Workers, f.cfg.MaxBatch = 1, 4
		f.start(nil)
		acks := f.acks(40)
		release := make(chan struct{})
		f.store.before = func(string) { <-release }
		var futures []*pipeline.Future
		for _, a := range acks[:20] { // these come as far as the store, which holds them up
			future, _ := f.source.SubmitAsync(frames(a))
			futures = append(futures, future)
		}
		synctest.Wait()
		for _, a := range acks[20:] {
			future, _ := f.source.SubmitAsync(frames(a))
			futures = append(futures, future)
		}
		follow := f.p.Follow(t.Context())
		closed := make(chan struct{})
		go func() { f.p.Close(); close(closed) }()
		synctest.Wait()
		f.want(f.submit(acks[0]), rollup.CodeShuttingDown)
		close(release)
		<-closed
		pool := map[leaf]bool{}
		for b := f.disk.pools[rollup.WindowKey{}]; len(b) > 0; b = b[rollup.AckSize:] {
			pool[leaf(rollup.Frame(b).Leaf())] = true
		}
		for i, future := range futures {
			codes := wait(t, future)
			if codes[0] != rollup.CodeAccepted && codes[0] != rollup.CodeShuttingDown ||
				i < 20 && codes[0] != rollup.CodeAccepted {
				t.Errorf("%d: %v", i, codes)
			}
			if accepted := codes[0] == rollup.CodeAccepted; accepted != pool[message(acks[i])] {
				t.Errorf("%d: answered %v, in the pool: %v", i, codes[0], !accepted)
			}
		}
		<-follow
		if _, open := <-follow; open {
			t.Error("Follow goes on after Close")
		}
		if err := f.p.Ready(); !errors.Is(err, pipeline.ErrClosed) {
			t.Error(err)
		}
		f.p.Close()
		if err := f.p.Pipeline.Start(t.Context()); !errors.Is(err, pipeline.ErrClosed) {
			t.Error(err)
		}
	})
}

// TestSameRoots runs the same acks under other batch sizes, worker counts and orders of clients:
// the roots stay.
func TestSameRoots(t *testing.T) {
	var want rollup.Hash
	for i, c := range []struct{ workers, batch, submission int }{{1, 8192, 60}, {2, 7, 60}, {3, 1, 9},
		{2, 16, 1}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, pipelinetest.Config{Clients: 5, Payers: 2, Start: time.Unix(946684800, 0)})
			f.cfg.Workers, f.cfg.MaxBatch = c.workers, c.batch
			f.start(nil)
			defer f.blocks()()
			defer f.p.Close()
			series := make([][]*rollup.Ack, 5) // of a client each
			for i, a := range f.acks(60) {
				series[i%5] = append(series[i%5], a)
			}
			rand.New(rand.NewPCG(uint64(i), 0)).Shuffle(5,
				func(i, j int) { series[i], series[j] = series[j], series[i] })
			var wg sync.WaitGroup
			for _, acks := range series {
				source := f.p.Open("a client")
				wg.Go(func() {
					for len(acks) > 0 {
						n := min(c.submission, len(acks))
						for _, code := range submit(t, source, acks[:n]...) {
							if code != rollup.CodeAccepted {
								t.Error(code)
							}
						}
						acks = acks[n:]
					}
				})
			}
			wg.Wait()
			f.settled()
			ordered := f.net.Ordered()
			if len(ordered) != 1 || ordered[0].Acks != 60 {
				t.Fatalf("%+v", ordered)
			}
			if want == (rollup.Hash{}) {
				want = ordered[0].ID
			}
			if ordered[0].ID != want {
				t.Errorf("%+v gives another rollup", c)
			}
		})
	}
}
