package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/pipeline/exposure"
	"github.com/waybill-network/waybill/rollup"
)

// maxDraining is how many windows may wait behind the ones that take acks until they are drained,
// offered and sealed. Each takes 9 MiB, and what it is offered with as much again. When there are
// as many, the open window stays open until it is full, and then the door says overloaded. An
// epoch that ends may close its last window besides.
const maxDraining = 4

// maxTaking is how many epochs may be there that take acks, or have some in flight.
const maxTaking = 2

// windows holds the windows of this node until they are sealed, and the epochs that they are of.
type windows struct {
	wake    chan struct{}
	drained chan *window // have room for every window that drains
	toSeal  chan closing

	mu       sync.Mutex
	taking   []*epoch  // the present one first; never empty once the pipeline has started
	draining []*window // in the order in which they were closed, which is that of their seals
	memory   []*windowMemory
	credit   *exposure.Book // of all windows that are not ordered
	changed  chan struct{}  // closed when another window opens
	released chan struct{}  // closed when a window was sealed
	accounts accounts       // of what was taken and not verified yet
}

func (ws *windows) init(credit *exposure.Book) {
	ws.credit = credit
	ws.wake = make(chan struct{}, 1)
	ws.changed, ws.released = make(chan struct{}), make(chan struct{})
	ws.taking = []*epoch{{open: &window{}}}
}

// epoch returns an epoch that takes acks, or nil. The caller holds ws.mu.
func (ws *windows) epoch(number uint32) *epoch {
	for _, e := range ws.taking {
		if e.number == number && !e.ended {
			return e
		}
	}
	return nil
}

// find returns where the number of an ack was taken, and nil when its window is in memory no more.
// The caller holds ws.mu.
func (ws *windows) find(number uint32, f rollup.Frame) (*window, int) {
	client, service, n := f.Client(), f.Service(), f.Number()
	for _, e := range ws.taking {
		if e.number != number || e.open == nil {
			continue
		}
		if i, ok := e.open.find(client, service, n); ok {
			return e.open, i
		}
	}
	for _, w := range slices.Backward(ws.draining) {
		if w.key.Epoch != number {
			continue
		}
		if i, ok := w.find(client, service, n); ok {
			return w, i
		}
	}
	return nil, 0
}

// each calls f for every window in memory that has acks. The caller holds ws.mu.
func (ws *windows) each(f func(w *window)) {
	for _, w := range ws.draining {
		f(w)
	}
	for _, e := range slices.Backward(ws.taking) {
		if e.open != nil && e.open.memory != nil {
			f(e.open)
		}
	}
}

// WindowInfo names the window that acks go into now.
type WindowInfo struct {
	Epoch, Window uint32
	Closes        time.Time // at the latest; an empty window then starts over
	// Before is for how long acks of the epoch before are still taken, 0: not any more.
	Before time.Duration
}

// OpenWindow returns the open window of the epoch that runs. When the store is too new to open one
// the time is zero.
func (p *Pipeline) OpenWindow() WindowInfo {
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	return p.openWindow()
}

func (p *Pipeline) openWindow() WindowInfo {
	e := p.windows.taking[0]
	if e.open == nil {
		return WindowInfo{Epoch: e.number}
	}
	w := e.open
	info := WindowInfo{Epoch: w.key.Epoch, Window: w.key.Window,
		Closes: w.opened.Add(p.cfg.WindowAge)}
	for _, old := range p.windows.taking[1:] {
		if old.number+1 == e.number && old.open != nil && !old.ended {
			info.Before = max(0, time.Until(old.ends))
		}
	}
	return info
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

// openFirst makes the present epoch the first one of this run.
func (p *Pipeline) openFirst() error {
	e, first, err := p.newEpoch(p.chain.View().Epoch())
	if err != nil {
		return err
	}
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	p.windows.taking = p.windows.taking[:0]
	p.begin(e, first, time.Now())
	return nil
}

// tell wakes those who follow the open window. The caller holds ws.mu.
func (ws *windows) tell() {
	close(ws.changed)
	ws.changed = make(chan struct{})
}

// nextKey returns the first window of an epoch that neither the store nor the chain has seen.
func (p *Pipeline) nextKey(epoch uint32) (rollup.WindowKey, error) {
	next, err := p.store.NextWindow(p.cfg.Node, epoch)
	if err != nil {
		return rollup.WindowKey{}, fmt.Errorf("next window of epoch %d: %w", epoch, err)
	}
	key := rollup.WindowKey{Node: p.cfg.Node, Epoch: epoch, Window: next}
	for view := p.chain.View(); view.IsOrdered(key); key.Window++ {
	}
	return key, nil
}

// give lends memory to a window; the caller holds ws.mu, or is alone.
func (ws *windows) give(w *window) {
	if n := len(ws.memory); n > 0 {
		w.memory, ws.memory = ws.memory[n-1], ws.memory[:n-1]
	} else {
		w.memory = newWindowMemory()
	}
	w.memory.reset()
	ws.credit.Open(w.key, w.memory.rows)
	w.frames, w.sessions, w.marks = w.memory.frames, w.memory.sessions, w.memory.marks
}

// takeBack takes the memory of a window that needs it no more. The caller holds ws.mu.
func (ws *windows) takeBack(w *window) {
	m := w.memory
	if w.idle() {
		ws.credit.Close(m.rows)
	} else {
		ws.credit.Seal(m.rows)
	}
	if cap(w.marks) > cap(m.marks) {
		m.marks = w.marks[:0]
	}
	w.memory, w.frames, w.sessions, w.marks = nil, nil, nil, nil
	if len(ws.memory) < 2 {
		ws.memory = append(ws.memory, m)
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

// tick does what is due and returns when something will be. It alone changes which epochs take
// acks.
func (p *Pipeline) tick(now time.Time) (next time.Time, err error) {
	ws := &p.windows
	view := p.chain.View()
	var fresh *epoch
	var first rollup.WindowKey
	if present := ws.present(); view.Epoch() != present.number || p.mayOpen(present) {
		if fresh, first, err = p.newEpoch(view.Epoch()); err != nil {
			return now, err
		}
	}
	p.dropGivenUp()
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.credit.Show(view)
	if fresh != nil {
		p.begin(fresh, first, now)
	}
	next = now.Add(p.cfg.WindowAge + time.Second)
	for _, e := range slices.Clone(ws.taking) {
		// What is overdue finds no room behind it yet: the sealer wakes us.
		if due := p.keep(e, now); due.After(now) && due.Before(next) {
			next = due
		}
	}
	return next, nil
}

// present returns the epoch that runs.
func (ws *windows) present() *epoch {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.taking[0]
}

// mayOpen reports whether a window can be opened in an epoch now that could have none before.
func (p *Pipeline) mayOpen(e *epoch) bool {
	since, known := p.store.Since()
	return e.open == nil && known && e.number >= since
}

// begin makes an epoch the one that runs. The one before goes on for its tail. The caller holds
// windows.mu.
func (p *Pipeline) begin(e *epoch, first rollup.WindowKey, now time.Time) {
	ws := &p.windows
	for i, old := range ws.taking {
		old.ended = old.ended || i > 0 || old.number+1 != e.number
		old.ends = now.Add(p.tail())
	}
	ws.taking = slices.DeleteFunc(ws.taking, func(old *epoch) bool { return old.number == e.number })
	ws.taking = slices.Insert(ws.taking, 0, e)
	if since, known := p.store.Since(); known && e.number >= since {
		p.openWindowOf(e, first)
		return
	}
	p.log.Warn("no window is opened in this epoch: the store is newer, and can not know what this "+
		"node said in it", "epoch", e.number)
	ws.tell()
}

// tail is for how long acks of an epoch are taken when the next one has begun: what is configured,
// and at most a quarter of the time that is left to have them ordered.
func (p *Pipeline) tail() time.Duration {
	grace := time.Duration(p.chain.View().Params().GraceSeconds) * time.Second
	return min(p.cfg.Tail, grace/4)
}

// keep does what is due in an epoch, and returns when something will be. The caller holds
// windows.mu.
func (p *Pipeline) keep(e *epoch, now time.Time) (next time.Time) {
	ws := &p.windows
	next = now.Add(p.cfg.WindowAge)
	if e != ws.taking[0] {
		if e.ended = e.ended || !now.Before(e.ends); e.ended {
			p.end(e)
			return next
		}
		next = e.ends
	}
	w := e.open
	if w == nil {
		return next
	}
	switch over := !now.Before(w.opened.Add(p.cfg.WindowAge)); {
	case over && w.idle():
		w.opened = now
		w.status.Opened = now
	case over || w.acks() == rollup.MaxAcks:
		p.rotate(e)
	}
	if closes := e.open.opened.Add(p.cfg.WindowAge); closes.Before(next) {
		next = closes
	}
	return next
}

// end closes the last window of an epoch that takes no more, when nothing is in flight for it. The
// caller holds windows.mu.
func (p *Pipeline) end(e *epoch) {
	ws := &p.windows
	if e.inFlight > 0 || len(ws.draining) >= maxDraining+maxTaking {
		return // what is judged, and what is sealed, wakes the keeper
	}
	if e.open != nil {
		p.closeOpen(e)
	}
	ws.taking = slices.DeleteFunc(ws.taking, func(other *epoch) bool { return other == e })
}

// release drops a window that was sealed, and takes its memory back.
func (p *Pipeline) release(w *window) {
	ws := &p.windows
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.draining = slices.DeleteFunc(ws.draining, func(other *window) bool { return other == w })
	ws.takeBack(w)
	close(ws.released)
	ws.released = make(chan struct{})
	p.wakeKeeper()
}
