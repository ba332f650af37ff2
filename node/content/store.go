package content

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// Names in the folder of a store.
const (
	formatName  = "FORMAT"
	lockName    = "LOCK"
	pinsName    = "pins"
	objectsName = "objects" // objects/ab/abcd… and objects/ab/abcd….tree
	writingName = "writing"
	treeSuffix  = ".tree"

	format = "waybill content 1\n"
)

// GroupSize is the size of the groups that trees stand on.
const GroupSize = blake3.GroupSize

// Options say how a store is kept. Zero values stand for their defaults.
type Options struct {
	Dir        string // made if it is not there
	MaxBytes   int64  // on disk, of contents and trees; default 64 GiB
	MaxContent int64  // of one content; default a quarter of MaxBytes
	MaxFetches int    // fetches from origins at once; default 64
	Deny       *Deny  // may be nil
	Log        *slog.Logger
}

func (o *Options) complete() {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 30
	}
	if o.MaxContent <= 0 {
		o.MaxContent = o.MaxBytes / 4
	}
	if o.MaxFetches <= 0 {
		o.MaxFetches = 64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Store is a store of content. It is safe for concurrent use.
type Store struct {
	o    Options
	lock *os.File
	disk disk

	context context.Context // of fetches
	cancel  context.CancelFunc
	work    sync.WaitGroup

	writing sync.Mutex // of manifests and of what is private; before mu
	private atomic.Pointer[map[rollup.Hash][]uint32]

	mu        sync.Mutex
	manifests map[uint32]*manifest.Manifest
	entries   map[rollup.Hash]*entry
	order     *list.List // of *entry, the last used one first
	pins      map[rollup.Hash]bool
	flights   map[rollup.Hash]*flight
	placing   map[rollup.Hash]chan struct{} // roots whose files are being renamed
	// bytes of entries, and of what is removed but still open
	used     int64
	reserved int64 // bytes of what is being written
	closed   bool
	counts   Counts
}

// entry is one content. Its fields are guarded by the store's mutex.
type entry struct {
	root    rollup.Hash
	size    int64
	used    time.Time
	touched time.Time // what the disk says about used
	place   *list.Element
	readers int
	files   *files // open while there are readers
	removed bool   // from the store; bytes count until the last reader leaves
	purged  atomic.Bool
}

// footprint is what a content of a size takes.
func footprint(size int64) int64 { return size + blake3.OutboardSize(size, GroupSize) }

// Open opens the store of a folder, which no other process may have open, and removes what a crash
// left. Contents whose files do not fit each other are removed, too, and reported to the log.
func Open(o Options) (*Store, error) { return open(o, osDisk{}) }

func open(o Options, d disk) (*Store, error) {
	o.complete()
	s := &Store{o: o, disk: d, entries: map[rollup.Hash]*entry{}, order: list.New(),
		pins: map[rollup.Hash]bool{}, flights: map[rollup.Hash]*flight{},
		manifests: map[uint32]*manifest.Manifest{},
		placing:   map[rollup.Hash]chan struct{}{}}
	s.context, s.cancel = context.WithCancel(context.Background())
	if err := s.takeFolder(); err != nil {
		return nil, err
	}
	err := s.readPins()
	if err == nil {
		err = s.readPrivate()
	}
	if err == nil {
		err = s.readManifests()
	}
	if err == nil {
		err = s.readObjects()
	}
	if err != nil {
		s.lock.Close()
		return nil, err
	}
	return s, nil
}

// takeFolder makes the folder if need be, locks it and looks at its format.
func (s *Store) takeFolder() error {
	made := false
	if _, err := os.Stat(filepath.Join(s.o.Dir, formatName)); errors.Is(err, fs.ErrNotExist) {
		if names, err := os.ReadDir(s.o.Dir); err == nil && !fresh(names) {
			return refuse(ReasonNotStore, "%s holds other files", s.o.Dir)
		}
		made = true
	}
	for _, dir := range []string{s.o.Dir, s.path(objectsName), s.path(writingName)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return onDisk(err)
		}
	}
	lock, err := os.OpenFile(s.path(lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return onDisk(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return refuse(ReasonLocked, "%s", s.o.Dir)
		}
		return onDisk(err)
	}
	s.lock = lock
	if made {
		err = s.writeFile("", formatName, []byte(format))
	} else if text, e := os.ReadFile(s.path(formatName)); e != nil {
		err = onDisk(e)
	} else if string(text) != format {
		err = refuse(ReasonNotStore, "%s says %.40q", s.path(formatName), text)
	}
	if err != nil {
		lock.Close()
	}
	return err
}

// fresh tells whether a folder holds nothing but what a store begins with.
func fresh(names []fs.DirEntry) bool {
	return !slices.ContainsFunc(names, func(d fs.DirEntry) bool {
		return !slices.Contains([]string{lockName, objectsName, writingName}, d.Name())
	})
}

func (s *Store) path(names ...string) string {
	return filepath.Join(append([]string{s.o.Dir}, names...)...)
}

// object is the path of a content; its tree's has treeSuffix behind it.
func (s *Store) object(root rollup.Hash) string {
	name := root.String()
	return s.path(objectsName, name[:2], name)
}

// readObjects learns what the store has.
func (s *Store) readObjects() error {
	writing, err := os.ReadDir(s.path(writingName))
	if err != nil {
		return onDisk(err)
	}
	for _, d := range writing {
		if err := os.Remove(s.path(writingName, d.Name())); err != nil {
			return onDisk(err)
		}
	}
	folders, err := os.ReadDir(s.path(objectsName))
	if err != nil {
		return onDisk(err)
	}
	var found []*entry
	for _, folder := range folders {
		if !folder.IsDir() {
			return refuse(ReasonNotStore, "%s is no folder", s.path(objectsName, folder.Name()))
		}
		files, err := os.ReadDir(s.path(objectsName, folder.Name()))
		if err != nil {
			return onDisk(err)
		}
		names := make(map[string]fs.DirEntry, len(files))
		for _, file := range files {
			names[file.Name()] = file
		}
		for name := range names { // order-free: they are sorted below
			e, err := s.readObject(folder.Name(), name, names)
			if err != nil {
				return err
			}
			if e != nil {
				found = append(found, e)
			}
		}
	}
	slices.SortFunc(found, func(a, b *entry) int {
		return cmp.Or(a.used.Compare(b.used), bytes.Compare(a.root[:], b.root[:]))
	})
	for _, e := range found {
		s.insert(e)
	}
	return nil
}

// readObject looks at one file of the store. It returns nil for those that are no content.
func (s *Store) readObject(folder, name string, names map[string]fs.DirEntry) (*entry, error) {
	path := s.path(objectsName, folder, name)
	if content, isTree := strings.CutSuffix(name, treeSuffix); isTree {
		if names[content] == nil {
			return nil, onDisk(gone(os.Remove(path)))
		}
		return nil, nil
	}
	root, err := ParseRoot(name)
	if err != nil || name[:2] != folder {
		return nil, refuse(ReasonNotStore, "%s is no content", path)
	}
	content, err := names[name].Info()
	if err != nil {
		return nil, onDisk(err)
	}
	var tree fs.FileInfo
	if d := names[name+treeSuffix]; d != nil {
		if tree, err = d.Info(); err != nil {
			return nil, onDisk(err)
		}
	}
	size := content.Size()
	if tree == nil || !content.Mode().IsRegular() || !tree.Mode().IsRegular() ||
		tree.Size() != blake3.OutboardSize(size, GroupSize) {
		s.o.Log.Warn("content is damaged and removed", "root", root)
		s.counts.Damaged++
		return nil, onDisk(errors.Join(os.Remove(path), gone(os.Remove(path+treeSuffix))))
	}
	return &entry{root: root, size: size, used: tree.ModTime(), touched: tree.ModTime()}, nil
}

// insert adds an entry, as the last used one.
func (s *Store) insert(e *entry) {
	s.entries[e.root] = e
	e.place = s.order.PushFront(e)
	s.used += footprint(e.size)
}

// makeRoom reserves bytes, and evicts for them. The mutex is held.
func (s *Store) makeRoom(n int64) error {
	if n > s.o.MaxBytes {
		return refuse(ReasonTooLarge, "%d bytes, the store keeps %d", n, s.o.MaxBytes)
	}
	var victims []*entry
	over := s.used + s.reserved + n - s.o.MaxBytes
	for at := s.order.Back(); over > 0; at = at.Prev() {
		if at == nil {
			return refuse(ReasonFull, "%d bytes of %d are in use", s.used+s.reserved, s.o.MaxBytes)
		}
		if e := at.Value.(*entry); e.readers == 0 && !s.pins[e.root] {
			victims = append(victims, e)
			over -= footprint(e.size)
		}
	}
	for _, e := range victims {
		if err := s.remove(e); err != nil {
			return err
		}
		s.counts.Evicted++
	}
	s.reserved += n
	return nil
}

// remove takes an entry out of the store. Those who read it go on. The mutex is held.
func (s *Store) remove(e *entry) error {
	path := s.object(e.root)
	// The content first: a tree without one is removed when the store is opened next.
	if err := gone(s.disk.Remove(path)); err != nil {
		return onDisk(err)
	}
	if err := gone(s.disk.Remove(path + treeSuffix)); err != nil {
		s.o.Log.Warn("a tree could not be removed", "root", e.root, "error", err)
	}
	delete(s.entries, e.root)
	s.order.Remove(e.place)
	e.removed = true
	if e.readers == 0 {
		s.used -= footprint(e.size)
	}
	return nil
}

// Close ends fetches, waits for them and unlocks the folder. Open contents stay readable until they
// are closed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	return onDisk(s.lock.Close())
}

// Remove removes a content. Those who read it go on. A pinned one is refused with ReasonPinned.
func (s *Store) Remove(root rollup.Hash) error {
	s.mu.Lock()
	err := s.removable(root)
	if err == nil && s.pins[root] {
		err = refuse(ReasonPinned, "%v", root)
	}
	if err == nil {
		err = s.remove(s.entries[root])
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return onDisk(s.disk.SyncDir(filepath.Dir(s.object(root))))
}

// Purge removes a content and its pin. [Content.Check] tells those who read it to stop, and a fetch
// that brings it ends.
func (s *Store) Purge(root rollup.Hash) error {
	s.mu.Lock()
	f := s.flights[root]
	if f != nil {
		f.cancel(refuse(ReasonPurged, "%v", root))
		delete(s.flights, root)
	}
	err := s.removable(root)
	if err == nil {
		s.entries[root].purged.Store(true)
		err = s.remove(s.entries[root])
	}
	s.mu.Unlock()
	if f != nil && errors.Is(err, ReasonAbsent) {
		return s.Unpin(root) // it was on its way
	}
	if err != nil {
		return err
	}
	return errors.Join(onDisk(s.disk.SyncDir(filepath.Dir(s.object(root)))), s.Unpin(root))
}

// removable waits until a content is not being placed, and tells whether it is there. The mutex is
// held.
func (s *Store) removable(root rollup.Hash) error {
	for s.placing[root] != nil {
		placed := s.placing[root]
		s.mu.Unlock()
		<-placed
		s.mu.Lock()
	}
	switch {
	case s.closed:
		return ReasonClosed
	case s.entries[root] == nil:
		return absent(root)
	}
	return nil
}

// Counts are what happened since the store was opened.
type Counts struct {
	Hits    uint64 // contents that were opened
	Misses  uint64 // contents that were not there
	Fetched uint64 // contents that came from origins
	Failed  uint64 // fetches without a result
	Joined  uint64 // who waited for a fetch of somebody else
	Added   uint64 // contents that were written, those fetched among them
	Evicted uint64 // contents that made room
	Damaged uint64 // contents that were removed since their files were wrong
	Denied  uint64 // refusals of the deny list
}

// Stats is the condition of a store.
type Stats struct {
	Contents int   // how many there are
	Bytes    int64 // on disk, of contents and trees
	Pinned   int64 // of these
	Reserved int64 // for what is being written
	Max      int64
	Readers  int // open contents
	Fetches  int // that run
	Counts
}

// Stats returns the condition of the store.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{Contents: len(s.entries), Bytes: s.used, Reserved: s.reserved,
		Max: s.o.MaxBytes, Fetches: len(s.flights), Counts: s.counts}
	for _, e := range s.entries {
		stats.Readers += e.readers
		if s.pins[e.root] {
			stats.Pinned += footprint(e.size)
		}
	}
	return stats
}

// Info describes a content of the store.
type Info struct {
	Root   rollup.Hash `json:"root"`
	Size   int64       `json:"size"`
	Used   time.Time   `json:"used"`
	Pinned bool        `json:"pinned"`
	Denied string      `json:"denied,omitempty"` // why
	Payers []uint32    `json:"payers,omitempty"` // whose clients may have it; none: all
}

// List returns what the store has, the last used content first.
func (s *Store) List() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]Info, 0, len(s.entries))
	for at := s.order.Front(); at != nil; at = at.Next() {
		e := at.Value.(*entry)
		why, _ := s.o.Deny.Why(e.root)
		payers, _ := s.Private(e.root)
		infos = append(infos, Info{e.root, e.size, e.used, s.pins[e.root], why, payers})
	}
	return infos
}
