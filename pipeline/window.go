package pipeline

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// maxDraining is how many windows may wait behind the ones that take acks until they are drained,
// offered and sealed. Each takes 9 MiB, and what it is offered with as much again. When there are
// as many, the open window stays open until it is full, and then the door says overloaded.
const maxDraining = 4

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

// slots are the windows that take acks: the open one, and the one in grace or nil.
type slots [2]*window

func (s *slots) find(epoch, number uint32) int {
	for i, w := range s {
		if w != nil && w.key.Window == number && w.key.Epoch == epoch {
			return i
		}
	}
	return -1
}

// windows holds the windows of this node until they are sealed.
type windows struct {
	current atomic.Pointer[slots]
	wake    chan struct{}
	drained chan *window // have room for every window that drains
	toSeal  chan closing

	mu        sync.Mutex
	graceEnds time.Time
	draining  []*window
	memory    []*windowMemory
	changed   chan struct{} // closed when another window opens
}

func (ws *windows) init() {
	ws.wake = make(chan struct{}, 1)
	ws.changed = make(chan struct{})
	ws.current.Store(&slots{{}})
}

// WindowInfo names the window that acks are to be signed for.
type WindowInfo struct {
	Epoch, Window uint32
	Closes        time.Time // at the latest; an empty window then starts over
}

// OpenWindow returns the open window.
func (p *Pipeline) OpenWindow() WindowInfo {
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	return p.openWindow()
}

func (p *Pipeline) openWindow() WindowInfo {
	w := p.windows.current.Load()[0]
	return WindowInfo{Epoch: w.key.Epoch, Window: w.key.Window, Closes: w.opened.Add(p.cfg.WindowAge)}
}

// Follow sends the open window, now and whenever it changes; a slow reader finds the latest. The
// channel is closed when the context ends or the pipeline closes.
func (p *Pipeline) Follow(ctx context.Context) <-chan WindowInfo {
	ch := make(chan WindowInfo, 1)
	p.lifeMu.Lock()
	defer p.lifeMu.Unlock()
	if p.ended {
		close(ch)
		return ch
	}
	p.rest.Go(func() {
		defer close(ch)
		for {
			p.windows.mu.Lock()
			info, changed := p.openWindow(), p.windows.changed
			p.windows.mu.Unlock()
			select { // this goroutine is the only sender: after the drain there is room
			case <-ch:
			default:
			}
			ch <- info
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-p.ctx.Done():
				return
			}
		}
	})
	return ch
}

// openFirst opens the first window of this run.
func (p *Pipeline) openFirst() error {
	key, err := p.nextKey(p.chain.View().Epoch(), 0)
	if err != nil {
		return err
	}
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	p.open(key)
	return nil
}

// nextKey returns the first window of an epoch, not below number, that neither the store nor the
// chain has seen.
func (p *Pipeline) nextKey(epoch, number uint32) (rollup.WindowKey, error) {
	next, err := p.store.NextWindow(p.cfg.Node, epoch)
	if err != nil {
		return rollup.WindowKey{}, fmt.Errorf("next window of epoch %d: %w", epoch, err)
	}
	key := rollup.WindowKey{Node: p.cfg.Node, Epoch: epoch, Window: max(next, number)}
	for view := p.chain.View(); view.IsOrdered(key); key.Window++ {
	}
	return key, nil
}

// open makes a new window the open one; the caller holds windows.mu and has moved the old one on.
func (p *Pipeline) open(key rollup.WindowKey) {
	ws := &p.windows
	w := newWindow(key, StateOpen)
	ws.give(w)
	ws.current.Store(&slots{w, ws.current.Load()[1]})
	close(ws.changed)
	ws.changed = make(chan struct{})
}

// give lends memory to a window; the caller holds windows.mu, or is alone.
func (ws *windows) give(w *window) {
	if n := len(ws.memory); n > 0 {
		w.memory, ws.memory = ws.memory[n-1], ws.memory[:n-1]
	} else {
		w.memory = newWindowMemory()
	}
	w.memory.reset()
	w.frames, w.sessions = w.memory.frames, w.memory.sessions
}

// windowFull moves the open window on, and ends the grace of a window that holds all it can.
func (p *Pipeline) windowFull(w *window) {
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	switch s := p.windows.current.Load(); w {
	case s[0]:
		p.advance()
	case s[1]:
		w.mu.RLock()
		full := w.full
		w.mu.RUnlock()
		if full {
			p.endGrace()
		}
	}
}

// advance opens the next window of the epoch and puts the open one into grace. The grace of the
// one before ends early then. The caller holds windows.mu.
func (p *Pipeline) advance() {
	old := p.windows.current.Load()[0]
	p.replace(rollup.WindowKey{Node: old.key.Node, Epoch: old.key.Epoch, Window: old.key.Window + 1})
}

func (p *Pipeline) replace(next rollup.WindowKey) {
	ws := &p.windows
	old := ws.current.Load()[0]
	if len(ws.draining) >= maxDraining {
		ws.cutOfferShort()
		return // sealing wakes the keeper, which tries again
	}
	p.endGrace()
	ws.current.Store(&slots{old, old}) // the old one is in both places until open has made the next
	old.become(StateGrace)
	ws.graceEnds = time.Now().Add(p.cfg.Grace)
	p.open(next)
	old.mu.RLock()
	full := old.full
	old.mu.RUnlock()
	if full || old.idle() {
		p.endGrace()
	}
	p.wakeKeeper()
}

// endGrace closes the window in grace, if there is one; the caller holds windows.mu.
func (p *Pipeline) endGrace() {
	ws := &p.windows
	s := ws.current.Load()
	w := s[1]
	if w == nil {
		return
	}
	ws.current.Store(&slots{s[0], nil})
	w.become(StateSealing)
	ws.draining = append(ws.draining, w)
	if len(ws.draining) >= maxDraining-1 {
		ws.cutOfferShort()
	}
	if w.close() {
		ws.drained <- w
	}
}

// cutOfferShort ends the offer of the window that has been offered for the longest time, so that
// there will be room behind the open one: co-signing never shuts the door. The caller holds
// ws.mu.
func (ws *windows) cutOfferShort() {
	for _, w := range ws.draining {
		if w.endOffer != nil {
			w.endOffer()
			return
		}
	}
}

func (p *Pipeline) wakeKeeper() {
	select {
	case p.windows.wake <- struct{}{}:
	default:
	}
}

// keepWindows closes windows when their time is over or the epoch is.
func (p *Pipeline) keepWindows() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		updated := p.chain.Updated()
		next, err := p.tick(time.Now())
		if err != nil {
			p.fail("opening a window", err)
			return
		}
		timer.Reset(time.Until(next))
		select {
		case <-p.ctx.Done():
			return
		case <-timer.C:
		case <-updated:
		case <-p.windows.wake:
		}
	}
}

// tick does what is due and returns when something will be.
func (p *Pipeline) tick(now time.Time) (next time.Time, err error) {
	ws := &p.windows
	epoch := p.chain.View().Epoch()
	var first rollup.WindowKey
	if epoch != ws.current.Load()[0].key.Epoch {
		if first, err = p.nextKey(epoch, 0); err != nil {
			return now, err
		}
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if s := ws.current.Load(); s[1] != nil && !now.Before(ws.graceEnds) {
		p.endGrace()
	}
	open := ws.current.Load()[0]
	over := !now.Before(open.opened.Add(p.cfg.WindowAge))
	open.mu.RLock()
	over = over || open.full || open.acks()+open.inFlight >= rollup.MaxAcks
	open.mu.RUnlock()
	switch {
	case epoch != open.key.Epoch:
		p.replace(first)
	case over && open.idle():
		open.opened = now
		open.status.Opened = now
	case over:
		p.advance()
	}
	s := ws.current.Load()
	next = s[0].opened.Add(p.cfg.WindowAge)
	if !next.After(now) { // no room behind it: the sealer wakes us
		next = now.Add(p.cfg.WindowAge + time.Second)
	}
	if s[1] != nil && ws.graceEnds.Before(next) {
		next = ws.graceEnds
	}
	return next, nil
}

// drains reports whether the ack's window is one that drains, and whether it has the ack on disk.
func (ws *windows) drains(f rollup.Frame) (known, draining bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.draining {
		if w.key == f.Key() {
			w.mu.RLock()
			defer w.mu.RUnlock()
			return w.peek(f) == rollup.CodeKnown, true
		}
	}
	return false, false
}

// release drops a window that was sealed, or found empty, and takes its memory back.
func (p *Pipeline) release(w *window) {
	ws := &p.windows
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for i, d := range ws.draining {
		if d == w {
			ws.draining = append(ws.draining[:i], ws.draining[i+1:]...)
			break
		}
	}
	w.mu.Lock()
	m := w.memory
	w.memory, w.frames, w.sessions = nil, nil, nil
	w.mu.Unlock()
	if len(ws.memory) < 2 {
		ws.memory = append(ws.memory, m)
	}
	p.wakeKeeper()
}

// table finds acks by (client, seq): open addressing with linear probing, at most half full. A
// slot is zero or 32 bits of the hash and the ack's index plus one. The seed keeps clients from
// choosing colliding numbers.
type table struct {
	slots []uint64
	seed  uint64
}

const tableSlots = 2 * rollup.MaxAcks

func (t *table) reset() {
	if t.slots == nil {
		t.slots = make([]uint64, tableSlots)
	} else {
		clear(t.slots)
	}
	t.seed = rand.Uint64() | 1
}

func (t *table) hash(client, seq uint32) uint64 {
	hi, lo := bits.Mul64((uint64(client)<<32|uint64(seq))^t.seed, 0x9e3779b97f4a7c15)
	hi, lo = bits.Mul64(hi^lo^t.seed, 0xd6e8feb86659fd93)
	return hi ^ lo
}

func (t *table) find(frames []byte, client, seq uint32) (int, bool) {
	h := t.hash(client, seq)
	for i := h % tableSlots; t.slots[i] != 0; i = (i + 1) % tableSlots {
		if t.slots[i]>>32 != h>>32 {
			continue
		}
		at := int(uint32(t.slots[i])) - 1
		f := rollup.Frame(frames[at*rollup.AckSize : (at+1)*rollup.AckSize])
		if f.Client() == client && f.Seq() == seq {
			return at, true
		}
	}
	return 0, false
}

// insert adds an ack that find did not find.
func (t *table) insert(client, seq uint32, at int) {
	h := t.hash(client, seq)
	i := h % tableSlots
	for t.slots[i] != 0 {
		i = (i + 1) % tableSlots
	}
	t.slots[i] = h>>32<<32 | uint64(at+1)
}

// rows sums units by (payer, service).
type rows struct {
	index map[uint64]int
	units []uint64
	last  uint64
	at    int
}

func (r *rows) reset() {
	clear(r.index)
	r.units = r.units[:0]
}

// add answers Accepted, WindowClosed for a pair too many, or Overflow.
func (r *rows) add(payer, service uint32, units uint64) rollup.Code {
	pair := uint64(payer)<<32 | uint64(service)
	if len(r.units) == 0 || pair != r.last {
		at, ok := r.index[pair]
		if !ok {
			if len(r.units) == rollup.MaxRows {
				return rollup.CodeWindowClosed
			}
			at = len(r.units)
			r.index[pair] = at
			r.units = append(r.units, 0)
		}
		r.last, r.at = pair, at
	}
	sum, carry := bits.Add64(r.units[r.at], units, 0)
	if carry != 0 {
		return rollup.CodeOverflow
	}
	r.units[r.at] = sum
	return rollup.CodeAccepted
}
