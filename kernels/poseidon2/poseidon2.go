// Package poseidon2 compresses sixteen elements of the scalar field of BN254 to one with the
// permutation Poseidon2, many at once: the hash of trees that are opened inside of proofs.
//
// The permutation is that of Grassi, Khovratovich and Schofnegger (eprint 2023/323) of width 16,
// with S-box x^5, 8 external and 57 internal rounds, and the constants of gnark-crypto v0.21.0;
// docs/protocol.md describes it so that it can be written again. The compression of x is P(x)[0] +
// x[0].
//
// Data are taken to be public: nothing here runs in constant time. All functions are deterministic
// and safe for concurrent use.
package poseidon2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

// Width is the number of elements of a state and of a node's children, Size that of an element's
// bytes.
const (
	Width = 16
	Size  = fr.Bytes
)

// Errors of encodings; use errors.Is.
var (
	ErrLength   = errors.New("poseidon2: wrong length")
	ErrEncoding = errors.New("poseidon2: not below the order of the field")
)

// Element is an integer modulo r, the order of BN254's groups, and converts from and to
// gnark-crypto's [fr.Element]. The zero Element is 0, and equal elements are equal under ==.
type Element fr.Element

// ParseElement decodes 32 bytes, a little-endian integer below r.
func ParseElement(b []byte) (Element, error) {
	if len(b) != Size {
		return Element{}, fmt.Errorf("%w: %d bytes", ErrLength, len(b))
	}
	e, err := fr.LittleEndian.Element((*[Size]byte)(b))
	if err != nil {
		return Element{}, ErrEncoding
	}
	return Element(e), nil
}

// Truncate reads a little-endian integer with its top three bits cleared, which is always below r.
func Truncate(b [Size]byte) Element {
	b[Size-1] &= 0x1f
	e, err := fr.LittleEndian.Element(&b)
	if err != nil {
		panic("poseidon2: 2^253 is above r") // it is not
	}
	return Element(e)
}

// FromUint64s returns the integer of four little-endian words, w[0] + 2^64·w[1] + 2^128·w[2] +
// 2^192·w[3], of which the top three bits count for nothing.
func FromUint64s(w [4]uint64) Element {
	var b [Size]byte
	for i := range w {
		binary.LittleEndian.PutUint64(b[8*i:], w[i])
	}
	return Truncate(b)
}

// Bytes returns the canonical encoding, the inverse of [ParseElement].
func (e Element) Bytes() (b [Size]byte) {
	fr.LittleEndian.PutElement(&b, fr.Element(e))
	return b
}

// String is the integer in decimal.
func (e Element) String() string { return (*fr.Element)(&e).BigInt(new(big.Int)).String() }

// Permute applies the permutation to a state.
func Permute(x *[Width]Element) { permute(x) }

// Compress returns P(x)[0] + x[0]. For many, [CompressMany] is faster.
func Compress(x *[Width]Element) Element { return compress(x) }

// CompressMany sets out[i] to the compression of in[16i : 16i+16], in the calling goroutine. It
// panics unless len(in) is 16 times len(out). The two must not overlap.
func CompressMany(out, in []Element) {
	if len(in) != Width*len(out) {
		panic("poseidon2: output and input do not match")
	}
	kernel.Use().compressMany(out, in)
}
