// Package snapshots keeps snapshots of the ledger (rollup/snapshot) in a folder: it writes that of
// an epoch beside the blocks that follow, remembers which ones a committee signed, and serves their
// chunks to nodes that join.
//
// A snapshot is a folder, named by the block that it was taken after: the stream, the hashes of its
// chunks, and once a committee has signed it, what was signed.
package snapshots

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// Errors that callers branch on.
var (
	ErrUnknown = errors.New("snapshots: no such snapshot here")
	ErrWriting = errors.New("snapshots: the snapshot is being written")
	ErrOther   = errors.New("snapshots: the committee signed another snapshot than this node has")
	errEnded   = errors.New("snapshots: the epoch of the snapshot ended before it was written")
)

const (
	kept  = 3                // how many snapshots that were signed stay
	lease = 10 * time.Minute // how long one more stays after a chunk of it was asked for
)

const (
	streamName    = "stream"
	leavesName    = "leaves"
	certifiedName = "certified.json"
	partSuffix    = ".part" // of a folder that is not whole
)

// Source is the state of the ledger at one moment, as records in key order.
type Source interface {
	Records(yield func(key, value []byte) error) error
	Close() error
}

// Keeper keeps snapshots in a folder. It is safe for concurrent use.
type Keeper struct {
	dir string
	log *slog.Logger

	mu      sync.Mutex
	all     []*entry // ascending by height
	writing *writing // the last that began, nil before
}

// entry is a snapshot that is whole.
type entry struct {
	ledger.Snapshot
	certified bool
	asked     time.Time // last, for a chunk
	tree      *rollup.Tree
}

// writing is a snapshot that is being written, or was.
type writing struct {
	height uint64
	stop   chan struct{} // closed when it is to end early
	done   chan struct{}
	err    error // why it failed; set before done is closed
}

// Open reads a folder, which need not exist, and removes what is left of snapshots that were not
// finished. A damaged one is removed as well, and told of: it can be missed.
func Open(dir string, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{dir: dir, log: log}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	for _, e := range entries {
		height, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil && !strings.HasSuffix(e.Name(), partSuffix) {
			continue // not ours
		}
		found, err := k.load(height)
		if err == nil {
			k.all = append(k.all, found)
			continue
		}
		if !strings.HasSuffix(e.Name(), partSuffix) {
			log.Warn("a damaged snapshot is removed", "height", height, "err", err)
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("snapshots: %w", err)
		}
	}
	slices.SortFunc(k.all, func(a, b *entry) int { return cmp.Compare(a.Height, b.Height) })
	return k, nil
}

// Folder returns where the snapshot of a block is kept, below a folder of snapshots.
func Folder(dir string, height uint64) string {
	return filepath.Join(dir, strconv.FormatUint(height, 10))
}

// Stream returns the file of the stream of a snapshot in a folder of snapshots.
func Stream(dir string, height uint64) string {
	return filepath.Join(Folder(dir, height), streamName)
}

func (k *Keeper) load(height uint64) (*entry, error) {
	folder := Folder(k.dir, height)
	info, err := os.Stat(filepath.Join(folder, streamName))
	if err != nil {
		return nil, err
	}
	leaves, err := os.ReadFile(filepath.Join(folder, leavesName))
	if err != nil {
		return nil, err
	}
	s := snapshot.Summary{Bytes: uint64(info.Size())}
	if n := s.Chunks(); n == 0 || uint64(len(leaves)) != n*uint64(len(rollup.Hash{})) {
		return nil, fmt.Errorf("%d bytes of stream, %d of hashes", s.Bytes, len(leaves))
	}
	e := &entry{tree: snapshot.Tree(leaves)}
	e.Snapshot = ledger.Snapshot{Height: height, Bytes: s.Bytes, Root: e.tree.Root()}
	known, err := signed(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err == nil && known != e.Snapshot {
		err = ErrOther
	}
	e.certified = true
	return e, err
}

// Begin writes the snapshot of the state after a block in the background, with one record behind
// those of the source, which it closes. One that is still being written is given up, and those that
// nobody signed are removed: their epoch is over.
func (k *Keeper) Begin(height uint64, source Source, last snapshot.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.writing
	k.end()
	w := &writing{height: height, stop: make(chan struct{}), done: make(chan struct{})}
	k.writing = w
	go func() {
		defer close(w.done)
		if before != nil {
			<-before.done
		}
		k.dropUnsigned(height)
		e, err := k.write(w, source, last)
		if w.err = errors.Join(err, source.Close()); w.err != nil {
			if !errors.Is(w.err, errEnded) {
				k.log.Error("the ledger's snapshot could not be written", "height", height, "err", w.err)
			}
			return
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.all = append(k.all, e)
	}()
}

// end has the snapshot that is being written given up.
func (k *Keeper) end() {
	if k.writing != nil {
		select {
		case <-k.writing.stop:
		default:
			close(k.writing.stop)
		}
	}
}

// Close gives up what is being written, and waits for that.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.end()
	w := k.writing
	k.mu.Unlock()
	if w != nil {
		<-w.done
	}
}

func (k *Keeper) write(w *writing, source Source, last snapshot.Record) (e *entry, err error) {
	part := Folder(k.dir, w.height) + partSuffix
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o700)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	f, err := os.OpenFile(filepath.Join(part, streamName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	to := snapshot.NewWriter(f)
	err = source.Records(func(key, value []byte) error {
		select {
		case <-w.stop:
			return errEnded
		default:
			return to.Put(key, value)
		}
	})
	if err == nil {
		err = to.Put(last.Key, last.Value)
	}
	summary, leaves, ended := to.End()
	if err = errors.Join(err, ended); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(part, leavesName), leaves); err != nil {
		return nil, err
	}
	if err := Finish(k.dir, w.height); err != nil {
		return nil, err
	}
	return &entry{tree: snapshot.Tree(leaves), Snapshot: ledger.Snapshot{Height: w.height,
		Bytes: summary.Bytes, Root: summary.Root}}, nil
}

// dropUnsigned removes snapshots below a height that nobody signed, and any of that height.
func (k *Keeper) dropUnsigned(height uint64) {
	k.drop(func(e *entry) bool { return !e.certified || e.Height == height })
}

func (k *Keeper) drop(which func(*entry) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = slices.DeleteFunc(k.all, func(e *entry) bool {
		if !which(e) {
			return false
		}
		if err := os.RemoveAll(Folder(k.dir, e.Height)); err != nil {
			k.log.Warn("an old snapshot could not be removed", "height", e.Height, "err", err)
		}
		return true
	})
}

// Of returns the snapshot of the state after a block: ErrUnknown, ErrWriting, and why it could not
// be written.
func (k *Keeper) Of(height uint64) (ledger.Snapshot, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.find(height); e != nil {
		return e.Snapshot, nil
	}
	if w := k.writing; w != nil && w.height == height {
		select {
		case <-w.done:
			return ledger.Snapshot{}, w.err
		default:
			return ledger.Snapshot{}, ErrWriting
		}
	}
	return ledger.Snapshot{}, fmt.Errorf("%w: of block %d", ErrUnknown, height)
}

func (k *Keeper) find(height uint64) *entry {
	i, ok := slices.BinarySearchFunc(k.all, height,
		func(e *entry, h uint64) int { return cmp.Compare(e.Height, h) })
	if !ok {
		return nil
	}
	return k.all[i]
}

// Certify notes that a committee signed a snapshot, and forgets older ones: ErrUnknown for one that
// is not here, ErrOther for another of the same block, which is removed.
func (k *Keeper) Certify(s ledger.Snapshot) error {
	k.mu.Lock()
	e := k.find(s.Height)
	k.mu.Unlock()
	switch {
	case e == nil:
		return fmt.Errorf("%w: of block %d", ErrUnknown, s.Height)
	case e.certified && e.Snapshot == s:
		return nil
	case e.Snapshot != s:
		k.drop(func(x *entry) bool { return x == e })
		return fmt.Errorf("%w: after block %d root %s with %d bytes, and not %s with %d", ErrOther,
			s.Height, s.Root, s.Bytes, e.Root, e.Bytes)
	}
	if err := Sign(Folder(k.dir, s.Height), s); err != nil {
		return err
	}
	k.mu.Lock()
	e.certified = true
	certified := k.certified()
	k.mu.Unlock()
	if len(certified) > kept {
		oldest := certified[kept-1].Height
		lent := k.lent(oldest)
		k.drop(func(e *entry) bool { return e.certified && e.Height < oldest && e.Height != lent })
	}
	return nil
}

// lent returns the height of the snapshot below another one that was asked for last, 0 without one:
// where epochs are short, somebody fetches it for longer than it would stay.
func (k *Keeper) lent(below uint64) (height uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := time.Now().Add(-lease)
	for _, e := range k.all {
		if e.certified && e.Height < below && e.asked.After(last) {
			height, last = e.Height, e.asked
		}
	}
	return height
}

// Joining returns the height of the oldest snapshot from which a node may still join: the last but
// one, the last when there is no other, or an older one that somebody fetches; 0 without any.
func (k *Keeper) Joining() uint64 {
	list := k.Certified()
	if len(list) == 0 {
		return 0
	}
	from := list[min(1, len(list)-1)].Height
	if lent := k.lent(from); lent > 0 {
		return lent
	}
	return from
}

// Certified returns the snapshots that a committee signed, the newest first.
func (k *Keeper) Certified() []ledger.Snapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.certified()
}

func (k *Keeper) certified() (list []ledger.Snapshot) {
	for _, e := range slices.Backward(k.all) {
		if e.certified {
			list = append(list, e.Snapshot)
		}
	}
	return list
}

// Chunk returns a chunk of a snapshot and its path: ErrUnknown.
func (k *Keeper) Chunk(height, index uint64) ([]byte, []rollup.Hash, error) {
	k.mu.Lock()
	e := k.find(height)
	if e != nil {
		e.asked = time.Now()
	}
	k.mu.Unlock()
	if e == nil || index >= uint64(e.tree.Len()) {
		return nil, nil, fmt.Errorf("%w: chunk %d of block %d", ErrUnknown, index, height)
	}
	f, err := os.Open(Stream(k.dir, height))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnknown, err) // it was removed meanwhile
	}
	defer f.Close()
	s := snapshot.Summary{Bytes: e.Bytes, Root: e.Root}
	chunk := make([]byte, s.Size(index))
	if _, err := f.ReadAt(chunk, int64(index*snapshot.ChunkSize)); err != nil {
		return nil, nil, fmt.Errorf("snapshots: %w", err)
	}
	return chunk, e.tree.Path(int(index)), nil
}

// Sign writes into the folder of a snapshot what was signed of it.
func Sign(folder string, s ledger.Snapshot) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = writeFile(filepath.Join(folder, certifiedName), append(b, '\n'))
	}
	return err
}

// signed returns what was signed of the snapshot of a folder.
func signed(folder string) (s ledger.Snapshot, err error) {
	b, err := os.ReadFile(filepath.Join(folder, certifiedName))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// Finish gives the folder of a snapshot that is whole its name.
func Finish(dir string, height uint64) error {
	folder := Folder(dir, height)
	if err := os.Rename(folder+partSuffix, folder); err != nil {
		return err
	}
	return syncDir(dir)
}

// writeFile writes a file as a whole.
func writeFile(name string, b []byte) error {
	if known, err := os.ReadFile(name); err == nil && bytes.Equal(known, b) {
		return nil
	}
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(name+".new", name)
	}
	return errors.Join(err, syncDir(filepath.Dir(name)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
