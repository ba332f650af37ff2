package registry

import "fmt"

// Store keeps pages. What a tree writes and deletes in a batch belongs together, and to what else
// the caller changes: a store with a disk collects it, and commits it with the caller's records.
type Store interface {
	// Page returns what was written last. Nobody changes it, and it is valid until the store's next
	// call.
	Page(id PageID) ([]byte, error)
	// Write keeps a page; data is valid during the call. It cannot fail: what can, is the commit.
	Write(id PageID, data []byte)
	// Delete says that a page will not be read again.
	Delete(id PageID)
}

// Tree is a tree whose entries are appended and changed. It is not safe for concurrent use.
type Tree struct {
	kind  *Kind
	store Store
	count uint64
	root  Hash
	upper [][]*page // by height, less one, and index; nil for one that was forgotten
	spare []*page   // of earlier batches, for later ones
}

// New returns the tree without entries.
func New(kind *Kind, store Store) *Tree { return &Tree{kind: kind, store: store} }

// Kind returns what kind of tree it is.
func (t *Tree) Kind() *Kind { return t.kind }

// Count returns the number of entries.
func (t *Tree) Count() uint64 { return t.count }

// Root returns the root; that of no entries is zero.
func (t *Tree) Root() Hash { return t.root }

// Head returns count and root.
func (t *Tree) Head() Head { return Head{t.count, t.root} }

// Open returns the tree of count entries whose pages are in a store. It reads the pages that stay
// in memory, and checks that they fit together; whose root it is, is for the caller to compare. The
// error is ReasonFull, ReasonStore or ReasonCorrupt.
func Open(kind *Kind, store Store, count uint64) (*Tree, error) {
	t := &Tree{kind: kind, store: store, count: count}
	if count > kind.most {
		return nil, refuse(ReasonFull, "%d entries", count)
	}
	top := heights(count) - 1
	if top < 0 {
		return t, nil
	}
	t.upper = make([][]*page, top)
	p, root, err := t.read(PageID{Height: uint8(top)})
	if err != nil {
		return nil, err
	}
	t.root = root
	if top > 0 {
		t.upper[top-1] = []*page{p}
	}
	for h := top - 1; h > 0; h-- {
		if err := t.open(h); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// open reads the pages of a height, whose parents are there.
func (t *Tree) open(height int) error {
	t.upper[height-1] = make([]*page, width(t.count, pageLevels*(height+1)))
	for i := range t.upper[height-1] {
		id := PageID{uint8(height), uint64(i)}
		above, at := t.above(id)
		if above == nil || above.gone>>at&1 == 1 {
			continue
		}
		p, root, err := t.read(id)
		if err != nil {
			return err
		}
		if Hash(above.node(0, at)) != root {
			return refuse(ReasonCorrupt, "%v is not under its parent", id)
		}
		t.upper[height-1][i] = p
	}
	return nil
}

// read reads a page and checks it.
func (t *Tree) read(id PageID) (p *page, root Hash, err error) {
	p = new(page)
	if err := t.load(id, p); err != nil {
		return nil, root, err
	}
	root, ok := p.root(t.kind, widthIn(t.count, id, 0))
	if !ok {
		return nil, root, refuse(ReasonCorrupt, "%v does not fit together", id)
	}
	return p, root, nil
}

// load reads a page without a look at it.
func (t *Tree) load(id PageID, p *page) error {
	data, err := t.store.Page(id)
	switch {
	case err != nil:
		return refuse(ReasonStore, "%v: %w", id, err)
	case len(data) != id.Size():
		return refuse(ReasonStore, "%v has %d bytes", id, len(data))
	}
	if rest := data[copy(p.nodes[:], data):]; id.Height > 0 {
		p.gone = le.Uint64(rest)
	}
	return nil
}

// above returns the page that holds a page's root, and where in it; nil when it was forgotten.
func (t *Tree) above(id PageID) (*page, int) {
	return t.upper[id.Height][id.Index/PageNodes], int(id.Index % PageNodes)
}

// forgotten reports whether a page was forgotten.
func (t *Tree) forgotten(id PageID) bool {
	if int(id.Height) >= len(t.upper) {
		return false // the top
	}
	above, at := t.above(id)
	return above == nil || above.gone>>at&1 == 1
}

// Forget drops all of a page of 64 entries, from 64·index on, but its root: none of them can be
// changed or proven any more. It says so to the store. A page that was forgotten is forgotten. The
// error is ReasonGap, or ReasonIncomplete when entries of the page are still to come, or when the
// tree has no other page.
func (t *Tree) Forget(index uint64) error {
	id := PageID{Index: index}
	switch {
	case index >= width(t.count, pageLevels):
		return refuse(ReasonGap, "page %d of %d entries", index, t.count)
	case widthIn(t.count, id, 0) < PageNodes || len(t.upper) == 0:
		return refuse(ReasonIncomplete, "page %d of %d entries", index, t.count)
	}
	for int(id.Height) < len(t.upper) && !t.forgotten(id) {
		above, at := t.above(id)
		above.gone |= 1 << at
		t.store.Delete(id)
		if id.Height > 0 {
			t.upper[id.Height-1][id.Index] = nil
		}
		id = PageID{id.Height + 1, id.Index / PageNodes}
		if above.gone != 1<<PageNodes-1 || int(id.Height) == len(t.upper) {
			t.store.Write(id, above.append(nil, int(id.Height)))
			break
		}
	}
	return nil
}

// String names the page in errors.
func (id PageID) String() string { return fmt.Sprintf("page %d of height %d", id.Index, id.Height) }
