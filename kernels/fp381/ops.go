package fp381

import "github.com/waybill-network/waybill/internal/kernelbench"

// Vector multiply-adds for one block in avx512ifma, as the head of the assembly counts them.
const (
	mulOps = 257
	sqrOps = 201
	// mul2Ops are three products, as Gauss has them, and two reductions of one more than a product.
	mul2Ops = 3*(mulOps/2) + 2*(mulOps/2+1)
	sqr2Ops = 2 * mulOps
)

func init() {
	kernelbench.Register(kernel, func(f Field) Field { return f })
	kernelbench.IssueMultiplyAdds = issueMultiplyAdds
	ops := &kernelbench.Field
	ops.Mul, ops.Sqr, ops.Mul2, ops.Sqr2, ops.Pow = mulOps, sqrOps, mul2Ops, sqr2Ops, powOps()
}

// powOps is the number of vector multiply-adds of PowP34 on one block: a squaring and a
// multiplication for each further power of the table, then the chain.
func powOps() int {
	squarings, multiplications := 1+chainP34.last, len(powers{})-1+len(chainP34.steps)
	for _, s := range chainP34.steps {
		squarings += s.squarings
	}
	return squarings*sqrOps + multiplications*mulOps
}
