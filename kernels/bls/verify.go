package bls

import (
	"runtime"

	bls12381 "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

var minusG2 = func() (p bls12381.G2Affine) {
	_, _, _, generator := bls12381.Generators()
	return *p.Neg(&generator)
}()

// Verify checks one signature. It is the plain form of the check that a [Verifier]
// does for many.
func (su Suite) Verify(pk *PublicKey, msg []byte, sig *Signature) bool {
	h := su.hash(msg)
	return verifyOne(pk, &h, &sig.p)
}

// verifyOne checks e(σ, -g2)·e(H, pk) = 1, for σ in the subgroup. Identities verify
// nothing.
func verifyOne(pk *PublicKey, h, sig *affine) bool {
	if pk.p.IsInfinity() || sig.IsInfinity() {
		return false
	}
	f := millerLoop([]affine{*sig, *h}, []bls12381.G2Affine{minusG2, pk.p})
	return isOne(&f)
}

// FastAggregateVerify checks a multi-signature: the sum of signatures by all keys on
// one message (draft-irtf-cfrg-bls-signature, FastAggregateVerify). The keys must have
// proved possession. It is false for no keys.
func (su Suite) FastAggregateVerify(pks []*PublicKey, msg []byte, sig *Signature) bool {
	return len(pks) > 0 && su.Verify(AggregatePublicKeys(pks), msg, sig)
}

// AggregateVerify checks an aggregate signature over the messages of a batch, whose
// own signatures are not looked at; see [Verifier.AggregateVerify]. It uses all cores.
func (su Suite) AggregateVerify(b *Batch, sig *Signature) bool {
	return NewVerifier(su, runtime.GOMAXPROCS(0)).AggregateVerify(b, sig)
}

// millerLoop is the product of the Miller loops of all pairs; the slices have the same
// length. No pairs give one.
func millerLoop(p []affine, q []bls12381.G2Affine) bls12381.GT {
	f, err := bls12381.MillerLoop(p, q)
	if err != nil {
		f.SetOne()
	}
	return f
}

// isOne reports whether a Miller loop's result is one after the final exponentiation.
func isOne(f *bls12381.GT) bool {
	reduced := bls12381.FinalExponentiation(f)
	return reduced.IsOne()
}
