package poseidon2

import "github.com/consensys/gnark-crypto/ecc/bn254/fr"

// Evaluate returns the sum of coefficients[i]·x^i.
func Evaluate(coefficients []uint64, x Element) Element {
	var sum, c fr.Element
	at := fr.Element(x)
	for i := len(coefficients) - 1; i >= 0; i-- {
		sum.Mul(&sum, &at)
		sum.Add(&sum, c.SetUint64(coefficients[i]))
	}
	return Element(sum)
}
