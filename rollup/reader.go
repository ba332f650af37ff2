package rollup

import "fmt"

// reader decodes fields from the front of b and remembers the first failure; after one, every field reads as zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	r.b = nil
}

// has reports whether n bytes are left, and fails when they are not.
func (r *reader) has(n int) bool {
	if r.err == nil && (n < 0 || len(r.b) < n) {
		r.fail("it ends %d bytes early", n-len(r.b))
	}
	return r.err == nil
}

// next returns the next n bytes in place, or nil.
func (r *reader) next(n int) []byte {
	if !r.has(n) {
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// bytes fills dst.
func (r *reader) bytes(dst []byte) { copy(dst, r.next(len(dst))) }

func (r *reader) u8() uint8 {
	if b := r.next(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.next(2); b != nil {
		return le.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.next(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.next(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

func (r *reader) hash() (h Hash) {
	r.bytes(h[:])
	return h
}

func (r *reader) tag(tag string) {
	if b := r.next(len(tag)); b != nil && string(b) != tag {
		r.fail("it begins with %q, not %q", b, tag)
	}
}

// end returns the first failure, which may be that bytes are left over.
func (r *reader) end() error {
	if len(r.b) > 0 {
		r.fail("%d bytes are left over", len(r.b))
	}
	return r.err
}
