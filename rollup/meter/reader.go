package meter

// reader decodes the module's numbers. The first failure stays.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(reason Reason, format string, args ...any) {
	if r.err == nil {
		r.err = refuse(reason, format, args...)
	}
	r.at = len(r.b)
}

func (r *reader) left() int { return len(r.b) - r.at }

func (r *reader) u8() byte {
	if r.at >= len(r.b) {
		r.fail(ReasonMalformed, "it ends early")
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) next(n uint64) []byte {
	if n > uint64(r.left()) {
		r.fail(ReasonMalformed, "it ends early")
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at : r.at]
}

// u32 decodes an unsigned number of 32 bits in base 128.
func (r *reader) u32() uint32 {
	n := uint64(0)
	for shift := 0; shift < 35; shift += 7 {
		b := r.u8()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if n >= 1<<32 {
				break
			}
			return uint32(n)
		}
	}
	r.fail(ReasonMalformed, "a number above 32 bits")
	return 0
}

// below decodes an index.
func (r *reader) below(count uint32, of string) uint32 {
	n := r.u32()
	if r.err == nil && n >= count {
		r.fail(ReasonIndex, "%s %d of %d", of, n, count)
	}
	return n
}

// count decodes how many entries follow, each of one byte at least.
func (r *reader) count(of string) uint32 {
	n := r.u32()
	if r.err == nil && uint64(n) > uint64(r.left()) {
		r.fail(ReasonMalformed, "%d %s", n, of)
		return 0
	}
	return n
}

// signed passes over a signed number of up to some bytes in base 128.
func (r *reader) signed(bytes int) {
	for range bytes {
		if r.u8() < 0x80 {
			return
		}
	}
	r.fail(ReasonMalformed, "a number that does not end")
}

func (r *reader) name() string { return string(r.next(uint64(r.u32()))) }

// valueType decodes a type of values, none of vectors.
func (r *reader) valueType() byte {
	t := r.u8()
	if !isValue(t) && r.err == nil {
		r.fail(ReasonUnsupported, "type 0x%x", t)
	}
	return t
}

func isValue(t byte) bool {
	return t >= typeF64 && t <= typeI32 || t == typeFuncref || t == typeExtern
}

// since returns what was read from an offset on.
func (r *reader) since(at int) []byte { return r.b[at:r.at] }

func appendU32(dst []byte, n uint32) []byte { return appendU64(dst, uint64(n)) }

func appendU64(dst []byte, n uint64) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// appendS64 encodes a signed number.
func appendS64(dst []byte, n int64) []byte {
	for n >= 0x40 || n < -0x40 {
		dst = append(dst, byte(n)&0x7f|0x80)
		n >>= 7
	}
	return append(dst, byte(n)&0x7f)
}

func appendName(dst []byte, name string) []byte {
	return append(appendU32(dst, uint32(len(name))), name...)
}
