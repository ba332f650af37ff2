package store

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guardedFS stands between Pebble and its files. Pebble ends the process, tries again without end,
// or goes on from a state that it does not know, when something can not be written. Here the first
// such failure fails the store, and from then on nothing reaches the files any more: they stay as a
// crash at that moment would have left them, and opening the store again is an ordinary recovery.
// Pebble itself goes on in memory until the store is closed. Nobody takes that for a success, since
// every write looks at the store's state before it returns.
type guardedFS struct {
	vfs.FS
	s      *Store
	memory *vfs.MemFS // files made after the failure
}

func newGuardedFS(fs vfs.FS, s *Store) (guardedFS, error) {
	g := guardedFS{fs, s, vfs.NewMem()}
	return g, g.memory.MkdirAll(s.dir, 0o700)
}

// do changes a file, unless the store has failed. For tables an error is the answer, because what
// is half written must not be read; they are made again. The rest is only read by the next
// recovery, and Pebble hears that all is well.
func (fs guardedFS) do(name string, change func() error) error {
	err := fs.s.Err()
	if err == nil {
		if err = change(); err != nil {
			fs.s.fail(err)
		}
	}
	if isTable(name) {
		return err
	}
	return nil
}

func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// file makes a file. After a failure it is made in memory, except for compactions, which may be
// large and wait for Close.
func (fs guardedFS) file(name string, c vfs.DiskWriteCategory,
	make func() (vfs.File, error)) (vfs.File, error) {
	if fs.s.Err() == nil {
		f, err := make()
		if err == nil {
			return guardedFile{f, name, fs}, nil
		}
		fs.s.fail(err)
	}
	if c == "pebble-compaction" {
		<-fs.s.closed
		return nil, fs.s.Err()
	}
	return fs.memory.Create(name, c)
}

func (fs guardedFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if fs.s.Err() != nil {
		if f, err := fs.memory.Open(name, o...); err == nil {
			return f, nil
		}
	}
	return fs.FS.Open(name, o...)
}

func (fs guardedFS) Stat(name string) (vfs.FileInfo, error) {
	if fs.s.Err() != nil {
		if i, err := fs.memory.Stat(name); err == nil {
			return i, nil
		}
	}
	return fs.FS.Stat(name)
}

func (fs guardedFS) Unwrap() vfs.FS { return fs.FS }

func (fs guardedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(name, c, func() (vfs.File, error) { return fs.FS.Create(name, c) })
}

func (fs guardedFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(name, c, func() (vfs.File, error) { return fs.FS.ReuseForWrite(old, name, c) })
}

func (fs guardedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory,
	o ...vfs.OpenOption) (vfs.File, error) {
	return fs.file(name, c, func() (vfs.File, error) { return fs.FS.OpenReadWrite(name, c, o...) })
}

func (fs guardedFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return guardedFile{f, name, fs}, nil
}

// Remove does not fail the store: a file too many is no harm.
func (fs guardedFS) Remove(name string) error {
	if fs.s.Err() != nil {
		return nil
	}
	return fs.FS.Remove(name)
}

func (fs guardedFS) RemoveAll(name string) error {
	if fs.s.Err() != nil {
		return nil
	}
	return fs.FS.RemoveAll(name)
}

func (fs guardedFS) Rename(from, to string) error {
	return fs.do(to, func() error { return fs.FS.Rename(from, to) })
}

func (fs guardedFS) Link(from, to string) error {
	return fs.do(to, func() error { return fs.FS.Link(from, to) })
}

type guardedFile struct {
	vfs.File
	name string
	fs   guardedFS
}

func (f guardedFile) Write(b []byte) (n int, err error) {
	n = len(b)
	err = f.fs.do(f.name, func() error { _, err := f.File.Write(b); return err })
	if err != nil {
		n = 0
	}
	return n, err
}

func (f guardedFile) WriteAt(b []byte, at int64) (n int, err error) {
	n = len(b)
	err = f.fs.do(f.name, func() error { _, err := f.File.WriteAt(b, at); return err })
	if err != nil {
		n = 0
	}
	return n, err
}

func (f guardedFile) Sync() error { return f.fs.do(f.name, f.File.Sync) }

func (f guardedFile) SyncData() error { return f.fs.do(f.name, f.File.SyncData) }

func (f guardedFile) SyncTo(n int64) (full bool, err error) {
	err = f.fs.do(f.name, func() error { full, err = f.File.SyncTo(n); return err })
	return full, err
}
