package ledger

import (
	"cmp"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// span is a run of windows, both ends included.
type span struct{ first, last uint32 }

// spans is a set of windows: disjoint runs that do not touch, ascending. It is immutable.
type spans []span

// search returns the position of the first span that ends at w or later.
func (s spans) search(w uint32) int {
	i, _ := slices.BinarySearchFunc(s, w, func(x span, w uint32) int { return cmp.Compare(x.last, w) })
	return i
}

func (s spans) has(w uint32) bool {
	i := s.search(w)
	return i < len(s) && s[i].first <= w
}

// with returns the set and w, which is not in it.
func (s spans) with(w uint32) spans {
	i := s.search(w)
	joinsLeft := i > 0 && s[i-1].last+1 == w // no overflow: that span ends before w
	joinsRight := i < len(s) && s[i].first-1 == w
	t := make(spans, 0, len(s)+1)
	t = append(t, s[:i]...)
	switch {
	case joinsLeft && joinsRight:
		t[i-1].last = s[i].last
		i++
	case joinsLeft:
		t[i-1].last = w
	case joinsRight:
		t = append(t, span{w, s[i].last})
		i++
	default:
		t = append(t, span{w, w})
	}
	return append(t, s[i:]...)
}

// orderedEpoch holds the windows of one epoch that were ordered, by node.
type orderedEpoch struct {
	epoch uint32
	nodes vector[uint32, spans] // of the nodes up to the highest that ordered any
}

// orderedWindows remembers which windows were ordered, for the epochs that a certificate may still
// name; ascending by epoch. The slice is replaced when it changes, so that copies of it are
// snapshots.
type orderedWindows []orderedEpoch

func (o orderedWindows) search(epoch uint32) (int, bool) {
	return slices.BinarySearchFunc(o, epoch, func(x orderedEpoch,
		e uint32) int {
		return cmp.Compare(x.epoch, e)
	})
}

func (o orderedWindows) of(node, epoch uint32) spans {
	i, ok := o.search(epoch)
	if !ok || !o[i].nodes.has(node) {
		return nil
	}
	return *o[i].nodes.at(node)
}

func (o orderedWindows) has(key rollup.WindowKey) bool {
	return o.of(key.Node, key.Epoch).has(key.Window)
}

// set returns the windows with those of one node and epoch replaced.
func (o orderedWindows) set(gen uint64, node, epoch uint32, windows spans) orderedWindows {
	o = slices.Clone(o)
	i, ok := o.search(epoch)
	if !ok {
		o = slices.Insert(o, i, orderedEpoch{epoch: epoch})
	}
	nodes := &o[i].nodes
	for !nodes.has(node) {
		nodes.push(gen, nil)
	}
	*nodes.edit(gen, node) = windows
	return o
}
