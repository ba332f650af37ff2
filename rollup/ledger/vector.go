package ledger

import "slices"

// pageSize is how many elements of a vector are copied when one of them changes after a snapshot.
const pageSize = 256

// index is what elements of a vector are named by: clients by 64 bits, all else by 32.
type index interface{ uint32 | uint64 }

// vector is an array whose snapshots share what did not change: copying the struct is a snapshot,
// provided that the owner changes its generation, the gen that it passes to push and edit, before
// it writes again. One owner writes; snapshots are only read, and may be read while the owner
// writes.
type vector[I index, T any] struct {
	pages []*page[T]
	gen   uint64 // of the pages slice, as far as its first elements may be overwritten
	n     int
}

type page[T any] struct {
	gen   uint64
	items [pageSize]T
}

func (v *vector[I, T]) len() int { return v.n }

// size returns the number of elements as an index: that of the next one.
func (v *vector[I, T]) size() I { return I(v.n) }

// has reports whether i is the index of an element.
func (v *vector[I, T]) has(i I) bool { return uint64(i) < uint64(v.n) }

// at returns an element to read.
func (v *vector[I, T]) at(i I) *T { return &v.pages[i/pageSize].items[i%pageSize] }

// push appends an element. It writes only where no snapshot looks: behind the end of each.
func (v *vector[I, T]) push(gen uint64, x T) { *v.extend(gen) = x }

// extend appends a zero element, which the caller fills before a snapshot is taken.
func (v *vector[I, T]) extend(gen uint64) *T {
	if v.n%pageSize == 0 {
		v.pages = append(v.pages, &page[T]{gen: gen})
	}
	v.n++
	return v.at(I(v.n - 1))
}

// edit returns an element to change.
func (v *vector[I, T]) edit(gen uint64, i I) *T {
	p := v.pages[i/pageSize]
	if p.gen != gen {
		if v.gen != gen {
			v.pages, v.gen = slices.Clone(v.pages), gen
		}
		p = &page[T]{gen: gen, items: p.items}
		v.pages[i/pageSize] = p
	}
	return &p.items[i%pageSize]
}

// trie maps the digests of keys to the indices of their owners, which are in a vector. Its
// snapshots share what did not change, as those of vector do. Entries are never removed; one is
// replaced when its key has a new owner.
type trie struct{ root *branch }

// branch is indexed by the next four bits of the digest. An index has 40 bits, and with 32 of them
// apart from the other eight a branch takes a tenth more than it would for 32.
type branch struct {
	gen  uint64
	down [16]*branch
	low  [16]uint32
	high [16]uint8
	full uint16 // bit i: there is an index at i
}

func (b *branch) has(i byte) bool     { return b.full>>i&1 == 1 }
func (b *branch) index(i byte) uint64 { return uint64(b.high[i])<<32 | uint64(b.low[i]) }

func (b *branch) set(i byte, index uint64) {
	b.low[i], b.high[i] = uint32(index), uint8(index>>32)
	b.full |= 1 << i
}

func nibble(digest *[32]byte, depth int) byte { return digest[depth/2] >> (4 * (depth % 2)) & 15 }

// find returns the only index whose key can have the digest; whether it has is for the caller to
// compare.
func (t *trie) find(digest *[32]byte) (uint64, bool) {
	b := t.root
	for depth := 0; b != nil; depth++ {
		i := nibble(digest, depth)
		if b.has(i) {
			return b.index(i), true
		}
		b = b.down[i]
	}
	return 0, false
}

// insert adds an index, in place of the one whose digest is the same if there is one; digestOf
// returns the digest of an index.
func (t *trie) insert(gen uint64, digest *[32]byte, index uint64, digestOf func(uint64) [32]byte) {
	at := &t.root
	for depth := 0; ; depth++ {
		switch {
		case *at == nil:
			*at = &branch{gen: gen}
		case (*at).gen != gen:
			clone := **at
			clone.gen = gen
			*at = &clone
		}
		b, i := *at, nibble(digest, depth)
		if !b.has(i) && b.down[i] == nil {
			b.set(i, index)
			return
		}
		if b.has(i) {
			other := b.index(i)
			theirs := digestOf(other)
			if theirs == *digest {
				b.set(i, index)
				return
			}
			// push the one that stands here one level down
			below := &branch{gen: gen}
			below.set(nibble(&theirs, depth+1), other)
			b.full &^= 1 << i
			b.down[i] = below
		}
		at = &b.down[i]
	}
}
