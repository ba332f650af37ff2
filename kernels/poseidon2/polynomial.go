package poseidon2

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

// chains is how many of Horner's rules Evaluate has under way, so that none waits for the product
// of another.
const chains = 4

// Evaluate returns the sum of coefficients[i]·x^i, where a coefficient is the integer of three
// little-endian words.
func Evaluate(coefficients [][3]uint64, x Element) Element {
	at := fr.Element(x)
	var step fr.Element // x^chains
	step.Square(&at).Square(&step)
	// Coefficient i goes to chain i mod chains. As limbs of the Montgomery form they stand for
	// themselves divided by R, which the end makes good for all.
	var sums [chains]fr.Element
	n := len(coefficients)
	for i := n % chains; i > 0; i-- {
		copy(sums[i-1][:], coefficients[n-n%chains+i-1][:])
	}
	for i := n - n%chains; i > 0; i -= chains {
		c := coefficients[i-chains : i : i]
		for j := range sums {
			sums[j].Mul(&sums[j], &step)
			sums[j].Add(&sums[j], &fr.Element{c[j][0], c[j][1], c[j][2]})
		}
	}
	sum := sums[chains-1]
	for j := chains - 2; j >= 0; j-- {
		sum.Mul(&sum, &at)
		sum.Add(&sum, &sums[j])
	}
	sum.Mul(&sum, &montgomery)
	return Element(sum)
}

// montgomery is R, 2^256.
var montgomery = *new(fr.Element).SetBigInt(new(big.Int).Lsh(big.NewInt(1), 8*fr.Bytes))
