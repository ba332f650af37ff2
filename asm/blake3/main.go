// Command blake3 prints the amd64 kernels of kernels/blake3: one BLAKE3 compression of each of 16
// or 8 messages.
package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/waybill-network/waybill/asm/blake3/rounds"
	"github.com/waybill-network/waybill/asm/emit"
	"github.com/waybill-network/waybill/asm/rows"
)

const doc = `
compressAVX512, compressAVX2: the BLAKE3 compression function (BLAKE3 paper, section 2.2) of 16 or 8
messages of 64 bytes, which start stride bytes apart. All share start, the sixteen words v0..v15 of
the state before the first round. out receives the first 32 bytes of each result, without gaps.

Every lane of a vector belongs to one message, every vector to one word of the state or of the
messages, so a round is the scalar round in each lane. What is not, is the transposition of messages
into lanes and of results back: 128-bit pieces of the messages are loaded so that lane group j of
vector r holds piece c of message 4j+r; two levels of unpacking then transpose the 4x4 words within
each group. All input is read before any output is written.

The permutation of the message words between rounds is a renaming. The four G of a half round
advance in step.

Register plan, AVX-512: Z0..Z15 the state (before that, temporaries of the transposition), Z16..Z31
the message. AVX2: Y0..Y15 the state; the message lies on the stack in 512 bytes and is a memory
operand. Rotations by 12 and 7 need a temporary: one c of the half round waits on the stack
meanwhile. Rotations by 16 and 8 are byte shuffles.

chunksAVX512, chunksAVX2: the chaining values of 16 or 8 whole chunks of 1,024 bytes that follow
each other, with the key of plain BLAKE3: sixteen such compressions, in which the first half of the
state is what the block before left (v0..v7 keep it, so transposition has the others), and v12, v13
are the numbers of the chunks. counters holds the low words of these, and from its seventeenth the
high ones. Lanes read at a distance of 1,024 bytes, which the CPU does not foresee: each block asks
for the same block of the chunks behind these.
`

var asm = build.NewContext()

var (
	z = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
		Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
	y = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	// rotations are the byte shuffles of AVX2 that rotate by 16 and by 8.
	rotations Mem
)

func main() {
	asm.ConstraintExpr("!purego")
	avx512()
	avx2()
	chunks512()
	chunks8()
	emit.Avo(asm, "blake3", doc)
}

func function(name string, attributes attr.Attribute) {
	asm.Function(name)
	asm.Attributes(attributes)
	asm.SignatureExpr("func(out, in *byte, stride uintptr, start *[16]uint32)")
}

// arguments loads them; message(i) is then the operand at a displacement into message i.
func arguments(lanes int) (out, start Register, message func(i, displacement int) Mem) {
	out, start = asm.Load(asm.Param("out"), RDI), asm.Load(asm.Param("start"), RDX)
	asm.Load(asm.Param("in"), RSI)
	asm.Load(asm.Param("stride"), RCX)
	return out, start, rows.Pointers(asm, []GPPhysical{RSI, R8, R9, R10}[:lanes/4], RCX, RBX)
}

func avx512() {
	v, m := z[:16], z[16:]
	function("compressAVX512", attr.NOSPLIT)
	out, start, message := arguments(16)

	rows.Load16(asm, message, m, v)
	for i := range v {
		asm.VPBROADCASTD(Mem{Base: start, Disp: 4 * i}, v[i])
	}
	rounds512(v, m)

	for i := range 8 {
		asm.VPXORD(v[8+i], v[i], v[i])
	}
	rows.Store16(asm, out, v, v[8:])
	asm.VZEROUPPER()
	asm.RET()
}

func avx2() {
	v := y
	rotations = rotations8()
	function("compressAVX2", 0)
	words := asm.AllocLocal(16 * 32)
	word := func(i int) Mem { return words.Offset(32 * i) }
	waiting := asm.AllocLocal(32)
	out, start, message := arguments(8)

	load8(message, v, word)
	for i := range v {
		asm.VPBROADCASTD(Mem{Base: start, Disp: 4 * i}, v[i])
	}
	rounds8(v, word, waiting)

	for i := range 8 {
		asm.VPXOR(v[8+i], v[i], v[i])
	}
	store8(out, v)
	asm.VZEROUPPER()
	asm.RET()
}

// rounds512 emits the seven rounds over sixteen vectors of state and as many of the message.
func rounds512(v, m []VecPhysical) {
	for r, words := range rounds.Words() {
		asm.Comment(fmt.Sprintf("Round %d", r+1))
		for h, half := range rounds.Halves {
			step := func(x int, rotations [2]uint64) {
				for i, g := range half {
					asm.VPADDD(m[words[8*h+2*i+x]], v[g[0]], v[g[0]])
				}
				for _, g := range half {
					asm.VPADDD(v[g[1]], v[g[0]], v[g[0]])
				}
				for _, g := range half {
					asm.VPXORD(v[g[0]], v[g[3]], v[g[3]])
				}
				for _, g := range half {
					asm.VPRORD(Imm(rotations[0]), v[g[3]], v[g[3]])
				}
				for _, g := range half {
					asm.VPADDD(v[g[3]], v[g[2]], v[g[2]])
				}
				for _, g := range half {
					asm.VPXORD(v[g[2]], v[g[1]], v[g[1]])
				}
				for _, g := range half {
					asm.VPRORD(Imm(rotations[1]), v[g[1]], v[g[1]])
				}
			}
			step(0, [2]uint64{16, 12})
			step(1, [2]uint64{8, 7})
		}
	}
}

// rotations8 defines rotations.
func rotations8() Mem {
	rotations := asm.StaticGlobal("rotations")
	asm.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 8 { // for two words, where each byte comes from: by 16, then by 8
		sources := [2]uint64{0x05040706_01000302, 0x04070605_00030201}[i/4]
		asm.AddDatum(8*i, U64(sources+uint64(i%2)*0x08080808_08080808))
	}
	return rotations
}

// load8 sets the words in memory to those of eight messages, through the first eight of v.
func load8(message func(i, displacement int) Mem, v []VecPhysical, word func(int) Mem) {
	asm.Comment("Piece c of messages r and r+4 in q[r].")
	q, t := v[:4], v[4:8]
	for c := range 4 {
		for r := range 4 {
			asm.VMOVDQU(message(r, 16*c), q[r].AsX())
			asm.VINSERTI128(Imm(1), message(r+4, 16*c), q[r], q[r])
		}
		rows.Transpose4(asm, q, t)
		for r := range 4 {
			asm.VMOVDQU(q[r], word(4*c+r))
		}
	}
}

// rounds8 emits the seven rounds over sixteen vectors of state, the message in memory.
func rounds8(v []VecPhysical, word func(int) Mem, waiting Mem) {
	for r, order := range rounds.Words() {
		asm.Comment(fmt.Sprintf("Round %d", r+1))
		for h, half := range rounds.Halves {
			step := func(x, mask, rotation int) {
				for i, g := range half {
					asm.VPADDD(word(order[8*h+2*i+x]), v[g[0]], v[g[0]])
				}
				for _, g := range half {
					asm.VPADDD(v[g[1]], v[g[0]], v[g[0]])
				}
				for _, g := range half {
					asm.VPXOR(v[g[0]], v[g[3]], v[g[3]])
				}
				for _, g := range half {
					asm.VPSHUFB(rotations.Offset(mask), v[g[3]], v[g[3]])
				}
				for _, g := range half {
					asm.VPADDD(v[g[3]], v[g[2]], v[g[2]])
				}
				for _, g := range half {
					asm.VPXOR(v[g[2]], v[g[1]], v[g[1]])
				}
				t := v[half[0][2]]
				asm.VMOVDQU(t, waiting)
				for _, g := range half {
					asm.VPSRLD(Imm(uint64(rotation)), v[g[1]], t)
					asm.VPSLLD(Imm(uint64(32-rotation)), v[g[1]], v[g[1]])
					asm.VPOR(t, v[g[1]], v[g[1]])
				}
				asm.VMOVDQU(waiting, t)
			}
			step(0, 0, 12)
			step(1, 32, 7)
		}
	}
}

// store8 writes the eight words v[:8] of eight digests, without gaps, through the rest of v.
func store8(out Register, v []VecPhysical) {
	asm.Comment("Words 0..3 and 4..7 of message 4j+r are group j of v[r] and v[4+r].")
	rows.Transpose4(asm, v, v[8:])
	rows.Transpose4(asm, v[4:], v[12:])
	for r := range 4 {
		asm.VPERM2I128(Imm(0x20), v[4+r], v[r], v[8+r])
		asm.VPERM2I128(Imm(0x31), v[4+r], v[r], v[12+r])
		asm.VMOVDQU(v[8+r], Mem{Base: out, Disp: 32 * r})
		asm.VMOVDQU(v[12+r], Mem{Base: out, Disp: 32 * (4 + r)})
	}
}
