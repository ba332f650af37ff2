package machine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/meter"
)

// Run is what is asked of a program.
type Run struct {
	Input []byte
	Args  []string // delivery.CheckArgs holds of them
	Fuel  uint64   // at most
	// Grant is asked before fuel is used: used is needed now, and it returns up to how much may be
	// used before it is asked again. Its error ends the run. Nil: all of Fuel may be used.
	Grant func(ctx context.Context, used uint64) (upTo uint64, err error)
}

// Result is how a run ended.
type Result struct {
	Outcome delivery.Outcome
	Exit    uint32 // what the module said when it left; 0 unless it left
	Fuel    uint64 // that it used; all that it was given when that was not enough
	Output  []byte
}

// process is a run that goes on.
type process struct {
	*Run
	ctx     context.Context
	program *Program
	fuel    api.MutableGlobal
	granted uint64 // fuel that was given to the module; what the global has is not used of it
	slept   uint64 // nanoseconds
	read    int    // of the input
	random  random
	result  Result
	stopped bool
	err     error // why it cannot go on
}

// errStop unwinds the module's stack.
var errStop = errors.New("machine: stopped")

// slice is how much fuel a module has at most before the host hears of it: some tens of
// milliseconds.
const slice = 1 << 24

// key is under which a context has its process.
type key struct{}

// Run runs a program once. An error is that of Grant, of ctx, or wraps ErrEngine; there is no
// result then. All else is a result.
func (p *Program) Run(ctx context.Context, run Run) (*Result, error) {
	x := &process{Run: &run, program: p}
	x.ctx = context.WithValue(ctx, key{}, x)
	x.random.seed(p.root, blake3.Sum256(run.Input), delivery.ArgsDigest(run.Args))
	err := x.run()
	m := p.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Runs++
	if err != nil {
		if errors.Is(err, ErrEngine) {
			m.stats.Failed++
		}
		return nil, err
	}
	m.stats.Fuel += x.result.Fuel
	return &x.result, nil
}

func (x *process) run() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrEngine, r)
		}
	}()
	if !x.give(x.program.base) {
		return x.err
	}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	module, err := x.program.machine.runtime.InstantiateModule(x.ctx, x.program.code, config)
	if err != nil {
		// A segment of data that does not fit, or imports of other types: so for everybody.
		x.result.Outcome, x.result.Fuel = delivery.OutcomeTrapped, x.program.base
		return nil
	}
	defer module.Close(x.ctx) //nolint:errcheck // it has nothing but memory
	var ok bool
	if x.fuel, ok = module.ExportedGlobal(meter.FuelName).(api.MutableGlobal); !ok {
		return fmt.Errorf("%w: no fuel", ErrEngine)
	}
	x.fuel.Set(x.granted - x.program.base)
	_, err = module.ExportedFunction(meter.StartName).Call(x.ctx)
	switch {
	case x.err != nil:
		return x.err
	case x.stopped:
		return nil
	case err != nil && strings.Contains(err.Error(), "stack overflow"):
		return fmt.Errorf("%w: %w", ErrEngine, err)
	case err != nil:
		x.result.Outcome = delivery.OutcomeTrapped
	default:
		x.result.Outcome = delivery.OutcomeExited
	}
	x.result.Fuel = x.used()
	return nil
}

// used is the fuel that was used.
func (x *process) used() uint64 { return x.granted - x.fuel.Get() }

// give asks for fuel, of which so much is needed; false when the run ends here.
func (x *process) give(used uint64) bool {
	if used > x.Fuel {
		x.stopped = true
		x.result.Outcome, x.result.Fuel = delivery.OutcomeFuel, x.Fuel
		return false
	}
	if x.err = context.Cause(x.ctx); x.err != nil {
		return false
	}
	x.granted = min(used+slice, x.Fuel)
	if x.Grant != nil {
		upTo, err := x.Grant(x.ctx, used)
		if x.err = err; err != nil {
			return false
		}
		x.granted = max(min(upTo, x.granted), used)
	}
	return true
}

// tick is called by the module when its fuel is below zero.
func tick(ctx context.Context, _ api.Module, _ []uint64) { ctx.Value(key{}).(*process).refill() }

func (x *process) refill() {
	used := x.used()
	if !x.give(used) {
		panic(errStop)
	}
	x.fuel.Set(x.granted - used)
}

// charge takes fuel for what the host does.
func (x *process) charge(fuel uint64) {
	x.fuel.Set(x.fuel.Get() - fuel)
	if int64(x.fuel.Get()) < 0 {
		x.refill()
	}
}
