// Package verifier checks the proofs of rung 3: Groth16 over BN254 with one Pedersen commitment, as
// gnark makes them for the Solidity verifiers that it exports, so that a proof is good for a chain
// too.
package verifier

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fp"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// KeySize is the size in bytes of an encoded verifying key.
const KeySize = 4 + 4*g1Size + 5*g2Size

var _ [KeySize]byte = [rollup.VerifyingKeySize]byte{}

const (
	g1Size = 2 * fp.Bytes
	g2Size = 4 * fp.Bytes
)

// Errors of encodings and proofs; use errors.Is.
var (
	ErrEncoding = errors.New("verifier: malformed")
	ErrPoint    = errors.New("verifier: not a point of the group")
	ErrProof    = errors.New("verifier: the proof does not hold")
	ErrKey      = errors.New("verifier: no verifying key")
)

// Key is the verifying key of one circuit. It is public, and the same for everybody in a network.
type Key struct {
	Size               int // statements of the circuit
	Alpha              curve.G1Affine
	Beta, Gamma, Delta curve.G2Affine
	// of one, of the public input, of the commitment's digest
	K [3]curve.G1Affine
	// of the commitment: a base, and minus sigma times it
	Commitment, SigmaNegated curve.G2Affine
}

// KeyHash identifies a verifying key.
type KeyHash [blake3.Size]byte

// String is hexadecimal.
func (h KeyHash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes hexadecimal.
func (h KeyHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads hexadecimal: ErrEncoding.
func (h *KeyHash) UnmarshalText(text []byte) error {
	if n, err := hex.Decode(h[:], text[:min(len(text), 2*len(h))]); err != nil || n != len(h) ||
		len(text) != 2*len(h) {
		return fmt.Errorf("%w: a key's hash has %d hexadecimal digits", ErrEncoding, 2*len(h))
	}
	return nil
}

// Bytes returns the canonical encoding: the size as a little-endian u32, then Alpha, Beta, Gamma,
// Delta, the three K, Commitment and SigmaNegated as uncompressed points with big-endian
// coordinates, the imaginary part first, as EIP-197 has them.
func (k *Key) Bytes() []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, KeySize), uint32(k.Size))
	b = appendG1(b, &k.Alpha)
	b = appendG2(b, &k.Beta)
	b = appendG2(b, &k.Gamma)
	b = appendG2(b, &k.Delta)
	for i := range k.K {
		b = appendG1(b, &k.K[i])
	}
	return appendG2(appendG2(b, &k.Commitment), &k.SigmaNegated)
}

// Hash is the BLAKE3 of the encoding; a genesis file names keys by it.
func (k *Key) Hash() KeyHash { return blake3.Sum256(k.Bytes()) }

// ParseKey decodes exactly KeySize bytes. Errors: ErrEncoding, ErrPoint.
func ParseKey(b []byte) (*Key, error) {
	if len(b) != KeySize {
		return nil, fmt.Errorf("%w: a verifying key has %d bytes, not %d", ErrEncoding, KeySize,
			len(b))
	}
	k := &Key{Size: int(binary.LittleEndian.Uint32(b))}
	if !rollup.IsCircuitSize(k.Size) {
		return nil, fmt.Errorf("%w: no circuit has %d statements", ErrEncoding, k.Size)
	}
	d := decoder{b: b[4:]}
	d.g1(&k.Alpha)
	d.g2(&k.Beta)
	d.g2(&k.Gamma)
	d.g2(&k.Delta)
	for i := range k.K {
		d.g1(&k.K[i])
	}
	d.g2(&k.Commitment)
	d.g2(&k.SigmaNegated)
	if d.err != nil {
		return nil, d.err
	}
	return k, nil
}

func appendG1(b []byte, p *curve.G1Affine) []byte {
	raw := p.RawBytes()
	return append(b,
		raw[:]...)
}
func appendG2(b []byte, p *curve.G2Affine) []byte {
	raw := p.RawBytes()
	return append(b,
		raw[:]...)
}

// decoder reads points one after another and keeps the first error. It takes canonical coordinates
// of points of the groups except the identity, which no honest key or proof has.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) coordinate() (e fp.Element) {
	var err error
	if e, err = fp.BigEndian.Element((*[fp.Bytes]byte)(d.b)); err != nil && d.err == nil {
		d.err = fmt.Errorf("%w: a coordinate is not below the order of its field", ErrEncoding)
	}
	d.b = d.b[fp.Bytes:]
	return e
}

func (d *decoder) g1(p *curve.G1Affine) {
	p.X, p.Y = d.coordinate(), d.coordinate()
	// the curve has no other points than the group's
	if d.err == nil && (p.IsInfinity() || !p.IsOnCurve()) {
		d.err = ErrPoint
	}
}

func (d *decoder) g2(p *curve.G2Affine) {
	p.X.A1, p.X.A0 = d.coordinate(), d.coordinate()
	p.Y.A1, p.Y.A0 = d.coordinate(), d.coordinate()
	if d.err == nil && (p.IsInfinity() || !p.IsOnCurve() || !p.IsInSubGroup()) {
		d.err = ErrPoint
	}
}
