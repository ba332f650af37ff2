package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Receipt accompanies the codes of a submission.
type Receipt struct {
	OpenEpoch, OpenWindow uint32        // what to sign next acks for
	RetryAfter            time.Duration // for acks that were answered overloaded; 0 when none was
}

// Source is where acks come from: one per connection. Sources share the budget and the verifiers
// fairly. Its methods are safe for concurrent use.
type Source struct {
	p       *Pipeline
	name    string
	session Session

	shares    [classes]share  // guarded by their budgets
	lineups   [classes]lineup // guarded by the queue
	bad, good atomic.Int32    // bad signatures lately, and good ones since, see quarantine
	closed    sync.Once
}

// Open returns a new source. The name is for logs. Close it when the connection ends.
func (p *Pipeline) Open(name string) *Source { return p.OpenSession(name, NoSession) }

// OpenSession is Open for a connection through whose session the clients of its acks can be asked
// to co-sign.
func (p *Pipeline) OpenSession(name string, session Session) *Source {
	p.counters.sources.Add(1)
	return &Source{p: p, name: name, session: session}
}

// Close says that the source will submit no more. What it submitted is still answered.
func (s *Source) Close() { s.closed.Do(func() { s.p.counters.sources.Add(-1) }) }

// Future is the pending answer to one submission.
type Future struct {
	p       *Pipeline
	codes   []rollup.Code
	left    atomic.Int64 // acks without an answer, and one for the admission itself
	done    chan struct{}
	backlog int // acks ahead of one that was answered overloaded
	pushed  bool
	noRoom  bool // for want of disk, which no backlog measures
}

// roomRetry is the retry delay while the disk is full: room is made by people, or by a settlement.
const roomRetry = 5 * time.Second

// Done is closed when every ack is answered.
func (f *Future) Done() <-chan struct{} { return f.done }

// Wait returns one code per ack once all are answered. The only error is the context's; the acks
// stay in the pipeline then, and Wait may be called again.
func (f *Future) Wait(ctx context.Context) ([]rollup.Code, Receipt, error) {
	select {
	case <-f.done:
	default:
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, Receipt{}, context.Cause(ctx)
		}
	}
	w := f.p.OpenWindow()
	r := Receipt{OpenEpoch: w.Epoch, OpenWindow: w.Window}
	switch {
	case f.noRoom:
		r.RetryAfter = roomRetry
	case f.pushed:
		r.RetryAfter = f.p.rate.delay(f.backlog, f.p.cfg.Workers)
	}
	return f.codes, r, nil
}

func (f *Future) resolve(n int) {
	if f.left.Add(-int64(n)) == 0 {
		close(f.done)
	}
}

// Submit hands in acks and waits for their answers: codes[i] answers frames[128·i : 128·i+128].
// Errors: ErrFrames when the lengths do not fit, the context's; codes are not written then.
// Whatever is wrong with acks, or with the node, is a code and no error. Frames are not used
// after the return.
func (s *Source) Submit(ctx context.Context, frames []byte, codes []rollup.Code) (Receipt, error) {
	if len(codes) != len(frames)/rollup.AckSize {
		return Receipt{}, fmt.Errorf("%w: %d bytes, room for %d codes",
			ErrFrames, len(frames), len(codes))
	}
	f, err := s.SubmitAsync(frames)
	if err != nil {
		return Receipt{}, err
	}
	answers, r, err := f.Wait(ctx)
	if err != nil {
		return Receipt{}, err
	}
	copy(codes, answers)
	return r, nil
}

// SubmitAsync is Submit without the wait. It returns as soon as every ack is refused or admitted,
// and does not use frames after that. Error: ErrFrames.
func (s *Source) SubmitAsync(frames []byte) (*Future, error) {
	if len(frames)%rollup.AckSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrames, len(frames))
	}
	p := s.p
	codes := make([]rollup.Code, len(frames)/rollup.AckSize)
	f := &Future{p: p, codes: codes, done: make(chan struct{})}
	f.left.Store(1)
	defer f.resolve(1)
	p.counters.admit.Batch(len(f.codes), 0)
	view := p.chain.View()
	if code := p.door(view); code != rollup.CodeAccepted {
		for i := range f.codes {
			f.codes[i] = code
		}
		f.noRoom = code == rollup.CodeOverloaded
		p.counters.refuse(&p.counters.admit, code, len(f.codes))
		return f, nil
	}
	a := admission{p: p, source: s, future: f, view: view, slots: p.windows.current.Load()}
	a.run(frames)
	return f, nil
}

// door returns Accepted when acks may be admitted at all.
func (p *Pipeline) door(view *ledger.View) rollup.Code {
	switch {
	case p.failed():
		return rollup.CodeStoreFailed
	case !p.serving.Load():
		return rollup.CodeShuttingDown
	case !p.cfg.Room():
		return rollup.CodeOverloaded
	case p.checkClock(view) != nil:
		return rollup.CodeClock
	}
	return rollup.CodeAccepted
}

// admission is the passage of one submission through the door.
type admission struct {
	p      *Pipeline
	source *Source
	future *Future
	view   *ledger.View
	slots  *slots

	chunks [2 * classes]*chunk // by slot and class, being filled
	locked *window             // whose table is read

	client, service uint32 // the last ones looked up
	clientOK        bool
	unitCap         uint64
	looked          bool
	prior           *sealedWindow // the last closed window that was asked for
	priorKey        rollup.WindowKey
	priorLooked     bool
}

func (a *admission) run(frames []byte) {
	n := len(a.future.codes)
	for i := range n {
		f := rollup.Frame(frames[i*rollup.AckSize : (i+1)*rollup.AckSize])
		code, slot := a.check(f)
		if code != rollup.CodeAccepted {
			a.refuse(i, code)
			continue
		}
		a.add(f, uint32(i), slot, n-i)
	}
	a.unlock()
	for _, c := range a.chunks {
		if c != nil {
			a.flush(c)
		}
	}
}

func (a *admission) refuse(i int, code rollup.Code) {
	a.future.codes[i] = code
	a.p.counters.refuse(&a.p.counters.admit, code, 1)
}

// check makes the checks that need no signature, in the order of the codes.
func (a *admission) check(f rollup.Frame) (rollup.Code, int) {
	switch {
	case !f.Tagged():
		return rollup.CodeMalformed, 0
	case f.Network() != a.p.cfg.Network:
		return rollup.CodeWrongNetwork, 0
	case f.Node() != a.p.cfg.Node:
		return rollup.CodeWrongNode, 0
	}
	slot := a.slots.find(f.Epoch(), f.Window())
	if slot < 0 {
		return a.elsewhere(f), 0
	}
	if code := a.checkRegistry(f); code != rollup.CodeAccepted {
		return code, 0
	}
	w := a.slots[slot]
	if a.locked != w {
		a.unlock()
		w.mu.RLock()
		a.locked = w
	}
	return w.peek(f), slot
}

func (a *admission) unlock() {
	if a.locked != nil {
		a.locked.mu.RUnlock()
		a.locked = nil
	}
}

func (a *admission) checkRegistry(f rollup.Frame) rollup.Code {
	if c := f.Client(); !a.looked || c != a.client {
		a.client = c
		_, a.clientOK = a.view.ClientKey(c)
	}
	if !a.clientOK {
		return rollup.CodeUnknownClient
	}
	if s := f.Service(); !a.looked || s != a.service {
		a.service = s
		a.unitCap, _ = a.view.UnitCap(s) // a cap is at least 1
	}
	a.looked = true
	switch units := f.Units(); {
	case a.unitCap == 0:
		return rollup.CodeUnknownService
	case units == 0:
		return rollup.CodeZeroUnits
	case units > a.unitCap:
		return rollup.CodeExcessUnits
	}
	return rollup.CodeAccepted
}

// elsewhere answers an ack for a window that takes none: known if it was accepted then, so that
// nobody signs twice for one delivery.
func (a *admission) elsewhere(f rollup.Frame) rollup.Code {
	a.unlock() // the lookup below takes the locks of other windows
	key := f.Key()
	// A window drains, then is sealed, then is let go: asked in this order, an ack of it is not
	// missed.
	known, draining := a.p.windows.drains(f)
	if !draining && (!a.priorLooked || a.priorKey != key) {
		a.prior, _ = a.p.sealedWindow(key) // one that can not be read has nothing for the door
		a.priorKey, a.priorLooked = key, true
	}
	if known || a.priorKey == key && a.prior.contains(f) {
		return rollup.CodeKnown
	}
	open := a.slots[0].key
	switch {
	case key.Epoch != open.Epoch:
		return rollup.CodeWrongEpoch
	case key.Window < open.Window:
		return rollup.CodeWindowClosed
	}
	return rollup.CodeWindowAhead
}

// add puts an ack into the chunk of its window and class.
func (a *admission) add(f rollup.Frame, index uint32, slot, remaining int) {
	class, limit := classEstablished, maxChunk
	if a.source.suspect() || a.p.quarantine.has(f.Client()) {
		class, limit = classSuspect, suspectChunk
	} else if !a.source.established() {
		class = classNew
	}
	limit = min(limit, a.p.cfg.MaxBatch)
	at := &a.chunks[slot*classes+class]
	if *at == nil {
		c := newChunk(min(remaining, limit))
		c.source, c.future, c.window, c.view, c.class = a.source, a.future, a.slots[slot], a.view, class
		*at = c
	}
	c := *at
	c.frames = append(c.frames, f...)
	c.at = append(c.at, index)
	if len(c.at) == min(limit, cap(c.at)) {
		*at = nil
		a.unlock()
		a.flush(c)
	}
}

// flush reserves places for a chunk and queues it. Acks that find no place are answered here.
func (a *admission) flush(c *chunk) {
	p := a.p
	n := len(c.at)
	granted, full := c.window.reserve(n)
	if full {
		p.windowFull(c.window)
	}
	if granted < n {
		code := rollup.CodeWindowClosed
		if p.windows.current.Load()[0] == c.window { // no window could be opened behind it yet
			code = rollup.CodeOverloaded
		}
		c.cut(granted, code)
	}
	affordable := p.budgets[c.class].reserve(&a.source.shares[c.class], granted, c.size())
	if affordable < granted {
		c.cut(affordable, rollup.CodeOverloaded)
		p.giveBack(c.window, granted-affordable)
	}
	if affordable == 0 {
		c.recycle()
		return
	}
	a.future.left.Add(int64(affordable))
	p.counters.admit.Settle(affordable, 0)
	c.queued = time.Now()
	if !p.queue.push(c) {
		p.abandon(c, rollup.CodeShuttingDown)
	}
}

// cut refuses the acks of a chunk from index n on.
func (c *chunk) cut(n int, code rollup.Code) {
	p, f := c.source.p, c.future
	for _, i := range c.at[n:] {
		f.codes[i] = code
	}
	p.counters.refuse(&p.counters.admit, code, len(c.at)-n)
	if code == rollup.CodeOverloaded {
		f.pushed = true
		f.backlog = max(f.backlog, p.queue.len())
	}
	c.at = c.at[:n]
	c.frames = c.frames[:n*rollup.AckSize]
}

// chunk is what a submission has for one window, or a part of it: the unit of queueing.
type chunk struct {
	frames []byte   // 128 bytes each
	at     []uint32 // positions in the submission
	future *Future
	source *Source
	window *window
	view   *ledger.View // in which the clients were found
	class  int          // whose budget it was admitted under
	queued time.Time
	next   *chunk // in the queue
	pool   int    // that it goes back to
}

// Chunks come in sizes, so that a single ack does not take the memory of a thousand.
const (
	maxChunk      = 1024
	chunkOverhead = 512 // bytes besides the frames: chunk, future, bookkeeping
	maxChunkBytes = maxChunk*(rollup.AckSize+4) + chunkOverhead
)

var (
	chunkSizes = [...]int{16, 128, maxChunk}
	chunkPools [len(chunkSizes)]sync.Pool
)

func newChunk(n int) *chunk {
	pool := 0
	for chunkSizes[pool] < n {
		pool++
	}
	if c, ok := chunkPools[pool].Get().(*chunk); ok {
		return c
	}
	size := chunkSizes[pool]
	frames := make([]byte, 0, size*rollup.AckSize)
	return &chunk{frames: frames, at: make([]uint32, 0, size), pool: pool}
}

func (c *chunk) recycle() {
	*c = chunk{frames: c.frames[:0], at: c.at[:0], pool: c.pool}
	chunkPools[c.pool].Put(c)
}

// size is what a chunk takes of the byte budget.
func (c *chunk) size() int64 {
	return int64(cap(c.at))*(rollup.AckSize+4) + chunkOverhead
}

func sameMessage(a, b rollup.Frame) bool { return bytes.Equal(a.Message(), b.Message()) }
