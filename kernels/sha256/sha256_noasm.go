//go:build purego || !amd64

package sha256

import "github.com/waybill-network/waybill/kernels/cpu"

var vectorized []cpu.Implementation[lanes]

func hash(lanes, *byte, *byte, uintptr, int, *[8]uint32, *[64]uint32) {
	panic("sha256: no vectors in this build")
}
