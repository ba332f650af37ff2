package rollup

import (
	"fmt"

	"github.com/waybill-network/waybill/kernels/poseidon2"
)

// The tree over the statements of a window (section 14): eight statements a node of level 1,
// sixteen nodes a node above, absent places zero, and at least three levels, so that the nodes of
// every circuit's segments are in it.
const (
	statementsPerNode = poseidon2.Width / 2
	minDepth          = 3
)

// depthOf returns at which level the root of a tree of count statements is.
func depthOf(count int) int {
	depth := minDepth
	for n := perNode(depth); n < count; n *= poseidon2.Width {
		depth++
	}
	return depth
}

// perNode returns how many statements are under a node of a level.
func perNode(level int) int { return statementsPerNode << (4 * (level - 1)) }

// StatementTree keeps every level, for paths and for segments: some 70 bytes per statement beside
// the statements. It is immutable.
type StatementTree struct {
	statements []Statement
	levels     [][]poseidon2.Element // from the statements' elements to the root
}

// NewStatementTree builds the tree over 1 to MaxStatements statements, which it keeps; it panics on
// another number, and on a root that is no element. It checks nothing else.
func NewStatementTree(statements []Statement) *StatementTree {
	t, err := newStatementTree(statements)
	if err != nil {
		panic(err)
	}
	return t
}

// newStatementTree is NewStatementTree, with ErrStatement for a root that is no element.
func newStatementTree(statements []Statement) (*StatementTree, error) {
	if n := len(statements); n == 0 || n > MaxStatements {
		panic(fmt.Sprintf("rollup: a tree of %d statements", n))
	}
	level := make([]poseidon2.Element, 0, 2*len(statements))
	for i := range statements {
		fields, root, err := statements[i].Elements()
		if err != nil {
			return nil, at("statement", i, err)
		}
		level = append(level, fields, root)
	}
	t := &StatementTree{statements: statements, levels: [][]poseidon2.Element{level}}
	for range depthOf(len(statements)) {
		level = poseidon2.ReduceLevel(level)
		t.levels = append(t.levels, level)
	}
	return t, nil
}

// Statements returns the statements, which must not be changed.
func (t *StatementTree) Statements() []Statement { return t.statements }

// Len returns the number of statements.
func (t *StatementTree) Len() int { return len(t.statements) }

// Root returns the root, in the little-endian encoding of elements.
func (t *StatementTree) Root() Hash { return t.levels[len(t.levels)-1][0].Bytes() }

// nodes returns n nodes of a level from first on, zero where there is none.
func (t *StatementTree) nodes(level, first, n int) []poseidon2.Element {
	nodes := make([]poseidon2.Element, n)
	if all := t.levels[level]; first < len(all) {
		copy(nodes, all[first:])
	}
	return nodes
}

// StatementPathLen returns the most elements that the path of one statement of a tree of count
// statements has.
func StatementPathLen(count int) int { return 15*depthOf(count) - 1 }
