package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// Server is a node that has snapshots.
type Server interface {
	// Chunk returns a chunk of the snapshot of a block, and its path.
	Chunk(ctx context.Context, height, index uint64) ([]byte, []rollup.Hash, error)
}

// ErrServers says that no server is left that has the snapshot.
var ErrServers = errors.New("snapshots: no node has the snapshot whole")

const (
	inFlight = 4 // chunks that are fetched at once
	attempts = 3 // at a server that did not answer, after the first
)

// gotName is of the hashes of the chunks that were fetched so far, zeros for those that were not.
const gotName = "got"

// Fetch gets a snapshot that a committee signed into a folder of snapshots, where a Keeper finds it
// as its own. Each chunk is checked before it is stored, and a fetch that was cut off goes on where
// it ended: Begun. A server that gives another chunk, that has the snapshot no more, or does not
// answer for some seconds, is not asked again, and refused hears of it; it and told may be nil. One
// fetch at a time works in a folder. Errors: ErrServers, the context's, and the disk's.
func Fetch(ctx context.Context, dir string, s ledger.Snapshot, servers []Server,
	told func(bytes uint64), refused func(server int, err error)) error {
	folder := Folder(dir, s.Height)
	if whole(folder, s) {
		return nil
	}
	f := &fetch{Summary: snapshot.Summary{Bytes: s.Bytes, Root: s.Root}, height: s.Height,
		servers: servers, told: told, refused: refused, out: make([]bool, len(servers))}
	if f.Chunks() == 0 {
		return fmt.Errorf("%w: of %d bytes", snapshot.ErrChunk, s.Bytes)
	}
	part := folder + partSuffix
	if err := errors.Join(os.RemoveAll(folder), prepare(dir, part, s)); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	leaves, err := f.fill(ctx, part)
	if err != nil {
		if f.done == 0 && !f.begun {
			err = errors.Join(err, os.RemoveAll(part))
		}
		return err
	}
	if root := snapshot.Tree(leaves).Root(); root != s.Root {
		return errors.Join(fmt.Errorf("%w: the whole has root %s", snapshot.ErrChunk, root),
			os.RemoveAll(part))
	}
	if err := errors.Join(writeFile(filepath.Join(part, leavesName), leaves),
		os.Remove(filepath.Join(part, gotName))); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	return Finish(dir, s.Height)
}

// Begun returns the snapshot whose fetch into a folder of snapshots was cut off.
func Begun(dir string) (s ledger.Snapshot, ok bool) {
	parts, _ := filepath.Glob(filepath.Join(dir, "*"+partSuffix))
	for _, part := range parts {
		if s, err := signed(part); err == nil {
			return s, true
		}
	}
	return s, false
}

// prepare makes the folder of a fetch, which remembers what it is of, and removes those of others.
func prepare(dir, part string, s ledger.Snapshot) error {
	parts, err := filepath.Glob(filepath.Join(dir, "*"+partSuffix))
	for _, other := range parts {
		if begun, bad := signed(other); bad != nil || begun != s {
			err = errors.Join(err, os.RemoveAll(other))
		}
	}
	return errors.Join(err, os.MkdirAll(part, 0o700), Sign(part, s))
}

// whole reports whether a folder has the snapshot, by its names and sizes.
func whole(folder string, s ledger.Snapshot) bool {
	e, err := (&Keeper{dir: filepath.Dir(folder)}).load(s.Height)
	return err == nil && e.Snapshot == s
}

type fetch struct {
	snapshot.Summary
	height      uint64
	stream, got *os.File
	servers     []Server
	told        func(bytes uint64)
	refused     func(server int, err error)

	begun bool // chunks of an earlier fetch are there

	mu   sync.Mutex
	out  []bool // servers that are not asked any more
	done uint64 // bytes
}

const hashSize = len(rollup.Hash{})

// fill fills the stream of a folder and returns the hashes of its chunks.
func (f *fetch) fill(ctx context.Context, part string) (leaves []byte, err error) {
	open := func(name string) (*os.File, error) {
		return os.OpenFile(filepath.Join(part, name), os.O_CREATE|os.O_RDWR, 0o600)
	}
	if f.stream, err = open(streamName); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	defer func() { err = errors.Join(err, f.stream.Close()) }()
	if f.got, err = open(gotName); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	defer func() { err = errors.Join(err, f.got.Close()) }()
	leaves = make([]byte, f.Chunks()*uint64(hashSize))
	n, err := f.got.ReadAt(leaves, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	f.begun = n > 0
	if err := f.run(ctx, leaves); err != nil {
		return nil, err
	}
	if err := f.stream.Sync(); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	return leaves, nil
}

// run gets the chunks. Those with hashes are taken from the stream where they lie there as they
// were: the files of a machine that lost its power may be of different moments.
func (f *fetch) run(ctx context.Context, leaves []byte) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan uint64)
	var tasks sync.WaitGroup
	for range inFlight {
		tasks.Go(func() {
			for i := range next {
				leaf := leaves[int(i)*hashSize:][:hashSize]
				if err := f.one(ctx, i, leaf); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := uint64(0); i < f.Chunks() && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	tasks.Wait()
	return context.Cause(ctx)
}

// one takes a chunk from the stream or gets it, and sets its hash.
func (f *fetch) one(ctx context.Context, i uint64, leaf []byte) error {
	if rollup.Hash(leaf) != (rollup.Hash{}) {
		chunk := make([]byte, f.Size(i))
		_, err := f.stream.ReadAt(chunk, int64(i*snapshot.ChunkSize))
		if err == nil && snapshot.TreeKind.LeafHash(chunk) == rollup.Hash(leaf) {
			f.have(chunk)
			return nil
		}
	}
	chunk, err := f.chunk(ctx, i)
	if err != nil {
		return err
	}
	hash := snapshot.TreeKind.LeafHash(chunk)
	copy(leaf, hash[:])
	_, err = f.stream.WriteAt(chunk, int64(i*snapshot.ChunkSize))
	if err == nil {
		_, err = f.got.WriteAt(leaf, int64(i)*int64(hashSize))
	}
	if err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	f.have(chunk)
	return nil
}

func (f *fetch) have(chunk []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done += uint64(len(chunk))
	if f.told != nil {
		f.told(f.done)
	}
}

// chunk gets one chunk, from the server whose turn it is, or another one.
func (f *fetch) chunk(ctx context.Context, i uint64) ([]byte, error) {
	var last error
	for n := range f.servers {
		at := int(i+uint64(n)) % len(f.servers)
		if f.isOut(at) {
			continue
		}
		chunk, err := f.ask(ctx, at, i)
		if err == nil {
			return chunk, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		last = err
		f.leave(at, err)
	}
	return nil, fmt.Errorf("%w: chunk %d: %w", ErrServers, i, last)
}

// ask asks one server, again when it does not answer: the only one may be away for a moment.
func (f *fetch) ask(ctx context.Context, server int, i uint64) ([]byte, error) {
	for attempt := 0; ; attempt++ {
		chunk, path, err := f.servers[server].Chunk(ctx, f.height, i)
		switch {
		case err == nil:
			return chunk, f.Check(i, chunk, path)
		case attempt == attempts, errors.Is(err, ErrUnknown), f.isOut(server):
			return nil, err
		}
		select {
		case <-time.After(time.Second << attempt):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (f *fetch) isOut(server int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out[server]
}

func (f *fetch) leave(server int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.out[server] && f.refused != nil {
		f.refused(server, err)
	}
	f.out[server] = true
}
