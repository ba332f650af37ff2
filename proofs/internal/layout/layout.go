// Package layout walks through gnark's encodings without decoding them. gnark's decoders allocate
// what a length says before they read what should follow it; a file that was walked through first
// holds at least the bytes that its lengths speak of.
package layout

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Compressed sizes of points of BN254 in bytes; one that is not compressed takes twice as much.
const (
	G1 = 32
	G2 = 64
)

// ErrLength is the error for a length that the bytes behind it cannot fulfil, and for an end that
// comes too early.
var ErrLength = errors.New("layout: more elements than bytes")

// Walker reads fields one after another, big-endian ones as gnark writes them. It remembers the
// first failure; after one, every field reads as zero. It allocates a buffer of 64 KiB, whatever
// the input says.
type Walker struct {
	r    *bufio.Reader
	left int64 // bytes that the input has
	err  error
}

// New returns a walker over the next size bytes of r.
func New(r io.Reader, size int64) *Walker {
	return &Walker{r: bufio.NewReaderSize(io.LimitReader(r, size), 1<<16), left: size}
}

// End returns the first failure, which may be that bytes are left over.
func (w *Walker) End() error {
	if w.err == nil && w.left > 0 {
		w.err = fmt.Errorf("layout: %d bytes are left over", w.left)
	}
	return w.err
}

// Count checks that n elements of at least size bytes each fit in the bytes that are left, and
// returns n, or 0.
func (w *Walker) Count(n uint64, size int) uint64 {
	if w.err == nil && n > uint64(w.left)/uint64(size) {
		w.err = fmt.Errorf("%w: %d of %d bytes each, where %d are left", ErrLength, n, size, w.left)
	}
	if w.err != nil {
		return 0
	}
	return n
}

// Uint reads an integer of 1, 2, 4 or 8 bytes.
func (w *Walker) Uint(size int) (v uint64) {
	b := w.peek(size)
	var padded [8]byte
	copy(padded[8-len(b):], b)
	w.Skip(int64(size))
	if w.err != nil {
		return 0
	}
	return binary.BigEndian.Uint64(padded[:])
}

// Skip passes over bytes.
func (w *Walker) Skip(n int64) {
	if w.Count(uint64(n), 1) == 0 {
		return
	}
	for at := n; at > 0; {
		part := int(min(at, 1<<30))
		if _, w.err = w.r.Discard(part); w.err != nil {
			return
		}
		at -= int64(part)
	}
	w.left -= n
}

// Point passes over a point of a group, compressed or not.
func (w *Walker) Point(group int) {
	if b := w.peek(1); len(b) == 1 && b[0]>>6 == 0 { // gnark's flag for both coordinates
		group *= 2
	}
	w.Skip(int64(group))
}

// Points passes over n points.
func (w *Walker) Points(group int, n uint64) {
	for range w.Count(n, group) {
		if w.Point(group); w.err != nil {
			return
		}
	}
}

// Slice passes over points behind their number in four bytes.
func (w *Walker) Slice(group int) { w.Points(group, w.Uint(4)) }

func (w *Walker) peek(n int) []byte {
	if w.Count(uint64(n), 1) == 0 {
		return nil
	}
	b, err := w.r.Peek(n)
	if err != nil {
		w.err = fmt.Errorf("%w: %w", ErrLength, err)
		return nil
	}
	return b
}
