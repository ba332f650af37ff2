package straight

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	inputs    = 6
	constants = 3
	outputs   = 4
	width     = 32
)

// random is a program of operations on inputs and constants, some of which are needed late. Its
// memory is at R8 for the table, RSI for inputs and RDI for outputs. The first store overwrites an
// input.
func random(r *rand.Rand, operations int) *Program {
	p := new(Program)
	var values []Value
	for i := range inputs {
		values = append(values, p.Load(reg.RSI, width*i))
	}
	for i := range constants {
		values = append(values, p.Constant(Mem{Base: reg.R8}, width*i))
	}
	place := outputs
	write := func(values []Value, operations int) []Value {
		some := func() Value {
			if r.IntN(2) == 0 {
				return values[r.IntN(len(values))]
			}
			return values[max(0, len(values)-1-r.IntN(4))]
		}
		for range operations {
			var v Value
			switch r.IntN(7) {
			case 0:
				v = p.MulAdd(some(), some(), some())
			case 1:
				v = p.SubMul(some(), some(), some())
			case 2:
				v = p.Add(some(), some())
			case 3:
				v = p.Sub(some(), some())
			case 4:
				v = p.And(some(), some())
			case 5:
				v = p.Or(some(), some())
			case 6:
				p.Put(some(), reg.RDI, width*place)
				place++
				continue
			}
			values = append(values, v)
		}
		return values
	}
	values = write(values, operations/3)
	parts := make([][]Value, 1+r.IntN(3))
	var writers []func()
	for i := range parts {
		writers = append(writers, func() {
			parts[i] = write(slices.Clone(values), (i+1)*operations/9)
		})
	}
	p.Together(writers...)
	values = write(slices.Concat(parts...), operations/3)
	result := func() Value {
		v := values[max(0, len(values)-1-r.IntN(4))]
		if p.nodes[v].operation == inMemory {
			v = p.Add(v, v)
		}
		return v
	}
	p.Store(result(), reg.RSI, 0)
	for i := range outputs {
		p.Store(result(), reg.RDI, width*i)
	}
	return p
}

// memory is doubles by address.
type memory map[string]float64

func start(r *rand.Rand) memory {
	m := memory{}
	for i := range max(inputs, constants) {
		m[address(Mem{Base: reg.RSI, Disp: width * i})] = float64(r.IntN(1 << 20))
		m[address(Mem{Base: reg.R8, Disp: width * i})] = float64(r.IntN(1 << 20))
	}
	return m
}

func address(m Mem) string { return m.Asm() }

// evaluate runs the program as it is written.
func evaluate(p *Program, m memory) {
	values := make([]float64, len(p.nodes))
	for i, n := range p.nodes {
		var x [3]float64
		for j, o := range n.operands {
			x[j] = values[o]
		}
		switch n.operation {
		case inMemory:
			values[i] = m[address(n.address)]
		case put:
			m[address(n.address)] = x[0]
		default:
			values[i] = compute(n.operation, x[0], x[1], x[2])
		}
	}
	for _, s := range p.stores {
		m[address(s.to)] = values[s.value]
	}
}

// compute is an operation. Results that grow become 1, for NaNs depend on the order of operands.
func compute(o operation, a, b, c float64) float64 {
	if v := plain(o, a, b, c); math.Abs(v) < 1e50 {
		return v
	}
	return 1
}

func plain(o operation, a, b, c float64) float64 {
	bits := math.Float64bits
	switch o {
	case multiplyAdd:
		return math.FMA(a, b, c)
	case subtractMultiply:
		return math.FMA(-a, b, c)
	case add:
		return a + b
	case subtract:
		return a - b
	case and:
		return math.Float64frombits(bits(a) & bits(b))
	default:
		return math.Float64frombits(bits(a) | bits(b))
	}
}

// execute runs what was emitted.
func execute(t *testing.T, f *ir.Function, m memory) {
	registers := map[string]float64{}
	of := func(o Op) float64 {
		if a, ok := o.(Mem); ok {
			return m[address(a)]
		}
		return registers[o.Asm()]
	}
	for _, i := range f.Instructions() {
		ops := i.Operands
		to := ops[len(ops)-1]
		var v float64
		x := of(ops[0])
		switch i.Opcode {
		case "VMOVUPD", "VMOVAPD", "VBROADCASTSD":
			v = x
		case "VADDPD":
			v = compute(add, of(ops[1]), x, 0)
		case "VSUBPD":
			v = compute(subtract, of(ops[1]), x, 0)
		case "VANDPD":
			v = compute(and, of(ops[1]), x, 0)
		case "VORPD":
			v = compute(or, of(ops[1]), x, 0)
		case "VFMADD231PD":
			v = compute(multiplyAdd, x, of(ops[1]), of(to))
		case "VFMADD213PD":
			v = compute(multiplyAdd, of(ops[1]), of(to), x)
		case "VFMADD132PD":
			v = compute(multiplyAdd, x, of(to), of(ops[1]))
		case "VFNMADD231PD":
			v = compute(subtractMultiply, x, of(ops[1]), of(to))
		case "VFNMADD213PD":
			v = compute(subtractMultiply, of(ops[1]), of(to), x)
		case "VFNMADD132PD":
			v = compute(subtractMultiply, x, of(to), of(ops[1]))
		default:
			t.Fatalf("an instruction %s", i.Opcode)
		}
		if a, ok := to.(Mem); ok {
			m[address(a)] = v
		} else {
			registers[to.Asm()] = v
		}
	}
}

// emitted is a program's function on a machine.
func emitted(t *testing.T, p *Program, machine Machine) *ir.Function {
	c := build.NewContext()
	c.Function("program")
	c.SignatureExpr("func()")
	machine.Emit(c, p, reg.R13)
	file, err := c.Result()
	if err != nil {
		t.Fatal(err)
	}
	return file.Functions()[0]
}

func TestEmit(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	few := []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7}
	for round := range 600 {
		p, before := random(r, 1+r.IntN(120)), start(r)
		want := memory{}
		for at, v := range before {
			want[at] = v
		}
		evaluate(p, want)
		for _, machine := range []Machine{
			{Registers: few[:4+r.IntN(5)], Width: 32, Soon: r.IntN(20)},
			{Registers: few[:4+r.IntN(5)], Width: 64, Broadcast: true, Soon: r.IntN(20)},
		} {
			got := memory{}
			for at, v := range before {
				got[at] = v
			}
			execute(t, emitted(t, p, machine), got)
			for at, v := range want {
				if math.Float64bits(got[at]) != math.Float64bits(v) {
					t.Fatalf("round %d, %d registers: %s is %v, not %v",
						round, len(machine.Registers), at, got[at], v)
				}
			}
		}
	}
}

// Where registers suffice, nothing goes to the frame.
func TestNoFrame(t *testing.T) {
	p := new(Program)
	x, y := p.Load(reg.RSI, 0), p.Load(reg.RSI, width)
	p.Store(p.MulAdd(x, y, p.Add(x, y)), reg.RDI, 0)
	f := emitted(t, p, Machine{Registers: []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2}, Width: width})
	for _, i := range f.Instructions() {
		for _, o := range i.Operands {
			if m, ok := o.(Mem); ok && m.Base == reg.R13 {
				t.Error(fmt.Sprint(i.Opcode, " uses the frame"))
			}
		}
	}
}
