package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// Signer signs acks for a window: it sets the Signature of each, whose other fields are set; it may
// also set Seq. It is called with up to Config.Batch acks, from one goroutine. To sign in parallel
// is its own affair.
type Signer func(acks []rollup.Ack) error

// Outcome is what became of an ack.
type Outcome struct {
	Ack      rollup.Ack  // as it was last signed
	Code     rollup.Code // the node's last word, when Err is nil
	Attempts int         // submissions
	// Err is nil; ErrNotSent for an ack that the node certainly does not hold; or
	// ErrUnknownOutcome. The latter two occur only when Deliver ends early.
	Err error
}

// Deliver gets acks accepted. They come with Client, Service, Seq, Units and Request set. Deliver
// sets the rest, has them signed for the open window, and submits them. It calls report once for
// each, from its own goroutine, when its outcome is known. Acks are taken from the sequence as
// there is room for them.
//
// A delivery counts once:
//
//   - An ack that is refused because its window has closed is signed again for the open one.
//   - One for which the node has no room waits as long as the node asks.
//   - When the connection breaks, acks without an answer are sent again byte for byte. The node
//     answers "known" to those that it holds.
//   - If their window has closed by then, the node is asked whether it holds them before they are
//     signed again.
//
// So Deliver returns nil when every ack has been accepted or refused for good. Otherwise it returns
// a *DeliveryError, which wraps the reason: ctx's error, what the node said that can not pass,
// sign's error, or ErrNoAnswer after Config.Patience. When there was no window yet to sign for, it
// returns the reason alone, and has taken no ack.
func (c *Client) Deliver(ctx context.Context, acks iter.Seq[rollup.Ack], sign Signer,
	report func(*Outcome)) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &delivery{client: c, sign: sign, report: report, attempts: c.attempts()}
	next, stop := iter.Pull(acks)
	defer stop()
	d.next = next

	var follower sync.WaitGroup
	defer follower.Wait()
	defer cancel()
	first := make(chan struct{})
	var ended error
	follower.Go(func() {
		once := sync.OnceFunc(func() { close(first) })
		defer once()
		ended = c.Windows(ctx, func(w OpenWindow) bool {
			d.window.Store(&w)
			once()
			return true
		})
	})
	<-first
	if d.window.Load() == nil {
		return ended // set before once, so before first
	}
	if err := d.run(ctx); err != nil {
		d.abandon()
		d.ended.Node, d.ended.Err = c.cfg.URL, err
		return &d.ended
	}
	return nil
}

// delivery is the state of one Deliver. It belongs to the goroutine that called it, except for
// window.
type delivery struct {
	client   *Client
	sign     Signer
	report   func(*Outcome)
	next     func() (rollup.Ack, bool)
	window   atomic.Pointer[OpenWindow]
	attempts *attempts

	drained   bool          // next has nothing more
	again     []*item       // to be submitted again
	inflight  []batch       // submitted, in order
	notBefore time.Time     // of the next submission
	frames    []byte        // of the submission that is being made
	ended     DeliveryError // how far it came
}

// item is one ack to deliver.
type item struct {
	ack      rollup.Ack
	signed   bool // for ack.Window; otherwise sign for the open one
	doubtful bool // an answer was lost: the node may hold it
	attempts int
}

// batch is the acks of one submission.
type batch struct {
	items   []*item
	pending *Pending
}

// run delivers over one stream after another.
func (d *delivery) run(ctx context.Context) error {
	for {
		done, err := d.stream(ctx)
		if done {
			return nil
		}
		if ctx.Err() == nil && connect.CodeOf(err) == connect.CodeResourceExhausted {
			return err // a batch above the node's limit
		}
		err = d.attempts.after(ctx, "deliver", err)
		var node *NodeError
		if errors.As(err, &node) {
			return node.Err // the DeliveryError names the node
		}
		if err != nil {
			return err
		}
	}
}

// stream delivers over one stream until it breaks. Done means that everything is delivered.
func (d *delivery) stream(ctx context.Context) (done bool, err error) {
	stream := d.client.Open(ctx)
	defer func() {
		if err != nil {
			stream.cancel()
		}
		_ = stream.Close(ctx) // nothing new: err says why it broke, or all is answered
		d.requeue()
	}()
	for {
		switch {
		case len(d.inflight) > 0 && (d.answered() || !d.more()):
			err = d.handleAnswer(ctx)
		case d.more():
			err = d.send(ctx, stream)
		case len(d.again) > 0: // not yet
			err = retry.Pause(ctx, time.Until(d.notBefore))
		default:
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// more reports whether something may be submitted now.
func (d *delivery) more() bool {
	return len(d.inflight) < d.client.cfg.Inflight && (len(d.again) > 0 || !d.drained) &&
		!time.Now().Before(d.notBefore)
}

func (d *delivery) answered() bool {
	select {
	case <-d.inflight[0].pending.Done():
		return true
	default:
		return false
	}
}

// send signs and submits a batch.
func (d *delivery) send(ctx context.Context, stream *Stream) error {
	items := d.take()
	if len(items) == 0 {
		return nil
	}
	if err := d.signAll(items); err != nil {
		d.again = append(items, d.again...)
		// It would fail again.
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("sign: %w", err))
	}
	d.frames = d.frames[:0]
	for _, p := range items {
		p.attempts++
		d.frames = p.ack.Append(d.frames)
	}
	pending, err := stream.Submit(ctx, d.frames)
	if err != nil { // nothing left
		for _, p := range items {
			p.attempts--
		}
		d.again = append(items, d.again...)
		return err
	}
	d.inflight = append(d.inflight, batch{items, pending})
	return nil
}

// take returns acks that are to be submitted again, then new ones, as many as go into a submission.
func (d *delivery) take() []*item {
	n := min(len(d.again), d.client.cfg.Batch)
	items := append([]*item(nil), d.again[:n]...)
	d.again = d.again[n:]
	for len(items) < d.client.cfg.Batch && !d.drained {
		ack, ok := d.next()
		if !ok {
			d.drained = true
			break
		}
		items = append(items, &item{ack: ack})
	}
	return items
}

// signAll signs for the open window what is not signed.
func (d *delivery) signAll(items []*item) error {
	open := d.window.Load()
	var fresh []*item
	var acks []rollup.Ack
	for _, p := range items {
		if p.signed {
			continue
		}
		p.ack.Network, p.ack.Node = open.Network, open.Key.Node
		p.ack.Epoch, p.ack.Window = open.Key.Epoch, open.Key.Window
		fresh, acks = append(fresh, p), append(acks, p.ack)
	}
	if len(acks) == 0 {
		return nil
	}
	if err := d.sign(acks); err != nil {
		return err
	}
	for i, p := range fresh {
		p.ack, p.signed = acks[i], true
	}
	return nil
}

// handleAnswer waits for the oldest answer and acts on it.
func (d *delivery) handleAnswer(ctx context.Context) error {
	oldest := d.inflight[0]
	answer, err := oldest.pending.Wait(ctx)
	if err != nil {
		return err // requeue takes care of what is in flight
	}
	d.inflight = d.inflight[1:]
	d.attempts.answered()
	var lost []*item
	for i, p := range oldest.items {
		if !d.decide(p, answer.Codes[i], &answer) {
			lost = append(lost, p)
		}
	}
	d.follow(&answer)
	return d.clarify(ctx, lost)
}

// decide acts on one ack's code. It returns false for an ack of a closed window that the node may
// hold from an earlier submission: the node has to be asked.
func (d *delivery) decide(p *item, code rollup.Code, answer *Answer) bool {
	backoff := d.client.cfg.Backoff
	switch {
	case !code.Retry():
		d.finish(p, code)
	case moved(code) && p.doubtful:
		return false
	case moved(code):
		p.signed = false
		d.again = append(d.again, p)
		if answer.OpenEpoch == p.ack.Epoch &&
			answer.OpenWindow == p.ack.Window { // the next opens soon
			d.notBefore = later(d.notBefore, time.Now().Add(backoff))
		}
	default:
		// The same frame again; after a failed store the node may hold it.
		p.doubtful = p.doubtful || code == rollup.CodeStoreFailed
		d.notBefore = later(d.notBefore, time.Now().Add(max(answer.RetryAfter, backoff)))
		d.again = append(d.again, p)
	}
	return true
}

// finish reports a final word.
func (d *delivery) finish(p *item, code rollup.Code) {
	if code.OK() {
		d.ended.Accepted++
	} else {
		d.ended.Refused++
	}
	d.report(&Outcome{Ack: p.ack, Code: code, Attempts: p.attempts})
}

// follow takes the open window from an answer, which may be ahead of Windows, or behind it: numbers
// only grow.
func (d *delivery) follow(answer *Answer) {
	open := d.window.Load()
	moved := *open
	moved.Key.Epoch, moved.Key.Window = answer.OpenEpoch, answer.OpenWindow
	if after(moved.Key, open.Key) {
		d.window.CompareAndSwap(open, &moved)
	}
}

// moved reports whether an ack with the code may be accepted in another window.
func moved(code rollup.Code) bool {
	switch code {
	case rollup.CodeWindowClosed,
		rollup.CodeWindowAhead,
		rollup.CodeWrongEpoch,
		rollup.CodeOverflow:
		return true
	}
	return false
}

func after(a, b rollup.WindowKey) bool {
	return a.Epoch > b.Epoch || a.Epoch == b.Epoch && a.Window > b.Window
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// requeue takes back what is in flight: whether the node holds it is unknown.
func (d *delivery) requeue() {
	var back []*item
	for _, f := range d.inflight {
		for _, p := range f.items {
			p.doubtful = true
			back = append(back, p)
		}
	}
	d.again = append(back, d.again...)
	d.inflight = nil
}

// clarify asks the node about acks of closed windows whose answers were lost.
func (d *delivery) clarify(ctx context.Context, lost []*item) error {
	held := make([]bool, len(lost))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, p := range lost {
		group.Go(func() (err error) {
			held[i], err = d.client.Holds(ctx, &p.ack)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		d.again = append(d.again, lost...) // still signed and doubtful
		return err
	}
	for i, p := range lost {
		if held[i] {
			d.finish(p, rollup.CodeKnown)
			continue
		}
		p.signed, p.doubtful = false, false
		d.again = append(d.again, p)
	}
	return nil
}

// abandon reports what has no outcome when Deliver ends.
func (d *delivery) abandon() {
	d.requeue()
	for _, p := range d.again {
		outcome := &Outcome{Ack: p.ack, Attempts: p.attempts, Err: ErrNotSent}
		if p.doubtful {
			outcome.Err = ErrUnknownOutcome
			d.ended.Unknown++
		} else {
			d.ended.Unsent++
		}
		d.report(outcome)
	}
}

// Holds reports whether the node holds the ack, by the bytes that are signed. It waits until the
// answer is final: until the ack's window has sealed, if the node does not hold it yet.
func (c *Client) Holds(ctx context.Context, ack *rollup.Ack) (bool, error) {
	for {
		found, err := Call(ctx, c.acks.GetAck, &api.GetAckRequest{Ack: api.NewAck(ack)})
		switch {
		case err != nil:
			return false, &NodeError{c.cfg.URL, "GetAck", err}
		case found.State != api.AckState_ACK_STATE_UNKNOWN:
			return true, nil
		case found.Final:
			return false, nil
		}
		if err := retry.Pause(ctx, 2*c.cfg.Backoff); err != nil {
			return false, err
		}
	}
}

// AwaitSealed waits until an accepted ack is in a rollup. It waits for a node that does not answer
// for Config.Patience.
func (c *Client) AwaitSealed(ctx context.Context, ack *rollup.Ack) error {
	again := c.attempts()
	for {
		found, err := Call(ctx, c.acks.GetAck, &api.GetAckRequest{Ack: api.NewAck(ack)})
		switch {
		case err != nil:
			err = again.after(ctx, "wait for a rollup", err)
		case found.State == api.AckState_ACK_STATE_SEALED,
			found.State == api.AckState_ACK_STATE_ORDERED:
			return nil
		default:
			again.answered()
			err = retry.Pause(ctx, 2*c.cfg.Backoff)
		}
		if err != nil {
			return err
		}
	}
}
