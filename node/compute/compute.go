// Package compute is the service that runs WebAssembly modules: a client sends an input, and is
// answered with the output and with the node's signed word of how much fuel that took (protocol
// section 21).
//
// What is signed follows from module, input and arguments alone, so anybody finds out by running
// the module again whether the node told the truth: package machine does so for both sides.
//
// A run takes its fuel from the session's credit before it uses it, as content takes its bytes: it
// waits where the client has to acknowledge first. What a hostile module can have is that much of a
// core, the memory of one run, and one of the places for runs until its time is over.
package compute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/compute/machine"
	"github.com/waybill-network/waybill/node/serve"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/meter"
	"github.com/waybill-network/waybill/rollup/word"
)

// Modules is where modules come from: the store of content.
type Modules interface {
	Open(ctx context.Context, root rollup.Hash) (serve.File, error)
}

// Config is what a Service works with. Zero limits mean the defaults.
type Config struct {
	Node    uint32
	Modules Modules

	MaxFuel  uint64        // of a run, 2^34
	MaxInput int64         // bytes, 1 MiB
	Runs     int           // at once, 2
	Wait     time.Duration // for a place, 5 s
	Time     time.Duration // of a run, with its waits for acks, 1 min
	Cache    int           // bytes of modules that are kept compiled, 64 MiB
}

func (c *Config) complete() {
	or(&c.MaxFuel, 1<<34)
	or(&c.MaxInput, 1<<20)
	or(&c.Runs, 2)
	or(&c.Wait, 5*time.Second)
	or(&c.Time, time.Minute)
	or(&c.Cache, 64<<20)
}

func or[T comparable](v *T, standard T) {
	var zero T
	if *v == zero {
		*v = standard
	}
}

// Service runs modules. It is a serve.Kind, and safe for concurrent use.
type Service struct {
	cfg     Config
	machine *machine.Machine
	places  chan struct{}

	open     atomic.Int64
	outcomes [4]atomic.Uint64
}

// New returns a service. Close it when nothing runs any more.
func New(cfg Config) (*Service, error) {
	cfg.complete()
	m, err := machine.New(machine.Options{Cache: cfg.Cache})
	if err != nil {
		return nil, fmt.Errorf("compute: %w", err)
	}
	return &Service{cfg: cfg, machine: m, places: make(chan struct{}, cfg.Runs)}, nil
}

// Close frees all.
func (s *Service) Close() error { return s.machine.Close() }

// Stats counts what a service did since it was made.
type Stats struct {
	machine.Stats
	Open     int64 // runs that have a place
	Outcomes map[delivery.Outcome]uint64
}

// Stats returns the counts.
func (s *Service) Stats() Stats {
	out := Stats{Stats: s.machine.Stats(), Open: s.open.Load(),
		Outcomes: make(map[delivery.Outcome]uint64)}
	for _, o := range delivery.Outcomes() {
		out.Outcomes[o] = s.outcomes[o].Load()
	}
	return out
}

// Routes implements serve.Kind.
func (s *Service) Routes() []serve.Route {
	return []serve.Route{{Pattern: "POST /run/{module}", Prefix: "/run/", Body: s.cfg.MaxInput,
		Time: s.cfg.Wait + s.cfg.Time + time.Minute, Answer: s.answer}}
}

// asked is what a call asks for.
type asked struct {
	module rollup.Hash
	fuel   uint64
	args   []string
	input  []byte
}

func (s *Service) read(c *serve.Call) (a asked, err error) {
	bad := func(format string, args ...any) (asked, error) {
		return a, delivery.Refuse(delivery.ReasonMalformed, format, args...)
	}
	if err := a.module.UnmarshalText([]byte(c.Request.PathValue("module"))); err != nil {
		return bad("%w", err)
	}
	query := c.Request.URL.Query()
	for name := range query { // order-free
		if name != "fuel" && name != "arg" {
			return bad("%q; the query has fuel, and arg", name)
		}
	}
	if a.fuel, err = strconv.ParseUint(query.Get("fuel"), 10, 64); err != nil || a.fuel == 0 {
		return bad("fuel is how much is used at most")
	}
	if a.fuel > s.cfg.MaxFuel {
		return a, delivery.Refuse(delivery.ReasonFuel, "%d, at most %d", a.fuel, s.cfg.MaxFuel)
	}
	if a.args = query["arg"]; delivery.CheckArgs(a.args) != nil {
		return a, delivery.CheckArgs(a.args)
	}
	if a.input, err = io.ReadAll(c.Request.Body); err != nil {
		return bad("%w", err)
	}
	return a, nil
}

// place waits for one of the places of runs. The function gives it back.
func (s *Service) place(ctx context.Context) (leave func(), err error) {
	timer := time.NewTimer(s.cfg.Wait)
	defer timer.Stop()
	select {
	case s.places <- struct{}{}:
		s.open.Add(1)
		return func() { s.open.Add(-1); <-s.places }, nil
	case <-timer.C:
		return nil, delivery.Refuse(delivery.ReasonStreams, "%d runs", cap(s.places))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *Service) answer(c *serve.Call) error {
	a, err := s.read(c)
	if err != nil {
		return err
	}
	leave, err := s.place(c.Context())
	if err != nil {
		return err
	}
	defer leave()
	start := word.Run{Node: s.cfg.Node, Epoch: c.Epoch, Height: c.Height, Client: c.Client,
		Session: c.Session, Service: c.Service, Price: c.Price, Module: a.module,
		Input: blake3.Sum256(a.input), Args: delivery.ArgsDigest(a.args),
		InputSize: uint64(len(a.input)), Fuel: a.fuel}
	program, code, err := s.module(c, a.module)
	if err != nil {
		return err
	}
	if program != nil {
		defer program.Release()
	}
	base, err := baseOf(program, code)
	switch {
	case err != nil:
		return delivery.Refuse(delivery.ReasonModule, "%w", err)
	case base > a.fuel:
		return delivery.Refuse(delivery.ReasonFuel, "this module takes %d before it starts", base)
	}
	digest := c.Digest(start)
	frame := delivery.Start{Word: start, Signature: c.Sign(start)}
	if err := c.Begin(digest, frame.Append(nil)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(c.Context(), s.cfg.Time,
		delivery.Refuse(delivery.ReasonFuel, "a run of more than %v", s.cfg.Time))
	defer cancel()
	b := &bill{call: c, most: delivery.Units(a.fuel)}
	c.Before = b.meter
	if _, err = b.grant(ctx, base); err != nil { // which pays for compiling it
		return b.cut(err)
	}
	result, err := s.run(ctx, b, &a, program, code)
	if err != nil {
		return b.cut(err)
	}
	c.Return(b.taken - delivery.Units(result.Fuel))
	s.outcomes[result.Outcome].Add(1)
	return s.tell(c, digest, start, result)
}

// module finds a program, or its code when it is not compiled yet.
func (s *Service) module(c *serve.Call, root rollup.Hash) (*machine.Program, []byte, error) {
	if err := c.Permit(root); err != nil {
		return nil, nil, err
	}
	file, err := s.cfg.Modules.Open(c.Context(), root)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	// What is denied does not run, compiled or not.
	if err := file.Check(); err != nil {
		return nil, nil, err
	}
	if p := s.machine.Kept(root); p != nil {
		return p, nil, nil
	}
	if file.Size() > meter.MaxModule {
		return nil, nil, delivery.Refuse(delivery.ReasonModule, "%d bytes", file.Size())
	}
	code := make([]byte, file.Size())
	if _, err := file.ReadAt(code, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, delivery.Refuse(delivery.ReasonFailed, "%w", err)
	}
	if blake3.Sum256(code) != root {
		return nil, nil, delivery.Refuse(delivery.ReasonFailed, "the store has another module")
	}
	return nil, code, nil
}

func baseOf(p *machine.Program, code []byte) (uint64, error) {
	if p != nil {
		return p.Base(), nil
	}
	return machine.Base(code)
}

// run runs a program, and compiles it first if it has to.
func (s *Service) run(ctx context.Context, b *bill, a *asked, p *machine.Program, code []byte) (
	*machine.Result, error) {
	if p == nil {
		var err error
		b.busy(func() { p, err = s.machine.Load(ctx, a.module, code) })
		var refused *meter.Refusal
		if errors.As(err, &refused) {
			return nil, delivery.Refuse(delivery.ReasonModule, "%w", err)
		}
		if err != nil {
			return nil, err
		}
		defer p.Release()
	}
	return p.Run(ctx, machine.Run{Input: a.input, Args: a.args, Fuel: a.fuel, Grant: b.grant})
}

// tell sends the output, and the node's word of the run.
func (s *Service) tell(c *serve.Call, digest rollup.Hash, start word.Run,
	r *machine.Result) error {
	for out := r.Output; len(out) > 0; {
		n := min(len(out), delivery.MaxOutput)
		if err := c.Write(delivery.Output(out[:n]).Append(nil)); err != nil {
			return err
		}
		out = out[n:]
	}
	end := word.Ran{Node: start.Node, Epoch: start.Epoch, Run: digest, Outcome: uint8(r.Outcome),
		Exit: r.Exit, Fuel: r.Fuel, Output: blake3.Sum256(r.Output),
		OutputSize: uint64(len(r.Output))}
	result := delivery.Result{Word: end, Signature: c.Sign(end)}
	return c.Write(result.Append(nil))
}

// bill takes a run's fuel from the session's credit. It is used by one goroutine.
type bill struct {
	call  *serve.Call
	most  uint64 // units
	taken uint64
	used  uint64 // fuel, as was last heard
	told  time.Time
}

// every is how often a client hears of a run that goes on.
const every = time.Second

// step is how many units are taken at once, of some milliseconds.
const step = 4096

// grant takes what is needed, and a step. The client is asked for an ack where it is due.
func (b *bill) grant(_ context.Context, used uint64) (uint64, error) {
	b.used = used
	need := delivery.Units(used)
	if now := time.Now(); now.Sub(b.told) > every {
		b.told = now
		if err := b.call.Write(b.meter()); err != nil {
			return 0, err
		}
		if err := b.call.Flush(); err != nil {
			return 0, err
		}
	}
	for b.taken < need || b.taken == 0 {
		most := min(max(need-b.taken, step), b.most-b.taken)
		n, ask, err := b.call.Take(most, 1)
		if err != nil {
			return 0, err
		}
		if b.taken += n; ask {
			if err := b.call.Ask(); err != nil {
				return 0, err
			}
		}
	}
	return min(b.taken, math.MaxUint64/delivery.FuelOfUnit) * delivery.FuelOfUnit, nil
}

// busy does what takes long and uses no fuel, and has the client hear of it now and then.
func (b *bill) busy(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			_ = b.call.Write(b.meter()) // or the next write tells
			_ = b.call.Flush()
		}
	}
}

// meter says how much was used, as far as it is taken.
func (b *bill) meter() []byte {
	return delivery.Meter{Fuel: min(b.used, b.taken*delivery.FuelOfUnit)}.Append(nil)
}

// cut ends a run without a result. What it used is due all the same when the client ended it; what
// the node could not do is not.
func (b *bill) cut(err error) error {
	if errors.Is(err, machine.ErrEngine) || errors.Is(err, delivery.ReasonModule) {
		b.used = 0
	}
	used := min(delivery.Units(b.used), b.taken)
	if b.call.Return(b.taken - used); used > 0 {
		// Whoever stopped it pays by this one. If nobody is there, the abort will tell.
		_ = b.call.Write(b.meter())
	}
	return err
}
