package blake3

import "fmt"

// Decoder verifies content against its root, group by group, in ascending order from any group on.
// It holds a value for each level of the tree at most. It is not safe for concurrent use.
//
// The size is part of the shape of the tree that a decoder expects. It is shown to be right when
// the last group is verified, and not before: with a size that was lied about, groups to the left
// may verify. They are right.
type Decoder struct {
	size   int64
	group  int
	lanes  lanes
	first  int64
	next   int64
	groups int64
	stack  [64]expected // subtrees that are expected, the next one on top
	height int
}

// expected is the value of the subtree over the groups start to end-1.
type expected struct {
	start, end int64
	value      [Size]byte
}

// NewDecoder returns a decoder of content of a root and size from the group first on. It panics as
// Groups does, and unless first is one of the groups.
func NewDecoder(root [Size]byte, size int64, group int, first int64) *Decoder {
	groups := Groups(size, group)
	if first < 0 || first >= groups {
		panic("blake3: the first group is beyond the content")
	}
	d := &Decoder{size: size, group: group, lanes: kernel.Use(), groups: groups, first: first}
	d.next = first
	d.stack[0] = expected{0, groups, root}
	d.height = 1
	return d
}

// Offset is where the next group begins: what lies between the first one and it is verified.
func (d *Decoder) Offset() int64 { return min(d.next*int64(d.group), d.size) }

// Done tells that the last group is verified, and with it the size.
func (d *Decoder) Done() bool { return d.next == d.groups }

// Need returns how many bytes of nodes and of content the next count groups have; fewer at the end.
func (d *Decoder) Need(count int) (nodes, data int) {
	end := min(d.next+int64(count), d.groups)
	data = int(min(end*int64(d.group), d.size) - d.Offset())
	n := int64(0)
	for i := d.height - 1; i >= 0 && d.stack[i].start < end; i-- {
		n += inside(d.stack[i].start, d.stack[i].end, max(d.stack[i].start, d.next), end)
	}
	return int(n) * NodeSize, data
}

// inside is how many nodes of the subtree over the groups start to end-1 lie above the groups from
// to until-1.
func inside(start, end, from, until int64) int64 {
	if end-start < 2 || until <= from || until <= start || from >= end {
		return 0
	}
	if from <= start && end <= until {
		return end - start - 1
	}
	m := middle(start, end)
	return 1 + inside(start, m, from, until) + inside(m, end, from, until)
}

// Decode verifies the next groups: nodes are those that AppendNodes gives, data is whole groups,
// or up to the end of the content. It returns how many bytes of data are verified. Without an
// error that is all of it; a *MismatchError says what is wrong behind them, ErrNodes that nodes
// and data do not belong together. After an error the decoder stands where Offset says, and can be
// given that again.
func (d *Decoder) Decode(nodes, data []byte) (verified int, err error) {
	count := (len(data) + d.group - 1) / d.group
	if len(data) == 0 && d.size == 0 && !d.Done() {
		count = 1
	}
	if n, bytes := d.Need(count); n != len(nodes) || bytes != len(data) {
		return 0, fmt.Errorf("%w: %d and %d, not %d and %d", ErrNodes, len(nodes), len(data), n,
			bytes)
	}
	for count > 0 {
		k := min(count, batchGroups)
		n, bytes := d.Need(k)
		done, err := d.decode(nodes[:n], data[:bytes], k)
		if verified += done; err != nil {
			return verified, err
		}
		nodes, data, count = nodes[n:], data[bytes:], count-k
	}
	return verified, nil
}

// batchGroups is how many groups are hashed before they are compared.
const batchGroups = 16

// decode is Decode for a few groups: all is hashed first, in full vectors, and then compared.
func (d *Decoder) decode(nodes, data []byte, count int) (verified int, err error) {
	var above [(64 + batchGroups) * Size]byte
	var values [batchGroups * Size]byte
	d.lanes.parentValues(above[:], nodes)
	if d.groups == 1 {
		value := d.lanes.soleGroup(data)
		copy(values[:], value[:])
	} else {
		number := uint64(d.next) * uint64(d.group/ChunkSize)
		d.lanes.groupValues(values[:], data, d.group, number)
	}
	for i, at := 0, 0; i < count; i++ {
		for top := &d.stack[d.height-1]; top.end-top.start > 1; top = &d.stack[d.height-1] {
			node, value := nodes[at*NodeSize:][:NodeSize], above[at*Size:][:Size]
			if top.end-top.start == d.groups {
				parentValue(value, node, flagRoot)
			}
			if [Size]byte(value) != top.value {
				return verified, &MismatchError{Offset: d.Offset(), Node: true}
			}
			d.descend(node)
			at++
		}
		if d.stack[d.height-1].value != [Size]byte(values[i*Size:]) {
			return verified, &MismatchError{Offset: d.Offset()}
		}
		d.height--
		verified += min(d.group, len(data)-verified)
		d.next++
	}
	return verified, nil
}

// descend replaces the subtree on top by those of its children that are still to come.
func (d *Decoder) descend(node []byte) {
	top := d.stack[d.height-1]
	m := middle(top.start, top.end)
	d.height--
	d.stack[d.height] = expected{m, top.end, [Size]byte(node[Size:])}
	d.height++
	if d.next < m {
		d.stack[d.height] = expected{top.start, m, [Size]byte(node)}
		d.height++
	}
}
