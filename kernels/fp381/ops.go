package fp381

// Mul2Ops is the vector multiply-adds of Mul2 on one block: three products, as Gauss has them, and
// two reductions of one more than a product. Sqr2 is two multiplications.
const Mul2Ops = 3*(MulOps/2) + 2*(MulOps/2+1)

// PowOps is the number of vector multiply-adds of PowP34 on one block, as MulOps is of Mul: a
// squaring and a multiplication for each further power of the table, then the chain.
func PowOps() int {
	squarings, multiplications := 1+chainP34.last, len(powers{})-1+len(chainP34.steps)
	for _, s := range chainP34.steps {
		squarings += s.squarings
	}
	return squarings*SqrOps + multiplications*MulOps
}
