//go:build purego || !(amd64 || arm64)

package blake3

import "github.com/waybill-network/waybill/kernels/cpu"

var vectorized []cpu.Implementation[lanes]

func compress(lanes, *byte, *byte, uintptr, *[16]uint32) {
	panic("blake3: no vectors in this build")
}

func compressChunks(lanes, *byte, *byte, *[2 * maxLanes]uint32) {
	panic("blake3: no vectors in this build")
}
