package pipeline_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// TestFullByAcks fills a window with 65,536 acks; the next ack goes into the next window.
func TestFullByAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 3, UnitCap: 1 << 20})
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
		f.want(f.submit(acks[n-100:n]...), all(rollup.CodeAccepted, 100)...)
		next := rollup.WindowKey{Window: first.Window + 1}
		if f.open() != next {
			t.Fatalf("%v is open, want %v", f.open(), next)
		}
		f.want(f.submit(acks[n:]...), all(rollup.CodeAccepted, 10)...)
		f.want(f.submit(acks[5], acks[n-1], acks[n], acks[n+9]), all(rollup.CodeKnown, 4)...)
		f.settled()
		ordered := f.net.Ordered()
		if len(ordered) != 2 || ordered[0].Acks != n || ordered[1].Acks != 10 {
			t.Errorf("%+v", ordered)
		}
	})
}

// TestReservedPlaces: acks in flight hold their places, in the open window and in the next, and
// refused ones give them back.
func TestReservedPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 3, UnitCap: 1 << 20})
		gate := make(chan struct{})
		f.cfg.Workers, f.cfg.MaxAcks, f.cfg.MaxBytes = 1, 1<<20, 1<<30
		f.cfg.NewVerifier = func() pipeline.BatchVerifier {
			return &stub{Accepting: pipelinetest.NewAccepting(), gate: gate, bad: 13}
		}
		f.members.Trusting = true
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		const room = 2 * rollup.MaxAcks
		good := f.unsigned(3 * room / 4)
		bad := make([]*rollup.Ack, room/4)
		for i := range bad {
			bad[i] = f.net.Unsigned(f.open(), 0, 0, 0, 13)
		}
		var futures []*pipeline.Future
		for _, acks := range [][]*rollup.Ack{bad, good} {
			source := f.p.Open("source")
			defer source.Close()
			future, err := source.SubmitAsync(frames(acks...))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, future)
		}
		synctest.Wait()
		extra := f.net.Unsigned(f.open(), 0, 0, 0, 1)
		f.want(f.submit(extra), rollup.CodeOverloaded)
		close(gate)
		f.want(wait(t, futures[0]), all(rollup.CodeBadSignature, len(bad))...)
		f.want(wait(t, futures[1]), all(rollup.CodeAccepted, len(good))...)
		f.want(f.submit(extra), rollup.CodeKnown)
		f.settled()
		if o := f.net.Ordered(); len(o) != 2 || o[0].Acks != rollup.MaxAcks ||
			o[0].Acks+o[1].Acks != uint32(len(good)) {
			t.Errorf("%+v", o)
		}
	})
}

// TestFullByRows: an ack of the 257th pair of payer and service closes the window, and goes into
// the next one.
func TestFullByRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 129, Payers: 129, Services: 3})
		f.cfg.NewVerifier = func() pipeline.BatchVerifier { return pipelinetest.NewAccepting() }
		f.members.Trusting = true
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		key := f.open()
		var acks []*rollup.Ack
		for i := range uint64(rollup.MaxRows) {
			acks = append(acks, f.ackFor(i/2, uint32(i%2), 1))
		}
		f.want(f.submit(acks...), all(rollup.CodeAccepted, rollup.MaxRows)...)
		f.want(f.submit(f.ackFor(5, 1, 1)), rollup.CodeAccepted) // a pair that is there
		if f.open() != key {
			t.Error("a window with 256 pairs closed")
		}
		f.want(f.submit(f.ackFor(5, 0, 1), f.ackFor(128, 0, 1), f.ackFor(5, 0, 1)),
			all(rollup.CodeAccepted, 3)...)
		if f.open().Window != key.Window+1 {
			t.Error("the next window is not open")
		}
		f.settled()
		if o := f.net.Ordered(); len(o) != 2 || o[0].Acks != rollup.MaxRows+2 || o[1].Acks != 2 {
			t.Errorf("%+v", o)
		}
	})
}

// TestFullByStatement: an ack for which its client's statement has no room goes into the next
// window.
func TestFullByStatement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2, UnitCap: rollup.MaxUnitCap})
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		const most = rollup.MaxStatementUnits / rollup.MaxUnitCap
		var acks []*rollup.Ack
		for range most + 1 {
			acks = append(acks, f.ack(0, 1))
		}
		acks = append(acks, f.ack(1, 1))
		f.want(f.submit(acks...), all(rollup.CodeAccepted, most+2)...)
		f.settled()
		f.rolledUp()
		if o := f.net.Ordered(); len(o) != 2 || o[0].Acks != most || o[1].Acks != 2 {
			t.Errorf("%+v", o)
		}
	})
}

// TestAge: a window with acks is closed when its time is over, one without starts over.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 1})
		f.cfg.WindowAge = 10 * time.Second
		f.start(nil)
		defer f.blocks()()
		defer f.p.Close()
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
		time.Sleep(11 * time.Second)
		f.want(f.submit(f.ack(0, 1)), rollup.CodeAccepted)
		time.Sleep(11 * time.Second)
		time.Sleep(time.Minute)
		if w := f.open().Window; w != 2 {
			t.Errorf("window %d is open", w)
		}
		f.settled()
		if o := f.net.Ordered(); len(o) != 2 || o[0].Acks != 1 || o[1].Acks != 1 {
			t.Errorf("%+v", o)
		}
	})
}

// TestEpochChange: an epoch's acks are taken in its tail, beside those of the next one, which count
// from 0 again; what is in flight then is settled in it.
func TestEpochChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, pipelinetest.Config{Clients: 2, EpochSeconds: 30, GraceSeconds: 90})
		f.cfg.WindowAge, f.cfg.Tail = time.Hour, 8*time.Second
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
		old := func(number uint32) *rollup.Ack { return f.net.Ack(rollup.WindowKey{}, 0, 0, number, 1) }
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
		f.want(f.submit(old(2)), rollup.CodeAccepted) // in the tail: 38 s
		if _, receipt, err := future.Wait(t.Context()); err != nil || receipt.OpenEpoch != 1 {
			t.Errorf("%+v, %v", receipt, err)
		}
		f.want(wait(t, future), all(rollup.CodeAccepted, 4)...)
		f.want(f.submit(f.acks(2)...), all(rollup.CodeAccepted, 2)...)
		time.Sleep(2 * time.Second)
		f.want(f.submit(old(3), old(2)), rollup.CodePastEpoch, rollup.CodeKnown)
		f.settled()
		if n := len(f.rolledUp()); n != 7 {
			t.Errorf("%d acks rolled up", n)
		}
		for _, o := range f.net.Ordered() {
			if want := map[uint32]uint32{0: 5, 1: 2}[o.Key.Epoch]; o.Acks != want || o.Key.Window != 0 {
				t.Errorf("%+v, want %d acks", o, want)
			}
		}
	})
}
