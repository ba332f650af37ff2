package main

// module is a WebAssembly module with one memory and functions that are exported, of i32
// parameters and no results (WebAssembly Core Specification, section 5).
type module struct{ functions []*function }

// function is a function's code. Locals are numbered from 0, parameters first.
type function struct {
	name           string
	params         int
	scalars, lanes int // locals: i32, then v128
	code           []byte
}

func uleb(b []byte, n uint64) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func sleb(b []byte, n int64) []byte {
	for {
		last := n >= -64 && n < 64
		if last {
			return append(b, byte(n&0x7f))
		}
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
}

func sized(b, content []byte) []byte { return append(uleb(b, uint64(len(content))), content...) }

func section(b []byte, id byte, content []byte) []byte { return sized(append(b, id), content) }

const (
	typeI32, typeV128 = 0x7f, 0x7b
	pages             = 1
)

// encode returns the module's binary form.
func (m *module) encode() []byte {
	n := uint64(len(m.functions))
	types, indices, exports, code := uleb(nil, n), uleb(nil, n), uleb(nil, n+1), uleb(nil, n)
	exports = append(sized(exports, []byte("memory")), 2, 0)
	for i, f := range m.functions {
		types = uleb(append(types, 0x60), uint64(f.params))
		for range f.params {
			types = append(types, typeI32)
		}
		types = append(types, 0)
		indices = uleb(indices, uint64(i))
		exports = uleb(append(sized(exports, []byte(f.name)), 0), uint64(i))
		code = sized(code, f.body())
	}
	b := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	b = section(b, 1, types)
	b = section(b, 3, indices)
	b = section(b, 5, []byte{1, 0, pages})
	b = section(b, 7, exports)
	return section(b, 10, code)
}

func (f *function) body() []byte {
	groups := uint64(1)
	if f.lanes > 0 {
		groups = 2
	}
	b := append(uleb(uleb(nil, groups), uint64(f.scalars)), typeI32)
	if f.lanes > 0 {
		b = append(uleb(b, uint64(f.lanes)), typeV128)
	}
	return append(append(b, f.code...), end)
}

// Instructions of section 5.4.
const (
	block, loop, end, br, brIf, call = 0x02, 0x03, 0x0b, 0x0c, 0x0d, 0x10
	empty                            = 0x40 // the type of a block without results

	i32Load, i32Store             = 0x28, 0x36
	i32Eq, i32LtU, i32GeU         = 0x46, 0x49, 0x4f
	i32Add, i32Sub, i32Mul        = 0x6a, 0x6b, 0x6c
	i32Or, i32Xor, i32Rotr        = 0x72, 0x73, 0x78
	vLoad, vStore, vConst         = 0, 11, 12
	vShuffle, vSplat              = 13, 17
	vLtU                          = 0x3a
	vOr, vXor                     = 80, 81
	vShl, vShrU, vAdd, vSub, vMul = 0xab, 0xad, 0xae, 0xb1, 0xb5
)

func (f *function) op(codes ...byte) { f.code = append(f.code, codes...) }

// simd is an instruction on vectors.
func (f *function) simd(code uint64) { f.code = uleb(append(f.code, 0xfd), code) }

func (f *function) get(locals ...int) {
	for _, l := range locals {
		f.code = uleb(append(f.code, 0x20), uint64(l))
	}
}

func (f *function) set(local int) { f.code = uleb(append(f.code, 0x21), uint64(local)) }

func (f *function) constant(n uint32) { f.code = sleb(append(f.code, 0x41), int64(int32(n))) }

// at is the operand of a load or a store: alignment as a power of two, and displacement.
func (f *function) at(align, displacement int) {
	f.code = uleb(uleb(f.code, uint64(align)), uint64(displacement))
}

// load pushes the word at the address in a local and a displacement.
func (f *function) load(local, displacement int) {
	f.get(local)
	f.op(i32Load)
	f.at(2, displacement)
}

// vload is load of a vector.
func (f *function) vload(local, displacement int) {
	f.get(local)
	f.simd(vLoad)
	f.at(0, displacement)
}

// words pushes a vector of four words.
func (f *function) words(w [4]uint32) {
	f.simd(vConst)
	for _, x := range w {
		f.op(byte(x), byte(x>>8), byte(x>>16), byte(x>>24))
	}
}

// shuffle replaces two vectors by one of the words that are named: 0 to 3 are the first one's.
func (f *function) shuffle(words ...byte) {
	f.simd(vShuffle)
	for _, w := range words {
		f.op(4*w, 4*w+1, 4*w+2, 4*w+3)
	}
}

// repeat runs a body while the local i is below the local n, i growing by step behind each.
func (f *function) repeat(i, n int, step uint32, body func()) {
	f.op(block, empty, loop, empty)
	f.get(i, n)
	f.op(i32GeU, brIf, 1)
	body()
	f.get(i)
	f.constant(step)
	f.op(i32Add)
	f.set(i)
	f.op(br, 0, end, end)
}
