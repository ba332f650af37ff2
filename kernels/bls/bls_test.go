package bls

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestQuicknet(t *testing.T) {
	su := Suite{"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"}
	pk, err := ParsePublicKey(unhex(t, "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := ParseSignature(unhex(t, "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"))
	if err != nil {
		t.Fatal(err)
	}
	msg := sha256.Sum256(binary.BigEndian.AppendUint64(nil, 1000))
	if !su.Verify(pk, msg[:], &sig) {
		t.Fatal("round 1000 does not verify")
	}
	other := sha256.Sum256(binary.BigEndian.AppendUint64(nil, 1001))
	if su.Verify(pk, other[:], &sig) {
		t.Fatal("round 1000 verifies as round 1001")
	}
}

func TestHashAgainstReference(t *testing.T) {
	for i := range 100 {
		msg := make([]byte, i)
		want, err := bls12381.HashToG1(msg, []byte(SignatureDST))
		if err != nil {
			t.Fatal(err)
		}
		if got := Default.hash(msg); !got.Equal(&want) {
			t.Fatalf("message of %d bytes: got %v, want %v", i, got, want)
		}
	}
}

func sha256Sum(s string) [32]byte { return sha256.Sum256([]byte(s)) }

const modulusHex = "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"

// offCurve is a canonical x for which x³ + 4 is not a square.
var offCurve = func() (b [SignatureSize]byte) {
	for b[0] = flagCompressed; ; b[47]++ {
		var p affine
		if decodeG1(&p, b[:]) == NotOnCurve {
			return b
		}
	}
}()
