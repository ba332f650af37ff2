package ledger

import (
	"crypto/ed25519"
	"encoding/hex"

	"filippo.io/edwards25519"

	"github.com/waybill-network/waybill/rollup/internal/wire"
)

// Key is an Ed25519 public key. The zero key, which is not valid, stands for the protocol's
// account: it signs nothing and receives nothing by transaction.
type Key [ed25519.PublicKeySize]byte

// KeyOf returns the public half of a private key.
func KeyOf(k ed25519.PrivateKey) Key { return Key(k[ed25519.SeedSize:]) }

// Public returns the key for package ed25519.
func (k Key) Public() ed25519.PublicKey { return k[:] }

// minusOne is the order of the base point less one: a multiple of minusOne and then one more is a
// multiple of the order.
var minusOne = func() *edwards25519.Scalar {
	one, err := edwards25519.NewScalar().SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
	if err != nil {
		panic(err)
	}
	return one.Negate(one)
}()

// Valid reports whether k is a key that somebody can have (section 2): the canonical encoding of a
// point of the prime-order subgroup, other than the identity. Under a key of small order, one
// signature can verify for many messages. It costs about as much as verifying a signature.
func (k Key) Valid() bool {
	p, err := new(edwards25519.Point).SetBytes(k[:])
	if err != nil || [32]byte(p.Bytes()) != k {
		return false
	}
	identity := edwards25519.NewIdentityPoint()
	q := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(minusOne, p, edwards25519.NewScalar())
	return p.Equal(identity) == 0 && q.Add(q, p).Equal(identity) == 1
}

func (k Key) String() string { return hex.EncodeToString(k[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (k Key) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; only lower-case hexadecimal is accepted.
func (k *Key) UnmarshalText(text []byte) error { return wire.ParseHex(k[:], text) }

// BLSKey is an encoded BLS public key.
type BLSKey [96]byte

func (k BLSKey) String() string { return hex.EncodeToString(k[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (k BLSKey) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; only lower-case hexadecimal is accepted.
func (k *BLSKey) UnmarshalText(text []byte) error { return wire.ParseHex(k[:], text) }

// BLSSignature is an encoded BLS signature; a proof of possession is one.
type BLSSignature [48]byte

func (s BLSSignature) String() string { return hex.EncodeToString(s[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (s BLSSignature) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; only lower-case hexadecimal is accepted.
func (s *BLSSignature) UnmarshalText(text []byte) error { return wire.ParseHex(s[:], text) }

// Signature is an Ed25519 signature.
type Signature [ed25519.SignatureSize]byte

// MarshalText implements [encoding.TextMarshaler].
func (s Signature) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; only lower-case hexadecimal is accepted.
func (s *Signature) UnmarshalText(text []byte) error { return wire.ParseHex(s[:], text) }
