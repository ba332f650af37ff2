package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// window is a window from its opening until it is sealed. All of it is guarded by windows.mu,
// except that frames and sessions of one that has drained do not change, and are read without.
type window struct {
	key    rollup.WindowKey
	opened time.Time

	status   status.Window
	endOffer context.CancelFunc // while it is offered

	memory     *windowMemory
	frames     []byte    // acks in the order in which they were taken; grows in place
	sessions   []Session // through which each came in
	marks      []uint8   // how each was taken; not there while all are verified first
	open, lost int       // acks that are open, and dropped, see account.go
	sum        bls.Sum   // of the signatures that were verified
	units      uint64
	unanswered int  // acks in it whose answer is pending
	written    int  // acks that are in the store or on their way
	durable    int  // acks that are in the store
	closed     bool // takes no acks
	queued     bool // for sealing
}

// windowMemory is what a window needs besides itself; it is used again.
type windowMemory struct {
	frames   []byte
	sessions []Session
	marks    []uint8
	table    table
	rows     *exposure.Rows
	counts   map[series]uint32 // of acks for services whose statements may come to their bounds
}

// series is a client's acks for one service: what numbers count in.
type series struct {
	client  uint64
	service uint32
}

func newWindow(key rollup.WindowKey, state status.State) *window {
	w := &window{key: key, opened: time.Now(), status: status.Of(key, state)}
	w.status.Opened = w.opened
	return w
}

func newWindowMemory() *windowMemory {
	m := &windowMemory{frames: make([]byte, 0, rollup.MaxAcks*rollup.AckSize),
		sessions: make([]Session, 0, rollup.MaxAcks), counts: make(map[series]uint32),
		rows: exposure.NewRows()}
	return m
}

func (m *windowMemory) reset() {
	m.table.reset()
	clear(m.counts)
}

func (w *window) acks() int { return len(w.frames) / rollup.AckSize }

func (w *window) frame(i int) rollup.Frame {
	return rollup.Frame(w.frames[i*rollup.AckSize : (i+1)*rollup.AckSize])
}

// find returns the place of a number among the window's acks.
func (w *window) find(client uint64, service, number uint32) (int, bool) {
	if w.memory == nil {
		return 0, false
	}
	return w.memory.table.find(w.frames, w.marks, client, service, number)
}

// take adds an ack whose number is the next one. It answers exposure.Full when the window has no
// room for it, and a code of credit when its payer has none.
func (w *window) take(ack *signedAck, credit *exposure.Book) rollup.Code {
	if w.acks() == rollup.MaxAcks {
		return exposure.Full
	}
	f := ack.frame
	l := series{f.Client(), f.Service()}
	counted := ack.unitCap > rollup.MaxStatementUnits/rollup.MaxAcks
	if counted && uint64(w.memory.counts[l]+1)*ack.unitCap > rollup.MaxStatementUnits {
		return exposure.Full
	}
	code := credit.Take(w.memory.rows, ack.payer, l.service, f.Units())
	if code != rollup.CodeAccepted {
		return code
	}
	if counted {
		w.memory.counts[l]++
	}
	w.memory.table.insert(l.client, l.service, f.Number(), w.acks())
	w.frames = append(w.frames, f...)
	w.sessions = append(w.sessions, ack.session)
	w.units += f.Units()
	w.mark(ack.mark)
	return rollup.CodeAccepted
}

// idle reports whether nothing of the window is worth keeping.
func (w *window) idle() bool { return len(w.frames) == 0 }

// drained reports, once, that the window can be sealed.
func (w *window) drained() bool {
	if !w.closed || w.unanswered > 0 || w.queued {
		return false
	}
	w.queued = true
	return true
}

// next is to which states a window may go from a state, until it is sealed.
var next = map[status.State][]status.State{
	StateOpen:      {StateSealing},
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
