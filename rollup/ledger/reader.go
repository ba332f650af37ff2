package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian // in record keys, so that they sort like the numbers
)

var errShort = errors.New("it ends early")

// reader decodes fields from the front of b and remembers the first failure; after one, every field reads as zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

// next returns the next n bytes in place, or nil.
func (r *reader) next(n int) []byte {
	if r.err == nil && len(r.b) < n {
		r.err, r.b = errShort, nil
	}
	if r.err != nil {
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) bytes(dst []byte) { copy(dst, r.next(len(dst))) }

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

// name decodes a length byte and as many bytes of printable ASCII, 1 to MaxName.
func (r *reader) name() string {
	n := r.next(1)
	if n == nil {
		return ""
	}
	b := r.next(int(n[0]))
	if r.err == nil && !printable(string(b)) {
		r.fail("%q is not 1 to %d bytes of printable ASCII", b, MaxName)
	}
	return string(b)
}

// end returns the first failure, which may be that bytes are left over.
func (r *reader) end() error {
	if len(r.b) > 0 {
		r.fail("%d bytes are left over", len(r.b))
	}
	return r.err
}

// printable reports whether s is 1 to MaxName bytes of printable ASCII.
func printable(s string) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
