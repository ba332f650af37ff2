package snapshots

import (
	"context"
	"errors"
	"fmt"
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

// Fetch gets a snapshot that a committee signed into a folder of snapshots, where a Keeper finds it
// as its own. Each chunk is checked before it is stored. A server that gives another chunk, or does
// not answer for some seconds, is not asked again, and refused hears of it; it and told may be nil.
// Errors: ErrServers, the context's, and the disk's.
func Fetch(ctx context.Context, dir string, s ledger.Snapshot, servers []Server,
	told func(bytes uint64), refused func(server int, err error)) error {
	folder := Folder(dir, s.Height)
	if whole(folder, s) {
		return nil
	}
	part := folder + partSuffix
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(part, 0o700)); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	f := &fetch{Summary: snapshot.Summary{Bytes: s.Bytes, Root: s.Root}, height: s.Height,
		servers: servers, told: told, refused: refused, out: make([]bool, len(servers))}
	if f.Chunks() == 0 {
		return fmt.Errorf("%w: of %d bytes", snapshot.ErrChunk, s.Bytes)
	}
	var err error
	if f.stream, err = os.OpenFile(filepath.Join(part, streamName),
		os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	leaves, err := f.run(ctx)
	if err == nil {
		err = f.stream.Sync()
	}
	if err := errors.Join(err, f.stream.Close()); err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	if root := snapshot.Tree(leaves).Root(); root != s.Root {
		return fmt.Errorf("%w: the whole has root %s", snapshot.ErrChunk, root)
	}
	if err := errors.Join(writeFile(filepath.Join(part, leavesName), leaves),
		Sign(part, s)); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	return Finish(dir, s.Height)
}

// whole reports whether a folder has the snapshot, by its names and sizes.
func whole(folder string, s ledger.Snapshot) bool {
	e, err := (&Keeper{dir: filepath.Dir(folder)}).load(s.Height)
	return err == nil && e.Snapshot == s
}

type fetch struct {
	snapshot.Summary
	height  uint64
	stream  *os.File
	servers []Server
	told    func(bytes uint64)
	refused func(server int, err error)

	mu   sync.Mutex
	out  []bool // servers that are not asked any more
	done uint64 // bytes
}

// run fills the stream and returns the hashes of its chunks.
func (f *fetch) run(ctx context.Context) ([]byte, error) {
	size := len(rollup.Hash{})
	leaves := make([]byte, f.Chunks()*uint64(size))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan uint64)
	var tasks sync.WaitGroup
	for range inFlight {
		tasks.Go(func() {
			for i := range next {
				leaf, err := f.chunk(ctx, i)
				if err != nil {
					cancel(err)
					continue
				}
				copy(leaves[int(i)*size:], leaf[:])
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
	return leaves, context.Cause(ctx)
}

// chunk gets one chunk, from the server whose turn it is, or another one.
func (f *fetch) chunk(ctx context.Context, i uint64) (rollup.Hash, error) {
	var last error
	for n := range f.servers {
		at := int(i+uint64(n)) % len(f.servers)
		if f.isOut(at) {
			continue
		}
		chunk, err := f.ask(ctx, at, i)
		if ctx.Err() != nil {
			return rollup.Hash{}, context.Cause(ctx)
		}
		if err != nil {
			last = err
			f.leave(at, err)
			continue
		}
		if _, err := f.stream.WriteAt(chunk, int64(i*snapshot.ChunkSize)); err != nil {
			return rollup.Hash{}, fmt.Errorf("snapshots: %w", err)
		}
		f.mu.Lock()
		f.done += uint64(len(chunk))
		if f.told != nil {
			f.told(f.done)
		}
		f.mu.Unlock()
		return snapshot.TreeKind.LeafHash(chunk), nil
	}
	return rollup.Hash{}, fmt.Errorf("%w: chunk %d: %w", ErrServers, i, last)
}

// ask asks one server, again when it does not answer: the only one may be away for a moment.
func (f *fetch) ask(ctx context.Context, server int, i uint64) ([]byte, error) {
	for attempt := 0; ; attempt++ {
		chunk, path, err := f.servers[server].Chunk(ctx, f.height, i)
		switch {
		case err == nil:
			return chunk, f.Check(i, chunk, path)
		case attempt == attempts, f.isOut(server):
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
