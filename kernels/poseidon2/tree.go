package poseidon2

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// ErrPath says that elements, their place and a path cannot belong together, whatever the root is.
var ErrPath = errors.New("poseidon2: no such path")

// ReduceLevel returns the parents of a tree level: the compression of every sixteen nodes, where those absent at the end
// are zero.
func ReduceLevel(level []Element) []Element {
	parents := make([]Element, nodes(len(level)))
	whole := len(level) / Width
	k := kernel.Use()
	split(whole, func(lo, hi int) { k.compressMany(parents[lo:hi], level[lo*Width:hi*Width]) })
	if whole < len(parents) {
		last := group(level, whole)
		k.compressMany(parents[whole:], last[:])
	}
	return parents
}

// Root reduces level after level until one node is left. That of one element is the element, that of none is zero.
func Root(level []Element) Element {
	for len(level) > 1 {
		level = ReduceLevel(level)
	}
	if len(level) == 0 {
		return Element{}
	}
	return level[0]
}

// Tree keeps every level, for paths. It is immutable and shares its elements with the caller, who must not change them.
type Tree struct{ levels [][]Element } // from the elements to the root

// NewTree builds the tree over elements.
func NewTree(elements []Element) *Tree {
	t := &Tree{[][]Element{elements}}
	for level := elements; len(level) > 1; {
		level = ReduceLevel(level)
		t.levels = append(t.levels, level)
	}
	return t
}

// Root is [Root] of the elements.
func (t *Tree) Root() Element { return Root(t.levels[len(t.levels)-1]) }

// Path returns what leads from n ≥ 1 elements, first and those after it, children of one node, to the root: their
// siblings, 16−n of them, then 15 of their parent, and so on, from left to right on each level, zero where none is. It
// panics unless there are such elements.
func (t *Tree) Path(first, n int) (path []Element) {
	if !together(first, n, len(t.levels[0])) {
		panic("poseidon2: not children of one node")
	}
	for _, level := range t.levels[:len(t.levels)-1] {
		siblings := group(level, first/Width)
		path = append(path, siblings[:first%Width]...)
		path = append(path, siblings[first%Width+n:]...)
		first, n = first/Width, 1
	}
	return path
}

// RootFromPath returns the root of a tree of total elements in which own stand at first and the elements after it, after
// the path that [Tree.Path] gave for them. The elements are in a tree if this is its root. The error is ErrPath: own are not
// children of one node of such a tree, the path has another length, or something stands in it where nothing can be.
func RootFromPath(own []Element, first, total int, path []Element) (Element, error) {
	if !together(first, len(own), total) {
		return Element{}, fmt.Errorf("%w: %d elements at %d of %d", ErrPath, len(own), first, total)
	}
	for total > 1 {
		at, n := first%Width, len(own)
		if len(path) < Width-n {
			return Element{}, fmt.Errorf("%w: too short", ErrPath)
		}
		var x [Width]Element
		copy(x[:at], path)
		copy(x[at:], own)
		copy(x[at+n:], path[at:])
		path = path[Width-n:]
		for i := max(0, total-(first-at)); i < Width; i++ {
			if x[i] != (Element{}) {
				return Element{}, fmt.Errorf("%w: a sibling beyond the tree", ErrPath)
			}
		}
		own, first, total = []Element{Compress(&x)}, first/Width, nodes(total)
	}
	if len(path) > 0 {
		return Element{}, fmt.Errorf("%w: too long", ErrPath)
	}
	return own[0], nil
}

// together says whether n ≥ 1 elements from first on are children of one node among total.
func together(first, n, total int) bool {
	return first >= 0 && n >= 1 && n <= Width-first%Width && first <= total-n
}

// group returns the children of node i of the next level.
func group(level []Element, i int) (x [Width]Element) {
	copy(x[:], level[i*Width:])
	return x
}

// nodes is how many parents n nodes have.
func nodes(n int) int { return n/Width + min(1, n%Width) }

// worthwhile is how many compressions a goroutine should have.
const worthwhile = 64

// split runs work on up to GOMAXPROCS equal ranges of n and waits.
func split(n int, work func(lo, hi int)) {
	k := max(1, min(runtime.GOMAXPROCS(0), n/worthwhile))
	if k == 1 {
		work(0, n)
		return
	}
	var wg sync.WaitGroup
	for i := range k {
		wg.Go(func() { work(n*i/k, n*(i+1)/k) })
	}
	wg.Wait()
}
