package machine

import (
	"context"
	"encoding/binary"

	"github.com/tetratelabs/wazero/api"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/meter"
)

var le = binary.LittleEndian

const wasi = "wasi_snapshot_preview1"

// What functions of WASI return.
const (
	success     = 0
	errBadFile  = 8
	errFault    = 21
	errInvalid  = 28
	errNoSystem = 52
)

// call is a call of the module's to the host.
type call struct {
	*process
	memory api.Memory
	args   []uint64
}

func (c *call) u32(i int) uint32 { return uint32(c.args[i]) }

// functions are what a module may import. Those without code return errNoSystem. Of parameters, i
// is a number of 32 bits and l one of 64. All return one of 32 bits, but for the one that does not
// return.
var functions = map[string]struct {
	params string
	run    func(*call) uint32
}{
	"args_get":            {"ii", (*call).argsGet},
	"args_sizes_get":      {"ii", (*call).argsSizes},
	"clock_res_get":       {"ii", (*call).clockResolution},
	"clock_time_get":      {"ili", (*call).clockTime},
	"environ_get":         {"ii", func(*call) uint32 { return success }},
	"environ_sizes_get":   {"ii", (*call).environSizes},
	"fd_close":            {"i", (*call).fdFlags},
	"fd_fdstat_get":       {"ii", (*call).fdStat},
	"fd_fdstat_set_flags": {"ii", (*call).fdFlags},
	"fd_prestat_get":      {"ii", func(*call) uint32 { return errBadFile }},
	"fd_prestat_dir_name": {"iii", func(*call) uint32 { return errBadFile }},
	"fd_read":             {"iiii", (*call).fdRead},
	"fd_write":            {"iiii", (*call).fdWrite},
	"poll_oneoff":         {"iiii", (*call).poll},
	"proc_exit":           {"i", (*call).exit},
	"random_get":          {"ii", (*call).randomGet},
	"sched_yield":         {"", func(*call) uint32 { return success }},

	"fd_advise": {"illi", nil}, "fd_allocate": {"ill", nil}, "fd_datasync": {"i", nil},
	"fd_fdstat_set_rights": {"ill", nil}, "fd_filestat_get": {"ii", nil},
	"fd_filestat_set_size": {"il", nil}, "fd_filestat_set_times": {"illi", nil},
	"fd_pread": {"iiili", nil}, "fd_pwrite": {"iiili", nil}, "fd_readdir": {"iiili", nil},
	"fd_renumber": {"ii", nil}, "fd_seek": {"ilii", nil}, "fd_sync": {"i", nil},
	"fd_tell": {"ii", nil}, "path_create_directory": {"iii", nil},
	"path_filestat_get": {"iiiii", nil}, "path_filestat_set_times": {"iiiilli", nil},
	"path_link": {"iiiiiii", nil}, "path_open": {"iiiiillii", nil},
	"path_readlink": {"iiiiii", nil}, "path_remove_directory": {"iii", nil},
	"path_rename": {"iiiiii", nil}, "path_symlink": {"iiiii", nil},
	"path_unlink_file": {"iii", nil}, "proc_raise": {"i", nil}, "sock_accept": {"iii", nil},
	"sock_recv": {"iiiiii", nil}, "sock_send": {"iiiii", nil}, "sock_shutdown": {"ii", nil},
}

const exitName = "proc_exit"

// known refuses an import that is none of functions.
func known(i meter.Import) error {
	f, ok := functions[i.Name]
	want := "\x7f"
	if i.Name == exitName {
		want = ""
	}
	if i.Module != wasi || !ok || i.Results != want || i.Params != wasmTypes(f.params) {
		return rollup.Refuse(meter.ReasonImport, "%s.%s", i.Module, i.Name)
	}
	return nil
}

func wasmTypes(params string) string {
	b := make([]byte, len(params))
	for i := range b {
		if b[i] = api.ValueTypeI32; params[i] == 'l' {
			b[i] = api.ValueTypeI64
		}
	}
	return string(b)
}

// hosts makes what modules import.
func (m *Machine) hosts(ctx context.Context) error {
	own := m.runtime.NewHostModuleBuilder(meter.Host)
	own.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(tick), nil, nil).
		Export(meter.Tick)
	if _, err := own.Instantiate(ctx); err != nil {
		return err
	}
	b := m.runtime.NewHostModuleBuilder(wasi)
	for name, f := range functions {
		results := []api.ValueType{api.ValueTypeI32}
		if name == exitName {
			results = nil
		}
		b.NewFunctionBuilder().WithGoModuleFunction(host(f.run), []byte(wasmTypes(f.params)),
			results).Export(name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func host(run func(*call) uint32) api.GoModuleFunc {
	return func(ctx context.Context, module api.Module, stack []uint64) {
		c := &call{ctx.Value(key{}).(*process), module.Memory(), stack}
		c.charge(meter.CostHost)
		errno := uint32(errNoSystem)
		if run != nil {
			errno = run(c)
		}
		if len(stack) > 0 {
			stack[0] = uint64(errno)
		}
	}
}

func (c *call) put32(at uint32, values ...uint32) uint32 {
	for i, v := range values {
		if !c.memory.WriteUint32Le(at+uint32(4*i), v) {
			return errFault
		}
	}
	return success
}

func (c *call) argsSizes() uint32 {
	n := 0
	for _, a := range c.Args {
		n += len(a) + 1
	}
	return max(c.put32(c.u32(0), uint32(len(c.Args))), c.put32(c.u32(1), uint32(n)))
}

func (c *call) argsGet() uint32 {
	pointers, text := c.u32(0), c.u32(1)
	for i, a := range c.Args {
		if c.put32(pointers+uint32(4*i), text) != success || !c.memory.WriteString(text, a+"\x00") {
			return errFault
		}
		text += uint32(len(a)) + 1
	}
	return success
}

func (c *call) environSizes() uint32 { return max(c.put32(c.u32(0), 0), c.put32(c.u32(1), 0)) }

// now is the time: a nanosecond for each unit of fuel that was used, and what was slept.
func (c *call) now() uint64 { return c.used() + c.slept }

func (c *call) clockTime() uint32 {
	if c.u32(0) > 1 {
		return errInvalid
	}
	if !c.memory.WriteUint64Le(c.u32(2), c.now()) {
		return errFault
	}
	return success
}

func (c *call) clockResolution() uint32 {
	if c.u32(0) > 1 {
		return errInvalid
	}
	if !c.memory.WriteUint64Le(c.u32(1), 1) {
		return errFault
	}
	return success
}

// fdFlags is about the three files that there are, and does nothing.
func (c *call) fdFlags() uint32 {
	if c.u32(0) > 2 {
		return errBadFile
	}
	return success
}

// fdStat says of input and outputs that they are files of an unknown type, to be read or written.
func (c *call) fdStat() uint32 {
	if c.u32(0) > 2 {
		return errBadFile
	}
	b := make([]byte, 24)
	const mayRead, mayWrite = 1 << 1, 1 << 6
	if b[8] = mayWrite; c.u32(0) == 0 {
		b[8] = mayRead
	}
	if !c.memory.Write(c.u32(1), b) {
		return errFault
	}
	return success
}

// maxVectors is how many pieces of memory one call may name.
const maxVectors = 1024

// vectors calls with each piece of memory that a call names, until it returns less than all.
func (c *call) vectors(move func(piece []byte) int) uint32 {
	at, n, total := c.u32(1), c.u32(2), uint32(0)
	if n > maxVectors {
		return errInvalid
	}
	for i := range n {
		pointer, ok := c.memory.ReadUint32Le(at + 8*i)
		length, ok2 := c.memory.ReadUint32Le(at + 8*i + 4)
		if !ok || !ok2 {
			return errFault
		}
		if length == 0 {
			continue
		}
		piece, ok := c.memory.Read(pointer, length)
		if !ok {
			return errFault
		}
		moved := move(piece)
		if total += uint32(moved); moved < len(piece) {
			break
		}
	}
	return c.put32(c.u32(3), total)
}

func (c *call) fdRead() uint32 {
	if c.u32(0) != 0 {
		return errBadFile
	}
	return c.vectors(func(piece []byte) int {
		n := min(len(piece), len(c.Input)-c.read)
		c.charge(uint64(n) * meter.CostInputByte)
		copy(piece, c.Input[c.read:])
		c.read += n
		return n
	})
}

// fdWrite takes what is written to the output. What is written to the other one is paid for, and
// nobody sees it.
func (c *call) fdWrite() uint32 {
	if c.u32(0) != 1 && c.u32(0) != 2 {
		return errBadFile
	}
	return c.vectors(func(piece []byte) int {
		c.charge(uint64(len(piece)) * meter.CostOutputByte)
		if c.u32(0) == 1 {
			c.result.Output = append(c.result.Output, piece...)
		}
		return len(piece)
	})
}

func (c *call) exit() uint32 {
	c.stopped = true
	c.result.Outcome, c.result.Exit, c.result.Fuel = delivery.OutcomeExited, c.u32(0), c.used()
	panic(errStop)
}

func (c *call) randomGet() uint32 {
	b, ok := c.memory.Read(c.u32(0), c.u32(1))
	if !ok {
		return errFault
	}
	c.charge(uint64(len(b)) * meter.CostRandomByte)
	c.random.fill(b)
	return success
}

// Sizes and kinds of what poll_oneoff is asked and answers.
const (
	subscriptionSize, eventSize = 48, 32
	eventClock                  = 0
	clockAbsolute               = 1
)

// poll answers what is waited for. Input and outputs are always ready; if only clocks are waited
// for, the first one of them goes off now, and the time is what it was set to.
func (c *call) poll() uint32 {
	in, out, n := c.u32(0), c.u32(1), c.u32(2)
	if n == 0 || n > maxVectors {
		return errInvalid
	}
	asked, ok := c.memory.Read(in, n*subscriptionSize)
	if !ok {
		return errFault
	}
	asked = append([]byte(nil), asked...) // the answer may lie in its place
	now, first := c.now(), ^uint64(0)
	due := make([]uint64, n) // 0: at once
	for i := range n {
		if s := asked[i*subscriptionSize:]; s[8] == eventClock {
			due[i] = dueAt(s, now)
		}
		first = min(first, due[i])
	}
	if first > now {
		c.slept += first - now
		now = first
	}
	events := uint32(0)
	for i := range n {
		if due[i] > now {
			continue
		}
		s := asked[i*subscriptionSize:]
		var e [eventSize]byte
		copy(e[:8], s[:8])
		if e[10] = s[8]; s[8] != eventClock {
			e[16] = 1 // there is something
		}
		if !c.memory.Write(out+events*eventSize, e[:]) {
			return errFault
		}
		events++
	}
	return c.put32(c.u32(3), events)
}

// dueAt is when a clock goes off.
func dueAt(subscription []byte, now uint64) uint64 {
	at := le.Uint64(subscription[24:])
	if le.Uint16(subscription[40:])&clockAbsolute == 0 {
		if at += now; at < now {
			at = ^uint64(0)
		}
	}
	return at
}

// random numbers follow from module, input and arguments: block i is the keyed hash of the seed and
// i.
type random struct {
	block [40]byte // seed, number
	left  []byte
}

var randomKey = blake3.ContextKey("waybill/compute/random/2")

func (r *random) seed(module, input, args rollup.Hash) {
	seed := blake3.Keyed(&randomKey, append(append(module[:], input[:]...), args[:]...))
	copy(r.block[:], seed[:])
}

func (r *random) fill(b []byte) {
	for len(b) > 0 {
		if len(r.left) == 0 {
			next := blake3.Keyed(&randomKey, r.block[:])
			r.left = next[:]
			le.PutUint64(r.block[32:], le.Uint64(r.block[32:])+1)
		}
		n := copy(b, r.left)
		b, r.left = b[n:], r.left[n:]
	}
}
