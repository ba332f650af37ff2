package bls

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// FuzzParseSignature: what is accepted encodes to the same bytes, and gnark-crypto's
// decoder, told that these are 48 compressed bytes, accepts the same ones.
func FuzzParseSignature(f *testing.F) {
	valid := Default.Sign(testKey(f, 0), nil)
	b := valid.Bytes()
	f.Add(b[:])
	f.Add(offCurve[:])
	f.Fuzz(func(t *testing.T, in []byte) {
		sig, err := ParseSignature(in)
		if out := sig.Bytes(); err == nil && !bytes.Equal(out[:], in) {
			t.Fatalf("accepted %x, encodes to %x", in, out)
		}
		var p bls12381.G1Affine
		n, peerErr := p.SetBytes(in)
		accepted := peerErr == nil && n == SignatureSize && len(in) == n && !p.IsInfinity()
		if accepted != (err == nil) || accepted && p != sig.p {
			t.Fatalf("%x: error %v, peer %v", in, err, peerErr)
		}
	})
}

// FuzzParsePublicKey is FuzzParseSignature for keys.
func FuzzParsePublicKey(f *testing.F) {
	b := testKey(f, 0).PublicKey().Bytes()
	f.Add(b[:])
	f.Fuzz(func(t *testing.T, in []byte) {
		pk, err := ParsePublicKey(in)
		if err == nil {
			if out := pk.Bytes(); !bytes.Equal(out[:], in) {
				t.Fatalf("accepted %x, encodes to %x", in, out)
			}
		}
		var p bls12381.G2Affine
		n, peerErr := p.SetBytes(in)
		accepted := peerErr == nil && n == PublicKeySize && len(in) == n && !p.IsInfinity()
		if accepted != (err == nil) || accepted && p != pk.p {
			t.Fatalf("%x: error %v, peer %v", in, err, peerErr)
		}
	})
}

var fuzzFixture = sync.OnceValue(func() *fixture { return newFixture(new(testing.B), 104, 9) })

// FuzzBatchVerify corrupts a valid batch as the input says and compares the verdicts
// with those of one-by-one verification. Each four bytes are one change: an entry, what
// to do to it, and two bytes of detail.
func FuzzBatchVerify(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{3, 0, 0, 0x20, 4, 1, 5, 0})
	f.Add([]byte{7, 2, 0, 0, 8, 3, 0, 0, 9, 4, 0, 0})
	f.Fuzz(func(t *testing.T, edits []byte) {
		fx := fuzzFixture().clone()
		touched := map[int]bool{}
		for len(edits) >= 4 && len(touched) < 12 {
			at := int(edits[0]) % len(fx.Signer)
			touched[at] = true
			fx.corrupt(at, edits[1], edits[2], edits[3])
			edits = edits[4:]
		}
		// Only what was touched can be invalid; the reference is slow.
		want := slices.Repeat([]Verdict{VerdictValid}, len(fx.Signer))
		for at := range touched {
			one := Batch{Keys: fx.Keys, Signer: fx.Signer[at : at+1]}
			one.Messages = Column{fx.Messages.At(at), messageSize, messageSize}
			one.Signatures = Column{fx.Signatures.At(at), SignatureSize, SignatureSize}
			want[at] = (&fixture{Batch: one}).oneByOne()[0]
		}
		fx.verify(t, NewVerifier(Default, 2), want)
	})
}

// corrupt changes entry at.
func (f *fixture) corrupt(at int, how, x, y byte) {
	sig := f.Signatures.At(at)
	switch how % 7 {
	case 0:
		sig[int(x)%SignatureSize] ^= y
	case 1:
		copy(sig, f.Signatures.At(int(x)%len(f.Signer)))
	case 2:
		copy(sig, IdentitySignature[:])
	case 3:
		f.Signer[at] = uint32(x) % uint32(len(f.Keys))
	case 4:
		f.Messages.At(at)[int(x)%messageSize] ^= y
	case 5: // a small x, often off the curve or outside the subgroup
		clear(sig)
		sig[0] = flagCompressed
		binary.BigEndian.PutUint16(sig[46:], uint16(x)<<8|uint16(y))
	case 6:
		var s Signature
		if decodeG1(&s.p, sig) == VerdictPending {
			shift := torsion()
			s.p.Add(&s.p, &shift)
			f.set(at, s)
		}
	}
}
