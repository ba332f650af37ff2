package poseidon2_test

import (
	"fmt"

	"github.com/waybill-network/waybill/kernels/poseidon2"
)

// Sixteen elements become one; many such groups are worked on at once.
func ExampleCompressMany() {
	in := make([]poseidon2.Element, 2*poseidon2.Width)
	for i := range in {
		in[i] = poseidon2.FromUint64s([4]uint64{uint64(i)})
	}
	out := make([]poseidon2.Element, 2)
	poseidon2.CompressMany(out, in)
	first := poseidon2.Compress((*[poseidon2.Width]poseidon2.Element)(in))
	encoded := out[0].Bytes()
	fmt.Println(out[0] == first)
	fmt.Printf("%x…\n", encoded[:8])
	// Output:
	// true
	// 3f33cc9b4efa16fb…
}
