package pipeline

import (
	"testing"

	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/rollup"
)

// TestEpochEndsAtTheDoor: an epoch that ends between the look at it and the look at the numbers
// takes nothing more; its acks are looked for, as those of past epochs.
func TestEpochEndsAtTheDoor(t *testing.T) {
	p := &Pipeline{budgets: [classes]budget{classEstablished: {maxAcks: 100, maxBytes: 1 << 20}}}
	p.queue.init()
	p.windows.init(exposure.New(0, 0))
	p.windows.drained = make(chan *window, 1)
	e := &epoch{number: 3}
	p.windows.taking = []*epoch{{number: 4}, e}
	p.openWindowOf(e, rollup.WindowKey{Epoch: 3})
	future := &Future{p: p, answers: make([]rollup.Answer, 2), done: make(chan struct{})}
	future.left.Store(1)
	a := admission{p: p, source: &Source{p: p}, future: future}
	if code, slot := a.slot(3); code != rollup.CodeAccepted || slot != 0 {
		t.Fatal(code, slot)
	}
	e.ended = true
	p.end(e)
	for i := range uint32(2) {
		f := (&rollup.Ack{Epoch: 3, Number: i}).Append(nil)
		a.put(f, i, 0, classEstablished, 2)
	}
	if len(p.windows.taking) != 1 || e.inFlight != 0 || p.queue.len() != 2 {
		t.Fatalf("%d in flight, %d queued", e.inFlight, p.queue.len())
	}
	batch, _ := p.queue.take(nil, 10)
	if len(batch) != 1 || batch[0].epoch != nil || len(batch[0].at) != 2 || batch[0].turn != 1 {
		t.Errorf("%+v", batch)
	}
}

// endsMeanwhile is a store in which nothing is found, and during the search of which an epoch takes
// a copy of the ack that is looked for, and ends.
type endsMeanwhile struct {
	Store
	end func()
}

func (s endsMeanwhile) FindRun(uint32, uint32, uint64, uint32, uint32) (uint32, error) {
	s.end()
	return 0, rollup.ErrNotFound
}

// TestRecallWhileAnEpochEnds: of an ack that may be taken while it is looked for it is not said
// that it never will be.
func TestRecallWhileAnEpochEnds(t *testing.T) {
	p := &Pipeline{}
	p.windows.init(exposure.New(0, 0))
	p.windows.taking = []*epoch{{number: 4}, {number: 3, ended: true, inFlight: 1}}
	p.store = endsMeanwhile{end: func() { p.windows.taking = p.windows.taking[:1] }}
	f := rollup.Frame((&rollup.Ack{Epoch: 3}).Append(nil))
	if a, _ := p.recallAck(f); a.Code != rollup.CodeBusy {
		t.Errorf("%v", a.Code)
	}
	if a, _ := p.recallAck(f); a.Code != rollup.CodePastEpoch {
		t.Errorf("once it is over: %v", a.Code)
	}
}

// TestNodeThatLeft: a node whose owner took all of its stake serves until an epoch, and its door
// takes no acks of that one.
func TestNodeThatLeft(t *testing.T) {
	p := &Pipeline{}
	a := admission{p: p, until: 1, epochs: [maxTaking]*epoch{{number: 0}, {number: 1}}}
	for number, want := range []rollup.Code{rollup.CodeAccepted, rollup.CodeShuttingDown} {
		ack := rollup.Ack{Net: p.cfg.Network.Net(), Epoch: uint32(number)}
		if code, _ := a.check(rollup.Frame(ack.Append(nil))); code != want {
			t.Errorf("epoch %d: %s, not %s", number, code, want)
		}
	}
}
