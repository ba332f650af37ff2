package snapshot

import (
	"errors"
	"fmt"
	"io"
)

// Whole returns a reader of a stream that fails at its end when it was not what was signed:
// ErrChunk instead of io.EOF. What is read before that has to be without effect until then.
func Whole(from io.Reader, s Summary) io.Reader {
	w := &whole{from: from, signed: s}
	w.hashes = NewWriter(io.Discard)
	return w
}

type whole struct {
	from   io.Reader
	signed Summary
	hashes *Writer // of the stream as it comes
}

// Read implements io.Reader.
func (w *whole) Read(b []byte) (int, error) {
	n, err := w.from.Read(b)
	if failed := w.hashes.write(b[:n]); failed != nil {
		return n, failed
	}
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if got, _, failed := w.hashes.End(); failed != nil || got != w.signed {
		return n, fmt.Errorf("%w: a stream of %d bytes with root %s", ErrChunk, got.Bytes, got.Root)
	}
	return n, err
}
