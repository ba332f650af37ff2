package client

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/word"
)

// Run is what a node is asked to run (protocol section 21).
type Run struct {
	Module rollup.Hash // its root; a node fetches it as it fetches all content
	Input  []byte
	Args   []string // of which the first is the program's name, for most programs
	Fuel   uint64   // that is used, and paid, at most

	// Check finds out how the run ends by running it again, before what is left of the bill is
	// paid: package machine of the node's computes it. When the node said something else, the
	// error wraps ErrLied, and the result, which the node has signed, is returned with it. Nil: the
	// node is believed, and the receipt can be checked at any later time.
	Check func(context.Context, *Run) (RunOutcome, error)
}

// RunOutcome is how a run ends, which follows from the Run alone.
type RunOutcome struct {
	Outcome delivery.Outcome
	Exit    uint32 // what the program left with
	Fuel    uint64
	Output  []byte
}

// RunResult is how a run ended, and what shows it.
type RunResult struct {
	RunOutcome
	Node    uint32
	Receipt RunReceipt
}

// RunReceipt is what a node signed of a run.
type RunReceipt struct {
	Network rollup.Network
	NodeKey rollup.Hash
	Start   delivery.Start
	Result  delivery.Result
}

// ErrLied is wrapped by errors about a node that signed what is not so.
var ErrLied = errors.New("client: the node signed a result that is not the run's")

// Judge holds a receipt against what comes out of the run: nil, or an error that wraps ErrLied and
// says what differs.
func (r *RunReceipt) Judge(o *RunOutcome) error {
	w := &r.Result.Word
	said := func(of string, said, is any) error {
		return fmt.Errorf("%w: %s %v, where it is %v", ErrLied, of, said, is)
	}
	root := rollup.Hash(blake3.Sum256(o.Output))
	switch {
	case delivery.Outcome(w.Outcome) != o.Outcome:
		return said("it", delivery.Outcome(w.Outcome), o.Outcome)
	case w.Exit != o.Exit:
		return said("exit", w.Exit, o.Exit)
	case w.Fuel != o.Fuel:
		return said("fuel", w.Fuel, o.Fuel)
	case w.OutputSize != uint64(len(o.Output)):
		return said("bytes of output", w.OutputSize, len(o.Output))
	case w.Output != root:
		return said("output", w.Output, root)
	}
	return nil
}

// Verify checks that a receipt is of one run, and that the node signed it: ReasonHead.
func (r *RunReceipt) Verify() error {
	start, result := &r.Start.Word, &r.Result.Word
	if err := word.Verify(&r.Network, r.NodeKey, *start, &r.Start.Signature); err != nil {
		return refuseHead("%w", err)
	}
	if err := word.Verify(&r.Network, r.NodeKey, *result, &r.Result.Signature); err != nil {
		return refuseHead("%w", err)
	}
	switch {
	case result.Run != word.Digest(&r.Network, *start) || result.Node != start.Node ||
		result.Epoch != start.Epoch:
		return refuseHead("the result is of another run")
	case result.Fuel > start.Fuel:
		return refuseHead("%d of fuel, where %d was allowed", result.Fuel, start.Fuel)
	}
	return nil
}

// Run has a module run at one of the nodes, near ones first, and pays for it as the fetcher pays
// for content, of the same service. A node that refuses costs nothing, and the next one is asked;
// one that fails in the middle is not replaced: the error says what had been charged. Errors are a
// *FetchError, with the module as their root.
func (f *Fetcher) Run(ctx context.Context, run Run) (*RunResult, error) {
	failed := func(l *link, phase string, err error) error {
		e := &FetchError{Run: true, Phase: phase, Root: run.Module}
		var p *phased
		if errors.As(err, &p) {
			e.Phase, err = p.phase, p.err
		}
		if l != nil {
			e.Node = l.client.cfg.URL
		}
		return f.complete(e, nil, err)
	}
	if err := delivery.CheckArgs(run.Args); err != nil {
		return nil, failed(nil, "request", err)
	}
	if run.Fuel == 0 || run.Fuel > delivery.MaxFuel {
		return nil, failed(nil, "request", fmt.Errorf("%w: %d of fuel, 1 to %d",
			rollup.ErrMalformed, run.Fuel, uint64(delivery.MaxFuel)))
	}
	links, err := f.route(ctx, run.Module)
	if err != nil {
		return nil, failed(nil, "route", err)
	}
	var errs []error
	for _, l := range near(links) {
		result, began, err := l.runs(ctx, &run)
		if err == nil {
			return result, nil
		}
		errs = append(errs, failed(l, "request", err))
		if began || ctx.Err() != nil {
			return result, errors.Join(errs...)
		}
	}
	return nil, errors.Join(errs...)
}

// near returns links in the order of how soon they are known to answer; those that were never
// asked keep theirs, behind.
func near(links []*link) []*link {
	links = slices.Clone(links)
	slices.SortStableFunc(links, func(a, b *link) int {
		x, known, _ := a.client.port.expects()
		y, known2, _ := b.client.port.expects()
		switch {
		case known && known2:
			return int(x - y)
		case known:
			return -1
		case known2:
			return 1
		}
		return 0
	})
	return links
}

// runs has a module run at one node. Began says that the node has begun.
func (l *link) runs(ctx context.Context, run *Run) (r *RunResult, began bool, err error) {
	var over *[16]byte
	for {
		session, opening, err := l.enter(ctx, over)
		if err != nil {
			return nil, false, in("session", err)
		}
		if opening != nil {
			if err := <-opening; err != nil {
				return nil, false, in("session", err)
			}
		}
		x := &running{incoming: incoming{link: l, session: session, silent: make(chan struct{})},
			asked: run}
		r, err := x.run(ctx)
		if over == nil && !x.began && (errors.Is(err, delivery.ReasonSession) ||
			errors.Is(err, delivery.ReasonSuperseded)) {
			over = &session
			continue
		}
		return r, x.began, err
	}
}

// running is a run at one node. It reads frames as an incoming stream of content does.
type running struct {
	incoming
	asked  *Run
	began  bool
	start  delivery.Start
	output []byte
	units  uint64                      // that were counted
	digest atomic.Pointer[rollup.Hash] // of the start
}

func (x *running) run(ctx context.Context) (*RunResult, error) {
	own, f := x.link.client.nodes.list[0], x.link.fetcher
	var inner context.Context // which outlives ctx, so that what was used is heard of and paid
	inner, x.cancel = context.WithCancel(f.ctx)
	stopped := context.AfterFunc(ctx, x.leave)
	defer stopped()
	x.silence = time.AfterFunc(f.cfg.Silence, func() { close(x.silent); x.cancel() })
	defer x.close()
	query := url.Values{"fuel": {strconv.FormatUint(x.asked.Fuel, 10)}, "arg": x.asked.Args}
	at := own.base + "/run/" + x.asked.Module.String() + "?" + query.Encode()
	r, err := http.NewRequestWithContext(inner, http.MethodPost, at, bytes.NewReader(x.asked.Input))
	if err != nil {
		return nil, in("request", err)
	}
	asks(r, x.session, f.cfg.Service, 0, false)
	x.head.asked = time.Now()
	// The node may have to fetch the module, and to wait for a place: that is no silence.
	x.silence.Stop()
	response, err := own.http.Do(r)
	if err != nil {
		return nil, in("request", cmp.Or(context.Cause(ctx), x.judge(err)))
	}
	x.body = response.Body
	if response.StatusCode != http.StatusOK {
		return nil, in("request", refusedBy(response))
	}
	x.in = bufio.NewReaderSize(response.Body, 64<<10)
	defer x.link.acknowledge()
	if err := x.begin(ctx); err != nil {
		return nil, err
	}
	result, err := x.read(ctx)
	if err != nil && context.Cause(ctx) != nil {
		err = in("stream", context.Cause(ctx))
	}
	return result, err
}

// read reads frames up to the result.
func (x *running) read(ctx context.Context) (*RunResult, error) {
	for {
		kind, body, err := x.next()
		if err != nil {
			return nil, err
		}
		if kind == delivery.KindResult {
			return x.end(ctx, body)
		}
		if err := x.frame(kind, body); err != nil {
			return nil, err
		}
	}
}

// leaving is how long the last word of a node is waited for whose run is not wanted any more.
const leaving = 3 * time.Second

// leave ends the run at the node, which says how much was used.
func (x *running) leave() {
	digest := x.digest.Load()
	if digest == nil {
		x.cancel()
		return
	}
	time.AfterFunc(leaving, x.cancel)
	stop := delivery.Stop{Session: x.session, Head: *digest}
	err := x.link.call(x.link.fetcher.ctx, http.MethodPost, "/stop", stop.Append(nil), nil)
	if err != nil {
		x.cancel()
	}
}

// begin reads the start, and takes nothing unless it is the pinned node's, is about what was asked
// for, and names no higher price than was agreed.
func (x *running) begin(ctx context.Context) error {
	kind, body, err := x.next()
	if err != nil {
		return err
	}
	if kind != delivery.KindStart {
		return in("head", refuseHead("the first frame is of kind %d", kind))
	}
	if x.start, err = delivery.ParseStart(body); err != nil {
		return in("head", err)
	}
	price, err := x.link.fetcher.terms(ctx, x.link)
	if err != nil {
		return in("price", err)
	}
	w, f, pin := &x.start.Word, x.link.fetcher, x.link.client.cfg.Pin
	if err := word.Verify(&pin.Network, pin.Key, *w, &x.start.Signature); err != nil {
		return in("head", refuseHead("%w", err))
	}
	switch {
	case w.Node != pin.Node || w.Client != f.cfg.Client || w.Session != x.session ||
		w.Service != f.cfg.Service || w.Module != x.asked.Module ||
		w.Input != blake3.Sum256(x.asked.Input) || w.InputSize != uint64(len(x.asked.Input)) ||
		w.Args != delivery.ArgsDigest(x.asked.Args) || w.Fuel != x.asked.Fuel:
		return in("head", refuseHead("it is about something else"))
	case w.Price > price:
		return in("head", refuseHead("a price of %d, where %d is agreed", w.Price, price))
	case w.Epoch < x.link.client.cfg.Book.epoch(pin):
		return in("head", refuseHead("epoch %d, which is over", w.Epoch))
	}
	x.began = true
	x.head.run, x.head.digest = true, word.Digest(&pin.Network, *w)
	digest := x.head.digest
	x.digest.Store(&digest)
	x.head.first = max(1, micros(time.Since(x.head.asked)))
	return nil
}

// frame takes a frame in the middle.
func (x *running) frame(kind delivery.Kind, body []byte) error {
	switch kind {
	case delivery.KindMeter:
		m, err := delivery.ParseMeter(body)
		if err != nil {
			return in("stream", err)
		}
		return x.count(m.Fuel)
	case delivery.KindAsk:
		return x.incoming.asked(body)
	case delivery.KindOutput:
		// Each byte of output is a unit.
		if uint64(len(x.output)+len(body)) > delivery.Units(x.asked.Fuel) {
			return in("stream", fmt.Errorf("more output than fuel: %w", delivery.ReasonMalformed))
		}
		x.output = append(x.output, body...)
		return nil
	case delivery.KindAbort:
		a, err := delivery.ParseAbort(body)
		if err == nil {
			err = delivery.Refuse(a.Reason, "the node ends the run: %s", a.Reason.Meaning())
		}
		return in("stream", err)
	}
	return in("stream", fmt.Errorf("a frame of kind %d: %w", kind, delivery.ReasonMalformed))
}

// count has the units of so much fuel acknowledged, beyond those that were before.
func (x *running) count(fuel uint64) error {
	units := delivery.Units(fuel)
	if fuel > x.asked.Fuel || units < x.units {
		return in("verify", fmt.Errorf("%d of fuel, of %d and after %d units: %w", fuel,
			x.asked.Fuel, x.units, delivery.ReasonMalformed))
	}
	if units > x.units {
		x.link.received(&x.head, x.units, units-x.units)
		x.units = units
	}
	return nil
}

// end takes the result, and pays what is left if it is right as far as it is looked at.
func (x *running) end(ctx context.Context, body []byte) (*RunResult, error) {
	x.silence.Stop() // the rest is done here
	result, err := delivery.ParseResult(body)
	if err != nil {
		return nil, in("stream", err)
	}
	pin, w := x.link.client.cfg.Pin, &result.Word
	r := &RunResult{Node: pin.Node, Receipt: RunReceipt{Network: pin.Network, NodeKey: pin.Key,
		Start: x.start, Result: result}}
	if err := r.Receipt.Verify(); err != nil {
		return nil, in("verify", err)
	}
	if w.OutputSize != uint64(len(x.output)) || w.Output != blake3.Sum256(x.output) {
		return nil, in("verify", refuseHead("the output is not what was sent"))
	}
	r.RunOutcome = RunOutcome{delivery.Outcome(w.Outcome), w.Exit, w.Fuel, x.output}
	if x.asked.Check != nil {
		is, err := x.asked.Check(ctx, x.asked)
		if err == nil {
			err = r.Receipt.Judge(&is)
		}
		if err != nil {
			return r, in("verify", err)
		}
	}
	x.head.digest = word.Digest(&pin.Network, *w)
	return r, x.count(w.Fuel)
}
