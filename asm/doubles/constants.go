package doubles

import (
	"fmt"
	"math"
	"math/big"

	. "github.com/mmcloughlin/avo/operand"

	"github.com/waybill-network/waybill/asm/straight"
)

// digits is the width of a limb, limbs their number.
const (
	digits = 49
	limbs  = 8
)

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
func multiplier(n uint) *big.Int {
	k := new(big.Int).ModInverse(new(big.Int).Neg(modulus()), new(big.Int).Lsh(big.NewInt(1), n))
	return balanced(k, n)
}

// cleared is M = (k·p + 1)/2^n, what clearing n bits adds for each unit of the quotient.
func cleared(n uint) *big.Int {
	m := new(big.Int).Mul(multiplier(n), modulus())
	return m.Add(m, big.NewInt(1)).Rsh(m, n)
}

// limbsOf cuts v into balanced digits.
func limbsOf(v *big.Int) (d [limbs]float64) {
	v = new(big.Int).Set(v)
	for i := range d {
		low := balanced(v, digits)
		if i == limbs-1 {
			low.Set(v)
		}
		d[i] = float64(low.Int64())
		v.Sub(v, low).Rsh(v, digits)
	}
	return d
}

// unsignedLimbsOf cuts v ≥ 0 into digits of 49 bits.
func unsignedLimbsOf(v *big.Int) (d [limbs]float64) {
	for i := range d {
		d[i] = float64(new(big.Int).Rsh(v, uint(digits*i)).Uint64() & (1<<digits - 1))
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
	base     = 1.5 * power(digits+52) // B: its last place is 2^49
	shift    = power(-digits)
	rounding = base                        // what rounds a double to a multiple of 2^49
	nearest  = 1.5 * power(52)             // what rounds a double to an integer
	floor    = power(digits-1) - 0.5       // what makes rounding to the nearest rounding down
	top      = topInverse()                // 2^343/p
	exponent = math.Float64bits(power(52)) // of a double whose last place is 1
)

func topInverse() float64 {
	unit := new(big.Int).Lsh(big.NewInt(1), digits*(limbs-1))
	f, _ := new(big.Rat).SetFrac(unit, modulus()).Float64()
	return f
}

func init() {
	if limbsOf(cleared(4 * digits))[limbs-1] > power(digits-2) {
		panic(fmt.Sprint("doubles: the limbs are too short"))
	}
}
