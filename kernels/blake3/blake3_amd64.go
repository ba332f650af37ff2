//go:build !purego

package blake3

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/waybill-network/waybill/kernels/cpu"
)

//go:generate go run -C ../../asm ./blake3 -out ../kernels/blake3/blake3_amd64.s

var vectorized = []cpu.Implementation[lanes]{
	{Name: cpu.AVX512, Needs: []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX2}, Code: 16},
	{Name: cpu.AVX2, Needs: []cpuid.FeatureID{cpuid.AVX2}, Code: 8},
}

// compress hashes l messages. It calls assembly by name, so that arguments stay on the stack.
func compress(l lanes, out, in *byte, stride uintptr, start *[16]uint32) {
	if l == 16 {
		compressAVX512(out, in, stride, start)
	} else {
		compressAVX2(out, in, stride, start)
	}
}

// compressChunks computes the chaining values of l whole chunks.
func compressChunks(l lanes, out, in *byte, counters *[2 * maxLanes]uint32) {
	if l == 16 {
		chunksAVX512(out, in, counters)
	} else {
		chunksAVX2(out, in, counters)
	}
}

//go:noescape
func chunksAVX512(out, in *byte, counters *[2 * maxLanes]uint32)

//go:noescape
func chunksAVX2(out, in *byte, counters *[2 * maxLanes]uint32)

//go:noescape
func compressAVX512(out, in *byte, stride uintptr, start *[16]uint32)

//go:noescape
func compressAVX2(out, in *byte, stride uintptr, start *[16]uint32)
