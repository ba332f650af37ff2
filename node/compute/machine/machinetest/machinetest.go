// Package machinetest assembles small modules for tests.
package machinetest

import "bytes"

// Module has one function `_start` and one memory, as far as tests need it.
type Module struct {
	Imports []string // names of functions of WASI, those of types
	Types   [][]byte // beside those of imports
	Start   []byte   // the body, without locals and end
	Locals  []byte   // groups
	More    [][]byte // bodies of functions behind _start, () → ()
	Globals []byte   // entries
	Count   byte     // of globals
	Pages   byte
	Table   byte // entries; elements are all functions behind _start
	Data    string
}

// types are the parameters of functions that can be imported, all of 32 bits.
var types = map[string]int{"fd_read": 4, "fd_write": 4, "proc_exit": 1}

// LEB encodes a number.
func LEB(n int) (b []byte) {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func name(s string) []byte { return append(LEB(len(s)), s...) }

func sect(id byte, body []byte) []byte { return Cat([]byte{id}, LEB(len(body)), body) }

// Cat joins parts of code.
func Cat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func body(locals, code []byte) []byte {
	if locals == nil {
		locals = []byte{0}
	}
	b := Cat(locals, code, []byte{0x0b})
	return append(LEB(len(b)), b...)
}

// Bytes returns the module.
func (a *Module) Bytes() []byte {
	kinds, imports := LEB(len(a.Imports)+1+len(a.Types)), LEB(len(a.Imports))
	for i, n := range a.Imports {
		results := []byte{1, 0x7f}
		if n == "proc_exit" {
			results = []byte{0}
		}
		kinds = Cat(kinds, []byte{0x60, byte(types[n])}, bytes.Repeat([]byte{0x7f}, types[n]), results)
		imports = Cat(imports, name("wasi_snapshot_preview1"), name(n), []byte{0}, LEB(i))
	}
	kinds = Cat(kinds, []byte{0x60, 0, 0}, Cat(a.Types...))
	own := append(LEB(1+len(a.More)), LEB(len(a.Imports))...)
	code := append(LEB(1+len(a.More)), body(a.Locals, a.Start)...)
	for _, f := range a.More {
		own = append(own, LEB(len(a.Imports))...)
		code = append(code, body(nil, f)...)
	}
	m := Cat([]byte("\x00asm\x01\x00\x00\x00"), sect(1, kinds))
	if len(a.Imports) > 0 {
		m = Cat(m, sect(2, imports))
	}
	m = Cat(m, sect(3, own))
	if a.Table > 0 {
		m = Cat(m, sect(4, []byte{1, 0x70, 0, a.Table}))
	}
	m = Cat(m, sect(5, []byte{1, 0, a.Pages}))
	if a.Count > 0 {
		m = Cat(m, sect(6, append([]byte{a.Count}, a.Globals...)))
	}
	m = Cat(m, sect(7, Cat([]byte{2}, name("_start"), []byte{0}, LEB(len(a.Imports)),
		name("memory"), []byte{2, 0})))
	if a.Table > 0 {
		elements := Cat([]byte{1, 0, 0x41, 0, 0x0b}, LEB(len(a.More)))
		for i := range a.More {
			elements = append(elements, LEB(len(a.Imports)+1+i)...)
		}
		m = Cat(m, sect(9, elements))
	}
	m = Cat(m, sect(10, code))
	if a.Data != "" {
		m = Cat(m, sect(11, Cat([]byte{1, 0, 0x41, 0, 0x0b}, name(a.Data))))
	}
	return m
}

// I32 is the instruction for a constant below 64.
func I32(n byte) []byte { return []byte{0x41, n} }

// Print is code that writes the first n bytes of memory, below 64, to the output. Function write
// is fd_write; what it is told stands from byte 64 on.
func Print(write, n byte) []byte {
	return Cat(I32(0), I32(0), []byte{0x36, 2, 0x40}, I32(0), I32(n), []byte{0x36, 2, 0x44}, I32(1),
		[]byte{0x41, 0xc0, 0}, I32(1), []byte{0x41, 0xc8, 0}, []byte{0x10, write, 0x1a})
}
