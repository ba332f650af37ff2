package straight

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Machine is what programs are compiled for.
type Machine struct {
	// Registers are four at least: three operands and a result. Width is a vector's, in bytes.
	Registers []reg.VecPhysical
	Width     int
	// Broadcast says that constants are single doubles, which instructions broadcast; else they are
	// vectors.
	Broadcast bool
	// Soon is within how many operations a value must be needed again to be read into a register.
	Soon int
}

// allocator emits a program.
type allocator struct {
	*build.Context
	*Machine
	p     *Program
	frame reg.Register
	uses  [][]int // of each value, in order: the operations that need it, and then the stores
	next  []int   // of each value, the first use that is left
	now   int

	in    map[Value]int // registers
	of    []Value       // of each register, or none
	slots map[Value]int // in the frame
	free  []int
	freed []int // slots that are free after the operation at hand
	size  int
	fixed map[int]bool // registers of the operation at hand
}

const none = Value(-1)

// Emit emits p with the frame at a register, aligned to vectors, and returns the bytes of the frame
// that it needs.
func (m *Machine) Emit(c *build.Context, p *Program, frame reg.Register) (size int) {
	a := &allocator{
		Context: c, Machine: m, p: p, frame: frame,
		uses: make([][]int, len(p.nodes)), next: make([]int, len(p.nodes)),
		in: map[Value]int{}, of: make([]Value, len(m.Registers)), slots: map[Value]int{},
	}
	for r := range a.of {
		a.of[r] = none
	}
	for at, i := range p.order {
		for _, v := range p.nodes[i].operands {
			a.uses[v] = append(a.uses[v], at)
		}
	}
	for i, s := range p.stores {
		a.uses[s.value] = append(a.uses[s.value], len(p.nodes)+i)
	}
	for at, i := range p.order {
		if n := &p.nodes[i]; n.operation == put || n.operation != inMemory && len(a.uses[i]) > 0 {
			a.begin(at)
			a.operation(Value(i))
		}
	}
	a.stores()
	return a.size * m.Width
}

// soonest is the next use of v, beyond all operations if there is none.
func (a *allocator) soonest(v Value) int {
	if a.next[v] < len(a.uses[v]) {
		return a.uses[v][a.next[v]]
	}
	return math.MaxInt
}

// last reports whether v is not needed after the operation at hand.
func (a *allocator) last(v Value) bool {
	for _, use := range a.uses[v][a.next[v]:] {
		if use > a.now {
			return false
		}
	}
	return true
}

// later is the use of v after the operation at hand.
func (a *allocator) later(v Value) int {
	for _, use := range a.uses[v][a.next[v]:] {
		if use > a.now {
			return use
		}
	}
	return math.MaxInt
}

func (a *allocator) register(r int) reg.VecPhysical {
	switch z := a.Registers[r]; a.Width {
	case 64:
		return z
	case 32:
		return z.AsY().(reg.VecPhysical)
	default:
		panic("straight: no such width")
	}
}

// place is where a value without a register lies.
func (a *allocator) place(v Value) Mem {
	if n := a.p.nodes[v]; n.operation == inMemory {
		return n.address
	}
	slot, ok := a.slots[v]
	if !ok {
		panic(fmt.Sprintf("straight: value %d is lost", v))
	}
	return Mem{Base: a.frame, Disp: slot * a.Width}
}

// take returns a register for v, evicting another value if need be.
func (a *allocator) take(v Value) int {
	best, furthest := -1, -1
	for r, held := range a.of {
		if a.fixed[r] {
			continue
		}
		distance := math.MaxInt
		if held != none {
			distance = a.soonest(held)
			if distance != math.MaxInt && a.evictable(held) {
				distance = min(distance+a.Soon, math.MaxInt-1) // it costs no store
			}
		}
		if distance > furthest {
			best, furthest = r, distance
		}
	}
	if best < 0 {
		panic("straight: no register")
	}
	a.evict(best)
	a.of[best] = v
	a.in[v] = best
	a.fixed[best] = true
	return best
}

// evictable reports whether v need not be stored.
func (a *allocator) evictable(v Value) bool {
	_, kept := a.slots[v]
	return kept || a.p.nodes[v].operation == inMemory
}

func (a *allocator) evict(r int) {
	v := a.of[r]
	if v == none {
		return
	}
	if a.soonest(v) != math.MaxInt && !a.evictable(v) {
		slot := a.size
		if n := len(a.free); n > 0 {
			slot, a.free = a.free[n-1], a.free[:n-1]
		} else {
			a.size++
		}
		a.slots[v] = slot
		a.VMOVUPD(a.register(r), a.place(v))
	}
	delete(a.in, v)
	a.of[r] = none
}

// fetch brings v into a register.
func (a *allocator) fetch(v Value) int {
	if r, ok := a.in[v]; ok {
		a.fixed[r] = true
		return r
	}
	r := a.take(v)
	a.read(v, r)
	return r
}

func (a *allocator) read(v Value, r int) {
	if n := a.p.nodes[v]; n.constant && a.Broadcast {
		a.VBROADCASTSD(n.address, a.register(r))
		return
	}
	a.VMOVUPD(a.place(v), a.register(r))
}

// foldable reports whether v is in memory and is better read by the instruction itself.
func (a *allocator) foldable(v Value) bool {
	if _, ok := a.in[v]; ok {
		return false
	}
	next := a.later(v)
	return next == math.MaxInt || next-a.now > a.Soon
}

// forget ends the use of the operands at hand.
func (a *allocator) forget(operands []Value) {
	for _, v := range operands {
		for a.next[v] < len(a.uses[v]) && a.uses[v][a.next[v]] <= a.now {
			a.next[v]++
		}
		if a.next[v] < len(a.uses[v]) {
			continue
		}
		if r, ok := a.in[v]; ok && a.of[r] == v {
			a.of[r] = none
			delete(a.in, v)
		}
		if slot, ok := a.slots[v]; ok {
			a.freed = append(a.freed, slot)
			delete(a.slots, v)
		}
	}
}

// begin turns to an operation or a store.
func (a *allocator) begin(now int) {
	a.now = now
	a.fixed = map[int]bool{}
	a.free, a.freed = append(a.free, a.freed...), a.freed[:0]
}

func (a *allocator) operation(v Value) {
	n := &a.p.nodes[v]
	switch n.operation {
	case multiplyAdd, subtractMultiply:
		a.fused(v, n)
	case put:
		a.VMOVUPD(a.register(a.fetch(n.operands[0])), n.address)
		a.forget(n.operands)
	default:
		a.binary(v, n)
	}
}

// binary has a first operand in a register and a second one anywhere.
func (a *allocator) binary(v Value, n *node) {
	x, y := n.operands[0], n.operands[1]
	if n.operation != subtract && a.foldable(x) && !a.foldable(y) {
		x, y = y, x
	}
	first := a.fetch(x)
	var second Op
	broadcast := false
	if y != x && a.foldable(y) {
		second, broadcast = a.place(y), a.broadcast(y)
	} else {
		second = a.register(a.fetch(y))
	}
	a.forget(n.operands)
	a.fixed = map[int]bool{} // the result may take an operand's register
	to := a.register(a.take(v))
	from := a.register(first)
	switch n.operation {
	case add:
		pick(broadcast, a.VADDPD, a.VADDPD_BCST)(second, from, to)
	case subtract:
		pick(broadcast, a.VSUBPD, a.VSUBPD_BCST)(second, from, to)
	case and:
		pick(broadcast, a.VANDPD, a.VANDPD_BCST)(second, from, to)
	case or:
		pick(broadcast, a.VORPD, a.VORPD_BCST)(second, from, to)
	}
}

// broadcast reports whether an instruction that reads v from memory must broadcast it.
func (a *allocator) broadcast(v Value) bool { return a.Broadcast && a.p.nodes[v].constant }

func pick(broadcast bool, plain, bcst func(...Op)) func(...Op) {
	if broadcast {
		return bcst
	}
	return plain
}

// fused is a·b ± c in the form that overwrites what is not needed any more: 231 the addend, 213 and
// 132 a factor.
func (a *allocator) fused(v Value, n *node) {
	// Those in memory that are not worth a register stay there, one of them at most.
	ops := n.operands
	over := a.overwritten(ops)
	folded := -1
	for i := range ops {
		if i != over && folded < 0 && ops[i] != ops[over] && a.foldable(ops[i]) && once(ops, ops[i]) {
			folded = i
		}
	}
	var at [3]Op
	broadcast := false
	for i, o := range ops {
		switch {
		case i == folded:
			at[i], broadcast = a.place(o), a.broadcast(o)
		case i == over:
		default:
			at[i] = a.register(a.fetch(o))
		}
	}
	// The register to be overwritten.
	var to int
	if r, ok := a.in[ops[over]]; ok && a.last(ops[over]) && once(ops, ops[over]) {
		a.fixed[r] = true
		to = r
		a.forget(ops)
		a.of[to], a.in[v] = v, to
	} else {
		if ok {
			a.fixed[r] = true
		}
		o := ops[over]
		to = a.take(v)
		if ok {
			a.VMOVAPD(a.register(r), a.register(to))
		} else {
			a.read(o, to)
		}
		a.forget(ops)
	}
	at[over] = a.register(to)
	// Forms, in the order of Go's assembler: the last operand is the one that is overwritten.
	type form struct{ plain, bcst func(...Op) }
	f231 := form{a.VFMADD231PD, a.VFMADD231PD_BCST}
	f213 := form{a.VFMADD213PD, a.VFMADD213PD_BCST}
	f132 := form{a.VFMADD132PD, a.VFMADD132PD_BCST}
	if n.operation == subtractMultiply {
		f231 = form{a.VFNMADD231PD, a.VFNMADD231PD_BCST}
		f213 = form{a.VFNMADD213PD, a.VFNMADD213PD_BCST}
		f132 = form{a.VFNMADD132PD, a.VFNMADD132PD_BCST}
	}
	emit := func(f form, x, y, z Op) { pick(broadcast, f.plain, f.bcst)(x, y, z) }
	if over == 2 { // c += a·b
		if folded == 1 {
			emit(f231, at[1], at[0], at[2])
		} else {
			emit(f231, at[0], at[1], at[2])
		}
		return
	}
	other := 1 - over
	if folded == other { // a = a·memory + c
		emit(f132, at[other], at[2], at[over])
	} else {
		emit(f213, at[2], at[other], at[over])
	}
}

func once(ops []Value, v Value) bool {
	n := 0
	for _, o := range ops {
		if o == v {
			n++
		}
	}
	return n == 1
}

// overwritten chooses the operand whose register a multiply-add takes: one that is not needed
// later, else one that is in memory anyway.
func (a *allocator) overwritten(ops []Value) int {
	for _, i := range []int{2, 0, 1} {
		if _, ok := a.in[ops[i]]; ok && a.last(ops[i]) && once(ops, ops[i]) {
			return i
		}
	}
	best, distance := -1, -1
	for _, i := range []int{0, 1, 2} { // what is needed soonest would be read anyway
		if _, ok := a.in[ops[i]]; !ok {
			if d := a.later(ops[i]); d > distance {
				best, distance = i, d
			}
		}
	}
	if best >= 0 {
		return best
	}
	return 2
}

func (a *allocator) stores() {
	n := len(a.p.nodes)
	for i, s := range a.p.stores {
		a.begin(n + i)
		r := a.fetch(s.value)
		a.VMOVUPD(a.register(r), s.to)
		a.forget([]Value{s.value})
	}
}
