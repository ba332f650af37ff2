package rollup

import (
	"fmt"

	"github.com/waybill-network/waybill/kernels/poseidon2"
)

// The tree over the statements of a window (section 13): eight statements a node of level 1, sixteen nodes a node above,
// absent places zero, and at least three levels, so that the nodes of every circuit's segments are in it.
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

// StatementTree keeps every level, for paths and for segments: some 70 bytes per statement beside the statements. It is
// immutable.
type StatementTree struct {
	statements []Statement
	levels     [][]poseidon2.Element // from the statements' elements to the root
}

// NewStatementTree builds the tree over 1 to MaxStatements statements, which it keeps; it panics on another number. It
// checks nothing else.
func NewStatementTree(statements []Statement) *StatementTree {
	if n := len(statements); n == 0 || n > MaxStatements {
		panic(fmt.Sprintf("rollup: a tree of %d statements", n))
	}
	level := make([]poseidon2.Element, 0, 2*len(statements))
	for i := range statements {
		fields, root := statements[i].Elements()
		level = append(level, fields, root)
	}
	t := &StatementTree{statements: statements, levels: [][]poseidon2.Element{level}}
	for range depthOf(len(statements)) {
		level = poseidon2.ReduceLevel(level)
		t.levels = append(t.levels, level)
	}
	return t
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

// Path returns what leads from statement i to the root: on every level the other children of its node, from left to right,
// that is 14 elements on the first and 15 on each other. It panics when there is no such statement.
func (t *StatementTree) Path(i int) []Hash {
	if i < 0 || i >= t.Len() {
		panic("rollup: no such statement")
	}
	var path []Hash
	own, first := 2, 2*i
	for level := range len(t.levels) - 1 {
		at := first % poseidon2.Width
		for j, sibling := range t.nodes(level, first-at, poseidon2.Width) {
			if j < at || j >= at+own {
				path = append(path, sibling.Bytes())
			}
		}
		own, first = 1, first/poseidon2.Width
	}
	return path
}

// StatementPathLen returns the number of elements in the path of a statement of a tree of count statements.
func StatementPathLen(count int) int { return 15*depthOf(count) - 1 }

// VerifyStatementPath checks that the path leads from the statement at index of count to the root. That its fields are in
// bounds it leaves to the caller. The error is ErrPath.
func VerifyStatementPath(root Hash, s *Statement, index, count uint32, path []Hash) error {
	switch {
	case index >= count || count > MaxStatements:
		return fmt.Errorf("%w: there is no statement %d of %d", ErrPath, index, count)
	case len(path) != StatementPathLen(int(count)):
		return fmt.Errorf("%w: %d elements, where %d belong", ErrPath, len(path), StatementPathLen(int(count)))
	}
	fields, acks := s.Elements()
	own := []poseidon2.Element{fields, acks}
	first, total := 2*int(index), 2*int(count)
	for len(path) > 0 {
		var x [poseidon2.Width]poseidon2.Element
		at := first % poseidon2.Width
		for j := range x {
			if j >= at && j < at+len(own) {
				x[j] = own[j-at]
				continue
			}
			sibling, err := poseidon2.ParseElement(path[0][:])
			if err != nil {
				return fmt.Errorf("%w: %w", ErrPath, err)
			}
			if first-at+j >= total && sibling != (poseidon2.Element{}) {
				return fmt.Errorf("%w: something stands beyond the last statement", ErrPath)
			}
			x[j], path = sibling, path[1:]
		}
		own = []poseidon2.Element{poseidon2.Compress(&x)}
		first, total = first/poseidon2.Width, (total+poseidon2.Width-1)/poseidon2.Width
	}
	if own[0].Bytes() != root {
		return ErrPath
	}
	return nil
}
