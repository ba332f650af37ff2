package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/rollup"
)

// Signer signs acks: it sets the Signature of each, whose other fields are set and must not change.
// It is called with up to Config.Batch acks, from one goroutine. To sign in parallel is its own
// affair. Signing the same ack again must give the same signature, as BLS does.
type Signer func(network rollup.Network, acks []rollup.Ack) error

// Outcome is what became of a delivery.
type Outcome struct {
	Delivery Delivery
	Ack      rollup.Ack  // that was signed for it; zero when none was
	Code     rollup.Code // the node's last word, when Err is nil
	Attempts int         // submissions
	// Credit is why the ack had to wait last, if its payer lacked credit.
	Credit *CreditError
	// Err is nil; ErrNotSent when nothing was signed, so that the delivery may be delivered again;
	// ErrUnknownOutcome when an ack is in the book, and the next Deliver sends it; ErrNoNumber. The
	// first two occur only when Deliver ends early.
	Err error
}

// Deliver gets deliveries acknowledged and their acks accepted. It has each signed once, under a
// number that Config.Book keeps, and submits it to the node that Config.Pin names. It calls report
// once for each, from its own goroutine, when its outcome is known. Deliveries are taken from the
// sequence, in a goroutine of its own, as there is room for them; the sequence has to end when ctx
// does, and one that waits for more holds back the error of a delivery that failed meanwhile.
//
// What the node answers decides by its class:
//
//   - taken: the node holds the ack and will be paid for it.
//   - not now: the same bytes are sent again, after what the answer says or for long enough, until
//     the epoch's end. When the connection breaks, acks without an answer are sent again as well.
//   - never: the delivery stays unpaid and is not signed again. When the node shows that it holds
//     another ack of the client under the number, which only happens after a book was lost, the
//     smaller of the two deliveries is signed once more.
//   - faulty: this program is wrong, or the node is.
//
// Deliver begins with what the book holds from before without a last word, and reports it too. It
// returns nil when all is taken, or refused for good. Otherwise it returns a *DeliveryError, which
// wraps the reason: ctx's error, what the node said that can not pass, a [Reason], sign's or the
// book's error, or ErrNoAnswer after Config.Patience. When it could not begin, it returns the
// reason alone and has taken no delivery.
func (c *Client) Deliver(ctx context.Context, deliveries iter.Seq[Delivery], sign Signer,
	report func(*Outcome)) (err error) {
	return c.deliverFor(ctx, c.cosigner,
		func(context.Context) iter.Seq[Delivery] { return deliveries }, sign, report)
}

// deliverFor is Deliver of acks that somebody co-signs; nil: nobody. The sequence has to end with
// the context that it is given: the caller's, and over when the delivery has failed.
func (c *Client) deliverFor(ctx context.Context, k *cosigner,
	deliveries func(context.Context) iter.Seq[Delivery], sign Signer,
	report func(*Outcome)) (err error) {
	if err := c.maySign(); err != nil {
		return err
	}
	caller := ctx
	ctx, cancel := context.WithCancelCause(caller)
	d := &deliverer{
		caller: caller, client: c, cosigner: k, book: c.cfg.Book, pin: c.cfg.Pin, sign: sign,
		report:   report,
		attempts: c.attempts(), feed: make(chan Delivery, c.cfg.Batch),
		moved: make(chan struct{}, 1), items: make(map[*entry]*item),
		failed: make(map[*entry]bool), caps: make(map[uint32]uint64), told: make(map[uint32]toldOf),
	}
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel(nil)
	if err := d.begin(ctx, &helpers, cancel); err != nil {
		return err
	}
	var pulled *Delivery // and not handed over
	helpers.Go(func() { pulled = d.pull(ctx, deliveries(ctx)) })
	err = d.run(ctx)
	if err == nil && caller.Err() == nil {
		err = context.Cause(ctx) // the sequence may have ended for that
	}
	if err == nil {
		return d.book.sync()
	}
	if ctx.Err() != nil {
		err = d.why(ctx)
	}
	cancel(nil)
	helpers.Wait()
	if pulled != nil {
		d.fresh = append(d.fresh, &item{Delivery: *pulled, reports: 1})
	}
	d.abandon()
	d.ended.Node, d.ended.Err = c.cfg.URL, errors.Join(err, d.unwritten())
	d.ended.Credit = d.credit
	return &d.ended
}

// deliverer is the state of one Deliver. It belongs to the goroutine that called it, except for
// what is said to be another's.
type deliverer struct {
	client   *Client
	cosigner *cosigner
	book     *Book
	pin      *Pin
	sign     Signer
	report   func(*Outcome)
	attempts *attempts

	feed   chan Delivery // from the sequence; closed at its end
	epoch  atomic.Uint64 // to sign for, plus one; 0 while it is not known
	moved  chan struct{} // epoch has changed
	caller context.Context

	place     *place
	drained   bool    // feed has nothing more
	fresh     []*item // without a number
	again     []*item // with a number, to be submitted
	unsorted  bool    // again is not in the order of the numbers
	inflight  []batch // submitted, in order
	items     map[*entry]*item
	failed    map[*entry]bool // found faulty during this Deliver
	caps      map[uint32]uint64
	over      uint32            // no number of an epoch before this one is given any more
	notBefore time.Time         // of the next submission
	frames    []byte            // of the submission that is being made
	credit    *CreditError      // that acks waited for last; nil once one is taken
	told      map[uint32]toldOf // by payer
	ended     DeliveryError
}

// batch is the acks of one submission.
type batch struct {
	items   []*item
	pending *Pending
}

// begin waits until the node has said who it is and which epoch runs, and takes over what the book
// holds.
func (d *deliverer) begin(ctx context.Context, helpers *sync.WaitGroup,
	cancel context.CancelCauseFunc) error {
	helpers.Go(func() {
		rest := time.AfterFunc(0, func() {}) // from signing for an epoch that is over
		defer func() { rest.Stop() }()
		cancel(d.client.epochs(ctx, func(e EpochInfo) bool {
			rest.Stop()
			epoch, during, ok := e.signed(2 * d.client.cfg.CallTimeout)
			switch {
			case !ok:
				d.follow(0)
				return true
			case during > 0:
				rest = time.AfterFunc(during, func() {
					d.epoch.CompareAndSwap(uint64(epoch)+1, 0)
				})
			}
			d.follow(uint64(epoch) + 1)
			return true
		}, func() { d.follow(0) }))
	})
	epoch := uint64(0)
	for epoch == 0 {
		select {
		case <-d.moved:
			epoch = d.epoch.Load()
		case <-ctx.Done():
			return d.why(ctx)
		}
	}
	var err error
	if d.place, err = d.book.at(d.pin, uint32(epoch-1)); err != nil {
		return err
	}
	pending, faulty := d.book.adopt(d.place, d)
	for _, e := range pending {
		p := itemOf(e)
		p.reports = 1
		d.put(p)
	}
	for _, e := range faulty {
		d.put(itemOf(e))
	}
	return nil
}

// why is why ctx has ended: the caller's affair, or that the epoch will not be known any more.
func (d *deliverer) why(ctx context.Context) error {
	if err := d.caller.Err(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// follow notes what epoch runs; it is called from the follower's goroutine.
func (d *deliverer) follow(epoch uint64) {
	d.epoch.Store(epoch)
	select {
	case d.moved <- struct{}{}:
	default:
	}
}

// pull takes deliveries from the sequence. It returns one that found no taker.
func (d *deliverer) pull(ctx context.Context, deliveries iter.Seq[Delivery]) *Delivery {
	defer close(d.feed)
	if ctx.Err() != nil {
		return nil
	}
	for x := range deliveries {
		select {
		case d.feed <- x:
		case <-ctx.Done():
			return &x
		}
	}
	return nil
}

// run delivers over one stream after another.
func (d *deliverer) run(ctx context.Context) error {
	for {
		done, err := d.stream(ctx)
		if done {
			return nil
		}
		if ctx.Err() == nil && connect.CodeOf(err) == connect.CodeResourceExhausted &&
			retryAfter(err) == 0 {
			return err // a batch above the node's limit; a door that is full says when to come
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
func (d *deliverer) stream(ctx context.Context) (done bool, err error) {
	stream := d.client.openFor(ctx, d.cosigner)
	defer func() {
		if err != nil {
			stream.cancel()
		}
		_ = stream.Close(ctx) // nothing new: err says why it broke, or all is answered
		d.requeue()
	}()
	for {
		for len(d.inflight) > 0 && d.answered() {
			if err := d.handleAnswer(ctx); err != nil {
				return false, err
			}
		}
		sent, err := d.send(ctx, stream)
		switch {
		case err != nil:
			return false, err
		case sent:
		case d.drained && len(d.fresh)+len(d.again)+len(d.inflight) == 0:
			return true, nil
		default:
			if err := d.wait(ctx); err != nil {
				return false, err
			}
		}
	}
}

// room reports whether more deliveries may be taken from the sequence.
func (d *deliverer) room() bool {
	cfg := &d.client.cfg
	return !d.drained && len(d.fresh) < cfg.Batch && len(d.again) < cfg.Batch*cfg.Inflight
}

// wait returns when there may be something to do.
func (d *deliverer) wait(ctx context.Context) error {
	var answered <-chan struct{}
	if len(d.inflight) > 0 {
		answered = d.inflight[0].pending.Done()
	}
	var feed <-chan Delivery
	if d.room() {
		feed = d.feed
	}
	var due <-chan time.Time
	if at, ok := d.next(); ok {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-answered:
	case x, ok := <-feed:
		d.take(x, ok)
	case <-d.moved:
	case <-due:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// next is when something is due that is not due now.
func (d *deliverer) next() (at time.Time, ok bool) {
	if len(d.inflight) >= d.client.cfg.Inflight {
		return at, false
	}
	for _, p := range d.again {
		if !ok || p.due.Before(at) {
			at, ok = p.due, true
		}
	}
	if d.signing() && len(d.fresh) > 0 {
		at, ok = d.notBefore, true
	}
	return later(at, d.notBefore), ok
}

// take takes a delivery from the sequence, or notes that it has ended.
func (d *deliverer) take(x Delivery, ok bool) {
	if ok {
		d.fresh = append(d.fresh, &item{Delivery: x, reports: 1})
	} else {
		d.drained = true
	}
}

// signing reports whether the epoch is known in which numbers are given.
func (d *deliverer) signing() bool {
	epoch := d.epoch.Load()
	return epoch > uint64(d.over)
}

func (d *deliverer) answered() bool {
	select {
	case <-d.inflight[0].pending.Done():
		return true
	default:
		return false
	}
}

// put adds to what is to be submitted.
func (d *deliverer) put(p *item) {
	d.items[p.entry] = p
	d.again = append(d.again, p)
	d.unsorted = true
}

// send submits what there is to submit, up to a batch, and reports whether there was anything.
func (d *deliverer) send(ctx context.Context, stream *Stream) (bool, error) {
	cfg, now := &d.client.cfg, time.Now()
	if len(d.inflight) >= cfg.Inflight || now.Before(d.notBefore) {
		return false, nil
	}
	for more := true; more && d.room(); {
		select {
		case x, ok := <-d.feed:
			d.take(x, ok)
		default:
			more = false
		}
	}
	items := d.due(now, cfg.Batch)
	fresh, err := d.number(ctx, cfg.Batch-len(items))
	items = append(items, fresh...)
	if err == nil && len(items) > 0 {
		err = d.submit(ctx, stream, items)
	}
	if err != nil {
		for _, p := range items { // each has its number, and nothing has left
			d.put(p)
		}
		return false, err
	}
	return len(items) > 0, nil
}

// due takes what is to be submitted again from where it waits, in the order of the numbers.
func (d *deliverer) due(now time.Time, most int) (items []*item) {
	if len(d.again) == 0 {
		return nil
	}
	if d.unsorted {
		slices.SortFunc(d.again, func(a, b *item) int {
			return cmp.Compare(a.entry.ordinal, b.entry.ordinal)
		})
		d.unsorted = false
	}
	kept := d.again[:0]
	for _, p := range d.again {
		if len(items) < most && !now.Before(p.due) {
			items = append(items, p)
		} else {
			kept = append(kept, p)
		}
	}
	clear(d.again[len(kept):])
	d.again = kept
	return items
}

// submit signs what is not signed and sends a batch.
func (d *deliverer) submit(ctx context.Context, stream *Stream, items []*item) error {
	if err := d.signAll(items); err != nil {
		// It would fail again.
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("sign: %w", err))
	}
	d.frames = d.frames[:0]
	for _, p := range items {
		d.frames = append(d.frames, p.frame[:]...)
	}
	pending, err := stream.Submit(ctx, d.frames)
	if err != nil {
		return err
	}
	for _, p := range items {
		p.attempts++
	}
	d.inflight = append(d.inflight, batch{items, pending})
	return nil
}

// signAll signs what is not signed. Only the signatures are the signer's.
func (d *deliverer) signAll(items []*item) error {
	var fresh []*item
	var acks []rollup.Ack
	for _, p := range items {
		if !p.signed {
			fresh, acks = append(fresh, p), append(acks, p.entry.ack())
		}
	}
	if len(acks) == 0 {
		return nil
	}
	if err := d.sign(d.pin.Network, acks); err != nil {
		return err
	}
	for i, p := range fresh {
		ack := p.entry.ack()
		ack.Signature = acks[i].Signature
		ack.Append(p.frame[:0])
		p.signed = true
	}
	return nil
}

// requeue takes back what is in flight: whether the node holds it is unknown.
func (d *deliverer) requeue() {
	for _, f := range d.inflight {
		for _, p := range f.items {
			d.put(p)
		}
	}
	d.inflight = nil
}

// abandon reports what has no outcome when Deliver ends.
func (d *deliverer) abandon() {
	d.requeue()
	for x := range d.feed { // closed: the sequence has ended
		d.fresh = append(d.fresh, &item{Delivery: x, reports: 1})
	}
	for _, p := range append(d.again, d.fresh...) {
		outcome := p.outcome()
		if outcome.Err = ErrNotSent; p.entry != nil {
			outcome.Err = ErrUnknownOutcome
		}
		if p.entry != nil {
			d.book.release(p.entry)
		}
		for range p.reports {
			if outcome.Err == ErrNotSent { //nolint:errorlint // set above
				d.ended.Unsent++
			} else {
				d.ended.Unknown++
			}
			d.report(outcome)
		}
	}
}

// unwritten is why the book could not be written, if it could not.
func (d *deliverer) unwritten() error {
	err := d.book.sync()
	if errors.Is(err, ErrBookClosed) {
		return nil // who closed it knows
	}
	return err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
