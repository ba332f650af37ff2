// Package wire decodes the protocol's fixed-width, little-endian fields.
package wire

import (
	"encoding/binary"
	"fmt"
)

var le = binary.LittleEndian

// Reader decodes fields from the front of B. It remembers the first failure; after one, every field
// reads as zero.
type Reader struct {
	B    []byte // what is left
	Err  error
	Kind error // wrapped by failures, unless nil
	// Mark is how many bytes were left where the last field begins: after a failure, the field that
	// could not be decoded.
	Mark int
}

// Fail records a failure, unless there was one before.
func (r *Reader) Fail(format string, args ...any) {
	if r.Err == nil {
		r.Err = fmt.Errorf(format, args...)
		if r.Kind != nil {
			r.Err = fmt.Errorf("%w: %w", r.Kind, r.Err)
		}
	}
	r.B = nil
}

// Has reports whether n bytes are left, and fails when they are not.
func (r *Reader) Has(n int) bool {
	if r.Err == nil && (n < 0 || len(r.B) < n) {
		r.Fail("it ends %d bytes early", n-len(r.B))
	}
	return r.Err == nil
}

// Count returns n if as many elements of at least size bytes each are left, and else fails and
// returns 0. It stands before whatever is allocated for n elements: what a length of a stranger
// drives is bounded by the bytes that came with it.
func (r *Reader) Count(n uint64, size int) int {
	if r.Err == nil && n > uint64(len(r.B)/size) {
		r.Fail("%d elements of %d bytes, where %d bytes are left", n, size, len(r.B))
	}
	if r.Err != nil {
		return 0
	}
	return int(n)
}

// Next returns the next n bytes in place, or nil.
func (r *Reader) Next(n int) []byte {
	if r.Err == nil {
		r.Mark = len(r.B)
	}
	if !r.Has(n) {
		return nil
	}
	b := r.B[:n:n]
	r.B = r.B[n:]
	return b
}

// Fill fills dst.
func (r *Reader) Fill(dst []byte) { copy(dst, r.Next(len(dst))) }

// U8 decodes a byte.
func (r *Reader) U8() uint8 {
	if b := r.Next(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 decodes two bytes.
func (r *Reader) U16() uint16 {
	if b := r.Next(2); b != nil {
		return le.Uint16(b)
	}
	return 0
}

// U32 decodes four bytes.
func (r *Reader) U32() uint32 {
	if b := r.Next(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

// U64 decodes eight bytes.
func (r *Reader) U64() uint64 {
	if b := r.Next(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

// Tag fails unless the next bytes are the tag.
func (r *Reader) Tag(tag string) {
	if b := r.Next(len(tag)); b != nil && string(b) != tag {
		r.Fail("it begins with %q, not %q", b, tag)
	}
}

// Name decodes a length byte and as many bytes of printable ASCII, 1 to 255.
func (r *Reader) Name() string {
	b := r.Next(int(r.U8()))
	if r.Err == nil && !Printable(string(b)) {
		r.Fail("%q is not 1 to 255 bytes of printable ASCII", b)
	}
	return string(b)
}

// Printable reports whether s is 1 to 255 bytes of printable ASCII.
func Printable(s string) bool {
	if len(s) == 0 || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// End returns the first failure, which may be that bytes are left over.
func (r *Reader) End() error {
	if r.Err == nil && len(r.B) > 0 {
		r.Mark = len(r.B)
		r.Fail("%d bytes are left over", len(r.B))
	}
	return r.Err
}
