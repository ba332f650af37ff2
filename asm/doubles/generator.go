package doubles

import (
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/waybill-network/waybill/asm/emit"
	"github.com/waybill-network/waybill/asm/straight"
)

// block is the bytes of a block: eight limbs, each of eight lanes.
const (
	block = 512
	row   = 64
)

// Registers of every routine.
var (
	consts = reg.R8
	frame  = reg.R13
	stepBy = reg.R11 // from half to half of a block, where a vector is one
)

type generator struct {
	*build.Context
	constants
	field
	machine *straight.Machine
	suffix  string
}

// AVX2 is vectors of four doubles in 16 registers.
var AVX2 = straight.Machine{Registers: registers(16), Width: 32, Soon: 20}

// AVX512 is vectors of eight doubles in 32 registers.
var AVX512 = straight.Machine{Registers: registers(32), Width: 64, Broadcast: true, Soon: 40}

func registers(n int) []reg.VecPhysical {
	return []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}[:n]
}

// Generate prints the routines of a machine, with names that end in suffix.
func Generate(name string, m straight.Machine, suffix string) {
	g := &generator{
		Context: build.NewContext(), constants: constants{map[uint64]int{}}, field: base381(),
		machine: &m, suffix: suffix,
	}
	g.ConstraintExpr("!purego")
	g.StaticGlobal("doubles" + suffix)
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	g.fieldRoutines()
	g.extensionRoutines()
	g.lineRoutines()
	if m.Width == 32 {
		g.moves()
		g.setControl()
	}
	emit.Avo(g.Context, name, doc)
}

// parameter is a pointer to blocks, or the step between the blocks of one.
type parameter struct {
	name string
	reg  reg.GPPhysical
	step reg.GPPhysical // in bytes from block to block, or nil for the next
}

// function begins a routine.
func (g *generator) function(name, signature, doc string) {
	g.Function(name + g.suffix)
	g.Attributes(attr.NOSPLIT)
	g.SignatureExpr(signature)
	g.Doc(name + g.suffix + " " + doc)
	g.LEAQ(NewDataAddr(Symbol{Name: "doubles" + g.suffix, Static: true}, 0), consts)
}

// pointer loads a parameter into a register.
func (g *generator) pointer(name string, r reg.GPPhysical) reg.GPPhysical {
	g.Load(g.Param(name), r)
	return r
}

// perBlock makes a routine that runs a program for each of n > 0 blocks, or for one if it has no
// such parameter. Where a vector is half a block, each block takes two rounds.
func (g *generator) perBlock(
	name, signature, doc string, params []parameter, write func(p *program),
) {
	g.function(name, signature, doc)
	for _, p := range params {
		g.pointer(p.name, p.reg)
		if p.step != nil {
			g.pointer("step", p.step)
		}
	}
	n := reg.RCX
	if strings.Contains(signature, "n int") || strings.Contains(signature, "n, step int") {
		g.pointer("n", n)
	} else {
		g.MOVQ(I32(1), n)
	}
	steps := map[reg.GPPhysical]reg.GPPhysical{} // to the next half
	half := g.machine.Width
	halves := half < row
	if halves {
		g.SHLQ(U8(1), n)
		g.MOVQ(I32(half), stepBy)
		for _, p := range params {
			if p.step != nil {
				steps[p.step] = reg.R12
				g.MOVQ(I32(half), reg.R12)
			}
		}
	}
	g.run(g.program(write), func(body func()) {
		g.Label("block")
		body()
		for _, p := range params {
			switch {
			case !halves && p.step == nil:
				g.ADDQ(I32(block), p.reg)
			case !halves:
				g.ADDQ(p.step, p.reg)
			case p.step == nil:
				g.ADDQ(stepBy, p.reg)
			default:
				g.ADDQ(steps[p.step], p.reg)
			}
		}
		if halves {
			g.XORQ(I32(half^(block-half)), stepBy)
			for step, next := range steps {
				g.NEGQ(next)
				g.ADDQ(step, next)
			}
		}
		g.DECQ(n)
		g.JNE(LabelRef("block"))
	})
}

// run emits a program inside of what loop makes around it, with a frame as it needs one, and
// returns.
func (g *generator) run(p *program, loop func(body func())) {
	g.frame()
	size := 0
	loop(func() { size = g.emit(p) })
	g.end(size)
}

// program is what write writes.
func (g *generator) program(write func(p *program)) *program {
	p := &program{Program: new(straight.Program), g: g, field: g.field}
	write(p)
	return p
}

// tracked is program with bounds that are tracked.
func (g *generator) tracked(write func(p *program)) *program {
	return g.program(func(p *program) {
		p.bounds = track()
		write(p)
	})
}

// frame begins a routine with programs, end ends it with the largest of their frames.
func (g *generator) frame() {
	g.LEAQ(Mem{Base: reg.StackPointer, Disp: g.machine.Width - 1}, frame)
	g.ANDQ(I32(-g.machine.Width), frame)
}

func (g *generator) emit(p *program) (size int) {
	return g.machine.Emit(g.Context, p.Program, frame)
}

func (g *generator) end(size int) {
	g.AllocLocal(size + g.machine.Width)
	g.Attributes(0) // the frame may be larger than what is left without a check
	g.VZEROUPPER()
	g.RET()
}

// load is the block at base, store sets it.
func (p *program) load(base reg.Register, offset int) number {
	x := p.new()
	for i := range x {
		x[i] = p.Load(base, offset+row*i)
	}
	return x
}

func (p *program) store(x number, base reg.Register, offset int) {
	for i := range x {
		p.Store(x[i], base, offset+row*i)
	}
}

func (p *program) add(x, y number) number {
	z := p.new()
	for i := range z {
		z[i] = p.Add(x[i], y[i])
	}
	return z
}

func (p *program) sub(x, y number) number {
	z := p.new()
	for i := range z {
		z[i] = p.Sub(x[i], y[i])
	}
	return z
}
