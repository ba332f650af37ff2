package sha256

import "github.com/waybill-network/waybill/internal/kernelbench"

func init() {
	kernelbench.Register(kernel, func(l lanes) kernelbench.SHA256 {
		return kernelbench.SHA256{SumMany: l.sumMany, ExpandXMD: l.expandXMD}
	})
}
