//go:build !purego

package sha256

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/waybill-network/waybill/kernels/cpu"
)

//go:generate go run -C ../../asm ./sha256 -out ../kernels/sha256/sha256_amd64.s

// The SHA instructions stand first: where both were measured (Zen 4) they win.
var vectorized = []cpu.Implementation[lanes]{
	{Name: cpu.SHANI, Needs: []cpuid.FeatureID{cpuid.SHA, cpuid.SSE4, cpuid.SSSE3}, Code: 4},
	{Name: cpu.AVX512, Needs: []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512BW}, Code: 16},
}

// hash hashes l messages. It calls assembly by name, so that arguments stay on the stack.
func hash(l lanes, out, in *byte, stride uintptr, blocks int, start *[8]uint32, last *[64]uint32) {
	if l == 16 {
		hashAVX512(out, in, stride, blocks, start, last)
	} else {
		hashSHANI(out, in, stride, blocks, start, last)
	}
}

//go:noescape
func hashSHANI(out, in *byte, stride uintptr, blocks int, start *[8]uint32, last *[64]uint32)

//go:noescape
func hashAVX512(out, in *byte, stride uintptr, blocks int, start *[8]uint32, last *[64]uint32)
