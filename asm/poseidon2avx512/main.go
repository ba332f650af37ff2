// Command poseidon2avx512 prints the avx512 assembly of kernels/poseidon2 in doubles.
package main

import "github.com/waybill-network/waybill/asm/doubles"

func main() { doubles.GeneratePoseidon2("poseidon2avx512", doubles.AVX512, "AVX512") }
