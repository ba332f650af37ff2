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
package straight

import (
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
	stores    []store
	constants map[int]Value // by their place in the table
}

func (p *Program) push(n node) Value {
	p.nodes = append(p.nodes, n)
	return Value(len(p.nodes) - 1)
}

// Load is the vector at a place of memory, which nothing but the stores of the program changes.
func (p *Program) Load(base reg.Register, offset int) Value {
	return p.push(node{operation: inMemory, address: Mem{Base: base, Disp: offset}})
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

// Put sets memory to a value at once. Nothing that the program loads may be there.
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
