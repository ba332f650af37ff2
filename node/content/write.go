package content

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// Want says which content is wanted, and what is known of it.
type Want struct {
	Root rollup.Hash
	Size int64  // negative: not known
	Path string // where an origin has it; empty: under its root
}

// Placing says how content is taken.
type Placing struct {
	Root   *rollup.Hash // that it must have; nil: any
	Size   int64        // that it must have; negative: any
	Payers []uint32     // whose clients may have it (SetPrivate), before it is there; none: no matter
}

// Place takes content from a reader. What the store has already is not written again. After an
// error nothing of it is in the store.
func (s *Store) Place(ctx context.Context, r io.Reader, how Placing) (Info, error) {
	return s.add(ctx, r, how)
}

// Add takes content from a reader and returns its root. What the store has already is not written
// again. After an error nothing of it is in the store.
func (s *Store) Add(ctx context.Context, r io.Reader) (Info, error) {
	return s.add(ctx, r, Placing{Size: -1})
}

// AddSized is Add for content of a size that is known before.
func (s *Store) AddSized(ctx context.Context, r io.Reader, size int64) (Info, error) {
	return s.add(ctx, r, Placing{Size: size})
}

// Put is Add for content that must have a root and, unless it is negative, a size.
func (s *Store) Put(ctx context.Context, r io.Reader, root rollup.Hash, size int64) (Info, error) {
	return s.add(ctx, r, Placing{Root: &root, Size: size})
}

func (s *Store) add(ctx context.Context, r io.Reader, how Placing) (Info, error) {
	if how.Root != nil {
		if err := s.denied(*how.Root); err != nil {
			return Info{}, err
		}
	}
	w, err := s.newWriter(max(how.Size, -1))
	if err != nil {
		return Info{}, err
	}
	defer w.discard()
	if err := w.copy(contextReader{ctx, r}); err != nil {
		return Info{}, err
	}
	w.payers = how.Payers
	c, err := w.commit(ctx, how.Root)
	if err != nil {
		return Info{}, err
	}
	defer c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	payers, _ := s.Private(c.Root)
	return Info{Root: c.Root, Size: c.Size, Used: c.entry.used, Pinned: s.pins[c.Root],
		Payers: payers}, nil
}

// contextReader reads until a context ends, and says whose errors are the source's.
type contextReader struct {
	context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.Context); err != nil {
		return 0, err
	}
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = refuse(ReasonSource, "%w", err)
	}
	return n, err
}

// step is what is reserved at once for content of a size that is not known.
const step = 1 << 20

// writer writes one content under another name.
type writer struct {
	store    *Store
	size     int64 // negative: not known
	payers   []uint32
	reserved int64
	path     string
	content  file
	tree     file
	nodes    *bufio.Writer
	encoder  *blake3.Encoder
	failed   error
}

// newWriter reserves room and makes the files.
func (s *Store) newWriter(size int64) (_ *writer, err error) {
	if size > s.o.MaxContent {
		return nil, refuse(ReasonTooLarge, "%d bytes, at most %d", size, s.o.MaxContent)
	}
	name := strconv.FormatUint(rand.Uint64(), 36)
	w := &writer{store: s, size: size, path: s.path(writingName, name)}
	if err := w.reserve(footprint(max(size, 0))); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.discard()
		}
	}()
	if w.content, err = s.disk.Create(w.path); err != nil {
		return nil, onDisk(err)
	}
	if w.tree, err = s.disk.Create(w.path + treeSuffix); err != nil {
		return nil, onDisk(err)
	}
	w.begin()
	return w, nil
}

// copy takes all that a reader has, in pieces that fill vectors.
func (w *writer) copy(r io.Reader) error {
	_, err := io.CopyBuffer(w, r, make([]byte, 2*blake3.MaxGroup))
	return err
}

func (w *writer) begin() {
	w.nodes = bufio.NewWriterSize(w.tree, 64<<10)
	w.encoder = blake3.NewEncoder(w.nodes, GroupSize)
}

// restart forgets what was written.
func (w *writer) restart() error {
	for _, f := range []file{w.content, w.tree} {
		if err := f.Truncate(0); err != nil {
			return onDisk(err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return onDisk(err)
		}
	}
	w.begin()
	return nil
}

// reserve sees that as many bytes are reserved.
func (w *writer) reserve(n int64) error {
	if n <= w.reserved {
		return nil
	}
	if w.size < 0 {
		n = min((n+step-1)/step*step, footprint(w.store.o.MaxContent))
	}
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ReasonClosed
	}
	if err := s.makeRoom(n - w.reserved); err != nil {
		return err
	}
	w.reserved = n
	return nil
}

func (w *writer) Write(p []byte) (int, error) {
	if w.failed != nil {
		return 0, w.failed
	}
	n, err := w.write(p)
	w.failed = err
	return n, err
}

func (w *writer) write(p []byte) (int, error) {
	size := w.encoder.Size() + int64(len(p))
	switch {
	case w.size >= 0 && size > w.size:
		return 0, refuse(ReasonSize, "more than %d bytes", w.size)
	case size > w.store.o.MaxContent:
		return 0, refuse(ReasonTooLarge, "more than %d bytes", w.store.o.MaxContent)
	}
	if err := w.reserve(footprint(size)); err != nil {
		return 0, err
	}
	if _, err := w.content.Write(p); err != nil {
		return 0, onDisk(err)
	}
	n, err := w.encoder.Write(p)
	return n, onDisk(err)
}

// finish sees that root and size are right and makes the files durable.
func (w *writer) finish(root *rollup.Hash) (rollup.Hash, error) {
	if w.failed != nil {
		return rollup.Hash{}, w.failed
	}
	if size := w.encoder.Size(); w.size >= 0 && size != w.size {
		return rollup.Hash{}, refuse(ReasonSize, "%d bytes, not %d", size, w.size)
	}
	digest, err := w.encoder.Finish()
	got := rollup.Hash(digest)
	if err != nil {
		return got, onDisk(err)
	}
	if root != nil && got != *root {
		return got, refuse(ReasonMismatch, "%v, not %v", got, *root)
	}
	if err := w.store.denied(got); err != nil {
		return got, err
	}
	if err := w.nodes.Flush(); err != nil {
		return got, onDisk(err)
	}
	for _, f := range []file{w.tree, w.content} {
		if err := f.Sync(); err != nil {
			return got, onDisk(err)
		}
	}
	return got, nil
}

// commit makes the content visible and opens it, unless ctx says that it was purged.
func (w *writer) commit(ctx context.Context, root *rollup.Hash) (*Content, error) {
	got, err := w.finish(root)
	if err != nil {
		return nil, err
	}
	s := w.store
	if len(w.payers) > 0 {
		if err := s.SetPrivate(got, w.payers); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.placing[got] != nil {
		placed := s.placing[got]
		s.mu.Unlock()
		<-placed
		s.mu.Lock()
	}
	if s.closed {
		return nil, ReasonClosed
	}
	if err := context.Cause(ctx); errors.Is(err, ReasonPurged) {
		return nil, err
	}
	if s.entries[got] == nil {
		if err := w.placeUnlocked(got); err != nil {
			return nil, err
		}
		now := time.Now()
		s.reserved -= w.reserved
		w.reserved = 0
		s.insert(&entry{root: got, size: w.encoder.Size(), used: now, touched: now})
		s.counts.Added++
	}
	return s.reader(s.entries[got])
}

// placeUnlocked calls place without the mutex, which is held before and after: disks are slow.
func (w *writer) placeUnlocked(root rollup.Hash) error {
	s, placed := w.store, make(chan struct{})
	s.placing[root] = placed
	s.mu.Unlock()
	err := w.place(root)
	s.mu.Lock()
	delete(s.placing, root)
	close(placed)
	return err
}

// place renames the files. When the last step fails, the content may or may not be there after a
// crash; it is right in both cases.
func (w *writer) place(root rollup.Hash) error {
	d, path := w.store.disk, w.store.object(root)
	dir := filepath.Dir(path)
	err := d.Mkdir(dir)
	if err == nil {
		err = d.SyncDir(filepath.Dir(dir))
	}
	if err == nil {
		err = d.Rename(w.path+treeSuffix, path+treeSuffix)
	}
	if err == nil {
		err = d.Rename(w.path, path)
	}
	if err == nil {
		err = d.SyncDir(dir)
	}
	if err != nil {
		err = errors.Join(err, gone(d.Remove(path)), gone(d.Remove(path+treeSuffix)))
	}
	return onDisk(err)
}

// discard closes the files and removes what was not committed. It may be called more than once.
func (w *writer) discard() {
	s := w.store
	for _, f := range []file{w.content, w.tree} {
		if f != nil {
			f.Close()
		}
	}
	w.content, w.tree = nil, nil
	for _, path := range []string{w.path, w.path + treeSuffix} {
		if err := gone(s.disk.Remove(path)); err != nil {
			s.o.Log.Warn("what was being written could not be removed", "error", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved -= w.reserved
	w.reserved = 0
}
