package registry

import (
	"math/bits"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// HashSize is the size of a hash in a proof.
const HashSize = blake3.Size

// checkIndices checks that indices ascend below a count, and that there is one.
func checkIndices(count uint64, indices []uint64) error {
	if len(indices) == 0 {
		return refuse(ReasonNone, "a proof of nothing")
	}
	for i, index := range indices {
		switch {
		case i > 0 && index <= indices[i-1]:
			return refuse(ReasonOrder, "%d behind %d", index, indices[i-1])
		case index >= count:
			return refuse(ReasonGap, "entry %d of %d", index, count)
		}
	}
	return nil
}

// ProofHashes returns how many hashes a proof of these entries of count has: ReasonNone,
// ReasonOrder, ReasonGap.
func ProofHashes(count uint64, indices []uint64) (n int, err error) {
	if err := checkIndices(count, indices); err != nil {
		return 0, err
	}
	known := slices.Clone(indices)
	for ; count > 1; count = (count + 1) / 2 {
		lone, _ := pair(known, count)
		n += lone
		known = raise(known)
	}
	return n, nil
}

// pair returns how many known nodes of a level of w lack a neighbour that exists, and whether the
// last one has none.
func pair(known []uint64, w uint64) (lone int, promoted bool) {
	for i := 0; i < len(known); i++ {
		switch x := known[i]; {
		case x%2 == 0 && i+1 < len(known) && known[i+1] == x+1:
			i++
		case x^1 < w:
			lone++
		default:
			promoted = true
		}
	}
	return lone, promoted
}

// raise replaces nodes by their parents.
func raise(known []uint64) []uint64 {
	up := known[:0]
	for _, x := range known {
		if n := len(up); n == 0 || up[n-1] != x/2 {
			up = append(up, x/2)
		}
	}
	return up
}

// Prove returns the hashes that lead from entries to the root, in the order that the package's head
// describes. It reads each page of the entries once. The error is ReasonNone, ReasonOrder,
// ReasonGap, ReasonForgotten or ReasonStore.
func (t *Tree) Prove(indices []uint64) (proof []byte, err error) {
	var leaves page
	return t.prove(t.count, indices, func(id PageID) (*page, error) { return t.page(id, &leaves) })
}

// prove is Prove for a tree of count entries, with these pages.
func (t *Tree) prove(
	count uint64, indices []uint64, page func(id PageID) (*page, error),
) (proof []byte, err error) {
	if err := checkIndices(count, indices); err != nil {
		return nil, err
	}
	known := slices.Clone(indices)
	for h := range heights(count) {
		var levels [pageLevels][]byte
		for rest := known; len(rest) > 0; {
			id := PageID{uint8(h), rest[0] / PageNodes}
			p, err := page(id)
			if err != nil {
				return nil, err
			}
			var set uint64
			for len(rest) > 0 && rest[0]/PageNodes == id.Index {
				set |= 1 << (rest[0] % PageNodes)
				rest = rest[1:]
			}
			p.lone(&levels, set, func(level int) int { return widthIn(count, id, level) })
		}
		proof = append(proof, slices.Concat(levels[:]...)...)
		known = climb(known)
	}
	return proof, nil
}

// page returns a page, wherever it is. One that is not in memory it reads into memory of the
// caller.
func (t *Tree) page(id PageID, into *page) (*page, error) {
	if t.forgotten(id) {
		return nil, refuse(ReasonForgotten, "%v", id)
	}
	if id.Height > 0 {
		return t.upper[id.Height-1][id.Index], nil
	}
	return into, t.load(id, into)
}

// lone appends the neighbours that a set of nodes lacks, level by level.
func (p *page) lone(levels *[pageLevels][]byte, set uint64, width func(level int) int) {
	for level := range levels {
		n := width(level)
		up := parents(set)
		for rest := up; rest != 0; rest &= rest - 1 {
			l := 2 * bits.TrailingZeros64(rest)
			if other := l + int(set>>l&1); set>>l&3 != 3 && other < n {
				levels[level] = append(levels[level], p.node(level, other)...)
			}
		}
		set = up
	}
}

// climb replaces nodes by those six levels above them.
func climb(known []uint64) []uint64 {
	up := known[:0]
	for _, x := range known {
		if n := len(up); n == 0 || up[n-1] != x/PageNodes {
			up = append(up, x/PageNodes)
		}
	}
	return up
}

// Verify checks that a proof leads from entries, which lie one after the other, to the root of a
// tree of count entries. The error is ReasonNone, ReasonOrder, ReasonGap, ReasonLength or
// ReasonRoot.
func (k *Kind) Verify(head Head, indices []uint64, entries, proof []byte) error {
	root, err := k.RootOfProof(head.Count, indices, entries, proof)
	if err == nil && root != head.Root {
		err = refuse(ReasonRoot, "%x, not %x", root, head.Root)
	}
	return err
}

// RootOfProof returns the root to which a proof leads.
func (k *Kind) RootOfProof(count uint64, indices []uint64, entries, proof []byte) (
	root Hash, err error,
) {
	if len(indices)*k.width != len(entries) {
		return root, refuse(ReasonLength, "%d bytes for %d entries", len(entries), len(indices))
	}
	n, err := ProofHashes(count, indices)
	if err != nil {
		return root, err
	}
	if len(proof) != n*HashSize {
		return root, refuse(ReasonLength, "%d bytes for %d hashes", len(proof), n)
	}
	up := ascent{known: slices.Clone(indices), nodes: k.leaves(entries), proof: proof}
	for ; count > 1; count = (count + 1) / 2 {
		up.step(k, count)
	}
	return Hash(up.nodes), nil
}

// ascent is the verification of a proof on its way up.
type ascent struct {
	known    []uint64
	nodes    []byte // of known
	proof    []byte // what is left of it
	messages []byte
}

// step goes up a level, of w nodes.
func (a *ascent) step(k *Kind, w uint64) {
	a.messages = a.messages[:0]
	var last []byte // a node that is promoted
	for i := 0; i < len(a.known); i++ {
		x, node := a.known[i], a.nodes[i*HashSize:(i+1)*HashSize]
		switch {
		case x%2 == 0 && i+1 < len(a.known) && a.known[i+1] == x+1:
			a.messages = append(a.messages, a.nodes[i*HashSize:(i+2)*HashSize]...)
			i++
		case x^1 >= w:
			last = slices.Clone(node)
		case x%2 == 0:
			a.messages = append(append(a.messages, node...), a.next()...)
		default:
			a.messages = append(append(a.messages, a.next()...), node...)
		}
	}
	a.nodes = a.nodes[:len(a.messages)/2]
	blake3.HashMany64(&k.node, a.nodes, a.messages)
	a.nodes = append(a.nodes, last...)
	a.known = raise(a.known)
}

// next takes a hash of the proof.
func (a *ascent) next() []byte {
	h := a.proof[:HashSize]
	a.proof = a.proof[HashSize:]
	return h
}
