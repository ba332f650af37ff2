//go:build purego || !amd64

package poseidon2

import "github.com/waybill-network/waybill/kernels/cpu"

var vectorized []cpu.Implementation[implementation]
