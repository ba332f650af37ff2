package blake3

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Content that is named by its plain BLAKE3 digest is verified in pieces: the digest is the root
// of a tree over chunks of 1,024 bytes, and whoever has the nodes on the way from the root to a
// chunk sees whether it is right. An outboard tree holds the nodes above groups of chunks; those
// within a group are cheaper to compute again than to keep. With groups of 16 KiB it has 1/256 of
// the size of the content.
//
// A node is 64 bytes: the chaining values of its two children. An outboard tree lists them from
// the left, children before their parents. So it only ever grows while content arrives, and where
// a node lies depends on nothing that comes after it: over the groups s to e-1 there is one at
// index s - popcount(s) + (e-s) - 2, since the groups left of s make up as many complete subtrees
// as s has bits set, and k groups have k-1 nodes.

// GroupSize is the usual size of groups, MinGroup and MaxGroup are the bounds of it, in bytes. A
// group is a power of two.
const (
	GroupSize = 16 << 10
	MinGroup  = ChunkSize
	MaxGroup  = 128 << 10
)

// NodeSize is the size of a node of an outboard tree.
const NodeSize = 2 * Size

// ErrNodes is the error for nodes or bytes that are not as many as the groups at hand have, and
// for a tree that ends early. The sender's counting is wrong, or its tree.
var ErrNodes = errors.New("blake3: not the nodes and bytes of these groups")

// MismatchError is the error for what does not lead to the root.
type MismatchError struct {
	// Offset is where in the content the first group that is not verified begins. What lies before
	// it is right.
	Offset int64
	// Node tells that a node above the group is wrong, and not the group itself.
	Node bool
}

func (e *MismatchError) Error() string {
	if e.Node {
		return fmt.Sprintf("blake3: a node above byte %d does not lead to the root", e.Offset)
	}
	return fmt.Sprintf("blake3: the group at byte %d does not lead to the root", e.Offset)
}

// checkGroup panics unless group is a size that groups have.
func checkGroup(group int) {
	if group < MinGroup || group > MaxGroup || bits.OnesCount(uint(group)) != 1 {
		panic("blake3: not the size of a group")
	}
}

// Groups is how many groups content of a size has: at least one, which may be empty. It panics for
// a size below 0 and for what is no size of a group.
func Groups(size int64, group int) int64 {
	checkGroup(group)
	if size < 0 {
		panic("blake3: content of a size below 0")
	}
	return max(1, (size-1)/int64(group)+1)
}

// OutboardSize is the size of the outboard tree of content of a size. It panics as Groups does.
func OutboardSize(size int64, group int) int64 { return (Groups(size, group) - 1) * NodeSize }

// nodeIndex is where the node over the groups start to end-1 stands.
func nodeIndex(start, end int64) int64 {
	return start - int64(bits.OnesCount64(uint64(start))) + end - start - 2
}

// middle is where the right child of a node over the groups start to end-1 begins: the left one is
// the largest complete tree that leaves something.
func middle(start, end int64) int64 {
	return start + int64(1)<<(bits.Len64(uint64(end-start-1))-1)
}

// Outboard returns root and outboard tree of data. It panics for what is no size of a group.
func Outboard(data []byte, group int) (root [Size]byte, tree []byte) {
	checkGroup(group)
	tree = make([]byte, 0, OutboardSize(int64(len(data)), group))
	return kernel.Use().outboard(data, group, tree)
}

// outboard is Outboard, appended to tree.
func (l lanes) outboard(data []byte, group int, tree []byte) (root [Size]byte, grown []byte) {
	e := encoder{group: group, lanes: l, emit: func(nodes []byte) error {
		tree = append(tree, nodes...)
		return nil
	}}
	for len(data) > MaxGroup {
		_ = e.batch(data[:MaxGroup])
		data = data[MaxGroup:]
	}
	root, _ = e.finish(data)
	return root, tree
}

// AppendNodes appends the nodes that a Decoder needs before the groups from next up to end, which
// is excluded, when it began at group first, and returns the longer slice. tree is the outboard
// tree. A tree that ends early gives ErrNodes; other errors are the reader's.
func AppendNodes(nodes []byte, tree io.ReaderAt, size int64, group int, first, next, end int64) (
	[]byte, error) {
	groups := Groups(size, group)
	if first < 0 || next < first || end < next || end > groups {
		return nodes, fmt.Errorf("%w: groups %d to %d of %d", ErrNodes, next, end, groups)
	}
	for g := next; g < end; g++ {
		for s, e := int64(0), groups; e-s > 1; {
			if s == g || g == first {
				at := len(nodes)
				nodes = append(nodes, make([]byte, NodeSize)...)
				n, err := tree.ReadAt(nodes[at:], nodeIndex(s, e)*NodeSize)
				if n < NodeSize {
					if err == io.EOF {
						err = fmt.Errorf("%w: the tree ends early", ErrNodes)
					}
					return nodes[:at], err
				}
			}
			if m := middle(s, e); g < m {
				e = m
			} else {
				s = m
			}
		}
	}
	return nodes, nil
}
