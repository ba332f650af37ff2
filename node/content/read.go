package content

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// Content is an open content. It is readable until it is closed, also when the store has removed it
// meanwhile. It is safe for concurrent use.
type Content struct {
	Root rollup.Hash
	Size int64

	store  *Store
	entry  *entry
	files  *files
	closed atomic.Bool
}

// files are the open files of a content, shared by its readers.
type files struct{ content, tree *os.File }

// Open returns a content that the store has. The caller closes it.
func (s *Store) Open(root rollup.Hash) (*Content, error) {
	if err := s.denied(root); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ReasonClosed
	}
	e := s.entries[root]
	if e == nil {
		s.counts.Misses++
		return nil, absent(root)
	}
	c, err := s.reader(e)
	if err == nil {
		s.counts.Hits++
	}
	return c, err
}

// Has tells whether the store has a content that is not denied.
func (s *Store) Has(root rollup.Hash) bool {
	s.mu.Lock()
	e := s.entries[root]
	s.mu.Unlock()
	if e == nil {
		return false
	}
	_, denied := s.o.Deny.Why(root)
	return !denied
}

// reader opens an entry once more, which is a use of it. The mutex is held.
func (s *Store) reader(e *entry) (*Content, error) {
	c, err := s.open(e)
	if err == nil && !e.removed {
		s.touch(e)
	}
	return c, err
}

// open opens an entry once more. The mutex is held.
func (s *Store) open(e *entry) (*Content, error) {
	if e.files == nil && e.removed {
		return nil, absent(e.root)
	}
	if e.files == nil {
		files, err := openFiles(s.object(e.root))
		if errors.Is(err, os.ErrNotExist) {
			err = refuse(ReasonDamaged, "%v: %w", e.root, err)
			s.counts.Damaged++
			return nil, errors.Join(err, s.remove(e))
		}
		if err != nil {
			return nil, onDisk(err)
		}
		e.files = files
	}
	e.readers++
	return &Content{Root: e.root, Size: e.size, store: s, entry: e, files: e.files}, nil
}

func openFiles(path string) (*files, error) {
	content, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	tree, err := os.Open(path + treeSuffix)
	if err != nil {
		content.Close()
		return nil, err
	}
	return &files{content, tree}, nil
}

// touchEvery is how exactly the disk knows when a content was used.
const touchEvery = time.Minute

// touch makes an entry the last used one. The mutex is held.
func (s *Store) touch(e *entry) {
	e.used = time.Now()
	s.order.MoveToFront(e.place)
	if e.used.Sub(e.touched) >= touchEvery {
		e.touched = e.used
		// A time that is not written only lets the content go earlier after a restart.
		_ = os.Chtimes(s.object(e.root)+treeSuffix, time.Time{}, e.used)
	}
}

// release ends a reader of an entry.
func (s *Store) release(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.readers--; e.readers > 0 {
		return
	}
	if e.files != nil {
		e.files.content.Close()
		e.files.tree.Close()
		e.files = nil
	}
	if e.removed {
		s.used -= footprint(e.size)
	}
}

// Close ends reading. Further calls do nothing.
func (c *Content) Close() error {
	if !c.closed.Swap(true) {
		c.store.release(c.entry)
	}
	return nil
}

// ReadAt reads bytes of the content as they are on disk. They are not verified again.
func (c *Content) ReadAt(p []byte, offset int64) (int, error) {
	n, err := c.files.content.ReadAt(p, offset)
	if err != nil && err != io.EOF {
		err = onDisk(err)
	}
	return n, err
}

// Groups is how many groups the content has: at least one.
func (c *Content) Groups() int64 { return blake3.Groups(c.Size, GroupSize) }

// AppendNodes appends the nodes that the receiver of a stream that began at group first needs
// before the groups from next up to end, which is excluded (blake3.AppendNodes).
func (c *Content) AppendNodes(nodes []byte, first, next, end int64) ([]byte, error) {
	if first < 0 || next < first || end < next || end > c.Groups() {
		return nodes, refuse(ReasonRange, "%d to %d of %d, from %d", next, end, c.Groups(), first)
	}
	nodes, err := blake3.AppendNodes(nodes, c.files.tree, c.Size, GroupSize, first, next, end)
	if errors.Is(err, blake3.ErrNodes) {
		return nodes, refuse(ReasonDamaged, "%v: %w", c.Root, err)
	}
	return nodes, onDisk(err)
}

// Check asks the deny list again: nil, or a refusal with ReasonDenied; or with ReasonPurged, when
// the content was purged meanwhile. It is cheap enough to be asked before every run of groups.
func (c *Content) Check() error {
	if c.entry.purged.Load() {
		return refuse(ReasonPurged, "%v", c.Root)
	}
	return c.store.denied(c.Root)
}

// Verify reads groups as a receiver would and returns the error that it would see.
func (c *Content) Verify(first, end int64) error {
	if first < 0 || first >= end || end > c.Groups() {
		return refuse(ReasonRange, "groups %d to %d of %d", first, end, c.Groups())
	}
	return c.read(first, end, func([]byte) error { return nil })
}

// CopyTo writes the content to w, each group after it is verified. Errors of w are returned as they
// are.
func (c *Content) CopyTo(ctx context.Context, w io.Writer) error {
	return c.read(0, c.Groups(), func(data []byte) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	})
}

// read gives groups to take, in runs, verified.
func (c *Content) read(first, end int64, take func(data []byte) error) error {
	const run = 16
	var nodes []byte
	data := make([]byte, run*GroupSize)
	d := blake3.NewDecoder(c.Root, c.Size, GroupSize, first)
	for next := first; next < end; next += run {
		until := min(next+run, end)
		var err error
		if nodes, err = c.AppendNodes(nodes[:0], first, next, until); err != nil {
			return err
		}
		_, n := d.Need(int(until - next))
		if _, err := c.ReadAt(data[:n], next*GroupSize); err != nil && err != io.EOF {
			return err
		}
		good, err := d.Decode(nodes, data[:n])
		if taken := take(data[:good]); taken != nil {
			return taken
		}
		if err != nil {
			return refuse(ReasonDamaged, "%v: %w", c.Root, err)
		}
	}
	return nil
}

// File opens the content as a file of its own, with an offset of its own, for a kernel to send. The
// caller closes it. It works until Close, also after the store has removed the content where files
// can be opened by their descriptors.
func (c *Content) File() (*os.File, error) {
	f, err := os.Open(c.store.object(c.Root))
	if errors.Is(err, os.ErrNotExist) {
		f, err = reopen(c.files.content)
	}
	if err != nil {
		return nil, onDisk(err)
	}
	return f, nil
}

// denied asks the deny list.
func (s *Store) denied(root rollup.Hash) error {
	why, denied := s.o.Deny.Why(root)
	if !denied {
		return nil
	}
	s.mu.Lock()
	s.counts.Denied++
	s.mu.Unlock()
	return refuse(ReasonDenied, "%v: %s", root, why)
}
