package bls

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
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
	pk, err := ParsePublicKey(
		unhex(t,
			"83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := ParseSignature(
		unhex(t,
			"b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"))
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
		if decodeG1(&p, b[:]) == VerdictNotOnCurve {
			return b
		}
	}
}()

func testKey(t testing.TB, i uint32) *SecretKey {
	t.Helper()
	seed := sha256Sum("test key")
	sk, err := KeyGen(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return sk.Derive(i)
}

func TestSignVerify(t *testing.T) {
	sk, other := testKey(t, 0), testKey(t, 1)
	msg := []byte("message")
	sig := Default.Sign(sk, msg)
	if again := Default.Sign(sk, msg); again != sig {
		t.Error("splitting the key changed the signature")
	}
	if !Default.Verify(sk.PublicKey(), msg, &sig) {
		t.Error("a signature does not verify")
	}
	if Default.Verify(other.PublicKey(), msg, &sig) ||
		Default.Verify(sk.PublicKey(), msg[1:], &sig) ||
		Proofs.Verify(sk.PublicKey(), msg, &sig) ||
		Default.Verify(sk.PublicKey(), msg, new(Signature)) ||
		Default.Verify(new(PublicKey), msg, &sig) ||
		Default.Verify(new(PublicKey), msg, new(Signature)) {
		t.Error("a wrong signature verifies")
	}
}

func TestProofOfPossession(t *testing.T) {
	const n = 20
	const size = PublicKeySize + 8
	data := make([]byte, 0, n*size)
	proofs := Column{Stride: SignatureSize, Width: SignatureSize}
	var b Batch
	for i := range uint32(n) {
		sk := testKey(t, i)
		pk := sk.PublicKey()
		key := pk.Bytes()
		data = append(append(data, "network!"...), key[:]...)
		message := data[len(data)-size:]
		proof := Prove(sk, message)
		if !VerifyProof(pk, message, &proof) {
			t.Fatalf("proof %d does not verify", i)
		}
		encoded := proof.Bytes()
		proofs.Data = append(proofs.Data, encoded[:]...)
		b.Keys, b.Signer = append(b.Keys, pk), append(b.Signer, i)
	}
	b.Messages, b.Signatures = Column{data, size, size}, proofs
	check := func(bad ...int) {
		t.Helper()
		verdicts, err := Proofs.VerifyBatch(&b)
		if err != nil {
			t.Fatal(err)
		}
		for i, verdict := range verdicts {
			if (verdict != VerdictValid) != slices.Contains(bad, i) {
				t.Errorf("proof %d: %v", i, verdict)
			}
		}
	}
	check()
	first, second := b.Keys[0], mustParse(t, proofs.At(1))
	if VerifyProof(first, b.Messages.At(0), &second) {
		t.Error("another key's proof verifies")
	}
	own := mustParse(t, proofs.At(0))
	if VerifyProof(first, append([]byte("another!"), b.Messages.At(0)[8:]...), &own) {
		t.Error("a proof for another network verifies")
	}
	third := bytes.Clone(proofs.At(3))
	copy(proofs.At(3), proofs.At(4))
	copy(proofs.At(4), third)
	copy(proofs.At(9), IdentitySignature[:])
	sig := Default.Sign(testKey(t, 12), b.Messages.At(12)) // right key and bytes, wrong suite
	encoded := sig.Bytes()
	copy(proofs.At(12), encoded[:])
	check(3, 4, 9, 12)
	b.Keys[n-1] = nil
	if _, err := Proofs.VerifyBatch(&b); !errors.Is(err, ErrBatch) {
		t.Errorf("a key is missing: error %v, want ErrBatch", err)
	}
}

func mustParse(t *testing.T, b []byte) Signature {
	t.Helper()
	sig, err := ParseSignature(b)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestParse(t *testing.T) {
	sk := testKey(t, 0)
	pk := sk.PublicKey().Bytes()
	s := Default.Sign(sk, nil)
	sig := s.Bytes()
	secret := sk.Bytes()
	p, order := unhex(t, modulusHex),
		unhex(t, "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001")
	below := slices.Clone(order)
	below[31]--
	edit := func(b []byte, change func(b []byte)) []byte {
		b = slices.Clone(b)
		change(b)
		return b
	}
	order3 := torsion()
	order3Bytes := order3.Bytes()
	twist := bls12381.GeneratePointNotInG2(bls12381.E2{A0: fp.NewElement(1)})
	var twistAffine bls12381.G2Affine
	outside := twistAffine.FromJacobian(&twist).Bytes()
	offTwist := edit(pk[:], func(b []byte) {
		for b[95] = 0; ; b[95]++ {
			if decodeG2(&twistAffine, b) == VerdictNotOnCurve {
				return
			}
		}
	})
	type parser func([]byte) error
	key := func(b []byte) error { _, err := ParsePublicKey(b); return err }
	signature := func(b []byte) error { _, err := ParseSignature(b); return err }
	scalar := func(b []byte) error { _, err := ParseSecretKey(b); return err }
	tests := []struct {
		name  string
		parse parser
		in    []byte
		want  error
	}{
		{"signature", signature, sig[:], nil},
		{"short signature", signature, sig[:47], ErrLength},
		{"long signature", signature, append(sig[:48:48], 0), ErrLength},
		{"no signature", signature, nil, ErrLength},
		{"uncompressed signature", signature,
			edit(sig[:], func(b []byte) { b[0] &^= flagCompressed }), VerdictBadEncoding},
		{"signature with x = p", signature, edit(p, func(b []byte) { b[0] |= flagCompressed }),
			VerdictBadEncoding},
		{"signature with x of ones", signature, edit(sig[:], func(b []byte) {
			for i := range b {
				b[i] = 0xff &^ (flagInfinity * byte(1-min(i, 1)))
			}
		}), VerdictBadEncoding},
		{"identity signature", signature, IdentitySignature[:], VerdictIdentity},
		{"dirty identity signature", signature,
			edit(IdentitySignature[:], func(b []byte) { b[20] = 1 }), VerdictBadEncoding},
		{"negative identity signature", signature,
			edit(IdentitySignature[:], func(b []byte) { b[0] |= flagLargest }), VerdictBadEncoding},
		{"signature off the curve", signature, offCurve[:], VerdictNotOnCurve},
		{"signature of order 3", signature, order3Bytes[:], VerdictNotInSubgroup},
		{"key", key, pk[:], nil},
		{"short key", key, pk[:95], ErrLength},
		{"key of a signature's size", key, sig[:], ErrLength},
		{"uncompressed key", key, edit(pk[:], func(b []byte) { b[0] &^= flagCompressed }),
			VerdictBadEncoding},
		{"key with imaginary part p", key,
			edit(pk[:], func(b []byte) { copy(b, p); b[0] |= flagCompressed }), VerdictBadEncoding},
		{"key with real part p", key, edit(pk[:], func(b []byte) { copy(b[48:], p) }),
			VerdictBadEncoding},
		{"key with flags in its real part", key,
			edit(pk[:], func(b []byte) { b[48] |= flagCompressed }), VerdictBadEncoding},
		{"identity key", key, edit(make([]byte, 96), func(b []byte) { b[0] = 0xc0 }),
			VerdictIdentity},
		{"dirty identity key", key,
			edit(make([]byte, 96), func(b []byte) { b[0], b[95] = 0xc0, 1 }), VerdictBadEncoding},
		{"key off the curve", key, offTwist, VerdictNotOnCurve},
		{"key outside the subgroup", key, outside[:], VerdictNotInSubgroup},
		{"secret", scalar, secret[:], nil},
		{"largest secret", scalar, below, nil},
		{"zero secret", scalar, make([]byte, 32), ErrZeroKey},
		{"secret r", scalar, order, VerdictBadEncoding},
		{"short secret", scalar, secret[:31], ErrLength},
	}
	for _, tt := range tests {
		if err := tt.parse(tt.in); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := KeyGen(make([]byte, 31)); !errors.Is(err, ErrShortSeed) {
		t.Errorf("short seed: error %v", err)
	}
	if shown := fmt.Sprintf("%v %#v %s", sk, sk, sk); strings.Contains(shown, "Element") ||
		strings.Count(shown, "hidden") != 3 {
		t.Errorf("a secret key prints as %s", shown)
	}
}

func TestAggregates(t *testing.T) {
	const n = 1100 // enough for AggregatePublicKeys to use several goroutines
	msg := []byte("one message")
	sk, step := testKey(t, 0), testKey(t, 1)
	h := Default.hash(msg)
	pks, sigs := make([]*PublicKey, n), make([]Signature, n)
	for i := range n { // keys sk, sk+step, sk+2·step, …
		if i == 0 {
			pks[i], sigs[i] = sk.PublicKey(), Default.Sign(sk, msg)
			continue
		}
		pks[i] = AggregatePublicKeys([]*PublicKey{pks[i-1], step.PublicKey()})
		sigs[i] = AggregateSignatures([]Signature{sigs[i-1], Default.Sign(step, msg)})
		if i == 1 && !verifyOne(pks[i], &h, &sigs[i].p) {
			t.Fatal("the sum of two signatures does not verify")
		}
		if i > 40 { // the rest repeat
			pks[i], sigs[i] = pks[i-40], sigs[i-40]
		}
	}
	sum := AggregateSignatures(sigs)
	if !Default.FastAggregateVerify(pks, msg, &sum) {
		t.Error("a multi-signature does not verify")
	}
	if Default.FastAggregateVerify(pks[1:], msg, &sum) ||
		Default.FastAggregateVerify(pks, msg[1:], &sum) ||
		Default.FastAggregateVerify(nil, msg, &sum) ||
		Default.FastAggregateVerify(nil, msg, new(Signature)) {
		t.Error("a wrong multi-signature verifies")
	}
	var running, half Sum
	for i := range sigs {
		if i%2 == 0 {
			running.Add(&sigs[i])
		} else {
			half.Add(&sigs[i])
		}
	}
	running.AddSum(&half)
	if running.Signature() != sum {
		t.Error("the running sum differs")
	}
	// In one go, with points that are equal and opposite in any place; the signatures stay as they
	// are.
	var many []Signature
	for i := range 3*adderFrom + 1 {
		many = append(many, sigs[i%7%len(sigs)])
		if i%3 == 0 {
			many[i].p.Neg(&many[i].p)
		}
	}
	var adder Adder
	for _, n := range []int{0, 1, adderFrom - 1, adderFrom, adderFrom + 1, len(many)} {
		var one, all Sum
		one.Add(&sigs[0])
		all.Add(&sigs[0])
		for i := range many[:n] {
			one.Add(&many[i])
		}
		before := slices.Clone(many)
		if adder.Add(&all, many[:n]); all.Signature() != one.Signature() ||
			!slices.Equal(many, before) {
			t.Errorf("the sum of %d signatures at once differs", n)
		}
	}
	var double Sum
	double.Add(&sigs[0])
	double.Add(&sigs[0])
	if twice := AggregateSignatures([]Signature{sigs[0], sigs[0]}); twice != double.Signature() ||
		twice == sigs[0] {
		t.Error("doubling differs")
	}
	negated := sigs[0]
	negated.p.Neg(&negated.p)
	none := AggregateSignatures([]Signature{sigs[0], negated})
	if empty := new(Sum).Signature(); !none.IsIdentity() || !empty.IsIdentity() ||
		none.Bytes() != IdentitySignature {
		t.Error("the empty sum is not the identity")
	}
	if !AggregateSignatures(nil).IsIdentity() || !AggregatePublicKeys(nil).p.IsInfinity() {
		t.Error("the sum of nothing is not the identity")
	}
	if allocs := testing.AllocsPerRun(10,
		func() { running.Add(&sigs[0]); running.AddSum(&half) }); allocs != 0 {
		t.Errorf("a running sum allocates %v times", allocs)
	}
}
