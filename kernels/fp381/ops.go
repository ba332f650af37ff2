package fp381

// PowOps is the number of vector multiply-adds of PowP34 on one block, as MulOps is of Mul: a squaring and a
// multiplication for each further power of the table, then the chain.
func PowOps() int {
	squarings, multiplications := 1+chainP34.last, len(powers{})-1+len(chainP34.steps)
	for _, s := range chainP34.steps {
		squarings += s.squarings
	}
	return squarings*SqrOps + multiplications*MulOps
}
