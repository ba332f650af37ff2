package machine

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup/meter"
)

// samples are modules from which a fuzzer goes on.
func samples() [][]byte {
	var all [][]byte
	for _, a := range []asm{
		{},
		{Imports: []string{"fd_write", "proc_exit"}, Pages: 1, Data: "hello",
			Start: cat(i32(0), i32(7), []byte{0x36, 2, 0}, printed(5), i32(3), []byte{0x10, 1})},
		{Start: []byte{0x10, 1}, More: [][]byte{[]byte{0x10, 1}}, Table: 3},
		{Start: []byte{0x41, 0, 0x11, 0, 0}, More: [][]byte{nil}, Table: 3},
		{Locals: []byte{1, 1, 0x7f}, Start: []byte{0x41, 5, 0x21, 0, 0x03, 0x40, 0x20, 0, 0x41, 1,
			0x6b, 0x22, 0, 0x0d, 0, 0x0b}},
		{Start: []byte{0x02, 0x40, 0x41, 0, 0x0e, 1, 0, 0, 0x0b}},
		{Count: 1, Globals: []byte{0x7f, 1, 0x41, 5, 0x0b}, Start: []byte{0x23, 0, 0x24, 0}},
		{Pages: 1, Start: []byte{0x41, 0, 0x41, 0, 0x41, 9, 0xfc, 11, 0, 0x41, 1, 0x40, 0, 0x1a}},
		{Start: []byte{0x43, 0, 0, 0xc0, 0x7f, 0x91, 0x1a, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0xb6,
			0xbb, 0x1a}},
	} {
		all = append(all, a.Bytes())
	}
	return all
}

// FuzzModule holds the rewriter against the engine. A module that is valid before is valid after
// it, and one that is not stays invalid: nobody reaches what was added. Both runs of one end in the
// same way, with the same fuel.
func FuzzModule(f *testing.F) {
	for _, b := range samples() {
		f.Add(b)
	}
	m, err := New(Options{Cache: 1 << 10})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		_, err := meter.Instrument(code)
		var refused *meter.Refusal
		if err != nil {
			if !errors.As(err, &refused) {
				t.Fatal(err)
			}
			return
		}
		valid := validates(t, m, code)
		p, err := m.Load(t.Context(), blake3.Sum256(code), code)
		if errors.Is(err, meter.ReasonImport) {
			return
		}
		if (err == nil) != valid {
			t.Fatalf("valid as it is: %v, and then: %v", valid, err)
		}
		if err != nil {
			return
		}
		defer p.Release()
		run := Run{Input: []byte("input"), Fuel: p.Base() + 1<<16}
		first, err := p.Run(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		run.Grant = func(_ context.Context, used uint64) (uint64, error) { return used + 100, nil }
		again, err := p.Run(t.Context(), run)
		if err != nil || again.Outcome != first.Outcome || again.Fuel != first.Fuel ||
			again.Exit != first.Exit || !slices.Equal(again.Output, first.Output) {
			t.Fatalf("%+v, and then %+v, %v", first, again, err)
		}
	})
}

// validates tells whether the engine takes a module as it is.
func validates(t *testing.T, m *Machine, code []byte) bool {
	c, err := m.runtime.CompileModule(t.Context(), code)
	if err == nil {
		_ = c.Close(t.Context())
	}
	return err == nil
}

// TestNobodyReachesTheFuel: indices that the rewritten module would have and the module does not.
func TestNobodyReachesTheFuel(t *testing.T) {
	for name, c := range map[string]struct {
		asm  asm
		want meter.Reason
	}{
		"the fuel":           {asm{Start: []byte{0x42, 0, 0x24, 0}}, meter.ReasonIndex},
		"the depth":          {asm{Start: []byte{0x41, 0, 0x24, 1}}, meter.ReasonIndex},
		"an added local":     {asm{Start: []byte{0x20, 0, 0x1a}}, meter.ReasonIndex},
		"an added function":  {asm{Start: []byte{0x10, 1}}, meter.ReasonIndex},
		"an added type":      {asm{Start: []byte{0x02, 1, 0x0b}}, meter.ReasonIndex},
		"a label":            {asm{Start: []byte{0x0c, 1}}, meter.ReasonIndex},
		"a table":            {asm{Start: []byte{0x41, 0, 0x11, 0, 0}}, meter.ReasonIndex},
		"vectors":            {asm{Start: []byte{0xfd, 0x0f}}, meter.ReasonUnsupported},
		"threads":            {asm{Start: []byte{0xfe, 0x03, 0}}, meter.ReasonUnsupported},
		"a tail call":        {asm{Start: []byte{0x12, 0}}, meter.ReasonUnsupported},
		"an else by itself":  {asm{Start: []byte{0x05}}, meter.ReasonMalformed},
		"what follows it":    {asm{Start: []byte{0x0b, 0x01}}, meter.ReasonMalformed},
		"an import of ours":  {asm{Imports: []string{"fd_write"}, Start: nil}, 0},
		"too many locals":    {asm{Locals: []byte{1, 0x80, 0x80, 1, 0x7f}}, meter.ReasonTooLarge},
		"a global in a data": {asm{Data: "x", Pages: 1}, 0},
	} {
		_, err := meter.Instrument(c.asm.Bytes())
		if c.want == 0 && err != nil || c.want != 0 && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := machine(t)
	for name, bad := range map[string]asm{
		"a value too few":    {Start: []byte{0x1a}},
		"another type":       {Start: []byte{0x42, 0, 0x45, 0x1a}},
		"no result of an if": {Start: []byte{0x41, 0, 0x04, 0x7f, 0x41, 1, 0x05, 0x0b, 0x1a}},
	} {
		code := bad.Bytes()
		if _, err := m.Load(t.Context(), blake3.Sum256(code), code); !errors.Is(err,
			meter.ReasonMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestImports: what a run does not have is not there.
func TestImports(t *testing.T) {
	for _, i := range []meter.Import{
		{Module: "env", Name: "fd_write", Params: "\x7f\x7f\x7f\x7f", Results: "\x7f"},
		{Module: wasi, Name: "fd_write", Params: "\x7f\x7f\x7f", Results: "\x7f"},
		{Module: wasi, Name: "fd_write", Params: "\x7f\x7f\x7f\x7f"},
		{Module: wasi, Name: "proc_exit", Params: "\x7f", Results: "\x7f"},
		{Module: wasi, Name: "tick"},
	} {
		if err := known(i); !errors.Is(err, meter.ReasonImport) {
			t.Errorf("%+v: %v", i, err)
		}
	}
	if err := known(meter.Import{Module: wasi, Name: "clock_time_get", Params: "\x7f\x7e\x7f",
		Results: "\x7f"}); err != nil {
		t.Error(err)
	}
}

// TestEngineKnows: functions of the table are those of the engine's own WASI, type by type.
func TestEngineKnows(t *testing.T) {
	ctx := t.Context()
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	c, err := wasi_snapshot_preview1.NewBuilder(r).Compile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	theirs := c.ExportedFunctions()
	for name, f := range functions {
		d, ok := theirs[name]
		if !ok || string(d.ParamTypes()) != wasmTypes(f.params) {
			t.Errorf("%s%q is not the engine's", name, f.params)
		}
	}
	if len(theirs) != len(functions) {
		t.Errorf("%d functions, of %d", len(functions), len(theirs))
	}
}
