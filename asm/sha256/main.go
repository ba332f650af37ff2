// Command sha256 prints the amd64 kernels of kernels/sha256: SHA-256 of four or sixteen messages of
// one length.
package main

import (
	"fmt"
	"math/big"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/waybill-network/waybill/asm/emit"
	"github.com/waybill-network/waybill/asm/rows"
)

const doc = `
hashSHANI, hashAVX512: SHA-256 (FIPS 180-4) of four or sixteen messages of as many blocks, padding
included, which start stride bytes apart. All begin in state start. Then, unless last is nil, all
take one more block, of which last holds the message schedule with the round constants added: so a
final block that is the same for all costs no schedule. out receives the digests, without gaps. All
input is read before any output is written.

hashSHANI interleaves four streams on the SHA instructions: two rounds depend on the two before with
a latency of four cycles while the unit can begin others. In each step of four rounds every stream
extends its schedule and then does its rounds.
    X0        four schedule words and constants: the implicit operand of SHA256RNDS2
    X1..X8    the states: (a,b,e,f) and (c,d,g,h) of each stream
    X9..X15   the last four schedule words of each stream, on which the next four wait, and three
              temporaries: the names rotate
    stack     aligned to 16: the last sixteen schedule words of each stream in a ring, the states
              before the block, and the shuffle that reverses the bytes of words

hashAVX512 computes a round in every lane, one message each: a vector is one word of sixteen
messages.
    Z0..Z7    a..h: the names rotate, the registers stay
    Z8..Z11   temporaries
    Z16..Z31  the schedule, a ring of sixteen words
    stack     the states before the block
`

var asm = build.NewContext()

func main() {
	asm.ConstraintExpr("!purego")
	constants()
	shani()
	avx512()
	emit.Avo(asm, "sha256", doc)
}

var k, swap Mem

// constants are the first 32 bits of the fractional parts of the cube roots of the first 64 primes.
func constants() {
	k = asm.StaticGlobal("k")
	asm.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, n := 0, int64(2); i < 64; n++ {
		if p := big.NewInt(n); p.ProbablyPrime(0) {
			asm.AddDatum(4*i, U32(cubeRoot(p.Lsh(p, 96)).Uint64()&(1<<32-1)))
			i++
		}
	}
	swap = asm.StaticGlobal("swap")
	asm.DataAttributes(attr.RODATA | attr.NOPTR)
	asm.AddDatum(0, U64(0x04050607_00010203))
	asm.AddDatum(8, U64(0x0c0d0e0f_08090a0b))
}

// cubeRoot of x below 2^108, rounded down.
func cubeRoot(x *big.Int) *big.Int {
	root, three := new(big.Int), big.NewInt(3)
	for bit := 35; bit >= 0; bit-- {
		root.SetBit(root, bit, 1)
		if new(big.Int).Exp(root, three, nil).Cmp(x) > 0 {
			root.SetBit(root, bit, 0)
		}
	}
	return root
}

func function(name string) {
	asm.Function(name)
	asm.SignatureExpr(
		"func(out, in *byte, stride uintptr, blocks int, start *[8]uint32, last *[64]uint32)")
}

// blocks emits the loop over the blocks of the input and then the last one.
func blocks(pointers []GPPhysical, save, block, last, add func()) {
	count, schedule := asm.Load(asm.Param("blocks"), RAX), asm.Load(asm.Param("last"), RDX)
	asm.Label("next")
	asm.TESTQ(count, count)
	asm.JE(LabelRef("extra"))
	save()
	block()
	add()
	for _, p := range pointers {
		asm.ADDQ(Imm(64), p)
	}
	asm.DECQ(count)
	asm.JMP(LabelRef("next"))
	asm.Label("extra")
	asm.TESTQ(schedule, schedule)
	asm.JE(LabelRef("finish"))
	save()
	last()
	add()
	asm.Label("finish")
}

func shani() {
	const streams = 4
	states := [streams][2]VecPhysical{{X1, X2}, {X3, X4}, {X5, X6}, {X7, X8}}
	previous, t := [streams]VecPhysical{X9, X10, X11, X12}, [3]VecPhysical{X13, X14, X15}

	function("hashSHANI")
	stack := asm.AllocLocal(16 + streams*(4+2)*16 + 16)
	asm.LEAQ(stack.Offset(15), RBX)
	asm.ANDQ(I8(-16), RBX)
	word := func(stream, group int) Mem { return Mem{Base: RBX, Disp: 16 * (4*stream + group%4)} }
	saved := func(stream, i int) Mem {
		return Mem{Base: RBX,
			Disp: 16 * (4*streams + 2*stream + i)}
	}
	mask := Mem{Base: RBX, Disp: 16 * (4 + 2) * streams}

	pointers := []GPPhysical{RSI}
	asm.Load(asm.Param("in"), RSI)
	asm.Load(asm.Param("stride"), RCX)
	message := rows.Pointers(asm, pointers, RCX, R8)
	asm.MOVOU(swap, t[0])
	asm.MOVO(t[0], mask)
	asm.Comment("(a,b,c,d), (e,f,g,h) to (a,b,e,f), (c,d,g,h), which the instructions want with " +
		"a and c on top.")
	start := asm.Load(asm.Param("start"), RDX)
	a, c := states[0][0], states[0][1]
	asm.MOVOU(Mem{Base: start}, t[0])
	asm.MOVOU(Mem{Base: start, Disp: 16}, c)
	asm.PSHUFD(Imm(0xb1), t[0], t[0])
	asm.PSHUFD(Imm(0x1b), c, c)
	asm.MOVO(t[0], a)
	asm.PALIGNR(Imm(8), c, a)
	asm.PBLENDW(Imm(0xf0), t[0], c)
	for _, s := range states[1:] {
		asm.MOVO(a, s[0])
		asm.MOVO(c, s[1])
	}

	rounds := func(s [2]VecPhysical) {
		asm.SHA256RNDS2(X0, s[0], s[1])
		asm.PSHUFD(Imm(0x0e), X0, X0)
		asm.SHA256RNDS2(X0, s[1], s[0])
	}
	each := func(f func(stream, i int, r VecPhysical)) func() {
		return func() {
			for stream, s := range states {
				f(stream, 0, s[0])
				f(stream, 1, s[1])
			}
		}
	}
	blocks(pointers, each(func(stream, i int, r VecPhysical) { asm.MOVO(r, saved(stream, i)) }),
		func() {
			for g := range 16 {
				asm.Comment(fmt.Sprintf("Rounds %d to %d", 4*g, 4*g+3))
				for stream, s := range states {
					w := t[0]
					if g < 4 {
						asm.MOVOU(message(stream, 16*g), w)
						asm.PSHUFB(mask, w)
					} else {
						asm.MOVO(word(stream, g), w)
						asm.SHA256MSG1(word(stream, g+1), w)
						asm.MOVO(previous[stream], t[1])
						asm.PALIGNR(Imm(4), word(stream, g+2), t[1])
						asm.PADDD(t[1], w)
						asm.SHA256MSG2(previous[stream], w)
					}
					if g < 15 {
						asm.MOVO(w, word(stream, g))
					}
					t[0], previous[stream] = previous[stream], w
					asm.MOVOU(k.Offset(16*g), X0)
					asm.PADDD(w, X0)
					rounds(s)
				}
			}
		}, func() {
			for g := range 16 {
				asm.MOVOU(Mem{Base: RDX, Disp: 16 * g}, X0)
				for _, s := range states {
					asm.SHA256RNDS2(X0, s[0], s[1])
				}
				asm.PSHUFD(Imm(0x0e), X0, X0)
				for _, s := range states {
					asm.SHA256RNDS2(X0, s[1], s[0])
				}
			}
		}, each(func(stream, i int, r VecPhysical) { asm.PADDD(saved(stream, i), r) }))

	asm.Comment("Back to (a,b,c,d), (e,f,g,h), most significant bytes first.")
	out := asm.Load(asm.Param("out"), RDI)
	for stream, s := range states {
		asm.PSHUFD(Imm(0x1b), s[0], t[0])
		asm.PSHUFD(Imm(0xb1), s[1], s[1])
		asm.MOVO(t[0], s[0])
		asm.PBLENDW(Imm(0xf0), s[1], s[0])
		asm.PALIGNR(Imm(8), t[0], s[1])
		for i, r := range s {
			asm.PSHUFB(mask, r)
			asm.MOVOU(r, Mem{Base: out, Disp: 32*stream + 16*i})
		}
	}
	asm.RET()
}

func avx512() {
	state := []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7}
	w := []VecPhysical{Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30,
		Z31}
	t := []VecPhysical{Z8, Z9, Z10, Z11}

	function("hashAVX512")
	saved := asm.AllocLocal(8 * 64)
	pointers := []GPPhysical{RSI, R8, R9, R10}
	asm.Load(asm.Param("in"), RSI)
	asm.Load(asm.Param("stride"), RCX)
	message := rows.Pointers(asm, pointers, RCX, RBX)
	start := asm.Load(asm.Param("start"), RDX)
	for i, s := range state {
		asm.VPBROADCASTD(Mem{Base: start, Disp: 4 * i}, s)
	}
	constant := R11
	asm.LEAQ(k, constant)

	// three sets t[0] to the sum modulo two of x rotated by three numbers; the third is a shift if
	// shift is true.
	three := func(x VecPhysical, by [3]uint64, shift bool) {
		asm.VPRORD(Imm(by[0]), x, t[0])
		asm.VPRORD(Imm(by[1]), x, t[1])
		if shift {
			asm.VPSRLD(Imm(by[2]), x, t[2])
		} else {
			asm.VPRORD(Imm(by[2]), x, t[2])
		}
		asm.VPTERNLOGD(Imm(0x96), t[2], t[1], t[0])
	}
	round := func(i int) {
		v := func(name int) VecPhysical { return state[(name+64-i)%8] } // 0 for a to 7 for h
		a, b, c, d, e, f, g, h := v(0), v(1), v(2), v(3), v(4), v(5), v(6), v(7)
		three(e, [3]uint64{6, 11, 25}, false)
		asm.VMOVDQA32(e, t[3])
		asm.VPTERNLOGD(Imm(0xca), g, f, t[3]) // e ? f : g
		asm.VPADDD(t[0], h, h)
		asm.VPADDD(t[3], h, h)
		asm.VPADDD(h, d, d)
		three(a, [3]uint64{2, 13, 22}, false)
		asm.VMOVDQA32(a, t[3])
		asm.VPTERNLOGD(Imm(0xe8), c, b, t[3]) // majority
		asm.VPADDD(t[0], h, h)
		asm.VPADDD(t[3], h, h)
	}
	h := func(i int) VecPhysical { return state[(7+64-i)%8] }
	blocks(pointers, func() {
		for i, s := range state {
			asm.VMOVDQU32(s, saved.Offset(64*i))
		}
	}, func() {
		rows.Load16(asm, message, w, t)
		asm.VBROADCASTI32X4(swap, t[0])
		for _, x := range w {
			asm.VPSHUFB(t[0], x, x)
		}
		for i := range 64 {
			asm.Comment(fmt.Sprintf("Round %d", i))
			asm.VPADDD(w[i%16], h(i), h(i))
			asm.VPADDD_BCST(Mem{Base: constant, Disp: 4 * i}, h(i), h(i))
			round(i)
			if i < 48 {
				x := w[i%16]
				three(w[(i+1)%16], [3]uint64{7, 18, 3}, true)
				asm.VPADDD(t[0], x, x)
				asm.VPADDD(w[(i+9)%16], x, x)
				three(w[(i+14)%16], [3]uint64{17, 19, 10}, true)
				asm.VPADDD(t[0], x, x)
			}
		}
	}, func() {
		for i := range 64 {
			asm.VPADDD_BCST(Mem{Base: RDX, Disp: 4 * i}, h(i), h(i))
			round(i)
		}
	}, func() {
		for i, s := range state {
			asm.VPADDD(saved.Offset(64*i), s, s)
		}
	})
	asm.VBROADCASTI32X4(swap, t[0])
	for _, s := range state {
		asm.VPSHUFB(t[0], s, s)
	}
	out := asm.Load(asm.Param("out"), RDI)
	rows.Store16(asm, out, state, w)
	asm.VZEROUPPER()
	asm.RET()
}
