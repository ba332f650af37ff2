// Command poseidon2avx2 prints the avx2 assembly of kernels/poseidon2 in doubles.
package main

import "github.com/waybill-network/waybill/asm/doubles"

func main() { doubles.GeneratePoseidon2("poseidon2avx2", doubles.AVX2, "AVX2") }
