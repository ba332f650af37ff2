package pipeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Receipt accompanies the answers to a submission.
type Receipt struct {
	OpenEpoch  uint32        // what to sign next acks for
	RetryAfter time.Duration // for acks that were answered overloaded; 0 when none was
	Short      []Shortage    // of the payers whose acks were refused for want of credit; some of them
}

// Source is where acks come from: one per connection. Sources share the budget and the verifiers
// fairly. Its methods are safe for concurrent use.
type Source struct {
	p       *Pipeline
	name    string
	session Session

	shares    [classes]share  // guarded by their budgets
	lineups   [classes]lineup // guarded by the queue
	order     [2]order        // of acks of suspects, and of all others
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
	answers []rollup.Answer
	left    atomic.Int64 // acks without an answer, and one for the admission itself
	done    chan struct{}
	backlog int // acks ahead of one that was answered overloaded
	pushed  bool
	noRoom  bool // for want of disk, which no backlog measures

	heldMu sync.Mutex
	held   map[uint32][]byte
	short  []Shortage
}

// roomRetry is the retry delay while the disk is full: room is made by people, or by a settlement.
const roomRetry = 5 * time.Second

// Done is closed when every ack is answered.
func (f *Future) Done() <-chan struct{} { return f.done }

// Wait returns one answer per ack once all are answered. The only error is the context's; the acks
// stay in the pipeline then, and Wait may be called again.
func (f *Future) Wait(ctx context.Context) ([]rollup.Answer, Receipt, error) {
	select {
	case <-f.done:
	default:
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, Receipt{}, context.Cause(ctx)
		}
	}
	r := Receipt{OpenEpoch: f.p.windows.present().number, Short: f.short} // written no more
	switch {
	case f.noRoom:
		r.RetryAfter = roomRetry
	case f.pushed:
		r.RetryAfter = f.p.rate.delay(f.backlog, f.p.cfg.Workers)
	}
	return f.answers, r, nil
}

// Held returns the 128 bytes of the ack that was taken under the number of ack i, which was
// answered number_used; nil when its signature is not kept any more.
func (f *Future) Held(i int) []byte {
	f.heldMu.Lock()
	defer f.heldMu.Unlock()
	return f.held[uint32(i)]
}

func (f *Future) hold(i uint32, frame rollup.Frame) {
	f.heldMu.Lock()
	defer f.heldMu.Unlock()
	if f.held == nil {
		f.held = make(map[uint32][]byte)
	}
	f.held[i] = append([]byte(nil), frame...)
}

func (f *Future) resolve(n int) {
	if f.left.Add(-int64(n)) == 0 {
		close(f.done)
	}
}

// Submit hands in acks and waits for their answers: answers[i] is for frames[128·i : 128·i+128].
// Errors: ErrFrames when the lengths do not fit, the context's; answers are not written then.
// Whatever is wrong with acks, or with the node, is an answer and no error. Frames are not used
// after the return.
func (s *Source) Submit(ctx context.Context, frames []byte, answers []rollup.Answer) (Receipt,
	error) {
	if len(answers) != len(frames)/rollup.AckSize {
		return Receipt{}, fmt.Errorf("%w: %d bytes, room for %d answers",
			ErrFrames, len(frames), len(answers))
	}
	f, err := s.SubmitAsync(frames)
	if err != nil {
		return Receipt{}, err
	}
	given, r, err := f.Wait(ctx)
	if err != nil {
		return Receipt{}, err
	}
	copy(answers, given)
	return r, nil
}

// SubmitAsync is Submit without the wait. It returns as soon as every ack is refused or admitted,
// and does not use frames after that. Acks of one client and service that follow each other in
// number may be submitted at once, through one source: they are judged in that order. Error:
// ErrFrames.
func (s *Source) SubmitAsync(frames []byte) (*Future, error) {
	if len(frames)%rollup.AckSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrames, len(frames))
	}
	p := s.p
	answers := make([]rollup.Answer, len(frames)/rollup.AckSize)
	f := &Future{p: p, answers: answers, done: make(chan struct{})}
	f.left.Store(1)
	defer f.resolve(1)
	p.counters.admit.Batch(len(answers), 0)
	view := p.chain.View()
	if code := p.door(view); code != rollup.CodeAccepted {
		for i := range answers {
			answers[i].Code = code
		}
		f.noRoom = code == rollup.CodeOverloaded
		p.counters.refuse(&p.counters.admit, code, len(answers))
		return f, nil
	}
	a := admission{p: p, source: s, future: f, view: view, until: view.NodeUntil(p.cfg.Node)}
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

// refuse answers an ack at the door.
func (p *Pipeline) refuse(f *Future, i uint32, a rollup.Answer) {
	f.answers[i] = a
	p.counters.refuse(&p.counters.admit, a.Code, 1)
}

// admission is the passage of one submission through the door.
type admission struct {
	p      *Pipeline
	source *Source
	future *Future
	view   *ledger.View
	until  uint32 // the first epoch in which this node serves no more

	epochs [maxTaking]*epoch // that acks of this submission were for
	chunks [(maxTaking + 1) * classes]*chunk

	client   rollup.Client // the last ones looked up
	index    uint64
	service  uint32
	clientOK bool
	granted  bool
	unitCap  uint64
	looked   bool
	pastOf   uint32 // the last epoch that takes no acks
	pastCode rollup.Code
	pastSeen bool

	moved acksAt // out of a chunk that was screened

	account   bool // the submission is taken on account
	lentAcks  int  // of what was lent for that, what no chunk has yet
	lentUnits uint64
}

// The last slot of an admission is for acks that are looked for, and not taken.
const slotOld = maxTaking

func (a *admission) run(frames []byte) {
	n := len(a.future.answers)
	a.reserve(frames)
	for i := range n {
		f := rollup.Frame(frames[i*rollup.AckSize : (i+1)*rollup.AckSize])
		code, slot := a.check(f)
		if code == rollup.CodeAccepted {
			code = a.checkRegistry(f)
		}
		if code != rollup.CodeAccepted && code.Class() != rollup.ClassNever {
			a.p.refuse(a.future, uint32(i), rollup.Answer{Code: code})
			continue
		}
		a.future.answers[i].Code = code // what is said if the ack is signed
		a.add(f, uint32(i), slot, n-i)
	}
	if a.lentAcks > 0 { // the door refused some
		a.p.windows.mu.Lock()
		a.p.windows.accounts.release(a.source.session, a.lentAcks, a.lentUnits)
		a.p.windows.mu.Unlock()
	}
	for slot := range maxTaking + 1 { // what is found to be old is flushed last
		for class := range classes {
			if c := a.chunks[slot*classes+class]; c != nil {
				a.chunks[slot*classes+class] = nil
				a.flush(c, slot)
			}
		}
	}
}

// check makes the checks that need neither registry nor signature, in the order of the codes.
func (a *admission) check(f rollup.Frame) (rollup.Code, int) {
	switch {
	case !f.Tagged():
		return rollup.CodeMalformed, 0
	case f.Net() != a.p.cfg.Network.Net():
		return rollup.CodeWrongNetwork, 0
	case f.Node() != a.p.cfg.Node:
		return rollup.CodeWrongNode, 0
	}
	code, slot := a.slot(f.Epoch())
	if code == rollup.CodeAccepted && f.Epoch() >= a.until {
		return rollup.CodeShuttingDown, 0
	}
	return code, slot
}

// slot returns where acks of an epoch go.
func (a *admission) slot(number uint32) (rollup.Code, int) {
	for i, e := range a.epochs {
		if e != nil && e.number == number {
			return rollup.CodeAccepted, i
		}
	}
	if a.pastSeen && a.pastOf == number {
		return a.pastCode, slotOld
	}
	ws := &a.p.windows
	ws.mu.Lock()
	e := ws.epoch(number)
	lost := e != nil && e.open == nil
	ws.mu.Unlock()
	if e != nil && !lost {
		for i := range a.epochs {
			if a.epochs[i] == nil {
				a.epochs[i] = e
				return rollup.CodeAccepted, i
			}
		}
	}
	a.pastOf, a.pastSeen = number, true
	a.pastCode = a.p.past(number, a.view, lost)
	return a.pastCode, slotOld
}

// checkRegistry makes the checks of what the ack says, in the order in which a client can mend it.
// Never is said of acks that are signed.
func (a *admission) checkRegistry(f rollup.Frame) rollup.Code {
	c, s := f.Client(), f.Service()
	if !a.looked || c != a.index || s != a.service {
		if !a.looked || c != a.index {
			a.client, a.clientOK = a.view.Client(c)
		}
		if !a.looked || s != a.service {
			a.unitCap, _ = a.view.UnitCap(s) // a cap is at least 1
		}
		a.index, a.service, a.looked = c, s, true
		a.granted = a.clientOK && a.client.MayUse(s)
	}
	switch units := f.Units(); {
	case !a.clientOK:
		return rollup.CodeUnknownClient
	case a.unitCap == 0:
		return rollup.CodeUnknownService
	case !a.granted:
		return rollup.CodeNotGranted
	case units == 0:
		return rollup.CodeZeroUnits
	case units > a.unitCap:
		return rollup.CodeExcessUnits
	case !a.client.ValidIn(f.Epoch()):
		return rollup.CodeNotValid
	case f.Number() >= a.client.Numbers:
		return rollup.CodeBeyondLimit
	}
	return rollup.CodeAccepted
}

// add puts an ack into the chunk of its epoch and class.
func (a *admission) add(f rollup.Frame, index uint32, slot, remaining int) {
	class, limit := classEstablished, maxChunk
	if a.account && slot != slotOld && a.future.answers[index].Code == rollup.CodeAccepted {
		class = classAccount
		a.lentAcks--
		a.lentUnits -= f.Units()
	} else if a.source.suspect() || a.p.quarantine.has(f.Client()) {
		class, limit = classSuspect, suspectChunk
	} else if !a.source.established() {
		class = classNew
	}
	a.put(f, index, slot, class, min(remaining, limit, a.p.cfg.MaxBatch))
}

// put adds an ack to a chunk, which is made with room for so many when there is none.
func (a *admission) put(f rollup.Frame, index uint32, slot, class, room int) {
	at := &a.chunks[slot*classes+class]
	if *at == nil {
		c := newChunk(room)
		c.source, c.future, c.view, c.class = a.source, a.future, a.view, class
		c.most = room
		if slot != slotOld {
			c.epoch = a.epochs[slot]
		}
		*at = c
	}
	c := *at
	c.frames = append(c.frames, f...)
	c.at = append(c.at, index)
	if class == classAccount {
		c.lentAcks++
		c.lentUnits += f.Units()
	}
	if len(c.at) == min(c.most, cap(c.at)) {
		*at = nil
		a.flush(c, slot)
	}
}

// flush screens a chunk's numbers, reserves places for what is left and queues it. Acks that find
// no place are answered here.
func (a *admission) flush(c *chunk, slot int) {
	p := a.p
	if c.epoch != nil {
		a.screen(c, slot)
	}
	n, affordable := len(c.at), 0
	if n > 0 {
		class := c.budget()
		affordable = p.budgets[class].reserve(&a.source.shares[class], n, c.size())
	}
	if affordable < n {
		c.cut(affordable, rollup.CodeOverloaded)
		p.judged(c.epoch, n-affordable)
	}
	if affordable == 0 {
		p.repay(c)
		c.recycle()
		return
	}
	a.future.left.Add(int64(affordable))
	p.counters.admit.Settle(affordable, 0)
	c.queued = time.Now()
	switch {
	case c.class != classAccount:
		if !p.queue.push(c) {
			p.abandon(c, rollup.CodeShuttingDown)
		}
	case p.queue.enlist(c, &p.workers):
		p.settleOnAccount(c)
	default:
		p.abandon(c, rollup.CodeShuttingDown)
	}
}

// reserve finds out whether the submission is taken on account.
func (a *admission) reserve(frames []byte) {
	ws, session := &a.p.windows, a.source.session
	if !a.p.cfg.onAccount() || session == NoSession || a.source.suspect() || len(frames) == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	before := ws.accounts.units
	if a.account = ws.accounts.reserve(session, frames); a.account {
		a.lentAcks, a.lentUnits = len(a.future.answers), ws.accounts.units-before
	}
}

// repay gives back what was lent to a chunk that is not settled.
func (p *Pipeline) repay(c *chunk) {
	if c.lentAcks == 0 {
		return
	}
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	p.unreserve(c)
}

// budget is the class whose budget a chunk takes from.
func (c *chunk) budget() int { return max(c.class, classEstablished) }

// screen takes the acks out of a chunk whose numbers say enough, and reserves places for the rest.
func (a *admission) screen(c *chunk, slot int) {
	ws := &a.p.windows
	class, room := c.budget(), c.most
	a.moved.at, a.moved.frames = a.moved.at[:0], a.moved.frames[:0]
	ws.mu.Lock()
	if c.epoch.ended { // since it was looked up
		a.moved.frames = append(a.moved.frames, c.frames...)
		a.moved.at = append(a.moved.at, c.at...)
		c.shrink(0)
	}
	c.epoch.screen(c, ws, &a.moved)
	n := len(c.at)
	granted := min(n, c.epoch.free(ws))
	c.epoch.inFlight += granted
	ws.mu.Unlock()
	if granted < n {
		a.p.wakeKeeper()
		c.cut(granted, rollup.CodeOverloaded)
	}
	for i, at := range a.moved.at {
		f := rollup.Frame(a.moved.frames[i*rollup.AckSize : (i+1)*rollup.AckSize])
		a.put(f, at, slotOld, class, room)
	}
}

// acksAt is acks of a submission, by their positions in it.
type acksAt struct {
	frames []byte
	at     []uint32
}

// judged says that so many acks of an epoch are in flight no more.
func (p *Pipeline) judged(e *epoch, n int) {
	if e == nil || n == 0 {
		return
	}
	p.windows.mu.Lock()
	defer p.windows.mu.Unlock()
	p.leave(e, n)
}

// leave is judged for a caller that holds windows.mu.
func (p *Pipeline) leave(e *epoch, n int) {
	if e.inFlight -= n; e.inFlight == 0 && e.ended {
		p.wakeKeeper()
	}
}

// cut refuses the acks of a chunk from index n on.
func (c *chunk) cut(n int, code rollup.Code) {
	p, f := c.source.p, c.future
	for _, i := range c.at[n:] {
		f.answers[i] = rollup.Answer{Code: code}
	}
	p.counters.refuse(&p.counters.admit, code, len(c.at)-n)
	if code == rollup.CodeOverloaded {
		f.pushed = true
		f.backlog = max(f.backlog, p.queue.len())
	}
	c.shrink(n)
}

// shrink keeps the first n acks.
func (c *chunk) shrink(n int) {
	c.at = c.at[:n]
	c.frames = c.frames[:n*rollup.AckSize]
}

// chunk is what a submission has for one epoch, or a part of it: the unit of queueing.
type chunk struct {
	frames []byte   // 128 bytes each
	at     []uint32 // positions in the submission
	future *Future
	source *Source
	epoch  *epoch       // nil: its acks are looked for, not taken
	view   *ledger.View // in which the clients were found
	class  int          // whose budget it was admitted under
	most   int          // acks that it is to hold
	queued time.Time
	next   *chunk // in the queue
	pool   int    // that it goes back to

	lentAcks  int // of the exposure on account; guarded by windows.mu once it is queued
	lentUnits uint64

	turn    uint64        // in the order of its source and class
	verdict verdict       // while it waits for its turn
	windows []windowShare // that its acks went into
}

// verdict is what a chunk needs of the batch in which it was verified.
type verdict struct {
	codes  []rollup.Code
	payers []uint32
	points []bls.Signature
}

// windowShare is how many acks of a chunk a window has.
type windowShare struct {
	window *window
	acks   int
}

// Chunks come in sizes, so that a single ack does not take the memory of a thousand.
const (
	maxChunk      = 1024
	chunkOverhead = 640 // bytes besides the acks: chunk, future, bookkeeping
	chunkAck      = rollup.AckSize + 4 + 4 + 1 + int64(unsafe.Sizeof(bls.Signature{}))
	maxChunkBytes = maxChunk*chunkAck + chunkOverhead
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
	clear(c.windows)
	v := c.verdict
	*c = chunk{frames: c.frames[:0], at: c.at[:0], pool: c.pool, windows: c.windows[:0],
		verdict: verdict{v.codes[:0], v.payers[:0], v.points[:0]}}
	chunkPools[c.pool].Put(c)
}

// size is what a chunk takes of the byte budget. The greater part of it is for the points that are
// kept when its turn has not come.
func (c *chunk) size() int64 { return int64(cap(c.at))*chunkAck + chunkOverhead }

func (c *chunk) frame(i int) rollup.Frame {
	return rollup.Frame(c.frames[i*rollup.AckSize : (i+1)*rollup.AckSize])
}
