package client

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// Signer signs acks for a window: it sets the Signature of each, whose other fields are set; it may also set Seq. It is
// called with up to Config.Batch acks, from one goroutine; signing in parallel is its own affair.
type Signer func(acks []rollup.Ack) error

// Outcome is what became of a delivery.
type Outcome struct {
	Ack      rollup.Ack  // as it was last signed
	Code     rollup.Code // the node's last word, when Err is nil
	Attempts int         // submissions
	// Err is nil, ErrNotSent for an ack that the node certainly does not hold, or ErrUnknownOutcome; the latter two only
	// when Deliver ended early.
	Err error
}

// Deliver gets acks accepted. They come with Client, Service, Seq, Units and Request set; Deliver sets the rest, has
// them signed for the open window, submits them, and calls report once for each, from its own goroutine, when its
// outcome is known. Acks are taken from the sequence as there is room for them.
//
// Acks that are refused because their window has closed are signed again for the open one; overloaded ones wait as
// long as the node asks; when the connection breaks, acks without an answer are sent again byte for byte, which the
// node answers with known if it holds them, and if their window has closed by then, the node is asked whether it holds
// them before they are signed again: a delivery counts once. So Deliver ends when every ack has been accepted or
// refused for good, when ctx ends, or when the node says something that can not pass.
func (c *Client) Deliver(ctx context.Context, acks iter.Seq[rollup.Ack], sign Signer, report func(*Outcome)) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &delivery{client: c, sign: sign, report: report}
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
		return ended // before once, so before first
	}
	defer d.abandon()
	for {
		done, err := d.session(ctx)
		switch {
		case done:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case permanent(err), connect.CodeOf(err) == connect.CodeResourceExhausted: // a batch above the node's limit
			return fmt.Errorf("deliver: %w", err)
		}
		c.cfg.Logger.Debug("delivering was interrupted", "err", err, "again", len(d.again))
		d.backoff = min(max(2*d.backoff, c.cfg.Backoff), maxBackoff)
		if err := pause(ctx, d.backoff); err != nil {
			return err
		}
	}
}

// delivery is the state of one Deliver. It belongs to the goroutine that called it, except for window.
type delivery struct {
	client *Client
	sign   Signer
	report func(*Outcome)
	next   func() (rollup.Ack, bool)
	window atomic.Pointer[OpenWindow]

	drained bool      // next has nothing more
	again   []*parcel // to be submitted again
	flying  []flight  // submitted, in order
	hold    time.Time // nothing is submitted before
	backoff time.Duration
	frames  []byte
}

// parcel is one ack on its way.
type parcel struct {
	ack      rollup.Ack
	signed   bool // for ack.Window; otherwise sign for the open one
	doubtful bool // an answer was lost: the node may hold it
	attempts int
}

type flight struct {
	parcels []*parcel
	pending *Pending
}

// session delivers over one stream until it breaks; done means that everything is delivered.
func (d *delivery) session(ctx context.Context) (done bool, err error) {
	stream := d.client.Open(ctx)
	defer func() {
		if err != nil {
			stream.cancel()
		}
		_ = stream.Close(ctx) // what it may say is known: err, or that all is answered
		d.crash()
	}()
	for {
		switch {
		case len(d.flying) > 0 && (d.answered() || !d.more()):
			err = d.land(ctx)
		case d.more():
			err = d.launch(ctx, stream)
		case len(d.again) > 0: // held back
			err = pause(ctx, time.Until(d.hold))
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
	return len(d.flying) < d.client.cfg.Inflight && (len(d.again) > 0 || !d.drained) && !time.Now().Before(d.hold)
}

func (d *delivery) answered() bool {
	select {
	case <-d.flying[0].pending.Done():
		return true
	default:
		return false
	}
}

// launch signs and submits a batch.
func (d *delivery) launch(ctx context.Context, stream *Stream) error {
	batch := d.batch()
	if len(batch) == 0 {
		return nil
	}
	if err := d.signAll(batch); err != nil {
		d.again = append(batch, d.again...)
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("sign: %w", err)) // it would fail again
	}
	d.frames = d.frames[:0]
	for _, p := range batch {
		p.attempts++
		d.frames = p.ack.Append(d.frames)
	}
	pending, err := stream.Submit(ctx, d.frames)
	if err != nil { // nothing left
		for _, p := range batch {
			p.attempts--
		}
		d.again = append(batch, d.again...)
		return err
	}
	d.flying = append(d.flying, flight{batch, pending})
	return nil
}

// batch takes acks that are to be submitted again, then new ones.
func (d *delivery) batch() []*parcel {
	n := min(len(d.again), d.client.cfg.Batch)
	batch := append([]*parcel(nil), d.again[:n]...)
	d.again = d.again[n:]
	for len(batch) < d.client.cfg.Batch && !d.drained {
		ack, ok := d.next()
		if !ok {
			d.drained = true
			break
		}
		batch = append(batch, &parcel{ack: ack})
	}
	return batch
}

// signAll signs for the open window what is not signed.
func (d *delivery) signAll(batch []*parcel) error {
	open := d.window.Load()
	var fresh []*parcel
	var acks []rollup.Ack
	for _, p := range batch {
		if !p.signed {
			p.ack.Network, p.ack.Node, p.ack.Epoch, p.ack.Window = open.Network, open.Key.Node, open.Key.Epoch, open.Key.Window
			fresh, acks = append(fresh, p), append(acks, p.ack)
		}
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

// land waits for the oldest answer and acts on it.
func (d *delivery) land(ctx context.Context) error {
	oldest := d.flying[0]
	answer, err := oldest.pending.Wait(ctx)
	if err != nil {
		return err // crash takes care of what is flying
	}
	d.flying = d.flying[1:]
	d.backoff = 0
	var lost []*parcel
	for i, p := range oldest.parcels {
		switch code := answer.Codes[i]; {
		case !code.Retry():
			d.report(&Outcome{Ack: p.ack, Code: code, Attempts: p.attempts})
		case moved(code) && p.doubtful:
			lost = append(lost, p)
		case moved(code):
			p.signed = false
			d.again = append(d.again, p)
			if answer.OpenEpoch == p.ack.Epoch && answer.OpenWindow == p.ack.Window { // the next one opens soon
				d.hold = later(d.hold, time.Now().Add(d.client.cfg.Backoff))
			}
		default:
			// The same frame again; after a failed store the node may hold it.
			p.doubtful = p.doubtful || code == rollup.CodeStoreFailed
			d.hold = later(d.hold, time.Now().Add(max(answer.RetryAfter, d.client.cfg.Backoff)))
			d.again = append(d.again, p)
		}
	}
	if open := d.window.Load(); open.Key.Epoch != answer.OpenEpoch || open.Key.Window != answer.OpenWindow {
		moved := *open // the answer may be ahead of the follower, or the follower of the answer: numbers only grow
		moved.Key.Epoch, moved.Key.Window = answer.OpenEpoch, answer.OpenWindow
		if after(moved.Key, open.Key) {
			d.window.CompareAndSwap(open, &moved)
		}
	}
	return d.clarify(ctx, lost)
}

// moved reports whether an ack with the code may be accepted in another window.
func moved(code rollup.Code) bool {
	switch code {
	case rollup.CodeWindowClosed, rollup.CodeWindowAhead, rollup.CodeWrongEpoch, rollup.CodeOverflow:
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

// crash puts what is flying back: whether the node holds it is unknown.
func (d *delivery) crash() {
	var back []*parcel
	for _, f := range d.flying {
		for _, p := range f.parcels {
			p.doubtful = true
			back = append(back, p)
		}
	}
	d.again = append(back, d.again...)
	d.flying = nil
}

// clarify asks the node about acks of closed windows whose answers were lost.
func (d *delivery) clarify(ctx context.Context, lost []*parcel) error {
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
			d.report(&Outcome{Ack: p.ack, Code: rollup.CodeKnown, Attempts: p.attempts})
			continue
		}
		p.signed, p.doubtful = false, false
		d.again = append(d.again, p)
	}
	return nil
}

// abandon reports what has no outcome when Deliver ends.
func (d *delivery) abandon() {
	d.crash()
	for _, p := range d.again {
		outcome := &Outcome{Ack: p.ack, Attempts: p.attempts, Err: ErrNotSent}
		if p.doubtful {
			outcome.Err = ErrUnknownOutcome
		}
		d.report(outcome)
	}
}

// Holds reports whether the node holds the ack, by the bytes that are signed. It waits until the answer is final: until
// the ack's window has sealed, if the node does not hold it yet.
func (c *Client) Holds(ctx context.Context, ack *rollup.Ack) (bool, error) {
	for {
		found, err := Call(ctx, c.ingest.GetAck, &api.GetAckRequest{Ack: api.NewAck(ack)})
		switch {
		case err != nil:
			return false, fmt.Errorf("ask for ack: %w", err)
		case found.State != api.AckState_ACK_STATE_UNKNOWN:
			return true, nil
		case found.Final:
			return false, nil
		}
		if err := pause(ctx, 2*c.cfg.Backoff); err != nil {
			return false, err
		}
	}
}

// AwaitSealed waits until an accepted ack is in a rollup.
func (c *Client) AwaitSealed(ctx context.Context, ack *rollup.Ack) error {
	for {
		found, err := Call(ctx, c.ingest.GetAck, &api.GetAckRequest{Ack: api.NewAck(ack)})
		switch {
		case err != nil && !Temporary(err):
			return fmt.Errorf("ask for ack: %w", err)
		case err == nil && found.State != api.AckState_ACK_STATE_UNKNOWN && found.State != api.AckState_ACK_STATE_POOLED:
			return nil
		}
		if err := pause(ctx, 2*c.cfg.Backoff); err != nil {
			return err
		}
	}
}
