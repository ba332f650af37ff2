// Package store keeps everything that a node must not forget, in one Pebble database: the pool of
// accepted acks, its own sealed windows and their certificates, the evidence of other nodes'
// rollups, the locks on what it signed, the ledger, and the consensus engine's key-value pairs.
// It is the only importer of Pebble.
//
// A write is durable when its method returns nil, unless the method says otherwise. After a
// failed write the outcome is unknown: the store then refuses every further write with
// [ErrFailed], and the truth is what a reopened store shows. All methods are safe for concurrent
// use.
package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-network/waybill/rollup"
)

// FormatVersion is the version of the key layout below. A store of an earlier one is migrated when
// it is opened, see migrations; a later one is not opened.
const FormatVersion = 3

// Errors that callers branch on.
var (
	ErrNotFound = rollup.ErrNotFound                    // no such entry
	ErrClosed   = errors.New("store: closed")           // after Close
	ErrFailed   = errors.New("store: a write failed")   // the outcome is unknown; reopen the store
	ErrDiskFull = errors.New("store: the disk is full") // joined to ErrFailed
	ErrFormat   = errors.New("store: unknown format")   // a store of another version
	ErrPruned   = errors.New("store: epoch is pruned")  // below the retention watermark
	ErrSealed   = errors.New("store: another rollup is sealed for the window")
	ErrNew      = errors.New("store: new")                // newer than the epoch, see Since
	ErrCorrupt  = errors.New("store: malformed contents") // an entry or a file is not as written
	// ErrCopied says that the store, or the record of votes, is not where it was: see MarkPlace.
	ErrCopied = errors.New("store: a copy of another home's")
	ErrMoved  = errors.New("store: its home was moved") // see Fence
)

// The first byte of a key says what it is. Window stands for epoch, node, window; numbers in keys
// are big-endian, so that order is numeric and an epoch is one range.
const (
	keyFormat    = 'v' // → FormatVersion u32
	keyWatermark = 'q' // → first epoch that is not pruned, u32
	keyBegin     = 'f' // → first epoch of which everything that this node said is here, u32
	keyPool      = 'a' // window, index of the first ack u32 → frames, 128 bytes each
	keyOwn       = 'w' // window → id of this node's rollup
	keyRuns      = 'r' // epoch, node, client mod 64 u8, window → those runs of this node's rollup
	keyUnordered = 'u' // window → nothing: sealed by this node, not yet ordered
	keyHeader    = 'h' // id → header
	keyEvidence  = 'e' // id → evidence, unless it is made from the two below
	keyArchive   = 'b' // id of an own co-signed rollup → all acks of its window
	keyList      = 't' // id of an own co-signed rollup → list of its statements
	keyProof     = 'p' // id → evidence of rung 3; of an own rollup, without its acks
	// window → nothing: co-signed, sealed by this node, not known to be held by another
	keyUnheld      = 'n'
	keyHolder      = 'o' // window → node that holds the statements of this node's rollup, u32
	keyByWindow    = 'x' // window, id → nothing: what keyHeader and the evidence are there for
	keyLock        = 'l' // window → id that this member signed
	keyBilled      = 'd' // window → runs that this member signed with it
	keyCertificate = 'c' // window → certificate
	keyLedger      = 'm' // → height u64, app hash
	keyRecord      = 'g' // ledger record's key → its value
	keyLocal       = 'i' // key of a local entry of the ledger's depot → its value
	keyKV          = 'k' // length of name u8, name, key → value
	keyFence       = 'z' // → Fence, in JSON
	keyQuiet       = 'y' // → nothing: the consensus key must not vote, see Quiet
	keyRestoring   = 'j' // → nothing: records and views are half of a snapshot, see Restore
)

// FS is a file system that a store can lie on.
type FS = vfs.FS

// Options say how to open a store. The zero value is a good one.
type Options struct {
	FS           FS           // file system; nil means the operating system's
	Logger       *slog.Logger // nil discards
	CacheSize    int64        // bytes of block cache; 0 means 64 MiB
	MemTableSize uint64       // bytes; 0 means 64 MiB
	// Adopt takes a copy for the store itself. Forget must follow: see there.
	Adopt bool
}

// Store is an open store.
type Store struct {
	db     *pebble.DB
	fs     vfs.FS
	dir    string
	placed bool // it is on the system's disk, and has a place there
	log    *slog.Logger
	failed atomic.Pointer[error] // first failed write
	closed chan struct{}         // closed when Close has waited

	mu      sync.Mutex // guards what follows
	idle    sync.Cond  // active fell to zero
	active  int        // operations and iterators under way
	closing bool

	lockMu    sync.Mutex // makes one step of a read and the write that rests on it
	watermark atomic.Uint32
	begin     atomic.Int64 // see Since; -1: not known
	syncs     syncProbe
}

// Open opens the store in dir, and creates it when there is none. Errors: ErrFormat, ErrDiskFull,
// ErrCopied, ErrCorrupt, and Pebble's.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{fs: o.FS, dir: dir, placed: o.FS == nil, log: o.Logger, closed: make(chan struct{})}
	s.idle.L = &s.mu
	s.begin.Store(-1)
	if s.fs == nil {
		s.fs = vfs.Default
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.CacheSize == 0 {
		o.CacheSize = 64 << 20
	}
	if o.MemTableSize == 0 {
		o.MemTableSize = 64 << 20
	}
	guarded, err := newGuardedFS(s.fs, s)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	options := &pebble.Options{
		FS:                          guarded,
		Logger:                      pebbleLog{s},
		CacheSize:                   o.CacheSize,
		MemTableSize:                o.MemTableSize,
		MemTableStopWritesThreshold: 4,
		L0StopWritesThreshold:       64,
		BytesPerSync:                1 << 20,
		FormatMajorVersion:          pebble.FormatNewest,
	}
	// A key that a client is looked for by is most often not there, or on the last level. That one has
	// nine tenths of the keys, and filters of it would not stay in the cache.
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	options.Levels[len(options.Levels)-1].FilterPolicy = pebble.NoFilterPolicy
	// Hashes and signatures do not compress.
	options.ApplyCompressionSettings(
		func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	if err := s.fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", diskFull(err))
	}
	db, err := pebble.Open(dir, options)
	if err != nil {
		close(s.closed)
		return nil, fmt.Errorf("store: open %s: %w", dir,
			errors.Join(diskFull(opening(err)), s.Err()))
	}
	s.db = db
	if err := errors.Join(s.Err(), s.checkFormat(), s.checkPlace(o.Adopt),
		s.dropHalf()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// OpenMemory opens an empty store in memory, for tests and benchmarks of the packages above. Its
// node has said nothing in any epoch.
func OpenMemory() (*Store, error) {
	s, err := Open("store", Options{FS: vfs.NewMem(), CacheSize: 8 << 20, MemTableSize: 16 << 20})
	if err != nil {
		return nil, err
	}
	return s, s.Begin(0)
}

// loadEpochs reads the epochs that the store begins with.
func (s *Store) loadEpochs() error {
	for kind, use := range map[byte]func(epoch uint32){
		keyWatermark: s.watermark.Store,
		keyBegin:     func(epoch uint32) { s.begin.Store(int64(epoch)) },
	} {
		v, err := s.get([]byte{kind})
		if err == nil && len(v) == 4 {
			use(binary.BigEndian.Uint32(v))
		} else if !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%w: epoch under %c: %x: %w", ErrCorrupt, kind, v, err)
		}
	}
	return nil
}

// Close waits for operations and iterators under way and closes the database. After it, reads
// through [KV] find nothing, and everything else answers ErrClosed. A second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil
	}
	s.closing = true
	for s.active > 0 {
		s.idle.Wait()
	}
	s.mu.Unlock()
	close(s.closed)
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("store: close: %w", diskFull(err))
	}
	return nil
}

// Err returns the reason why the store takes no more writes, nil while it does.
func (s *Store) Err() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// enter begins an operation; false means that the store is closed. Every true needs an exit.
func (s *Store) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.active++
	return true
}

func (s *Store) exit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active--; s.active == 0 {
		s.idle.Broadcast()
	}
}

// get returns a copy of a value, or ErrNotFound.
func (s *Store) get(key []byte) ([]byte, error) {
	if !s.enter() {
		return nil, ErrClosed
	}
	defer s.exit()
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("store: read: %w", damaged(err))
	}
	v = append(make([]byte, 0, len(v)), v...)
	return v, closer.Close()
}

// commit writes one batch atomically.
func (s *Store) commit(fill func(b *pebble.Batch) error, o *pebble.WriteOptions) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.exit()
	b := s.db.NewBatch()
	defer b.Close()
	if err := fill(b); err != nil {
		return err
	}
	return s.apply(b, o)
}

// apply commits b between enter and exit. Failures are kept from Pebble, see guardedFS, hence the
// look at s.failed after a success.
func (s *Store) apply(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := s.Err(); err != nil {
		return err
	}
	start := time.Now()
	if err := b.Commit(o); err != nil {
		s.fail(err)
	}
	if o.GetSync() {
		s.syncs.record(time.Since(start))
	}
	return s.Err()
}

// fail remembers the first failure.
func (s *Store) fail(err error) {
	wrapped := fmt.Errorf("%w: %w", ErrFailed, diskFull(err))
	if s.failed.CompareAndSwap(nil, &wrapped) {
		s.log.Error("store takes no more writes", "err", err)
	}
}

func diskFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrDiskFull) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// pebbleLog hands Pebble's messages on. Fatalf, which ends the process by default, marks the
// store as failed instead.
type pebbleLog struct{ s *Store }

func (l pebbleLog) Infof(format string, args ...any) {
	if l.s.log.Enabled(context.Background(), slog.LevelDebug) {
		l.s.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.s.log.Error(fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			l.s.fail(err)
			return
		}
	}
	l.s.fail(fmt.Errorf(format, args...))
}

// windowKey appends the 12 bytes that name a window in a key.
func windowKey(kind byte, k rollup.WindowKey) []byte {
	b := binary.BigEndian.AppendUint32(append(make([]byte, 0, 64), kind), k.Epoch)
	b = binary.BigEndian.AppendUint32(b, k.Node)
	return binary.BigEndian.AppendUint32(b, k.Window)
}

func parseWindowKey(key []byte) (rollup.WindowKey, error) {
	if len(key) < 13 {
		return rollup.WindowKey{}, fmt.Errorf("%w: key %x", ErrCorrupt, key)
	}
	be := binary.BigEndian
	return rollup.WindowKey{Epoch: be.Uint32(key[1:]), Node: be.Uint32(key[5:]),
		Window: be.Uint32(key[9:])}, nil
}

func idKey(kind byte, id rollup.Hash) []byte {
	return append(append(make([]byte, 0, 33), kind), id[:]...)
}

func epochKey(kind byte, epoch uint32) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, 5), kind), epoch)
}

// after returns the first key behind all that begin with prefix, nil if there is none.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// scan yields the entries of [from, to) in order until yield returns false; key and value are
// valid only inside.
func (s *Store) scan(from, to []byte, yield func(key, value []byte) (bool, error)) (err error) {
	if !s.enter() {
		return ErrClosed
	}
	defer s.exit()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return fmt.Errorf("store: iterate: %w", err)
	}
	defer func() { err = errors.Join(err, damaged(it.Close())) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("store: iterate: %w", damaged(err))
		}
		if more, err := yield(it.Key(), v); err != nil || !more {
			return err
		}
	}
	return nil
}

// windows lists the windows that have an entry of the given kind.
func (s *Store) windows(kind byte) ([]rollup.WindowKey, error) {
	var list []rollup.WindowKey
	err := s.scan([]byte{kind}, []byte{kind + 1}, func(key, _ []byte) (bool, error) {
		k, err := parseWindowKey(key)
		list = append(list, k)
		return true, err
	})
	return list, err
}
