// Package straight compiles straight-line programs over vectors of doubles: what a generator writes
// down as values is laid into registers here, for any number of registers and any width.
//
// A program is a list of operations in the order in which they are to be issued. Each makes a
// value. Values are never changed: an allocator gives them registers, and where there are too few
// it evicts the value that is needed last (Belady's rule). Constants and what was loaded from
// memory are evicted for nothing, for they can be read again; other values are stored in a frame.
// An operand that is in memory is folded into the instruction, unless it is needed again soon. Of
// the three forms of a multiply-add that one is taken which overwrites a value that nobody needs
// any more.
//
// Stores go to the end of a program, so that results may overwrite operands.
//
// Parts of a program that do not need each other may be written together: their operations are
// issued in turn, so that one part fills the time in which another waits.
package straight

import (
	"cmp"
	"slices"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Value is the result of an operation.
type Value int

type operation int

const (
	inMemory         operation = iota // an operand or a constant, at address
	multiplyAdd                       // a·b + c
	subtractMultiply                  // c − a·b
	add                               // a + b
	subtract                          // a − b
	and                               // a & b, of the words
	or                                // a | b
	put                               // address = a
)

type node struct {
	operation
	operands []Value
	address  Mem
	constant bool // the same double in all lanes, at address
}

type store struct {
	value Value
	to    Mem
}

// Program is a straight-line program. The zero value is empty.
type Program struct {
	nodes     []node
	order     []int // in which nodes are issued
	stores    []store
	constants map[int]Value // by their place in the table
}

func (p *Program) push(n node) Value {
	p.nodes = append(p.nodes, n)
	p.order = append(p.order, len(p.nodes)-1)
	return Value(len(p.nodes) - 1)
}

// Together writes parts none of which needs a value or a place of memory that another makes, and
// mixes their operations, each at a steady pace from its start to its end.
func (p *Program) Together(parts ...func()) {
	begin := len(p.order)
	type issue struct {
		node int
		at   float64 // the share of its part that is issued before
	}
	var mixed []issue
	for _, write := range parts {
		first := len(p.order)
		write()
		for i, node := range p.order[first:] {
			mixed = append(mixed, issue{node, float64(i) / float64(len(p.order)-first)})
		}
	}
	slices.SortStableFunc(mixed, func(a, b issue) int { return cmp.Compare(a.at, b.at) })
	for i, m := range mixed {
		p.order[begin+i] = m.node
	}
}

// Load is the vector at a place of memory, which nothing but the stores of the program changes.
func (p *Program) Load(base reg.Register, offset int) Value {
	return p.push(node{operation: inMemory, address: Mem{Base: base, Disp: offset}})
}

// Broadcast is the double at a place of memory, in all lanes. Where the machine cannot broadcast,
// as many copies lie there as a vector has lanes. Nothing changes it before the program ends.
func (p *Program) Broadcast(base reg.Register, offset int) Value {
	n := node{operation: inMemory, address: Mem{Base: base, Disp: offset}, constant: true}
	return p.push(n)
}

// Constant is a double from a table, in all lanes.
func (p *Program) Constant(table Mem, offset int) Value {
	if v, ok := p.constants[offset]; ok {
		return v
	}
	if p.constants == nil {
		p.constants = map[int]Value{}
	}
	v := p.push(node{operation: inMemory, address: table.Offset(offset), constant: true})
	p.constants[offset] = v
	return v
}

// MulAdd is a·b + c, rounded once.
func (p *Program) MulAdd(a, b, c Value) Value {
	return p.push(node{operation: multiplyAdd, operands: []Value{a, b, c}})
}

// SubMul is c − a·b, rounded once.
func (p *Program) SubMul(a, b, c Value) Value {
	return p.push(node{operation: subtractMultiply, operands: []Value{a, b, c}})
}

// Add is a + b.
func (p *Program) Add(a, b Value) Value {
	return p.push(node{operation: add, operands: []Value{a, b}})
}

// Sub is a − b.
func (p *Program) Sub(a, b Value) Value {
	return p.push(node{operation: subtract, operands: []Value{a, b}})
}

// And and Or combine words bit by bit.
func (p *Program) And(a, b Value) Value {
	return p.push(node{operation: and, operands: []Value{a, b}})
}

// Or is described with And.
func (p *Program) Or(a, b Value) Value {
	return p.push(node{operation: or, operands: []Value{a, b}})
}

// Store sets memory to the result of an operation when the program ends.
func (p *Program) Store(v Value, base reg.Register, offset int) {
	if p.nodes[v].operation == inMemory {
		panic("straight: what was loaded may be overwritten before it is stored")
	}
	p.stores = append(p.stores, store{v, Mem{Base: base, Disp: offset}})
}

// Put sets memory to a value at once. Nothing may be there that the program has loaded and needs
// later.
func (p *Program) Put(v Value, base reg.Register, offset int) {
	p.push(node{operation: put, operands: []Value{v}, address: Mem{Base: base, Disp: offset}})
}

// Operations is how many operations on vectors the program has, loads and stores aside.
func (p *Program) Operations() (n int) {
	for _, n0 := range p.nodes {
		if n0.operation != inMemory && n0.operation != put {
			n++
		}
	}
	return n
}
