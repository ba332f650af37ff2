package rollup

import (
	"fmt"

	"github.com/waybill-network/waybill/kernels/poseidon2"
)

// RangePath returns what leads from statements lo to hi, at least one, to the root: on every level,
// from the statements up, the nodes before and then those behind that complete the parents of the
// range. Nodes that do not exist are left out. It panics when there are no such statements.
func (t *StatementTree) RangePath(lo, hi int) []Hash {
	if lo < 0 || lo >= hi || hi > t.Len() {
		panic("rollup: no such statements")
	}
	var path []Hash
	from, to := 2*lo, 2*hi
	for _, level := range t.levels[:len(t.levels)-1] {
		left, right := beside(from, to, len(level))
		for _, side := range [][]poseidon2.Element{level[from-left : from], level[to : to+right]} {
			for _, node := range side {
				path = append(path, node.Bytes())
			}
		}
		from, to = (from-left)/poseidon2.Width, nodesOver(to+right)
	}
	return path
}

// beside returns how many of a level's total nodes complete the parents of those from from to to,
// before and behind them.
func beside(from, to, total int) (left, right int) {
	return from % poseidon2.Width, min(total, nodesOver(to)*poseidon2.Width) - to
}

// nodesOver is how many parents n nodes have.
func nodesOver(n int) int { return (n + poseidon2.Width - 1) / poseidon2.Width }

// VerifyStatementRange checks that the path leads from neighbouring statements, the first of them
// at index first of count, to the root. That their fields are in bounds and their order is right it
// leaves to the caller. Errors: ErrPath, ErrStatement for a root that is no element.
func VerifyStatementRange(root Hash, statements []Statement, first, count uint32,
	path []Hash) error {
	n := len(statements)
	if n == 0 || count > MaxStatements || uint64(first)+uint64(n) > uint64(count) {
		return fmt.Errorf("%w: there are no statements %d to %d of %d", ErrPath, first,
			uint64(first)+uint64(n), count)
	}
	level := make([]poseidon2.Element, 0, 2*n)
	for i := range statements {
		fields, acks, err := statements[i].Elements()
		if err != nil {
			return at("statement", i, err)
		}
		level = append(level, fields, acks)
	}
	from, total := 2*int(first), 2*int(count)
	for range depthOf(int(count)) {
		left, right := beside(from, from+len(level), total)
		if len(path) < left+right {
			return fmt.Errorf("%w: it is too short", ErrPath)
		}
		nodes, err := parseElements(make([]poseidon2.Element, 0, left+len(level)+right), path[:left])
		if err == nil {
			nodes, err = parseElements(append(nodes, level...), path[left:left+right])
		}
		if err != nil {
			return err
		}
		level, path = poseidon2.ReduceLevel(nodes), path[left+right:]
		from, total = (from-left)/poseidon2.Width, nodesOver(total)
	}
	switch {
	case len(path) > 0:
		return fmt.Errorf("%w: it is too long", ErrPath)
	case level[0].Bytes() != root:
		return ErrPath
	}
	return nil
}

func parseElements(dst []poseidon2.Element, nodes []Hash) ([]poseidon2.Element, error) {
	for i := range nodes {
		e, err := poseidon2.ParseElement(nodes[i][:])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPath, err)
		}
		dst = append(dst, e)
	}
	return dst, nil
}

// RestoreEvidence makes evidence of rung 2 again from what a node keeps of a window that clients
// have co-signed: all its acks and the list. The error is ErrList for a list that is not that of
// the acks.
func RestoreEvidence(archive Acks, key WindowKey, list List) (*Evidence, error) {
	leaves := new(leafHasher).hash(archive, key)
	statements := make([]Statement, 0, len(list))
	for from, run := range archive.Runs() {
		if n := len(statements); n < len(list) && list[n].Run == run {
			s, ok := newStatement(archive, leaves, from, run)
			if !ok {
				return nil, fmt.Errorf("restore evidence: %w", at("ack", from, ErrOverflow))
			}
			statements = append(statements, s)
		}
	}
	err := list.of(statements)
	if err == nil {
		err = list.check()
	}
	if err != nil {
		return nil, fmt.Errorf("restore evidence: %w", err)
	}
	return &Evidence{Acks: archive.Without(list.Signers()), Rung: RungStatements, List: list,
		Statements: statements}, nil
}
