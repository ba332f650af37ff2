// Command fp381avx512 prints the AVX-512 assembly of kernels/fp381 for CPUs without IFMA.
package main

import "github.com/waybill-network/waybill/asm/doubles"

func main() { doubles.Generate("fp381avx512", doubles.AVX512, "AVX512") }
