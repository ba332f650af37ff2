package bls

import (
	"sync"

	"github.com/waybill-network/waybill/kernels/cpu"
	"github.com/waybill-network/waybill/kernels/fp381"
)

// crossovers are the counts at which another way to compute begins to pay, where they depend on the
// kernel of package fp381: a block of eight takes as long as a few elements alone, and how many
// differs. Others are constants beside the code that they steer. All are measured; see
// docs/adr/0009 and 0018.
type crossovers struct {
	exponentiations int // from how many on lanes are worth it
	hashed          int // the same for field elements that are mapped to the curve together
	loops           int // the same for Miller loops
	keys            int // the same for public keys to decode
	// up to how many entries of a signer are multiplied one by one, instead of bit sums
	scaled  int
	cleared int // from how many groups on it takes less to divide one point by the cofactor
}

var crossoversOf = map[string]crossovers{
	cpu.AVX512IFMA: {exponentiations: 3, hashed: 3, loops: 5, keys: 2, scaled: 3, cleared: 9},
	cpu.AVX512:     {exponentiations: 3, hashed: 6, loops: 8, keys: 4, scaled: 2, cleared: 3},
	cpu.AVX2:       {exponentiations: 5, hashed: 8, loops: 11, keys: 5, scaled: 2, cleared: 3},
	cpu.Generic:    {cleared: 3}, // no lanes
}

// crossover is those of the kernel in use.
var crossover = sync.OnceValue(func() crossovers { return crossoversOf[fp381.Use().Name()] })
