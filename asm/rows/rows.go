// Package rows emits the transposition of byte strings, the rows, into vectors of one 32-bit word
// of every row, and back: lane i of each vector belongs to row i. Rows start at a constant
// distance, the stride.
package rows

import (
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Pointers returns the operand at a displacement into row i. pointers[0] holds the address of row 0
// and stride the stride; every further pointer is set to every fourth row, stride3 to three
// strides.
func Pointers(c *build.Context, pointers []reg.GPPhysical, stride,
	stride3 reg.GPPhysical) func(i, displacement int) Mem {
	for i := 1; i < len(pointers); i++ {
		c.LEAQ(Mem{Base: pointers[i-1], Index: stride, Scale: 4}, pointers[i])
	}
	c.LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	return func(i, displacement int) Mem {
		m := Mem{Base: pointers[i/4], Disp: displacement}
		switch i % 4 {
		case 1:
			m.Index, m.Scale = stride, 1
		case 2:
			m.Index, m.Scale = stride, 2
		case 3:
			m.Index, m.Scale = stride3, 1
		}
		return m
	}
}

// Transpose4 transposes the 4x4 words in each 128-bit group of q, through four temporaries.
func Transpose4(c *build.Context, q, t []reg.VecPhysical) {
	c.VPUNPCKLDQ(q[1], q[0], t[0])
	c.VPUNPCKHDQ(q[1], q[0], t[1])
	c.VPUNPCKLDQ(q[3], q[2], t[2])
	c.VPUNPCKHDQ(q[3], q[2], t[3])
	c.VPUNPCKLQDQ(t[2], t[0], q[0])
	c.VPUNPCKHQDQ(t[2], t[0], q[1])
	c.VPUNPCKLQDQ(t[3], t[1], q[2])
	c.VPUNPCKHQDQ(t[3], t[1], q[3])
}

// Load16 sets the sixteen m to the words of sixteen rows of 64 bytes, through four temporaries
// below Z16: 128-bit pieces are loaded so that group j of m[4c+r] is piece c of row 4j+r, and then
// transposed within the groups.
func Load16(c *build.Context, row func(i, displacement int) Mem, m, t []reg.VecPhysical) {
	c.Comment("Two pieces of rows r, r+4 and of r+8, r+12, then each piece of all four.")
	for piece := 0; piece < 4; piece += 2 {
		for r := range 4 {
			for i := range 2 {
				c.VMOVDQU(row(8*i+r, 16*piece), t[i].AsY())
				c.VINSERTI64X4(Imm(1), row(8*i+r+4, 16*piece), t[i], t[i])
			}
			c.VSHUFI32X4(Imm(0x88), t[1], t[0], m[4*piece+r])
			c.VSHUFI32X4(Imm(0xdd), t[1], t[0], m[4*piece+4+r])
		}
	}
	for piece := range 4 {
		Transpose4(c, m[4*piece:], t)
	}
}

// Store16 writes the eight words v of sixteen rows of 32 bytes, without gaps, through eight
// temporaries.
func Store16(c *build.Context, out reg.Register, v, t []reg.VecPhysical) {
	c.Comment("Words 0..3 and 4..7 of row 4j+r become group j of v[r] and v[4+r].")
	Transpose4(c, v, t)
	Transpose4(c, v[4:], t[4:])
	for r := 0; r < 4; r += 2 {
		for i := range 2 { // rows 4j+r+i: groups 0 and 1 of both, then 2 and 3
			c.VSHUFI32X4(Imm(0x44), v[4+r+i], v[r+i], t[2*i])
			c.VSHUFI32X4(Imm(0xee), v[4+r+i], v[r+i], t[2*i+1])
		}
		for half := range 2 { // rows 8half+r and +1, and the two that stand four behind
			c.VSHUFI32X4(Imm(0x88), t[2+half], t[half], t[4+half])
			c.VSHUFI32X4(Imm(0xdd), t[2+half], t[half], t[6+half])
			c.VMOVDQU32(t[4+half], Mem{Base: out, Disp: 32 * (8*half + r)})
			c.VMOVDQU32(t[6+half], Mem{Base: out, Disp: 32 * (8*half + 4 + r)})
		}
	}
}
