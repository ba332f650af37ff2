//go:build !purego

package blake3

import "github.com/waybill-network/waybill/kernels/cpu"

// Every arm64 CPU that Go runs on has NEON.
var vectorized = []cpu.Implementation[lanes]{{Name: cpu.NEON, Code: 4}}

// compress hashes four messages.
func compress(_ lanes, out, in *byte, stride uintptr, start *[16]uint32) {
	compressNEON(out, in, stride, start)
}

//go:noescape
func compressNEON(out, in *byte, stride uintptr, start *[16]uint32)

// compressChunks computes the chaining values of four whole chunks.
func compressChunks(_ lanes, out, in *byte, counters *[2 * maxLanes]uint32) {
	chunksNEON(out, in, counters)
}

//go:noescape
func chunksNEON(out, in *byte, counters *[2 * maxLanes]uint32)
