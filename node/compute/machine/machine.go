// Package machine runs WebAssembly modules: so much fuel, one input, one output, and nothing else
// of the world. Whoever runs the same module with the same input and arguments gets the same
// result, to the last byte and the last unit of fuel (protocol section 21).
//
// A module is rewritten by package rollup/meter before it is compiled, so that it counts its fuel
// and cannot do more than it paid for. What it sees is a small part of WASI: the input, the output,
// arguments, a clock that goes with the fuel, and random numbers that follow from the input.
//
// A hostile module costs its run: it cannot leave its memory, and memory, stack, tables, fuel and
// code are bounded. Its compilation is bounded by its size.
package machine

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/meter"
)

// ErrEngine is what a run fails with that the engine could not do, though nothing is wrong with
// module and input. Its fuel is not known, so nobody pays for it.
var ErrEngine = errors.New("machine: the engine failed")

// Options are the bounds of a Machine. Zero values stand for the defaults.
type Options struct {
	// Cache is how many bytes of modules are kept compiled, 64 MiB. What runs is kept beyond it.
	Cache int
	// Compiling is how many modules are compiled at once, 1.
	Compiling int
}

// Machine compiles modules and keeps them. It is safe for concurrent use.
type Machine struct {
	runtime   wazero.Runtime
	most      int
	compiling chan struct{}

	mu       sync.Mutex
	programs map[rollup.Hash]*list.Element
	order    list.List // of *Program; the one that was used longest ago is in front
	bytes    int
	stats    Stats
}

// Stats counts what a machine did since it was made.
type Stats struct {
	Compiled uint64
	Runs     uint64
	Fuel     uint64 // of runs that ended
	Failed   uint64 // runs that failed with ErrEngine
	Modules  int    // that are kept, of Bytes
	Bytes    int
}

// New returns a machine. Close it.
func New(o Options) (*Machine, error) {
	if o.Cache == 0 {
		o.Cache = 64 << 20
	}
	if o.Compiling == 0 {
		o.Compiling = 1
	}
	ctx := context.Background()
	config := wazero.NewRuntimeConfig().WithMemoryLimitPages(meter.MaxPages).
		WithCoreFeatures(api.CoreFeaturesV2 &^ api.CoreFeatureSIMD)
	m := &Machine{runtime: wazero.NewRuntimeWithConfig(ctx, config), most: o.Cache,
		compiling: make(chan struct{}, o.Compiling), programs: make(map[rollup.Hash]*list.Element)}
	if err := m.hosts(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("machine: %w", err), m.runtime.Close(ctx))
	}
	return m, nil
}

// Close frees all. Nothing may run any more.
func (m *Machine) Close() error { return m.runtime.Close(context.Background()) }

// Stats returns the counts.
func (m *Machine) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Modules, s.Bytes = m.order.Len(), m.bytes
	return s
}

// Program is a module that can run. Release it.
type Program struct {
	machine *Machine
	root    rollup.Hash
	base    uint64 // fuel before it starts
	size    int
	code    wazero.CompiledModule
	users   int // guarded by Machine.mu; the cache is one
}

// Root is the root of the module, as it was before it was rewritten.
func (p *Program) Root() rollup.Hash { return p.root }

// Base is the fuel that every run pays before it starts.
func (p *Program) Base() uint64 { return p.base }

// Kept returns a module that is compiled already, or nil.
func (m *Machine) Kept(root rollup.Hash) *Program {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.programs[root]
	if e == nil {
		return nil
	}
	m.order.MoveToBack(e)
	p := e.Value.(*Program)
	p.users++
	return p
}

// Load compiles a module, unless it is kept. The root is taken as given: it is not checked that
// the code has it. A module that is not run for what it is gives a *meter.Refusal.
func (m *Machine) Load(ctx context.Context, root rollup.Hash, code []byte) (*Program, error) {
	if p := m.Kept(root); p != nil {
		return p, nil
	}
	select {
	case m.compiling <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-m.compiling }()
	if p := m.Kept(root); p != nil {
		return p, nil
	}
	p, err := m.compile(root, code)
	if err != nil {
		return nil, err
	}
	m.keep(p)
	return p, nil
}

// Base returns the fuel that every run of a module pays before it starts, or refuses a module for
// what it has that modules have not. It does not compile it.
func Base(code []byte) (uint64, error) {
	m, err := meter.Instrument(code)
	if err != nil {
		return 0, err
	}
	return m.Base, nil
}

func (m *Machine) compile(root rollup.Hash, code []byte) (p *Program, err error) {
	counted, err := meter.Instrument(code)
	if err != nil {
		return nil, err
	}
	for _, i := range counted.Imports {
		if err := known(i); err != nil {
			return nil, err
		}
	}
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("%w: %v", ErrEngine, r)
		}
	}()
	compiled, err := m.runtime.CompileModule(context.Background(), counted.Code)
	if err != nil {
		return nil, rollup.Refuse(meter.ReasonMalformed, "%w", err)
	}
	return &Program{machine: m, root: root, base: counted.Base, size: len(code), code: compiled,
		users: 1}, nil
}

// keep puts a program into the cache, and takes out those that were used longest ago.
func (m *Machine) keep(p *Program) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Compiled++
	p.users++
	m.programs[p.root] = m.order.PushBack(p)
	m.bytes += p.size
	for m.bytes > m.most && m.order.Len() > 1 {
		e := m.order.Front()
		old := m.order.Remove(e).(*Program)
		delete(m.programs, old.root)
		m.bytes -= old.size
		old.release()
	}
}

// Release says that the program is not used any more by who got it.
func (p *Program) Release() {
	p.machine.mu.Lock()
	defer p.machine.mu.Unlock()
	p.release()
}

func (p *Program) release() {
	if p.users--; p.users == 0 {
		_ = p.code.Close(context.Background()) // frees memory, and cannot fail
	}
}
