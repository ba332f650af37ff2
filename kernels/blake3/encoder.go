package blake3

import (
	"io"
	"math/bits"
)

// encoder builds a tree from groups that arrive one after the other. On its stack lie the values of
// the complete subtrees whose parents are not known yet: one for each bit of groups, from the left.
// The parent of two is made only when something follows them, since it could be the root.
type encoder struct {
	group  int
	lanes  lanes
	groups int64
	stack  [64][Size]byte
	height int
	emit   func(nodes []byte) error
}

// merge makes the parents that are complete, now that something follows.
func (e *encoder) merge() error {
	for e.height > bits.OnesCount64(uint64(e.groups)) {
		if err := e.join(0); err != nil {
			return err
		}
	}
	return nil
}

// join replaces the two values on top by their parent's.
func (e *encoder) join(flags uint32) error {
	var node [NodeSize]byte
	copy(node[:], e.stack[e.height-2][:])
	copy(node[Size:], e.stack[e.height-1][:])
	e.height--
	parentValue(e.stack[e.height-1][:], node[:], flags)
	return e.emit(node[:])
}

// batch takes MaxGroup bytes that are not the last. All their levels are hashed in full vectors.
func (e *encoder) batch(data []byte) error {
	if err := e.merge(); err != nil {
		return err
	}
	const most = MaxGroup / MinGroup
	var levels [2 * most * Size]byte // the groups, their parents, and so on, up to one value
	n := len(data) / e.group
	number := uint64(e.groups) * uint64(e.group/ChunkSize)
	e.lanes.groupValues(levels[:n*Size], data, e.group, number)
	for at, k := 0, n; k > 1; k /= 2 {
		e.lanes.parentValues(levels[at+k*Size:], levels[at:at+k*Size])
		at += k * Size
	}
	e.groups += int64(n)
	e.stack[e.height] = [Size]byte(levels[2*(n-1)*Size:])
	e.height++
	if n == 1 {
		return nil
	}
	// Node j of level i stands over the values 2j and 2j+1 of the level below; it is due when its
	// last group is.
	var nodes [most * NodeSize]byte
	count := 0
	for g := 2; g <= n; g += 2 {
		for i, at := 0, 0; g>>(i+1)<<(i+1) == g && 1<<(i+1) <= n; i++ {
			count += copy(nodes[count:], levels[at+(g>>i-2)*Size:][:NodeSize])
			at += n >> i * Size
		}
	}
	return e.emit(nodes[:count])
}

// finish takes what is left, at most MaxGroup bytes, and returns the root.
func (e *encoder) finish(data []byte) (digest [Size]byte, err error) {
	if e.groups == 0 && len(data) <= e.group {
		return e.lanes.soleGroup(data), nil
	}
	var values [MaxGroup / MinGroup * Size]byte
	n := (len(data)-1)/e.group + 1
	e.lanes.groupValues(values[:], data, e.group, uint64(e.groups)*uint64(e.group/ChunkSize))
	for i := range n {
		if err := e.merge(); err != nil {
			return digest, err
		}
		e.stack[e.height] = [Size]byte(values[i*Size:])
		e.height++
		e.groups++
	}
	for e.height > 1 {
		var flags uint32
		if e.height == 2 {
			flags = flagRoot
		}
		if err := e.join(flags); err != nil {
			return digest, err
		}
	}
	return e.stack[0], nil
}

// Encoder computes root and outboard tree of content that arrives in pieces. It keeps MaxGroup
// bytes of it, and a value for each level of the tree. It is not safe for concurrent use.
type Encoder struct {
	encoder
	buffer []byte
	size   int64
	err    error
}

// NewEncoder returns an encoder that writes the outboard tree to w, in order; w may be io.Discard.
// It panics for what is no size of a group.
func NewEncoder(w io.Writer, group int) *Encoder {
	checkGroup(group)
	return &Encoder{
		encoder: encoder{group: group, lanes: kernel.Use(), emit: func(nodes []byte) error {
			_, err := w.Write(nodes)
			return err
		}},
		buffer: make([]byte, 0, MaxGroup),
	}
}

// Size is how many bytes were written.
func (e *Encoder) Size() int64 { return e.size }

// Write takes the next piece of the content. Its errors are those of the tree's writer; after one
// the encoder is of no use.
func (e *Encoder) Write(p []byte) (int, error) {
	taken := len(p)
	for len(p) > 0 {
		if e.err != nil {
			return 0, e.err
		}
		if len(e.buffer) == 0 && len(p) > MaxGroup {
			e.err = e.batch(p[:MaxGroup])
			p = p[MaxGroup:]
			continue
		}
		if len(e.buffer) == MaxGroup { // something follows it
			e.err = e.batch(e.buffer)
			e.buffer = e.buffer[:0]
			continue
		}
		n := min(len(p), MaxGroup-len(e.buffer))
		e.buffer, p = append(e.buffer, p[:n]...), p[n:]
	}
	e.size += int64(taken)
	return taken, e.err
}

// Finish ends the content and returns its root, after the last node is written. The encoder is of
// no use afterwards.
func (e *Encoder) Finish() (root [Size]byte, err error) {
	if e.err != nil {
		return root, e.err
	}
	root, e.err = e.finish(e.buffer)
	if err := e.err; err != nil {
		return [Size]byte{}, err
	}
	e.err = io.ErrClosedPipe
	return root, nil
}
