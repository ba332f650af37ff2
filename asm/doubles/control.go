package doubles

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// setControl makes the routine by which tests change how the CPU rounds.
func (g *generator) setControl() {
	g.Function("setControl")
	g.Attributes(attr.NOSPLIT)
	g.SignatureExpr("func(mxcsr uint32) uint32")
	g.Doc("setControl sets MXCSR, which says how this thread's CPU rounds, and returns what it was.")
	old := g.AllocLocal(8)
	g.STMXCSR(old)
	g.LDMXCSR(operand.NewParamAddr("mxcsr", 0))
	g.MOVL(old, reg.EAX)
	g.Store(reg.EAX, g.ReturnIndex(0))
	g.RET()
}
