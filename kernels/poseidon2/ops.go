package poseidon2

// MultiplyAdds is the number of vector multiply-adds of eight compressions in avx512ifma.
const MultiplyAdds = (externalRounds*Width+internalRounds)*sboxOps +
	(externalRounds+1)*Width*tightenOps +
	internalRounds*(Width*factorOps+tightenOps) + mulOps

// Multiply-adds for one block, as the head of the assembly counts them.
const (
	mulOps     = 101
	sboxOps    = 2*81 + mulOps
	factorOps  = 61 // a product with a constant
	tightenOps = 10
)
