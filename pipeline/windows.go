package pipeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// maxDraining is how many windows may wait behind the ones that take acks until they are drained,
// offered and sealed. Each takes 9 MiB, and what it is offered with as much again. When there are
// as many, the open window stays open until it is full, and then the door says overloaded.
const maxDraining = 4

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
