package verifier_test

import (
	_ "embed"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
)

// The proof of a window's segment of up to 256 statements, with the verifying key of a development
// setup and the public input, which the segment's header and statements lead to.
var (
	//go:embed testdata/256.key
	key []byte
	//go:embed testdata/256.public
	public []byte
	//go:embed testdata/256.proof
	proof []byte
)

// A verifying key is parsed once. Its verifier then checks any number of proofs, from any number
// of goroutines.
func ExampleVerifier_VerifyProof() {
	k, err := verifier.ParseKey(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := verifier.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := (*[rollup.ProofSize]byte)(proof)
	fmt.Println("the proof:", v.VerifyProof(256, [32]byte(public), p))

	other := [32]byte(public)
	other[0]++
	err = v.VerifyProof(256, other, p)
	fmt.Println("of another segment:", errors.Is(err, verifier.ErrProof))
	err = v.VerifyProof(1024, [32]byte(public), p)
	fmt.Println("of another size:", errors.Is(err, verifier.ErrKey))
	// Output:
	// the proof: <nil>
	// of another segment: true
	// of another size: true
}
