//go:build !purego

package sha256

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/waybill-network/waybill/kernels/cpu"
)

//go:generate go run -C ../../asm ./sha256 -out ../kernels/sha256/sha256_amd64.s

var vectorized = ordered(cpuid.CPU.VendorID)

// ordered returns the implementations for the CPUs of a vendor, best first. A block of 64 bytes
// takes four streams of SHA instructions 0.7 times as long as sixteen lanes on AMD (Zen 4), and 1.9
// times on Intel (Sapphire Rapids), which issues half as many of these instructions:
// expand_message_xmd, bench hash. Other vendors' are not known; theirs would be the instructions
// made for this.
func ordered(vendor cpuid.Vendor) []cpu.Implementation[lanes] {
	shani := cpu.Implementation[lanes]{Name: cpu.SHANI,
		Needs: []cpuid.FeatureID{cpuid.SHA, cpuid.SSE4, cpuid.SSSE3}, Code: 4}
	avx512 := cpu.Implementation[lanes]{Name: cpu.AVX512,
		Needs: []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512BW}, Code: 16}
	if vendor == cpuid.Intel {
		return []cpu.Implementation[lanes]{avx512, shani}
	}
	return []cpu.Implementation[lanes]{shani, avx512}
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
