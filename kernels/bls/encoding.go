package bls

import (
	"fmt"
	"runtime"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// Flag bits in the first byte of a compressed point.
const (
	flagCompressed = 0x80
	flagInfinity   = 0x40
	flagLargest    = 0x20
	flagMask       = flagCompressed | flagInfinity | flagLargest
)

// ParseSignature decodes a compressed signature strictly. The error wraps
// [ErrLength], [VerdictBadEncoding], [VerdictNotOnCurve], [VerdictNotInSubgroup] or
// [VerdictIdentity].
func ParseSignature(b []byte) (Signature, error) {
	if len(b) != SignatureSize {
		return Signature{}, fmt.Errorf("%w: signature of %d bytes", ErrLength, len(b))
	}
	var s Signature
	verdict := decodeG1(&s.p, b)
	if verdict == VerdictPending && !s.p.IsInSubGroup() {
		verdict = VerdictNotInSubgroup
	}
	if verdict != VerdictPending {
		return Signature{}, fmt.Errorf("%w: signature", verdict)
	}
	return s, nil
}

// decodeG1 decodes 48 bytes into a point on the curve; it returns VerdictPending when that
// succeeds, with the subgroup still to be checked, and the reason otherwise.
func decodeG1(p *affine, b []byte) Verdict {
	x, verdict := decodeX(b)
	if verdict != VerdictPending {
		return verdict
	}
	var y2, y fp.Element
	y2.Square(&x).Mul(&y2, &x).Add(&y2, &g1.b)
	if y.Sqrt(&y2) == nil {
		return VerdictNotOnCurve
	}
	if y.LexicographicallyLargest() != (b[0]&flagLargest != 0) {
		y.Neg(&y)
	}
	p.X, p.Y = x, y
	return VerdictPending
}

// decodeX decodes the coordinate of 48 bytes; anything but VerdictPending is why there is none.
func decodeX(b []byte) (x fp.Element, verdict Verdict) {
	if verdict = checkFlags(b); verdict != VerdictPending {
		return x, verdict
	}
	raw := [fp.Bytes]byte(b)
	raw[0] &^= flagMask
	x, err := fp.BigEndian.Element(&raw)
	if err != nil {
		return fp.Element{}, VerdictBadEncoding
	}
	return x, VerdictPending
}

// ParsePublicKey decodes a compressed public key strictly. The error wraps
// [ErrLength], [VerdictBadEncoding], [VerdictNotOnCurve], [VerdictNotInSubgroup] or
// [VerdictIdentity].
func ParsePublicKey(b []byte) (*PublicKey, error) {
	if len(b) != PublicKeySize {
		return nil, fmt.Errorf("%w: public key of %d bytes", ErrLength, len(b))
	}
	pk := new(PublicKey)
	if verdict := pk.decode(b); verdict != VerdictValid {
		return nil, fmt.Errorf("%w: public key", verdict)
	}
	return pk, nil
}

// ParsePublicKeys decodes many compressed public keys as strictly as [ParsePublicKey], side by side
// where the CPU can, in up to workers goroutines, or on all cores for 0. keys[i] is nil where
// verdicts[i] is not VerdictValid. The only error wraps [ErrLength]: encodings that are not of 96
// bytes.
func ParsePublicKeys(
	encoded Column, workers int,
) (keys []*PublicKey, verdicts []Verdict, err error) {
	if encoded.Len() > 0 && encoded.Width != PublicKeySize {
		return nil, nil, fmt.Errorf("%w: public keys of %d bytes", ErrLength, encoded.Width)
	}
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	n := encoded.Len()
	decoded := make([]PublicKey, n)
	keys, verdicts = make([]*PublicKey, n), make([]Verdict, n)
	v := Verifier{spaces: workspaces(workers)}
	v.each((n+keyChunk-1)/keyChunk, func(l *workspace, task int) {
		lo, hi := task*keyChunk, min(n, (task+1)*keyChunk)
		if w := l.keysFor(hi - lo); w != nil {
			w.decode(decoded, verdicts, encoded, lo, hi)
			return
		}
		for i := lo; i < hi; i++ {
			verdicts[i] = decoded[i].decode(encoded.At(i))
		}
	})
	for i := range keys {
		if verdicts[i] == VerdictValid {
			keys[i] = &decoded[i]
		}
	}
	return keys, verdicts, nil
}

// decode sets a key to what 96 bytes encode; anything but VerdictValid is why there is none.
func (pk *PublicKey) decode(b []byte) Verdict {
	verdict := decodeG2(&pk.p, b)
	switch {
	case verdict != VerdictPending:
		return verdict
	case !pk.p.IsInSubGroup():
		return VerdictNotInSubgroup
	}
	return VerdictValid
}

// decodeG2 is decodeG1 for the 96 bytes of a point of the twist.
func decodeG2(p *bls12381.G2Affine, b []byte) Verdict {
	x, verdict := decodeX2(b)
	if verdict != VerdictPending {
		return verdict
	}
	// y² = x³ + 4(1+u)
	var y2, y, check bls12381.E2
	y2.Square(&x).Mul(&y2, &x)
	y2.A0.Add(&y2.A0, &g1.b)
	y2.A1.Add(&y2.A1, &g1.b)
	y.Sqrt(&y2)
	if check.Square(&y); !check.Equal(&y2) {
		return VerdictNotOnCurve
	}
	if y.LexicographicallyLargest() != (b[0]&flagLargest != 0) {
		y.Neg(&y)
	}
	p.X, p.Y = x, y
	return VerdictPending
}

// decodeX2 is decodeX for 96 bytes; the imaginary part comes first.
func decodeX2(b []byte) (x bls12381.E2, verdict Verdict) {
	if verdict = checkFlags(b); verdict != VerdictPending {
		return x, verdict
	}
	im, re := [fp.Bytes]byte(b), [fp.Bytes]byte(b[fp.Bytes:])
	im[0] &^= flagMask
	var errIm, errRe error
	x.A1, errIm = fp.BigEndian.Element(&im)
	x.A0, errRe = fp.BigEndian.Element(&re)
	if errIm != nil || errRe != nil {
		return bls12381.E2{}, VerdictBadEncoding
	}
	return x, VerdictPending
}

// checkFlags returns VerdictPending for the flags of a compressed point other than the
// identity. The only valid encoding of the identity has no other bit set.
func checkFlags(b []byte) Verdict {
	if b[0]&flagCompressed == 0 {
		return VerdictBadEncoding
	}
	if b[0]&flagInfinity == 0 {
		return VerdictPending
	}
	rest := b[0] &^ (flagCompressed | flagInfinity)
	for _, c := range b[1:] {
		rest |= c
	}
	if rest != 0 {
		return VerdictBadEncoding
	}
	return VerdictIdentity
}
