package ledger

import "slices"

// pageSize is how many elements of a vector are copied when one of them changes after a snapshot.
const pageSize = 256

// vector is an array whose snapshots share what did not change: copying the struct is a snapshot,
// provided that the owner changes its generation, the gen that it passes to push and edit, before
// it writes again. One owner writes; snapshots are only read, and may be read while the owner
// writes.
type vector[T any] struct {
	pages []*page[T]
	gen   uint64 // of the pages slice, as far as its first elements may be overwritten
	n     int
}

type page[T any] struct {
	gen   uint64
	items [pageSize]T
}

func (v *vector[T]) len() int { return v.n }

// has reports whether i is the index of an element.
func (v *vector[T]) has(i uint32) bool { return uint64(i) < uint64(v.n) }

// at returns an element to read.
func (v *vector[T]) at(i uint32) *T { return &v.pages[i/pageSize].items[i%pageSize] }

// push appends an element. It writes only where no snapshot looks: behind the end of each.
func (v *vector[T]) push(gen uint64, x T) {
	if v.n%pageSize == 0 {
		v.pages = append(v.pages, &page[T]{gen: gen})
	}
	v.pages[v.n/pageSize].items[v.n%pageSize] = x
	v.n++
}

// edit returns an element to change.
func (v *vector[T]) edit(gen uint64, i uint32) *T {
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
// snapshots share what did not change, as those of vector do. Entries are never removed.
type trie struct{ root *branch }

// branch is indexed by the next four bits of the digest.
type branch struct {
	gen  uint64
	down [16]*branch
	leaf [16]uint32 // index + 1; 0 for none
}

func nibble(digest *[32]byte, depth int) byte { return digest[depth/2] >> (4 * (depth % 2)) & 15 }

// find returns the only index whose key can have the digest; whether it has is for the caller to
// compare.
func (t *trie) find(digest *[32]byte) (uint32, bool) {
	b := t.root
	for depth := 0; b != nil; depth++ {
		i := nibble(digest, depth)
		if b.leaf[i] != 0 {
			return b.leaf[i] - 1, true
		}
		b = b.down[i]
	}
	return 0, false
}

// insert adds an index whose digest is not among those there are; digestOf returns the digest of an
// index.
func (t *trie) insert(gen uint64, digest *[32]byte, index uint32, digestOf func(uint32) [32]byte) {
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
		other := b.leaf[i]
		if other == 0 && b.down[i] == nil {
			b.leaf[i] = index + 1
			return
		}
		if other != 0 { // push the one that stands here one level down
			below := &branch{gen: gen}
			theirs := digestOf(other - 1)
			below.leaf[nibble(&theirs, depth+1)] = other
			b.leaf[i], b.down[i] = 0, below
		}
		at = &b.down[i]
	}
}
