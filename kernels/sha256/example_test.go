package sha256_test

import (
	"fmt"

	"github.com/waybill-network/waybill/kernels/sha256"
)

// Messages of one length lie behind each other; so do their digests.
func ExampleSumMany() {
	out := make([]byte, 2*sha256.Size)
	sha256.SumMany(out, []byte("abcabd"), 3)
	fmt.Printf("%x…\n", out[:8])
	fmt.Printf("%x…\n", out[sha256.Size:][:8])
	// Output:
	// ba7816bf8f01cfea…
	// a52d159f262b2c6d…
}
