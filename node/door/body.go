package door

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// Pace is the least rate at which a request has to come in.
type Pace struct {
	Grace time.Duration // before the first bytes count
	Rate  int64         // bytes a second from then on
}

// due is when n bytes must have come.
func (p Pace) due(start time.Time, n int64) time.Time {
	return start.Add(p.Grace + time.Duration(float64(n)/float64(p.Rate)*float64(time.Second)))
}

// reserveStep is how many bytes of a request whose length is not declared are reserved at a time.
const reserveStep = 64 << 10

// Body is the body of a request, read under a bound of bytes, a least rate and a budget that
// callers share. What goes beyond ends the reading with a *Refusal. The bytes stay reserved until
// Release.
type Body struct {
	io.ReadCloser
	ctx       context.Context
	caller    string
	limit     int64 // of the request, or of one message of a stream
	pace      Pace
	budget    *Shares[string]
	deadlines *Deadlines
	stream    bool

	started  time.Time
	received int64 // of the request, or of the message
	reserved int64
	armed    time.Time // the read deadline that is set
	head     [5]byte   // of a message in a stream: flags, and its length in big-endian
	headLen  int
	left     int64 // of the message
	err      error
}

// Bound is what a Body keeps to.
type Bound struct {
	Bytes  int64 // of the request, or of one message of a stream
	Pace   Pace
	Budget *Shares[string] // in bytes; one request is never larger than all of it
	Stream bool            // of messages, each behind flags and its length in five bytes
}

// NewBody bounds the body of a request. It refuses a request that declares more than its bound, or
// for whose bytes there is no room. Release must follow.
func NewBody(r *http.Request, caller string, bound Bound, d *Deadlines) (*Body, error) {
	b := &Body{
		ReadCloser: r.Body, ctx: r.Context(), caller: caller, limit: bound.Bytes, pace: bound.Pace,
		budget: bound.Budget, deadlines: d, stream: bound.Stream, started: time.Now(),
	}
	if bound.Stream {
		return b, nil
	}
	if r.ContentLength > bound.Bytes {
		return nil, b.tooLarge(r.ContentLength)
	}
	if r.ContentLength == 0 {
		d.readAll()
	}
	if err := b.reserve(max(r.ContentLength, 0)); err != nil {
		return nil, err
	}
	return b, nil
}

// Release gives back the bytes that are reserved.
func (b *Body) Release() {
	b.budget.Give(b.caller, b.reserved)
	b.reserved = 0
}

// Err returns why reading ended before the end of the body, nil if it did not.
func (b *Body) Err() error { return b.err }

func (b *Body) Read(p []byte) (n int, err error) {
	switch {
	case b.err != nil:
		return 0, wired(b.err)
	case len(p) == 0:
		return 0, nil
	case b.stream:
		n, err = b.readStream(p)
	default:
		n, err = b.readRequest(p)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // the end of a body is exactly this
		if b.err = err; errors.Is(err, os.ErrDeadlineExceeded) && !b.deadlines.ended() && b.inMessage() {
			b.err = rollup.Refuse(ReasonSlow, "%d bytes after %v, at least %d bytes a second were expected",
				b.received, time.Since(b.started).Round(time.Millisecond), b.pace.Rate)
		}
		return n, wired(b.err)
	}
	return n, err
}

func (b *Body) inMessage() bool { return !b.stream || b.headLen > 0 }

func (b *Body) readRequest(p []byte) (int, error) {
	p = p[:min(int64(len(p)), b.limit-b.received+1)] // one more, to see that there is more
	b.arm()
	n, err := b.ReadCloser.Read(p)
	if b.received += int64(n); b.received > b.limit {
		return 0, b.tooLarge(b.received)
	}
	if more := b.received - b.reserved; more > 0 {
		more = min((more+reserveStep-1)/reserveStep*reserveStep, b.limit-b.reserved)
		if err := b.reserve(more); err != nil {
			return 0, err
		}
	}
	if err == io.EOF { //nolint:errorlint // as above
		b.deadlines.readAll()
	}
	return n, err
}

// readStream follows the envelopes, so that the bound is known before the bytes of a message come.
func (b *Body) readStream(p []byte) (int, error) {
	if b.headLen == len(b.head) && b.left == 0 {
		b.headLen = 0 // the next message; the last one has been taken
	}
	if b.headLen < len(b.head) {
		return b.readHead(p)
	}
	b.arm()
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.received += int64(n)
	if b.left -= int64(n); b.left == 0 {
		b.armed = time.Time{}
		b.deadlines.idle()
	}
	return n, err
}

func (b *Body) readHead(p []byte) (int, error) {
	if b.headLen > 0 {
		b.arm()
	} else {
		b.Release() // of the message that was taken
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), len(b.head)-b.headLen)])
	if n == 0 {
		return n, err
	}
	if b.headLen == 0 {
		b.started, b.received = time.Now(), 0
	}
	b.headLen += copy(b.head[b.headLen:], p[:n])
	b.received += int64(n)
	if b.headLen < len(b.head) {
		return n, err
	}
	b.left = int64(binary.BigEndian.Uint32(b.head[1:]))
	if b.left > b.limit {
		return 0, b.tooLarge(b.left)
	}
	if waited := b.budget.Wait(b.ctx, b.caller, b.left); waited != nil {
		return 0, waited
	}
	b.reserved, b.started = b.left, time.Now() // what it waited here for is not the caller's delay
	if b.left == 0 {
		b.armed = time.Time{}
		b.deadlines.idle()
	}
	return n, err
}

func (b *Body) reserve(n int64) error {
	if !b.budget.Take(b.caller, n) {
		return later(ReasonBytes, "no room for %d more bytes of this caller", n)
	}
	b.reserved += n
	return nil
}

// arm sets the read deadline at which the next bytes are overdue, when it moved far enough.
func (b *Body) arm() {
	due := b.pace.due(b.started, b.received)
	if due.Sub(b.armed) > b.pace.Grace/8 {
		b.armed = due
		b.deadlines.message(due)
	}
}

func (b *Body) tooLarge(n int64) error {
	return rollup.Refuse(ReasonSize, "%d bytes or more, where %d are taken", n, b.limit)
}

// Deadlines moves the deadlines of one call. A failure to do so means that the connection is gone,
// which the next read or write tells.
type Deadlines struct {
	mu      sync.Mutex
	control *http.ResponseController // nil once the call is over
	silence time.Time                // until when a stream may be silent between two messages
	expired bool

	// HTTP/2 keeps a timer for each deadline, and one that is set on a stream that was reset holds the
	// memory of its connection until it fires. So there the timers are these, which End stops.
	http2       bool
	read, write *time.Timer
}

// NewDeadlines returns the deadlines of a call; End must follow.
func NewDeadlines(w http.ResponseWriter, r *http.Request) *Deadlines {
	return &Deadlines{control: http.NewResponseController(w), http2: r.ProtoMajor == 2}
}

// End sends what is left of the answer, within its deadline, and keeps a late Expire off the
// connection, which serves other calls by then.
func (d *Deadlines) End() {
	if d.http2 {
		_ = d.control.Flush() // fails when nobody is there to hear the answer
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.control = nil
	for _, timer := range []*time.Timer{d.read, d.write} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// after runs f at an instant in place of what the timer would have run before; never when at is
// zero.
func after(timer **time.Timer, at time.Time, f func()) {
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
	if !at.IsZero() {
		*timer = time.AfterFunc(time.Until(at), f)
	}
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// cutRead and cutWrite fail what reads or writes, at once, unless the call is over.
func (d *Deadlines) cutRead() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.control != nil {
		_ = d.control.SetReadDeadline(past)
	}
}

func (d *Deadlines) cutWrite() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.control != nil {
		_ = d.control.SetWriteDeadline(past)
	}
}

// Silence sets how long a stream may be silent before its next message; 0 is for ever.
func (d *Deadlines) Silence(most time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silence = time.Time{}
	if most > 0 {
		d.silence = time.Now().Add(most)
	}
	d.setRead(d.silence)
}

// Expire makes a read that waits fail at once, and every later one.
func (d *Deadlines) Expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setRead(past)
	d.expired = true
}

// Write sets how long the writes from now on may take together; 0 is for ever.
func (d *Deadlines) Write(most time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.control == nil {
		return
	}
	var at time.Time
	if most > 0 {
		at = time.Now().Add(most)
	}
	if d.http2 {
		after(&d.write, at, d.cutWrite)
		return
	}
	_ = d.control.SetWriteDeadline(at)
}

func (d *Deadlines) setRead(at time.Time) {
	switch {
	case d.control == nil, d.expired:
	case d.http2:
		after(&d.read, at, d.cutRead)
	default:
		_ = d.control.SetReadDeadline(at)
	}
}

// message sets when the next bytes of a message are overdue; idle is for the time between two.
func (d *Deadlines) message(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setRead(at)
}

func (d *Deadlines) idle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setRead(d.silence)
}

// readAll is for the time after the whole request: a deadline would cut the handler off then.
func (d *Deadlines) readAll() { d.message(time.Time{}) }

func (d *Deadlines) ended() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired || d.control == nil
}
