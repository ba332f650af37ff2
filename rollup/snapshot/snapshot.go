// Package snapshot is the form in which a ledger's records travel from one node to another: a
// stream of records in key order, cut into chunks of one size, and a root over these. Who knows
// length and root checks each chunk by itself, before it is stored. docs/rotation.md has the bytes.
package snapshot

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

const (
	// ChunkSize is the size in bytes of each chunk but the last.
	ChunkSize = 1 << 20
	// MaxChunks bounds a stream, to 16 TiB, and so what a certified length makes a reader prepare.
	MaxChunks = 1 << 24
	// MaxValue bounds the value of a record, in bytes, and so the memory of a reader.
	MaxValue = 1 << 28
)

// Errors that callers branch on.
var (
	ErrChunk   = errors.New("snapshot: not the chunk that was signed")
	ErrRecords = errors.New("snapshot: not a stream of records")
)

// TreeKind is the tree over chunks, by their place in the stream.
var TreeKind = rollup.NewTreeKind("snapshot")

// Summary is what is signed of a stream.
type Summary struct {
	Bytes uint64 // at least 1, of at most MaxChunks chunks
	Root  rollup.Hash
}

// Chunks returns the number of chunks, 0 for a length that no stream has.
func (s *Summary) Chunks() uint64 {
	if n := (s.Bytes-1)/ChunkSize + 1; s.Bytes > 0 && n <= MaxChunks {
		return n
	}
	return 0
}

// Size returns the size in bytes of a chunk of the stream.
func (s *Summary) Size(index uint64) int {
	return int(min(ChunkSize, s.Bytes-index*ChunkSize))
}

// Check checks one chunk by its path to the root: ErrChunk.
func (s *Summary) Check(index uint64, chunk []byte, path []rollup.Hash) error {
	if index >= s.Chunks() || len(chunk) != s.Size(index) {
		return fmt.Errorf("%w: chunk %d has %d bytes", ErrChunk, index, len(chunk))
	}
	leaf := TreeKind.LeafHash(chunk)
	if err := rollup.VerifyPath(TreeKind, s.Root, leaf, index, s.Chunks(), path); err != nil {
		return fmt.Errorf("%w: chunk %d: %w", ErrChunk, index, err)
	}
	return nil
}

// Writer writes a stream and hashes it on the way. It is not safe for concurrent use.
type Writer struct {
	to     io.Writer
	last   []byte
	chunk  []byte
	leaves []byte
	bytes  uint64
	head   [1 + 255 + 4]byte
}

// NewWriter returns a writer that hands on whole chunks, each in one Write.
func NewWriter(to io.Writer) *Writer {
	return &Writer{to: to, chunk: make([]byte, 0, ChunkSize)}
}

// Put adds a record. Keys have 1 to 255 bytes and ascend, values at most MaxValue: ErrRecords.
// Other errors are those of the writer below.
func (w *Writer) Put(key, value []byte) error {
	if len(key) == 0 || len(key) > 255 || len(value) > MaxValue ||
		w.bytes+uint64(len(w.chunk)) > 0 && bytes.Compare(w.last, key) >= 0 {
		return fmt.Errorf("%w: key %x with a value of %d bytes", ErrRecords, key, len(value))
	}
	w.last = append(w.last[:0], key...)
	head := append(append(w.head[:0], byte(len(key))), key...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(value)))
	return errors.Join(w.write(head), w.write(value))
}

func (w *Writer) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), ChunkSize-len(w.chunk))
		w.chunk, b = append(w.chunk, b[:n]...), b[n:]
		if len(w.chunk) == ChunkSize {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) flush() error {
	leaf := TreeKind.LeafHash(w.chunk)
	w.leaves = append(w.leaves, leaf[:]...)
	w.bytes += uint64(len(w.chunk))
	_, err := w.to.Write(w.chunk)
	w.chunk = w.chunk[:0]
	return err
}

// End writes the last chunk and returns what is to be signed, and the hashes of the chunks, of 32
// bytes each, for Tree.
func (w *Writer) End() (Summary, []byte, error) {
	if len(w.chunk) > 0 {
		if err := w.flush(); err != nil {
			return Summary{}, nil, err
		}
	}
	leaves := bytes.Clone(w.leaves)
	return Summary{w.bytes, Tree(w.leaves).Root()}, leaves, nil
}

// Tree returns the tree over chunks with these hashes, which it keeps.
func Tree(leaves []byte) *rollup.Tree { return rollup.TreeOfLeaves(TreeKind, leaves) }

// Records reads a whole stream, through a buffer. It allocates no more than twice what the
// stream has already shown of a value. Key and value are valid until the next pair. After the first
// error, ErrRecords or the reader's, in a pair without a key, there are no more.
func Records(from io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		from := bufio.NewReaderSize(from, 1<<16)
		var r Record
		var last []byte
		for {
			err := r.read(from)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && last != nil && bytes.Compare(last, r.Key) >= 0 {
				err = fmt.Errorf("%w: key %x does not ascend", ErrRecords, r.Key)
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			last = append(last[:0], r.Key...)
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Record is one record of a stream.
type Record struct{ Key, Value []byte }

// read reads the next record; io.EOF when there is none.
func (r *Record) read(from io.Reader) error {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:1]); err != nil {
		return err
	}
	if size[0] == 0 {
		return fmt.Errorf("%w: an empty key", ErrRecords)
	}
	r.Key = slices.Grow(r.Key[:0], int(size[0]))[:size[0]]
	if _, err := io.ReadFull(from, r.Key); err != nil {
		return cut(err)
	}
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return cut(err)
	}
	length := binary.LittleEndian.Uint32(size[:])
	if length > MaxValue {
		return fmt.Errorf("%w: a value of %d bytes", ErrRecords, length)
	}
	r.Value = r.Value[:0]
	for left := int(length); left > 0; {
		n := min(left, max(4096, len(r.Value)))
		before := len(r.Value)
		r.Value = slices.Grow(r.Value, n)[:before+n]
		if _, err := io.ReadFull(from, r.Value[before:]); err != nil {
			return cut(err)
		}
		left -= n
	}
	return nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within a record", ErrRecords)
	}
	return err
}
