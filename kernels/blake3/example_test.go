package blake3_test

import (
	"fmt"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// A tree's leaves are hashed with one key and its nodes with another, each named by a context.
// The leaves here are 64 bytes each.
func ExampleRoot() {
	leafKey := blake3.ContextKey("example.org 2026 leaf")
	nodeKey := blake3.ContextKey("example.org 2026 node")
	var leaves []byte
	for i := range 5 {
		leaves = append(leaves, fmt.Sprintf("%-64d", i)...)
	}
	level := make([]byte, len(leaves)/2)
	blake3.HashMany64(&leafKey, level, leaves)
	root := blake3.Root(&nodeKey, level)
	fmt.Printf("%x…\n", root[:8])
	// Output:
	// b771502d35ff62e0…
}

func ExampleSum256() {
	fmt.Printf("%x\n", blake3.Sum256([]byte("abc")))
	// Output:
	// 6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85
}
