package bls_test

import (
	"bytes"
	"fmt"

	"github.com/waybill-network/waybill/kernels/bls"
)

// secret derives the i-th key of a fixed seed; a real one has 32 random bytes.
func secret(i uint32) *bls.SecretKey {
	sk, err := bls.KeyGen(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err)
	}
	return sk.Derive(i)
}

// Signatures are deterministic, and travel as 48 bytes.
func ExampleSuite_Sign() {
	sk := secret(0)
	message := []byte("one parcel, delivered")
	sig := bls.Default.Sign(sk, message)
	encoded := sig.Bytes()
	fmt.Printf("%x…\n", encoded[:8])

	parsed, err := bls.ParseSignature(encoded[:])
	fmt.Println(err, bls.Default.Verify(sk.PublicKey(), message, &parsed))
	fmt.Println(bls.Default.Verify(sk.PublicKey(), []byte("two parcels"), &parsed))
	// Output:
	// 8635d38783adfc4e…
	// <nil> true
	// false
}

// Keys that take part in aggregates must prove possession first: otherwise somebody could choose a
// key that cancels the keys of others.
func ExampleVerifyProof() {
	sk := secret(1)
	key := sk.PublicKey().Bytes()
	message := append([]byte("for this network and owner only: "), key[:]...)
	proof := bls.Prove(sk, message)
	fmt.Println(bls.VerifyProof(sk.PublicKey(), message, &proof))
	fmt.Println(bls.VerifyProof(secret(2).PublicKey(), message, &proof))
	// Output:
	// true
	// false
}

// A verifier gives every entry of a batch its verdict. The entries are columns of fixed-size
// frames, which are read in place: here 16 bytes of message, and the signature.
func ExampleVerifier_Verify() {
	const messageSize, frameSize = 16, 16 + bls.SignatureSize
	keys := []*bls.PublicKey{secret(0).PublicKey(), secret(1).PublicKey()}
	var signer []uint32
	var frames []byte
	for i := range uint32(6) {
		message := fmt.Appendf(nil, "delivery %07d", i)
		sig := bls.Default.Sign(secret(i%2), message)
		encoded := sig.Bytes()
		frames = append(append(frames, message...), encoded[:]...)
		signer = append(signer, i%2)
	}
	frames[3*frameSize] = 'D' // another message than the one that was signed

	v := bls.NewVerifier(bls.Default, 1)
	verdicts := make([]bls.Verdict, len(signer))
	report, err := v.Verify(&bls.Batch{
		Keys:     keys,
		Signer:   signer,
		Messages: bls.Column{Data: frames, Stride: frameSize, Width: messageSize},
		Signatures: bls.Column{Data: frames[messageSize:], Stride: frameSize,
			Width: bls.SignatureSize},
	}, verdicts)
	fmt.Println(err, report.Groups, "signers,", report.Invalid, "invalid")
	for i, verdict := range verdicts {
		if err := verdict.Err(); err != nil {
			fmt.Printf("entry %d: %v\n", i, err)
		}
	}
	// Output:
	// <nil> 2 signers, 1 invalid
	// entry 3: bls: bad signature
}

// Signatures by many keys on one message become one signature, and their keys one key.
func ExampleSuite_FastAggregateVerify() {
	message := []byte("the window of ten o'clock")
	var sigs []bls.Signature
	var keys []*bls.PublicKey
	for i := range uint32(3) {
		sigs = append(sigs, bls.Default.Sign(secret(i), message))
		keys = append(keys, secret(i).PublicKey())
	}
	sum := bls.AggregateSignatures(sigs)
	fmt.Println(bls.Default.FastAggregateVerify(keys, message, &sum))
	fmt.Println(bls.Default.FastAggregateVerify(keys[:2], message, &sum))
	// Output:
	// true
	// false
}

// Signatures on different messages become one as well; verifying it takes a Miller loop for each
// signer.
func ExampleSuite_AggregateVerify() {
	var sum bls.Sum
	var messages []byte
	for i := range uint32(4) {
		message := fmt.Appendf(nil, "message %d", i)
		sig := bls.Default.Sign(secret(i%2), message)
		sum.Add(&sig)
		messages = append(messages, message...)
	}
	sig := sum.Signature()
	fmt.Println(bls.Default.AggregateVerify(&bls.Batch{
		Keys:     []*bls.PublicKey{secret(0).PublicKey(), secret(1).PublicKey()},
		Signer:   []uint32{0, 1, 0, 1},
		Messages: bls.Column{Data: messages, Stride: 9, Width: 9},
	}, &sig))
	// Output:
	// true
}
