package doubles

import (
	"fmt"
	"math"
	"math/big"

	. "github.com/mmcloughlin/avo/operand"

	"github.com/waybill-network/waybill/asm/straight"
)

// digits is the width of a limb of BLS12-381's base field, limbs their number.
const (
	digits = 49
	limbs  = 8
)

// field is a prime field and how its elements are cut into limbs.
type field struct {
	modulus       *big.Int
	digits, limbs int
}

func base381() field { return field{modulus(), digits, limbs} }

// constantBytes is the room of one constant in the table: a vector of four, for machines that
// cannot broadcast.
const constantBytes = 32

// constants is a table of doubles, which grows as programs name them.
type constants struct {
	at map[uint64]int
}

func modulus() *big.Int {
	p, _ := new(big.Int).SetString("1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf"+
		"6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16)
	return p
}

// balanced is the residue of v modulo 2^n in [−2^(n−1), 2^(n−1)).
func balanced(v *big.Int, n uint) *big.Int {
	half, word := new(big.Int).Lsh(big.NewInt(1), n-1), new(big.Int).Lsh(big.NewInt(1), n)
	r := new(big.Int).Add(v, half)
	return r.Mod(r, word).Sub(r, half)
}

// multiplier is k = −1/p modulo 2^n.
func (f field) multiplier(n uint) *big.Int {
	k := new(big.Int).ModInverse(new(big.Int).Neg(f.modulus), new(big.Int).Lsh(big.NewInt(1), n))
	return balanced(k, n)
}

// cleared is M = (k·p + 1)/2^n, what clearing n bits adds for each unit of the quotient.
func (f field) cleared(n uint) *big.Int {
	m := new(big.Int).Mul(f.multiplier(n), f.modulus)
	return m.Add(m, big.NewInt(1)).Rsh(m, n)
}

// limbsOf cuts v into balanced digits.
func (f field) limbsOf(v *big.Int) []float64 {
	v = new(big.Int).Set(v)
	d := make([]float64, f.limbs)
	for i := range d {
		low := balanced(v, uint(f.digits))
		if i == f.limbs-1 {
			low.Set(v)
		}
		d[i] = float64(low.Int64())
		v.Sub(v, low).Rsh(v, uint(f.digits))
	}
	return d
}

// unsignedLimbsOf cuts v ≥ 0 into unsigned digits.
func (f field) unsignedLimbsOf(v *big.Int) []float64 {
	d := make([]float64, f.limbs)
	for i := range d {
		d[i] = float64(new(big.Int).Rsh(v, uint(f.digits*i)).Uint64() & (1<<f.digits - 1))
	}
	return d
}

// double is a constant of a program.
func (g *generator) double(p *straight.Program, v float64) straight.Value {
	return p.Constant(Mem{Base: consts}, g.word(math.Float64bits(v)))
}

// bits is a constant of a program that is not meant as a double.
func (g *generator) bits(p *straight.Program, v uint64) straight.Value {
	return p.Constant(Mem{Base: consts}, g.word(v))
}

// word is where the table has v.
func (g *generator) word(v uint64) int {
	at, ok := g.at[v]
	if !ok {
		at = constantBytes * len(g.at)
		g.at[v] = at
		for i := range constantBytes / 8 {
			g.AddDatum(at+8*i, U64(v))
		}
	}
	return at
}

// power is 2^n.
func power(n int) float64 { return math.Ldexp(1, n) }

// The constants of the algorithm; see the head of the assembly.
var (
	nearest  = 1.5 * power(52)             // what rounds a double to an integer
	exponent = math.Float64bits(power(52)) // of a double whose last place is 1
)

// base is B: its last place is 2^digits, so that it rounds a double to a multiple of that.
func (f field) base() float64 { return 1.5 * power(f.digits+52) }

// shift takes a carry to the next column.
func (f field) shift() float64 { return power(-f.digits) }

// floor is what makes rounding to the nearest rounding down.
func (f field) floor() float64 { return power(f.digits-1) - 0.5 }

// top is the unit of the top limb, divided by p.
func (f field) top() float64 {
	unit := new(big.Int).Lsh(big.NewInt(1), uint(f.digits*(f.limbs-1)))
	q, _ := new(big.Rat).SetFrac(unit, f.modulus).Float64()
	return q
}

func init() {
	f := base381()
	if f.limbsOf(f.cleared(4 * digits))[limbs-1] > power(digits-2) {
		panic(fmt.Sprint("doubles: the limbs are too short"))
	}
}
