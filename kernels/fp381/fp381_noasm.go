//go:build purego || !amd64

package fp381

import "github.com/waybill-network/waybill/kernels/cpu"

func implementations() []cpu.Implementation[Field] {
	return []cpu.Implementation[Field]{genericField()}
}

// issueMultiplyAdds returns 0: this build has no vector multiply-adds.
func issueMultiplyAdds(int) int { return 0 }
