package poseidon2

import "github.com/waybill-network/waybill/internal/kernelbench"

func init() {
	type compress = func(out, in []Element)
	kernelbench.Register(kernel, func(i implementation) compress { return i.compressMany })
	kernelbench.Compressions = multiplyAdds
}

// multiplyAdds is the number of vector multiply-adds of eight compressions in avx512ifma.
const multiplyAdds = (externalRounds*Width+internalRounds)*sboxOps +
	(externalRounds+1)*Width*tightenOps +
	internalRounds*(Width*factorOps+tightenOps) + mulOps

// Multiply-adds for one block, as the head of the assembly counts them.
const (
	mulOps     = 101
	sboxOps    = 2*81 + mulOps
	factorOps  = 61 // a product with a constant
	tightenOps = 10
)
