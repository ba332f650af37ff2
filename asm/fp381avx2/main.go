// Command fp381avx2 prints the AVX2 assembly of kernels/fp381.
package main

import "github.com/waybill-network/waybill/asm/doubles"

func main() { doubles.Generate("fp381avx2", doubles.AVX2, "AVX2") }
