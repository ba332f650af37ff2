package pipeline_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// slow makes a stub that takes a millisecond for a good ack and 50 for a bad one.
func slow(acks, bad int) { time.Sleep(time.Duration(acks+50*bad) * time.Millisecond) }

// TestOverloadIsFair floods from three sources: a polite one has all its acks admitted, and waits
// for its turn only.
func TestOverloadIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 4})
		f.cfg.Workers, f.cfg.MaxBatch, f.cfg.MaxAcks, f.cfg.WindowAge = 1, 500, 4000, time.Hour
		f.cfg.NewVerifier = func() pipeline.BatchVerifier {
			return &stub{Accepting: pipelinetest.NewAccepting(), took: slow}
		}
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		var flood sync.WaitGroup
		stop := make(chan struct{})
		for i := range 3 {
			source := f.p.Open("flood")
			defer source.Close()
			flood.Go(func() {
				var futures []*pipeline.Future
				refused := 0
				// Copies of one number: each is verified.
				copies := slices.Repeat([]*rollup.Ack{f.net.Unsigned(now, uint64(i), 0, 0, 1)}, 100)
				for {
					for _, a := range copies { // that are not the same to the byte
						a.Signature[0]++
					}
					future, err := source.SubmitAsync(frames(copies...))
					if err != nil {
						t.Error(err)
					}
					futures = append(futures, future)
					select {
					case <-stop:
						for _, future := range futures {
							answers, receipt, err := future.Wait(t.Context())
							over := slices.Contains(codesOf(answers), rollup.CodeOverloaded)
							if err != nil || over != (receipt.RetryAfter > 0) || receipt.RetryAfter > 5*time.Second {
								t.Errorf("overloaded: %v, retry after %v, %v", over, receipt.RetryAfter, err)
							}
							if over {
								refused++
							}
						}
						if refused == 0 || refused == len(futures) {
							t.Errorf("%d of %d submissions of a flood were refused", refused, len(futures))
						}
						return
					case <-time.After(10 * time.Millisecond):
					}
				}
			})
		}
		time.Sleep(4 * time.Second) // the budget is used up
		most := 0
		for range 100 { // a batch gives back what it held all at once
			time.Sleep(10 * time.Millisecond)
			most = max(most, f.p.Stats().Budget.Acks)
		}
		if b := f.p.Stats().Budget; most < 2000 || most > 4000 || b.Sources != 4 {
			t.Errorf("the flood holds up to %d, now %+v", most, b)
		}
		for range 20 {
			start := time.Now()
			var polite []*rollup.Ack
			for range 10 {
				polite = append(polite, f.unsignedAck(3, 1))
			}
			f.want(f.submit(polite...), all(rollup.CodeAccepted, 10)...)
			// The batch under way, and one of each other source, half a second each.
			if waited := time.Since(start); waited > 2500*time.Millisecond {
				t.Errorf("waited %v behind a flood", waited)
			}
			time.Sleep(100 * time.Millisecond)
		}
		close(stop)
		flood.Wait()
		s := f.p.Stats()
		if s.Budget.Acks != 0 || s.Budget.Bytes != 0 || s.Answered(rollup.CodeOverloaded) == 0 ||
			s.Stage(pipeline.StageVerify).Queued != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestManyNewSources opens hundreds of connections at once that send bad acks. A source that is
// known has all its acks admitted, and waits for one batch of theirs; with a budget that keeps
// nothing apart from them, it does not.
func TestManyNewSources(t *testing.T) {
	const maxAcks, mine = 8000, 2000
	run := func(maxNew int) (refused int, waited time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, pipelinetest.Config{Clients: 401})
			f.cfg.Workers, f.cfg.MaxBatch, f.cfg.MaxAcks, f.cfg.MaxNew, f.cfg.WindowAge = 1, 1000, maxAcks,
				maxNew, time.Hour
			f.cfg.NewVerifier = func() pipeline.BatchVerifier {
				return &stub{Accepting: pipelinetest.NewAccepting(), bad: 13, took: func(acks, bad int) {
					time.Sleep(time.Duration(acks+4*bad) * time.Millisecond)
				}}
			}
			f.start(nil)
			defer f.blocks()()
			defer f.p.Close()
			next := uint32(0) // of client 400
			good := func(n int) []byte {
				var list []*rollup.Ack
				for i := range uint32(n) {
					list = append(list, f.net.Unsigned(now, 400, 0, next+i, 1))
				}
				return frames(list...)
			}
			bad := func(client uint64, n int) []byte {
				return frames(slices.Repeat([]*rollup.Ack{f.net.Unsigned(now, client, 0, 0, 13)}, n)...)
			}
			submit := func(s *pipeline.Source, frames []byte) *pipeline.Future {
				future, err := s.SubmitAsync(frames)
				if err != nil {
					t.Fatal(err)
				}
				return future
			}
			if codes := wait(t, submit(f.source, good(256))); slices.Max(codes) != rollup.CodeAccepted {
				t.Fatal(codes)
			}
			next += 256
			var pushback []*pipeline.Future
			for round := range uint64(10) {
				for i := range uint64(40) { // each in another client's name, for clients are remembered
					source := f.p.Open("new")
					defer source.Close()
					pushback = append(pushback, submit(source, bad(40*round+i, 250)))
				}
				if b := f.p.Stats().Budget; maxNew == 0 && (b.New > maxAcks/4 || b.New < maxAcks/8) {
					t.Errorf("new sources hold %+v", b)
				}
				start := time.Now()
				codes := wait(t, submit(f.source, good(mine)))
				waited = max(waited, time.Since(start))
				for _, code := range codes {
					switch code {
					case rollup.CodeAccepted:
						next++
					case rollup.CodeOverloaded, rollup.CodeGap:
						refused++
					default:
						t.Fatalf("a good ack is answered %v", code)
					}
				}
			}
			overloaded := 0
			for _, future := range pushback {
				answers, receipt, _ := future.Wait(t.Context())
				codes := codesOf(answers)
				if slices.Contains(codes, rollup.CodeOverloaded) {
					overloaded++
					if receipt.RetryAfter == 0 {
						t.Error("overloaded, and not told when to come back")
					}
				} else if slices.Max(codes) != rollup.CodeBadSignature {
					t.Errorf("bad acks are answered %v", codes)
				}
			}
			if overloaded < len(pushback)/2 {
				t.Errorf("%d of %d new sources were pushed back", overloaded, len(pushback))
			}
		})
		return refused, waited
	}
	// One batch of new sources, 5 s, may be under way, one may have its turn, and 2000 good acks
	// take 2 s.
	if refused, waited := run(0); refused > 0 || waited > 13*time.Second {
		t.Errorf("%d acks of a known source were refused, it waited %v", refused, waited)
	}
	if refused, _ := run(maxAcks - 1000); refused == 0 {
		t.Error("nothing is kept for a known source, and it got everything: this test shows nothing")
	}
}

// TestByteBudget: many small submissions use up the bytes before the acks.
func TestByteBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2000})
		gate := make(chan struct{})
		f.cfg.Workers, f.cfg.MaxBytes = 1, 1<<21
		f.cfg.NewVerifier = func() pipeline.BatchVerifier {
			return &stub{Accepting: pipelinetest.NewAccepting(), gate: gate}
		}
		f.start(nil)
		defer f.p.Close()
		var futures []*pipeline.Future
		for _, a := range f.unsigned(2000) {
			future, err := f.source.SubmitAsync(frames(a))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, future)
		}
		b := f.p.Stats().Budget
		if share := b.MaxBytes / 4; b.Bytes > share*2/3 || b.Bytes < share/3 || b.Acks > 1000 ||
			b.New != b.Acks {
			t.Errorf("one source holds %+v", b)
		}
		close(gate)
		count := map[rollup.Code]int{}
		for _, future := range futures {
			count[wait(t, future)[0]]++
		}
		if count[rollup.CodeAccepted] != b.Acks || count[rollup.CodeOverloaded] != 2000-b.Acks {
			t.Errorf("%v, %d were admitted", count, b.Acks)
		}
	})
}

// TestQuarantine: after its first bad ack a client is verified apart, and holds nobody up until
// it has behaved.
func TestQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 3})
		f.cfg.Workers = 2
		var mu sync.Mutex
		mixed := false
		f.cfg.NewVerifier = func() pipeline.BatchVerifier {
			return &stub{Accepting: pipelinetest.NewAccepting(), took: slow, bad: 13,
				record: func(clients []uint64) {
					mu.Lock()
					defer mu.Unlock()
					bad := slices.Contains(clients, 0)
					mixed = mixed || bad && len(slices.Compact(slices.Sorted(slices.Values(clients)))) > 1
				}}
		}
		f.cfg.WindowAge = time.Hour
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		ack := f.unsignedAck
		forged := func(client uint64) *rollup.Ack { return f.net.Unsigned(now, client, 0, 0, 13) }
		f.want(f.submit(forged(0)), rollup.CodeBadSignature)
		if s := f.p.Stats(); s.Quarantine.Total != 1 || !slices.Equal(s.Quarantine.Clients, []uint64{0}) {
			t.Errorf("in quarantine: %d, %v", s.Quarantine.Total, s.Quarantine.Clients)
		}
		other := f.p.Open("other")
		defer other.Close()
		var bad []*pipeline.Future
		for range 10 { // 3 s of work each
			var acks []*rollup.Ack
			for range 60 {
				acks = append(acks, forged(0))
			}
			acks = append(acks, ack(0, 1))
			future, err := other.SubmitAsync(frames(acks...))
			if err != nil {
				t.Fatal(err)
			}
			bad = append(bad, future)
		}
		for range 20 {
			start := time.Now()
			f.want(f.submit(ack(1, 1), ack(2, 1)), rollup.CodeAccepted, rollup.CodeAccepted)
			if waited := time.Since(start); waited > 100*time.Millisecond {
				t.Errorf("waited %v behind a quarantined client", waited)
			}
			time.Sleep(50 * time.Millisecond)
		}
		for _, future := range bad {
			codes := wait(t, future)
			if codes[0] != rollup.CodeBadSignature || codes[60] != rollup.CodeAccepted {
				t.Errorf("a quarantined client's good ack: %v, bad ack: %v", codes[60], codes[0])
			}
		}
		mu.Lock()
		if mixed {
			t.Error("a quarantined client shared a batch")
		}
		mu.Unlock()
		// Good conduct ends it; so does time.
		for range 256 {
			f.want(f.submit(ack(0, 1)), rollup.CodeAccepted)
		}
		if n := f.p.Stats().Quarantine.Total; n != 0 {
			t.Errorf("%d clients in quarantine after good conduct", n)
		}
		f.want(f.submit(forged(1)), rollup.CodeBadSignature)
		time.Sleep(time.Minute + time.Second)
		f.want(f.submit(ack(1, 1)), rollup.CodeAccepted)
		if n := f.p.Stats().Quarantine.Total; n != 0 {
			t.Errorf("%d clients in quarantine after a minute", n)
		}
		if b := f.p.Stats().Budget; b.Acks != 0 || b.Bytes != 0 {
			t.Errorf("%+v", b)
		}
	})
}

// TestForgedVictim: a source that sends bad acks in a client's name slows its acks down, and
// stops none.
func TestForgedVictim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2})
		f.cfg.Workers, f.cfg.WindowAge = 1, time.Hour
		f.cfg.NewVerifier = func() pipeline.BatchVerifier {
			return &stub{Accepting: pipelinetest.NewAccepting(), took: slow, bad: 13}
		}
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		key := f.open()
		forger := f.p.Open("forger")
		defer forger.Close()
		var forged []*rollup.Ack
		for number := range uint32(64) {
			// the numbers that the victim will use
			forged = append(forged, f.net.Unsigned(key, 0, 0, number, 13))
		}
		stop := make(chan struct{})
		var flood sync.WaitGroup
		flood.Go(func() {
			for {
				if _, err := forger.SubmitAsync(frames(forged...)); err != nil {
					t.Error(err)
				}
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
		defer flood.Wait()
		defer close(stop)
		time.Sleep(30 * time.Second)
		for range 20 {
			start := time.Now()
			f.want(f.submit(f.unsignedAck(0, 1)), rollup.CodeAccepted)
			if waited := time.Since(start); waited > 10*time.Second {
				t.Errorf("the victim waited %v", waited)
			}
			start = time.Now()
			f.want(f.submit(f.unsignedAck(1, 1)), rollup.CodeAccepted)
			if waited := time.Since(start); waited > 5*time.Second {
				t.Errorf("a stranger waited %v", waited)
			}
		}
	})
}

// TestAllocations: what an ack costs in allocations, with everything but its signature.
func TestAllocations(t *testing.T) {
	f := newFixture(t, pipelinetest.Config{Clients: 64, Payers: 4})
	f.cfg.Workers, f.cfg.WindowAge, f.cfg.MaxSkew = 2, time.Hour, time.Hour
	f.cfg.NewVerifier = func() pipeline.BatchVerifier { return pipelinetest.NewAccepting() }
	f.start(nil)
	defer f.p.Close()
	const batch, rounds = 1024, 30
	all := frames(f.unsigned(2 * batch * rounds)...)
	answers := make([]rollup.Answer, batch)
	submit := func() {
		for range rounds {
			if _, err := f.source.Submit(t.Context(), all[:batch*rollup.AckSize], answers); err != nil ||
				slices.Max(codesOf(answers)) != rollup.CodeAccepted {
				t.Fatal(answers[0], err)
			}
			all = all[batch*rollup.AckSize:]
		}
	}
	submit() // buffers grow
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	submit()
	runtime.ReadMemStats(&after)
	perAck := float64(after.Mallocs-before.Mallocs) / (batch * rounds)
	t.Logf("%.4f allocations an ack", perAck)
	if perAck > 0.1 {
		t.Errorf("%.3f allocations an ack", perAck)
	}
}
