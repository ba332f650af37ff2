//go:build purego || !amd64

package ed25519

import "github.com/waybill-network/waybill/kernels/cpu"

var vectorized []cpu.Implementation[verify]
