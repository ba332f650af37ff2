package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// window is a window from its opening until it is sealed.
type window struct {
	key    rollup.WindowKey
	opened time.Time

	status   status.Window      // guarded by windows.mu
	endOffer context.CancelFunc // while it is offered; guarded by windows.mu

	mu         sync.RWMutex
	memory     *windowMemory
	frames     []byte    // verified acks in order of arrival; grows in place
	sessions   []Session // through which each came in
	sum        bls.Sum
	units      uint64
	inFlight   int  // acks admitted, verdict pending
	unanswered int  // acks admitted, answer pending
	written    int  // acks that are in the store or on their way
	durable    int  // acks that are in the store
	full       bool // takes no more rows or acks than it has
	closed     bool // takes no acks
	queued     bool // for sealing
}

// windowMemory is what a window needs besides itself; it is used again.
type windowMemory struct {
	frames   []byte
	sessions []Session
	table    table
	rows     rows
}

func newWindow(key rollup.WindowKey, state status.State) *window {
	w := &window{key: key, opened: time.Now(), status: status.Of(key, state)}
	w.status.Opened = w.opened
	return w
}

func newWindowMemory() *windowMemory {
	m := &windowMemory{frames: make([]byte, 0, rollup.MaxAcks*rollup.AckSize),
		sessions: make([]Session, 0, rollup.MaxAcks)}
	m.rows.index = make(map[uint64]int, rollup.MaxRows)
	return m
}

func (m *windowMemory) reset() {
	m.table.reset()
	m.rows.reset()
}

func (w *window) acks() int { return len(w.frames) / rollup.AckSize }

func (w *window) frame(i int) rollup.Frame {
	return rollup.Frame(w.frames[i*rollup.AckSize : (i+1)*rollup.AckSize])
}

// peek looks for a durable ack with the same (client, seq); the caller holds w.mu. Accepted means
// that there is none: nothing is answered on the strength of an ack that is still being written.
func (w *window) peek(f rollup.Frame) rollup.Code {
	if w.memory == nil {
		return rollup.CodeAccepted
	}
	switch i, ok := w.memory.table.find(w.frames, f.Client(), f.Seq()); {
	case !ok || i >= w.durable:
		return rollup.CodeAccepted
	case sameMessage(w.frame(i), f):
		return rollup.CodeKnown
	}
	return rollup.CodeReplayedSeq
}

// reserve grants up to n acks a place in the window. full says that places ran out and the window
// should give way.
func (w *window) reserve(n int) (granted int, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, false
	}
	if !w.full {
		granted = min(n, rollup.MaxAcks-w.acks()-w.inFlight)
	}
	w.inFlight += granted
	w.unanswered += granted
	return granted, granted < n
}

// insert adds the acks whose signatures are valid, and turns verdicts into codes. payers are
// those of the acks, session is how all of them came in. added says how many are new: they are
// the last frames of the window.
func (w *window) insert(frames []byte, payers []uint32, session Session, codes []rollup.Code) (
	added int, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight -= len(codes)
	for i, code := range codes {
		if code != rollup.CodeAccepted {
			continue
		}
		f := rollup.Frame(frames[i*rollup.AckSize : (i+1)*rollup.AckSize])
		at, found := w.memory.table.find(w.frames, f.Client(), f.Seq())
		switch {
		case found && sameMessage(w.frame(at), f):
			codes[i] = rollup.CodeKnown
		case found:
			codes[i] = rollup.CodeReplayedSeq
		default:
			codes[i] = w.memory.rows.add(payers[i], f.Service(), f.Units())
			if codes[i] == rollup.CodeAccepted {
				w.memory.table.insert(f.Client(), f.Seq(), w.acks())
				w.frames = append(w.frames, f...)
				w.sessions = append(w.sessions, session)
				w.units += f.Units()
				added++
			} else {
				w.full = true
			}
		}
	}
	if w.acks() == rollup.MaxAcks {
		w.full = true
	}
	return added, w.full
}

func (w *window) addSum(sum *bls.Sum) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sum.AddSum(sum)
}

// answered says that n acks of the window have their answer.
func (p *Pipeline) answered(w *window, n int) {
	w.mu.Lock()
	w.unanswered -= n
	ready := w.drained()
	w.mu.Unlock()
	if ready {
		p.windows.drained <- w
	}
}

// giveBack undoes a reservation.
func (p *Pipeline) giveBack(w *window, n int) {
	w.mu.Lock()
	w.inFlight -= n
	w.mu.Unlock()
	p.answered(w, n)
}

// drained reports, once, that the window can be sealed; the caller holds w.mu.
func (w *window) drained() bool {
	if !w.closed || w.unanswered > 0 || w.queued {
		return false
	}
	w.queued = true
	return true
}

func (w *window) close() (ready bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return w.drained()
}

func (w *window) idle() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(w.frames) == 0 && w.unanswered == 0
}

// next is to which states a window may go from a state, until it is sealed.
var next = map[status.State][]status.State{
	StateOpen:      {StateGrace},
	StateGrace:     {StateSealing},
	StateSealing:   {StateCosigning},
	StateCosigning: {StateSealing},
}

// become takes the window to another state: the only place where that is set. The caller holds
// windows.mu.
func (w *window) become(to status.State) {
	if !slices.Contains(next[w.status.State], to) {
		panic(fmt.Sprintf("pipeline: a window can not go from %s to %s", w.status.State, to))
	}
	w.status.State = to
}
