// Package cpu chooses, for every kernel of this program, the implementation that runs on this CPU.
//
// A kernel registers its implementations best first, each with the CPU features it needs; the last
// one, "generic", needs none and is the specification of the others. At its first use the kernel
// settles on the best implementation whose features the CPU has and the operating system has
// enabled, and which agrees with generic over one batch. Nothing of an implementation is executed
// before its features are known to be there.
//
// The environment variable WAYBILL_KERNELS overrides the choice: "generic" for every kernel,
// "fp381=generic,blake3=avx2" for some. A choice that cannot be honoured changes nothing and is
// reported by [OverrideErrors].
//
// Everything here is safe for concurrent use.
package cpu

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/cpuid/v2"
)

// Names of implementations.
const (
	AVX512IFMA = "avx512ifma"
	AVX512     = "avx512"
	AVX2       = "avx2"
	SHANI      = "sha-ni"
	NEON       = "neon"
	Generic    = "generic"
)

// Override is the environment variable that selects implementations by hand.
const Override = "WAYBILL_KERNELS"

// Implementation is one way to compute a kernel: Code is a table of functions, T.
type Implementation[T any] struct {
	Name  string
	Needs []cpuid.FeatureID
	Code  T
}

// missing lists what the CPU, or its operating system, lacks for i.
func (i Implementation[T]) missing(has func(cpuid.FeatureID) bool) (names []string) {
	for _, f := range i.Needs {
		if !has(f) {
			names = append(names, f.String())
		}
	}
	return names
}

// Kernel is a primitive with several implementations.
type Kernel[T any] struct {
	name   string
	check  func(candidate, generic T) error
	impls  []Implementation[T]
	settle func() settled[T]
}

type settled[T any] struct {
	code   T
	choice Choice
	err    error
}

// Choice says which implementation a kernel runs and why.
type Choice struct {
	Kernel, Implementation string

	// Overridden is true when WAYBILL_KERNELS named the implementation.
	Overridden bool
	// PassedOver are the better implementations, best first.
	PassedOver []PassedOver
}

// PassedOver is an implementation that is not used although it stands before the one that is.
type PassedOver struct {
	Implementation string
	Why            string // in words
	// SelfTestFailed is true when the CPU has what it needs and the results were wrong.
	SelfTestFailed bool
}

// String is the choice in one line: "fp381: generic (avx512ifma: CPU lacks AVX512IFMA)".
func (c Choice) String() string {
	var why []string
	if c.Overridden {
		why = append(why, Override)
	}
	for _, p := range c.PassedOver {
		why = append(why, p.Implementation+": "+p.Why)
	}
	if why == nil {
		return c.Kernel + ": " + c.Implementation
	}
	return fmt.Sprintf("%s: %s (%s)", c.Kernel, c.Implementation, strings.Join(why, "; "))
}

// SelfTestFailed reports whether an implementation that this CPU should run gave wrong results at
// start-up.
func (c Choice) SelfTestFailed() bool {
	return slices.ContainsFunc(c.PassedOver, func(p PassedOver) bool { return p.SelfTestFailed })
}

// OverrideError is an entry of WAYBILL_KERNELS that cannot be honoured.
type OverrideError struct {
	Entry, Reason string
}

func (e *OverrideError) Error() string {
	return fmt.Sprintf("%s: %q: %s", Override, e.Entry,
		e.Reason)
}

// registered is what the registry knows of a kernel of any T.
type registered interface {
	Name() string
	Names() []string
	outcome() (Choice, error)
}

var registry struct {
	sync.Mutex
	kernels []registered
}

// overrides are read once: a kernel never changes under its users.
var overrides = sync.OnceValue(func() []string { return entries(os.Getenv(Override)) })

// Register announces a kernel from a package-level variable. The implementations stand best first
// and end with generic; check compares a candidate with generic over one batch, boundary values
// included, in about a millisecond. It panics when the table itself is wrong.
func Register[T any](name string, check func(candidate, generic T) error,
	impls ...Implementation[T]) *Kernel[T] {
	if last := len(impls) - 1; last < 0 || impls[last].Name != Generic ||
		len(impls[last].Needs) > 0 {
		panic("cpu: kernel " + name + " does not end with generic")
	}
	k := &Kernel[T]{name: name, check: check, impls: impls}
	k.settle = sync.OnceValue(func() settled[T] { return k.choose(overrides(), has) })
	registry.Lock()
	defer registry.Unlock()
	if slices.ContainsFunc(registry.kernels, func(r registered) bool { return r.Name() == name }) {
		panic("cpu: kernel " + name + " registered twice")
	}
	registry.kernels = append(registry.kernels, k)
	return k
}

// Use returns the selected implementation. The first call tests it; later ones cost an atomic load.
func (k *Kernel[T]) Use() T { return k.settle().code }

// Name of the kernel.
func (k *Kernel[T]) Name() string { return k.name }

// Names of its implementations in this build, best first.
func (k *Kernel[T]) Names() (names []string) {
	for _, i := range k.impls {
		names = append(names, i.Name)
	}
	return names
}

// Implementation returns the named implementation if this build has it and this CPU can run it;
// otherwise the error says what is missing. For tests and benchmarks: programs call Use.
func (k *Kernel[T]) Implementation(name string) (code T, err error) {
	for _, i := range k.impls {
		if i.Name != name {
			continue
		}
		if lacks := i.missing(has); lacks != nil {
			return code, fmt.Errorf("cpu: %s=%s: %s", k.name, name, lacking(lacks))
		}
		return i.Code, nil
	}
	return code, fmt.Errorf("cpu: %s=%s: not in this build", k.name, name)
}

func (k *Kernel[T]) outcome() (Choice, error) {
	s := k.settle()
	return s.choice, s.err
}

// choose is the whole policy. The entry for this kernel decides, if it can, before the order of the
// table.
func (k *Kernel[T]) choose(entries []string, has func(cpuid.FeatureID) bool) (s settled[T]) {
	s.choice.Kernel = k.name
	entry, wanted := wish(entries, k.name, k.Names())
	if at := slices.Index(k.Names(), wanted); wanted != "" && at < 0 {
		s.err = &OverrideError{entry, "the implementations are " + strings.Join(k.Names(), ", ")}
		wanted = ""
	} else if wanted != "" {
		if lacks := k.impls[at].missing(has); lacks != nil {
			s.err = &OverrideError{entry, lacking(lacks)}
			wanted = ""
		}
	}
	generic := k.impls[len(k.impls)-1].Code
	for _, i := range k.impls {
		passed := PassedOver{Implementation: i.Name}
		if lacks := i.missing(has); lacks != nil {
			passed.Why = lacking(lacks)
		} else if wanted != "" && wanted != i.Name {
			passed.Why = "overridden"
		} else if i.Name == Generic {
			s.code = i.Code
		} else if err := k.check(i.Code, generic); err != nil {
			passed.Why, passed.SelfTestFailed = "self-test failed: "+err.Error(), true
			wanted = "" // the override falls back like any other choice, to what stands behind it
		} else {
			s.code = i.Code
		}
		if passed.Why == "" {
			s.choice.Implementation, s.choice.Overridden = i.Name, wanted == i.Name
			return s
		}
		s.choice.PassedOver = append(s.choice.PassedOver, passed)
	}
	panic("cpu: generic was passed over") // it needs nothing, is not tested, and is last
}

// Selected lists every kernel of this program with its implementation, by name. Kernels not used
// yet are tested now, so a program that calls it at its start has no surprise later.
func Selected() (choices []Choice) {
	for _, k := range kernels() {
		choice, _ := k.outcome()
		choices = append(choices, choice)
	}
	return choices
}

// OverrideErrors lists the entries of WAYBILL_KERNELS that could not be honoured, each an
// [*OverrideError].
func OverrideErrors() (errs []error) {
	all := kernels()
	for _, k := range all {
		if _, err := k.outcome(); err != nil {
			errs = append(errs, err)
		}
	}
	return append(errs, strangers(overrides(), all)...)
}

// strangers reports entries that speak of no kernel at all.
func strangers(entries []string, all []registered) (errs []error) {
	for _, entry := range entries {
		kernel, _, named := strings.Cut(entry, "=")
		switch {
		case named &&
			!slices.ContainsFunc(all, func(k registered) bool { return k.Name() == kernel }):
			errs = append(errs, &OverrideError{entry, "no kernel of that name"})
		case !named && !slices.ContainsFunc(all,
			func(k registered) bool { return slices.Contains(k.Names(), entry) }):
			errs = append(errs,
				&OverrideError{entry, "no implementation of that name in any kernel"})
		}
	}
	return errs
}

func kernels() []registered {
	registry.Lock()
	defer registry.Unlock()
	return slices.SortedFunc(slices.Values(registry.kernels),
		func(a, b registered) int { return strings.Compare(a.Name(), b.Name()) })
}

// has asks for the CPU's feature; for vector state cpuid also reads XCR0, what the operating system
// saves and restores.
func has(f cpuid.FeatureID) bool { return cpuid.CPU.Supports(f) }

// entries splits a list such as "fp381=generic, avx2".
func entries(list string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(list,
		func(r rune) bool { return r == ',' || r == ' ' }), func(s string) bool { return s == "" })
}

// wish returns the entry that decides for a kernel and the implementation it names: the kernel's
// own entry, or else one for all kernels if this one has that implementation.
func wish(entries []string, kernel string, names []string) (entry, implementation string) {
	for _, e := range entries {
		if name, impl, named := strings.Cut(e, "="); named && name == kernel {
			return e, impl
		} else if !named && slices.Contains(names, e) && entry == "" {
			entry, implementation = e, e
		}
	}
	return entry, implementation
}

func lacking(features []string) string { return "CPU lacks " + strings.Join(features, ", ") }
