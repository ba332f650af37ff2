package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/waybill-network/waybill/asm/rows"
)

// Offsets into the constants of chunks: the IV, the length of a block, the flags of the sixteen
// blocks.
const (
	lengthAt = 8 * 4
	flagsAt  = lengthAt + 4
)

// constants of chunks, defined with the first function that needs them.
var constants Mem

func defineConstants() {
	constants = asm.StaticGlobal("chunk")
	asm.DataAttributes(attr.RODATA | attr.NOPTR)
	words := [25]uint32{
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
		0x5be0cd19,
		64, 1, // CHUNK_START
		24: 2, // CHUNK_END
	}
	for i, w := range words {
		asm.AddDatum(4*i, U32(w))
	}
}

// chunked is what differs between instruction sets.
type chunked struct {
	lanes  int
	v      []VecPhysical
	load   func(message func(i, displacement int) Mem) // sets the message words, through v[8:]
	move   func(from, to Op)
	xor    func(a, b VecPhysical)
	rounds func()
	store  func(out Register)
}

func beginChunks(name string) {
	asm.Function(name)
	asm.SignatureExpr("func(out, in *byte, counters *[32]uint32)")
}

// emit emits the function that has begun; block labels its loop.
func (c chunked) emit(block string) {
	v := c.v
	out, counters := asm.Load(asm.Param("out"), RDI), asm.Load(asm.Param("counters"), RDX)
	asm.Load(asm.Param("in"), RSI)
	asm.MOVQ(U32(1024), RCX)
	pointers := []GPPhysical{RSI, R8, R9, R10}[:c.lanes/4]
	message := rows.Pointers(asm, pointers, RCX, RBX)
	asm.LEAQ(constants, R11)
	constant := func(at int) Mem { return Mem{Base: R11, Disp: at} }
	for i := range 8 {
		asm.VPBROADCASTD(constant(4*i), v[i])
	}
	asm.XORQ(RAX, RAX)

	asm.Label(block)
	c.load(message)
	asm.Comment("The same block of the next chunks, which the caller mostly hashes next.")
	for i := range c.lanes {
		asm.PREFETCHT0(message(i, 1024*c.lanes))
	}
	for i := range 4 {
		asm.VPBROADCASTD(constant(4*i), v[8+i])
	}
	for i := range 2 {
		c.move(Mem{Base: counters, Disp: 64 * i}, v[12+i])
	}
	asm.VPBROADCASTD(constant(lengthAt), v[14])
	asm.VPBROADCASTD(Mem{Base: R11, Index: RAX, Scale: 4, Disp: flagsAt}, v[15])
	c.rounds()
	for i := range 8 {
		c.xor(v[8+i], v[i])
	}
	for _, p := range pointers {
		asm.ADDQ(Imm(64), p)
	}
	asm.INCQ(RAX)
	asm.CMPQ(RAX, Imm(16))
	asm.JNE(LabelRef(block))

	c.store(out)
	asm.VZEROUPPER()
	asm.RET()
}

func chunks512() {
	defineConstants()
	v, m := z[:16], z[16:]
	beginChunks("chunksAVX512")
	chunked{
		lanes:  16,
		v:      v,
		load:   func(message func(i, d int) Mem) { rows.Load16(asm, message, m, v[8:]) },
		move:   func(from, to Op) { asm.VMOVDQU32(from, to) },
		xor:    func(a, b VecPhysical) { asm.VPXORD(a, b, b) },
		rounds: func() { rounds512(v, m) },
		store:  func(out Register) { rows.Store16(asm, out, v, v[8:]) },
	}.emit("block512")
}

func chunks8() {
	beginChunks("chunksAVX2")
	words := asm.AllocLocal(16 * 32)
	word := func(i int) Mem { return words.Offset(32 * i) }
	waiting := asm.AllocLocal(32)
	chunked{
		lanes:  8,
		v:      y,
		load:   func(message func(i, d int) Mem) { load8(message, y[8:], word) },
		move:   func(from, to Op) { asm.VMOVDQU(from, to) },
		xor:    func(a, b VecPhysical) { asm.VPXOR(a, b, b) },
		rounds: func() { rounds8(y, word, waiting) },
		store:  func(out Register) { store8(out, y) },
	}.emit("block8")
}
