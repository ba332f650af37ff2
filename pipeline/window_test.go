package pipeline_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// TestFullByAcks fills a window with 65,536 acks; the next ack belongs to the next window.
func TestFullByAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 3})
		f.cfg.NewVerifier = func() pipeline.BatchVerifier { return pipelinetest.NewAccepting() }
		f.members.Trusting = true
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		const n = rollup.MaxAcks
		first := f.open()
		acks := f.unsigned(n + 10)
		for from := 0; from < n-100; from += 1024 {
			to := min(from+1024, n-100)
			f.want(f.submit(acks[from:to]...), all(rollup.CodeAccepted, to-from)...)
		}
		if f.open() != first {
			t.Fatalf("%v opened early", f.open())
		}
		again := f.submit(acks[:200]...) // what is there takes no place
		f.want(again, all(rollup.CodeKnown, 200)...)
		codes := f.submit(acks[n-100:]...)
		f.want(codes, append(all(rollup.CodeAccepted, 100), all(rollup.CodeWindowClosed, 10)...)...)
		next := rollup.WindowKey{Window: first.Window + 1}
		if f.open() != next {
			t.Fatalf("%v is open, want %v", f.open(), next)
		}
		f.want(f.submit(acks[n], acks[5]), rollup.CodeWindowClosed, rollup.CodeKnown)
		for _, a := range acks[n:] {
			a.Window = next.Window
		}
		f.want(f.submit(acks[n:]...), all(rollup.CodeAccepted, 10)...)
		f.settled()
		ordered := f.net.Ordered()
		if len(ordered) != 2 || ordered[0].Acks+ordered[1].Acks != n+10 {
			t.Errorf("%+v", ordered)
		}
	})
}

// TestReservedPlaces: acks in flight hold their places, and refused ones give them back.
func TestReservedPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 3})
		gate := make(chan struct{})
		f.cfg.Workers, f.cfg.MaxAcks = 1, 1<<20
		f.cfg.NewVerifier = func() pipeline.BatchVerifier {
			return &stub{Accepting: pipelinetest.NewAccepting(), gate: gate, bad: 13}
		}
		f.members.Trusting = true
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		acks := f.unsigned(rollup.MaxAcks + 5)
		for _, a := range acks[:1000] {
			a.Units = 13
		}
		future, err := f.source.SubmitAsync(frames(acks...))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(gate)
		codes, _, err := future.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.want(codes[:1000], all(rollup.CodeBadSignature, 1000)...)
		f.want(codes[1000:rollup.MaxAcks], all(rollup.CodeAccepted, rollup.MaxAcks-1000)...)
		f.want(codes[rollup.MaxAcks:], all(rollup.CodeWindowClosed, 5)...)
		f.settled()
		if o := f.net.Ordered(); len(o) != 1 || o[0].Acks != rollup.MaxAcks-1000 {
			t.Errorf("%+v", o)
		}
	})
}

// TestFullByRows: the 257th pair of payer and service is refused, and closes the window.
func TestFullByRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2, Payers: 2, Services: 129})
		f.cfg.NewVerifier = func() pipeline.BatchVerifier { return pipelinetest.NewAccepting() }
		f.members.Trusting = true
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		key := f.open()
		var acks []*rollup.Ack
		for service := range uint32(128) {
			for client := range uint32(2) {
				acks = append(acks, f.net.Unsigned(key, client, service, service, 1))
			}
		}
		f.want(f.submit(acks...), all(rollup.CodeAccepted, rollup.MaxRows)...)
		if f.open() != key {
			t.Error("a window with 256 pairs closed")
		}
		f.want(f.submit(f.net.Unsigned(key, 1, 5, 500, 1)), rollup.CodeAccepted) // a pair that is there
		extra := f.net.Unsigned(key, 1, 128, 128, 1)
		f.want(f.submit(extra), rollup.CodeWindowClosed)
		if f.open().Window != key.Window+1 {
			t.Error("the next window is not open")
		}
		extra.Window++
		f.want(f.submit(extra), rollup.CodeAccepted)
		f.settled()
		if o := f.net.Ordered(); len(o) != 2 || o[0].Acks != rollup.MaxRows+1 || o[1].Acks != 1 {
			t.Errorf("%+v", o)
		}
	})
}

// TestGrace: at most two windows take acks, the older one for as long as its grace lasts.
func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		f.cfg.NewVerifier = func() pipeline.BatchVerifier { return pipelinetest.NewAccepting() }
		f.members.Trusting = true
		f.cfg.WindowAge, f.cfg.Grace = 10*time.Second, 4*time.Second
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		seq := uint32(0)
		submit := func(window uint32, want rollup.Code) {
			t.Helper()
			seq++
			f.want(f.submit(f.net.Unsigned(rollup.WindowKey{Window: window}, 0, 0, seq, 1)), want)
		}
		submit(0, rollup.CodeAccepted)
		submit(1, rollup.CodeWindowAhead)
		time.Sleep(11 * time.Second)
		submit(0, rollup.CodeAccepted) // in grace
		submit(1, rollup.CodeAccepted)
		time.Sleep(4 * time.Second)
		submit(0, rollup.CodeWindowClosed)
		submit(1, rollup.CodeAccepted)
		time.Sleep(time.Minute) // a window without acks does not go by
		if w := f.open().Window; w != 2 {
			t.Errorf("window %d is open", w)
		}
		f.settled()
		if o := f.net.Ordered(); len(o) != 2 || o[0].Acks != 2 || o[1].Acks != 2 {
			t.Errorf("%+v", o)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a long grace ends when there would be a third window
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		f.cfg.NewVerifier = func() pipeline.BatchVerifier { return pipelinetest.NewAccepting() }
		f.members.Trusting = true
		f.cfg.WindowAge, f.cfg.Grace = 10*time.Second, time.Hour
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		for window := range uint32(3) {
			f.want(f.submit(f.net.Unsigned(rollup.WindowKey{Window: window}, 0, 0, 1, 1)),
				rollup.CodeAccepted)
			if window > 0 {
				f.want(f.submit(f.net.Unsigned(rollup.WindowKey{Window: window - 1}, 0, 0, 2, 1)),
					rollup.CodeAccepted)
			}
			if window > 1 {
				f.want(f.submit(f.net.Unsigned(rollup.WindowKey{Window: window - 2}, 0, 0, 3, 1)),
					rollup.CodeWindowClosed)
			}
			time.Sleep(11 * time.Second)
		}
	})
}

// TestEpochChange: acks in flight when an epoch ends are settled in it; the node's windows start
// over.
func TestEpochChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2, EpochSeconds: 30})
		f.cfg.WindowAge = time.Hour
		f.start(nil)
		f.store.before = func(op string) {
			if op == "append" {
				time.Sleep(5 * time.Second)
			}
		}
		defer f.blocks()()
		defer f.p.Close()
		follow := f.p.Follow(t.Context())
		if w := <-follow; w.Epoch != 0 || w.Window != 0 {
			t.Errorf("%+v", w)
		}
		time.Sleep(28 * time.Second)
		future, err := f.source.SubmitAsync(frames(f.acks(4)...))
		if err != nil {
			t.Fatal(err)
		}
		if w := <-follow; w.Epoch != 1 || w.Window != 0 { // 30 s: the write is under way
			t.Errorf("%+v", w)
		}
		select {
		case <-future.Done():
			t.Error("the write did not last beyond the epoch")
		default:
		}
		f.want(f.submit(f.net.Ack(rollup.WindowKey{}, 0, 0, 50, 1)), rollup.CodeAccepted) // in grace
		codes, receipt, err := future.Wait(t.Context())
		if err != nil || receipt.OpenEpoch != 1 || receipt.OpenWindow != 0 {
			t.Errorf("%+v, %v", receipt, err)
		}
		f.want(codes, all(rollup.CodeAccepted, 4)...)
		f.want(f.submit(f.acks(2)...), all(rollup.CodeAccepted, 2)...)
		time.Sleep(5 * time.Second)
		f.want(f.submit(f.net.Ack(rollup.WindowKey{}, 0, 0, 51, 1),
			f.net.Ack(rollup.WindowKey{}, 0, 0, 50, 1)),
			rollup.CodeWrongEpoch, rollup.CodeKnown)
		f.settled()
		if n := len(f.rolledUp()); n != 7 {
			t.Errorf("%d acks rolled up", n)
		}
		for _, o := range f.net.Ordered() {
			if want := map[uint32]uint32{0: 5, 1: 2}[o.Key.Epoch]; uint32(o.Acks) != want ||
				o.Key.Window != 0 {
				t.Errorf("%+v, want %d acks", o, want)
			}
		}
	})
}
