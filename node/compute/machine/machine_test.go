package machine

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/compute/machine/machinetest"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/meter"
)

// shared is the machine of all tests, so that the module of testdata/word is compiled once.
var shared = sync.OnceValues(func() (*Machine, error) { return New(Options{}) })

func machine(t testing.TB) *Machine {
	t.Helper()
	m, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *Machine) must(t testing.TB, code []byte) *Program {
	t.Helper()
	p, err := m.Load(t.Context(), blake3.Sum256(code), code)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p
}

func (p *Program) must(t testing.TB, run Run) *Result {
	t.Helper()
	if run.Fuel == 0 {
		run.Fuel = 1 << 33
	}
	r, err := p.Run(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wordModule is the program of testdata/word, compiled once.
var wordModule = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "waybill-word")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "word.wasm")
	c := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, "./testdata/word")
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return os.ReadFile(out)
})

func word(t testing.TB) []byte {
	t.Helper()
	code, err := wordModule()
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// plain runs a module as it is, under the engine's own WASI.
func plain(t testing.TB, engine wazero.Runtime, code wazero.CompiledModule, input []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	config := wazero.NewModuleConfig().WithName("").WithStdin(bytes.NewReader(input)).
		WithStdout(&out)
	_, err := engine.InstantiateModule(t.Context(), code, config)
	if err != nil && !strings.Contains(err.Error(), "exit_code(0)") {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestAgainstPlain: a real module gives the same output counted and as it is, and the same fuel
// each time, however the fuel is given.
func TestAgainstPlain(t *testing.T) {
	p := machine(t).must(t, word(t))
	ctx := t.Context()
	engine := wazero.NewRuntime(ctx)
	defer engine.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, engine)
	compiled, err := engine.CompileModule(ctx, word(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range []string{"", "a", strings.Repeat("the cat and the dog ", 5000)} {
		want := plain(t, engine, compiled, []byte(input))
		var fuel uint64
		for _, step := range []uint64{0, 1, 1 << 20} {
			run := Run{Input: []byte(input)}
			if step > 0 {
				run.Grant = func(_ context.Context, used uint64) (uint64, error) {
					return used + step*997, nil
				}
			}
			r := p.must(t, run)
			if r.Outcome != delivery.OutcomeExited || r.Exit != 0 || !bytes.Equal(r.Output, want) {
				t.Fatalf("%d bytes: %v %d, %q, not %q", len(input), r.Outcome, r.Exit, r.Output, want)
			}
			if fuel == 0 {
				fuel = r.Fuel
			}
			if r.Fuel != fuel {
				t.Errorf("%d bytes: %d of fuel, and %d", len(input), r.Fuel, fuel)
			}
		}
		// All but the last unit is not enough, and all is.
		if r := p.must(t, Run{Input: []byte(input), Fuel: fuel}); r.Fuel != fuel ||
			r.Outcome != delivery.OutcomeExited {
			t.Errorf("with all of it: %v, %d", r.Outcome, r.Fuel)
		}
		if r := p.must(t, Run{Input: []byte(input), Fuel: fuel - 1}); r.Fuel != fuel-1 ||
			r.Outcome != delivery.OutcomeFuel {
			t.Errorf("with one less: %v, %d", r.Outcome, r.Fuel)
		}
	}
}

// TestWorld: nothing of the world is seen.
func TestWorld(t *testing.T) {
	p := machine(t).must(t, word(t))
	args := []string{"word", "world", "x"}
	first := p.must(t, Run{Args: args})
	text := string(first.Output)
	if !strings.HasPrefix(text, "true ") || !strings.Contains(text, " true [world x] 0") {
		t.Errorf("%q", text)
	}
	if again := p.must(t, Run{Args: args}); again.Fuel != first.Fuel ||
		!bytes.Equal(again.Output, first.Output) {
		t.Errorf("%q after %q", again.Output, first.Output)
	}
	if other := p.must(t, Run{Args: args, Input: []byte{1}}); bytes.Equal(other.Output,
		first.Output) {
		t.Error("the same random numbers for another input")
	}
}

// TestHostile: what does not end, or wants too much, costs its fuel or less, and no other run
// anything.
func TestHostile(t *testing.T) {
	p := machine(t).must(t, word(t))
	for arg, want := range map[string]delivery.Outcome{"loop": delivery.OutcomeFuel,
		"grow": delivery.OutcomeExited, "deep": delivery.OutcomeTrapped,
		"exit": delivery.OutcomeExited} {
		const fuel = 1 << 29
		r := p.must(t, Run{Args: []string{"word", arg}, Fuel: fuel})
		if r.Outcome != want || r.Fuel > fuel || want == delivery.OutcomeFuel && r.Fuel != fuel {
			t.Errorf("%s: %v, exit %d, %d of fuel, %q", arg, r.Outcome, r.Exit, r.Fuel, r.Output)
		}
		if want == delivery.OutcomeExited && r.Exit == 0 {
			t.Errorf("%s ended well", arg)
		}
	}
	if r := p.must(t, Run{Fuel: 5}); r.Outcome != delivery.OutcomeFuel || r.Fuel != 5 {
		t.Errorf("less than its base: %v, %d", r.Outcome, r.Fuel)
	}
}

// TestCancelled: a run ends soon after its context, and has no result.
func TestCancelled(t *testing.T) {
	p := machine(t).must(t, word(t))
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	r, err := p.Run(ctx, Run{Args: []string{"word", "loop"}, Fuel: 1 << 40,
		Grant: func(_ context.Context, used uint64) (uint64, error) {
			if calls++; calls == 3 {
				cancel()
			}
			return used + 1<<20, nil
		}})
	if !errors.Is(err, context.Canceled) || r != nil || calls > 4 {
		t.Errorf("%v, %v after %d calls", r, err, calls)
	}
	if _, err = p.Run(t.Context(), Run{Args: []string{"word", "loop"}, Fuel: 1 << 40,
		Grant: func(context.Context, uint64) (uint64, error) {
			return 0, delivery.ReasonUnpaid
		}}); !errors.Is(err, delivery.ReasonUnpaid) {
		t.Error(err)
	}
}

// asm is what tests assemble, of parts.
type asm = machinetest.Module

func cat(parts ...[]byte) []byte { return machinetest.Cat(parts...) }
func i32(n byte) []byte          { return machinetest.I32(n) }
func leb(n int) []byte           { return machinetest.LEB(n) }
func printed(n byte) []byte      { return machinetest.Print(0, n) }

// TestNaN: whatever makes a NaN makes the canonical one.
func TestNaN(t *testing.T) {
	m := machine(t)
	nan32 := []byte{0x43, 0x34, 0x12, 0xa0, 0xff} // negative, signalling, with a payload
	nan64 := []byte{0x44, 0x78, 0x56, 0x34, 0x12, 0, 0, 0xf4, 0xff}
	zero32, zero64 := []byte{0x43, 0, 0, 0, 0}, []byte{0x44, 0, 0, 0, 0, 0, 0, 0, 0}
	store32, store64 := []byte{0x38, 2, 0}, []byte{0x39, 3, 0}
	for _, c := range []struct {
		code []byte
		want string
	}{
		{cat(nan32, store32), "3412a0ff"},                               // as it was loaded
		{cat(nan32, []byte{0x8c}, store32), "3412a07f"},                 // negated
		{cat(nan32, zero32, []byte{0x92}, store32), "0000c07f"},         // sum
		{cat(zero32, zero32, []byte{0x95}, store32), "0000c07f"},        // 0/0
		{cat(nan32, []byte{0x91}, store32), "0000c07f"},                 // root
		{cat(nan32, []byte{0x8f}, store32), "0000c07f"},                 // trunc
		{cat(nan32, zero32, []byte{0x96}, store32), "0000c07f"},         // min
		{cat(nan64, []byte{0xb6}, store32), "0000c07f"},                 // demoted
		{cat(nan32, []byte{0xbb}, store64), "000000000000f87f"},         // promoted
		{cat(nan64, zero64, []byte{0xa2}, store64), "000000000000f87f"}, // product
		{cat(zero64, zero64, []byte{0xa3}, store64), "000000000000f87f"},
		{cat(zero32, []byte{0x43, 0, 0, 0x80, 0x3f}, []byte{0x92}, store32), "0000803f"}, // 0 + 1
	} {
		n := byte(len(c.want) / 2)
		a := asm{Imports: []string{"fd_write"}, Pages: 1,
			Start: cat(i32(0), c.code, printed(n))}
		r := m.must(t, a.Bytes()).must(t, Run{})
		// Printing overwrites nothing below 64.
		if got := hex.EncodeToString(r.Output); got != c.want || r.Outcome != delivery.OutcomeExited {
			t.Errorf("%x: %s, not %s (%v)", c.code, got, c.want, r.Outcome)
		}
	}
}

// TestFuel holds fuel to what the table of costs says, instruction by instruction.
func TestFuel(t *testing.T) {
	m := machine(t)
	for _, c := range []struct {
		name string
		asm  asm
		want uint64
		out  delivery.Outcome

		shape uint64
	}{
		{"nothing", asm{}, 0, delivery.OutcomeExited, 0},
		{"a constant, dropped", asm{Start: []byte{0x41, 1, 0x1a}}, 1, delivery.OutcomeExited, 0},
		// block { br 0; 1000 instructions that are not reached }
		{"dead code", asm{Start: cat([]byte{0x02, 0x40, 0x0c, 0},
			bytes.Repeat([]byte{0x41, 1, 0x1a}, 1000), []byte{0x0b})}, 1, delivery.OutcomeExited, 1},
		// if 0 { 1 } else { 1; 1 }
		{"an if", asm{Start: []byte{0x41, 0, 0x04, 0x40, 0x41, 1, 0x1a, 0x05, 0x41, 1, 0x1a, 0x41,
			1, 0x1a, 0x0b}}, 4, delivery.OutcomeExited, 1},
		// i = 5; loop { i -= 1; br_if i }
		{"a loop", asm{Locals: []byte{1, 1, 0x7f}, Start: []byte{0x41, 5, 0x21, 0, 0x03, 0x40, 0x20,
			0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b}}, 2 + 5*5, delivery.OutcomeExited, 1 + 8},
		{"a trap", asm{Start: []byte{0x41, 1, 0x1a, 0x00, 0x41, 1, 0x1a}}, 2,
			delivery.OutcomeTrapped, 0},
		{"a division by zero", asm{Start: []byte{0x41, 1, 0x41, 0, 0x6d, 0x1a}}, 18,
			delivery.OutcomeTrapped, 0},
		{"a page", asm{Start: []byte{0x41, 1, 0x40, 0, 0x1a}}, 1 + 64 + meter.CostPage,
			delivery.OutcomeExited, 0},
		{"too many pages", asm{Start: []byte{0x41, 0x80, 0x80, 1, 0x40, 0, 0x1a}},
			1 + 64 + 1<<14*meter.CostPage, delivery.OutcomeExited, 0},
		// memory.fill(0, 0, 4096)
		{"a fill", asm{Pages: 1, Start: []byte{0x41, 0, 0x41, 0, 0x41, 0x80, 0x20, 0xfc, 11, 0}},
			3 + 32 + 256, delivery.OutcomeExited, 0},
		// call 1 { nothing }
		{"a call", asm{Start: []byte{0x10, 1}, More: [][]byte{nil}}, 10,
			delivery.OutcomeExited, 0},
		{"an indirect call", asm{Start: []byte{0x41, 0, 0x11, 0, 0},
			More: [][]byte{nil}, Table: 3}, 1 + 16, delivery.OutcomeExited, 0},
	} {
		code := c.asm.Bytes()
		p := m.must(t, code)
		base := meter.CostModuleByte*uint64(len(code)) + meter.CostPage*uint64(c.asm.Pages) +
			meter.CostEntry*uint64(c.asm.Table) + meter.CostShape*c.shape
		if p.Base() != base {
			t.Errorf("%s: its base is %d, not %d", c.name, p.Base(), base)
		}
		r := p.must(t, Run{})
		if r.Fuel-base != c.want || r.Outcome != c.out {
			t.Errorf("%s: %v, %d of fuel, not %d", c.name, r.Outcome, r.Fuel-base, c.want)
		}
	}
}

// TestRecursion: a module that only calls itself is stopped by the depth, and by nothing of the
// engine's, whatever its frame.
func TestRecursion(t *testing.T) {
	m := machine(t)
	big := bytes.Repeat([]byte{0x42, 1, 0x1a}, 300_000/3)
	// Values that live across the call: as many as fit.
	live := cat(bytes.Repeat([]byte{0x41, 0, 0x28, 2, 0}, 5000), []byte{0x10, 1},
		bytes.Repeat([]byte{0x6a}, 4999), []byte{0x1a})
	for name, code := range map[string][]byte{"small": {0x10, 1}, "big": cat([]byte{0x10, 1}, big),
		"live": live} {
		a := asm{Pages: 1, Start: []byte{0x10, 1}, More: [][]byte{code}}
		r := m.must(t, a.Bytes()).must(t, Run{})
		if r.Outcome != delivery.OutcomeTrapped {
			t.Errorf("%s: %v", name, r.Outcome)
		}
		t.Logf("%s: %d of fuel", name, r.Fuel)
	}
}

// TestCache: what is not used goes, and what runs stays.
func TestCache(t *testing.T) {
	one := asm{Start: []byte{0x41, 1, 0x1a}}
	two := asm{Start: []byte{0x41, 2, 0x1a}}
	m, err := New(Options{Cache: len(one.Bytes()) + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a := m.must(t, one.Bytes())
	m.must(t, two.Bytes())
	if s := m.Stats(); s.Modules != 1 || s.Compiled != 2 || m.Kept(a.Root()) != nil {
		t.Errorf("%+v", s)
	}
	if r := a.must(t, Run{}); r.Outcome != delivery.OutcomeExited {
		t.Error(r)
	}
	m.must(t, one.Bytes())
	if s := m.Stats(); s.Modules != 1 || s.Compiled != 3 || s.Bytes != len(one.Bytes()) {
		t.Errorf("%+v", s)
	}
}

// TestAtOnce: runs of one program at once are none of each other's affair.
func TestAtOnce(t *testing.T) {
	p := machine(t).must(t, word(t))
	want := p.must(t, Run{Input: []byte("b a b")})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3 {
				r, err := p.Run(t.Context(), Run{Input: []byte("b a b"), Fuel: 1 << 33})
				if err != nil || r.Fuel != want.Fuel || !bytes.Equal(r.Output, want.Output) {
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkRun says what counting costs, and what fuel is in time.
func BenchmarkRun(b *testing.B) {
	input := []byte(strings.Repeat("the cat and the dog ", 50_000))
	code := word(b)
	b.Run("compile", func(b *testing.B) {
		for range b.N {
			m, _ := New(Options{})
			if _, err := m.Load(b.Context(), blake3.Sum256(code), code); err != nil {
				b.Fatal(err)
			}
			m.Close()
		}
		b.ReportMetric(float64(len(code))*float64(b.N)/1e6/b.Elapsed().Seconds(), "MB/s")
	})
	b.Run("counted", func(b *testing.B) {
		p := machine(b).must(b, code)
		var fuel uint64
		for range b.N {
			fuel = p.must(b, Run{Input: input}).Fuel - p.Base()
		}
		b.ReportMetric(float64(fuel)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mfuel/s")
	})
	b.Run("plain", func(b *testing.B) {
		ctx := b.Context()
		r := wazero.NewRuntime(ctx)
		defer r.Close(ctx)
		wasi_snapshot_preview1.MustInstantiate(ctx, r)
		c, err := r.CompileModule(ctx, code)
		if err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		for range b.N {
			plain(b, r, c, input)
		}
	})
}
