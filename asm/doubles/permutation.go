package doubles

import (
	"math/big"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/waybill-network/waybill/asm/emit"
	"github.com/waybill-network/waybill/asm/straight"
)

// The scalar field of BN254, and the states of kernels/poseidon2: elements of a state, and the
// bytes of an element of eight states.
const (
	digits254 = 51
	limbs254  = 5
	width     = 16
	element   = limbs254 * row
)

func scalars254() field {
	p, _ := new(big.Int).SetString(
		"30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001", 16)
	return field{p, digits254, limbs254}
}

// GeneratePoseidon2 prints the routines of kernels/poseidon2 for a machine, with names that end in
// suffix.
func GeneratePoseidon2(name string, m straight.Machine, suffix string) {
	g := &generator{
		Context: build.NewContext(), constants: constants{map[uint64]int{}}, field: scalars254(),
		machine: &m, suffix: suffix,
	}
	g.ConstraintExpr("!purego")
	g.StaticGlobal("doubles" + suffix)
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	g.conversions()
	g.keyed()
	g.fifth()
	g.external()
	g.others()
	g.internal()
	if m.Width == 32 {
		g.setControl()
	}
	emit.Avo(g.Context, name, permutationDoc)
}

// looped makes a routine that runs a program for n > 0 elements.
func (g *generator) looped(
	name, args, doc string, pointers []parameter, steps []int, write func(p *program),
) {
	g.function(name, "func("+args+", n int)", doc)
	for _, p := range pointers {
		g.pointer(p.name, p.reg)
	}
	g.pointer("n", reg.RCX)
	g.run(g.tracked(write), func(body func()) {
		g.Label("next")
		body()
		for i, p := range pointers {
			if steps[i] != 0 {
				g.ADDQ(I32(steps[i]), p.reg)
			}
		}
		g.DECQ(reg.RCX)
		g.JNE(LabelRef("next"))
	})
}

var (
	target = parameter{"z", reg.RDI, nil}
	source = parameter{"x", reg.RSI, nil}
)

// constantRow is the bytes of an element in a table.
const constantRow = limbs254 * constantBytes

func (g *generator) conversions() {
	both, steps := []parameter{target, source}, []int{element, element}
	two := func(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }
	g.looped("enter", "z, x *uint64", "makes limbs of n > 0 elements x*2^256 mod p, in words "+
		"below 2^51: z[i] is x*2^255.", both, steps, func(p *program) {
		x := p.load(reg.RSI, 0)
		for i := range x {
			v := p.Or(x[i], p.g.bits(p.Program, exponent))
			x[i] = p.Program.Sub(v, p.double(power(52)))
			p.bound(x[i], power(p.digits))
		}
		words := p.limit(p.carry(x), 1)
		p.save(p.tightened(p.times(words, p.constant(two(254)))), reg.RDI, 0)
	})
	g.looped("leave", "z, x *uint64", "is the inverse of enter: z[i] is x*2^256 mod p, in words "+
		"below 2^51.", both, steps, func(p *program) {
		x := p.given(reg.RSI, 0, tight)
		z := p.canonical(p.tightened(p.times(x, p.constant(two(256)))).number)
		for i := range z {
			v := p.Program.Add(z[i], p.double(power(52)))
			z[i] = p.And(v, p.g.bits(p.Program, 1<<52-1))
		}
		p.store(z, reg.RDI, 0)
	})
}

func (g *generator) keyed() {
	g.looped("keyed", "x, keys *uint64", "adds keys to n > 0 elements of a state.",
		[]parameter{source, {"keys", reg.RDX, nil}}, []int{element, constantRow},
		func(p *program) {
			x := p.sum(p.given(reg.RSI, 0, tight), p.constantAt(reg.RDX, 0))
			p.save(p.tightened(x.number, x.below), reg.RSI, 0)
		})
}

// fifth computes two powers at a time, for each waits long for its quotients.
func (g *generator) fifth() {
	g.looped("fifth", "z, x *uint64", "computes n > 0 pairs of fifth powers: z[i] = x[i]^5/R^4.",
		[]parameter{target, source}, []int{2 * element, 2 * element}, func(p *program) {
			one := func(at int) func() {
				return func() { p.save(p.power5(p.given(reg.RSI, at, tight)), reg.RDI, at) }
			}
			p.Together(one(0), one(element))
		})
}

// external computes M4 of each four and, which is the sum of these, M4 of the sum of all fours.
func (g *generator) external() {
	g.looped("external", "x, keys *uint64",
		"multiplies n > 0 states by the external matrix and adds round keys.",
		[]parameter{source, {"keys", reg.RDX, nil}}, []int{width * element, 0},
		func(p *program) {
			at := func(i int) residue { return p.given(reg.RSI, element*i, tight) }
			var all [4]residue
			for j := range all {
				v := p.sum(p.sum(at(j), at(4+j)), p.sum(at(8+j), at(12+j)))
				all[j] = p.tightened(v.number, v.below)
			}
			all = p.m4(all)
			for j, v := range all {
				all[j] = p.tightened(v.number, v.below)
			}
			for i := 0; i < width; i += 4 {
				for j, v := range p.m4([4]residue{at(i), at(i + 1), at(i + 2), at(i + 3)}) {
					v = p.sum(v, p.sum(all[j], p.constantAt(reg.RDX, constantRow*(i+j))))
					p.save(p.tightened(v.number, v.below), reg.RSI, element*(i+j))
				}
			}
		})
}

func (g *generator) others() {
	g.looped("others", "z, x *uint64", "adds up all elements but the first of n > 0 states.",
		[]parameter{target, source}, []int{element, width * element}, func(p *program) {
			var s sums
			for i := 1; i < width; i++ {
				p.more(&s, p.given(reg.RSI, element*i, tight))
			}
			p.save(p.ended(s), reg.RDI, 0)
		})
}

// besides is how many elements of an internal round are computed while the next S-box waits. The
// others follow in pairs, in a loop: written out they would not fit into the cache of instructions.
const besides = 7

// Registers of the internal rounds: t is what t points to, s the sum of all elements.
var (
	stateAt, tAt = reg.RSI, reg.RDI
	factorsAt    = reg.RDX
	elementAt    = reg.R9
	factorAt     = reg.R10
	sumAt        = element
	sAt          = 2 * element
)

// factorRows is the bytes of an element's factors.
const factorRows = limbs254 * constantRow

// internal is described with its routine.
func (g *generator) internal() {
	keys := reg.RBX
	g.function("internal", "func(x, t, diagonal, keys *uint64, n int)",
		"computes n > 0 internal rounds of a state, the first one from behind its S-box: t is the "+
			"fifth power\nof x[0], which itself is not read, and behind it the sum of the others and "+
			"room for another element.\nkeys[i] is added to x[0] after round i. t is overwritten.")
	g.pointer("x", stateAt)
	g.pointer("t", tAt)
	g.pointer("diagonal", factorsAt)
	g.pointer("keys", keys)
	g.pointer("n", reg.RCX)
	g.frame()
	g.Label("round")
	size := g.emit(g.tracked(func(p *program) { p.firstHalf(keys) }))
	g.LEAQ(at(stateAt, element*(1+besides)), elementAt)
	g.LEAQ(at(factorsAt, factorRows*(1+besides)), factorAt)
	g.MOVQ(I32((width-1-besides)/2), reg.RAX)
	g.Label("pair")
	size = max(size, g.emit(g.tracked(func(p *program) {
		s, sum := p.given(tAt, sAt, tight), p.given(tAt, sumAt, tight)
		var pair [2]residue
		one := func(i int) func() {
			return func() {
				v := p.given(elementAt, element*i, tight)
				pair[i] = p.linear(v, factorAt, factorRows*i, s)
				p.save(pair[i], elementAt, element*i)
			}
		}
		p.Together(one(0), one(1))
		sum = p.sum(sum, p.sum(pair[0], pair[1]))
		p.save(p.tightened(sum.number, sum.below), tAt, sumAt)
	})))
	g.ADDQ(I32(2*element), elementAt)
	g.ADDQ(I32(2*factorRows), factorAt)
	g.DECQ(reg.RAX)
	g.JNE(LabelRef("pair"))
	g.ADDQ(I32(constantRow), keys)
	g.DECQ(reg.RCX)
	g.JNE(LabelRef("round"))
	g.end(size)
}

// linear is what element v becomes, whose factors are at a place.
func (p *program) linear(v residue, base reg.Register, offset int, s residue) residue {
	var d [limbs254]residue
	for j := range d {
		d[j] = p.constantAt(base, offset+constantRow*j)
	}
	return p.weighted(v, d, s)
}

// firstHalf computes the sum of all elements, the first element and its next S-box and, in turn
// with these, some of the others.
func (p *program) firstHalf(keys reg.Register) {
	first := p.given(tAt, 0, tight)
	all := p.sum(first, p.given(tAt, sumAt, tight))
	s := p.tightened(all.number, all.below)
	p.save(s, tAt, sAt)
	var next sums
	p.Together(func() {
		v := p.sum(p.linear(first, factorsAt, 0, s), p.constantAt(keys, 0))
		v = p.tightened(v.number, v.below)
		p.save(v, stateAt, 0)
		p.save(p.power5(v), tAt, 0)
	}, func() {
		for i := 1; i <= besides; i++ {
			v := p.linear(p.given(stateAt, element*i, tight), factorsAt, factorRows*i, s)
			p.save(v, stateAt, element*i)
			p.more(&next, v)
		}
	})
	p.save(p.ended(next), tAt, sumAt)
}
