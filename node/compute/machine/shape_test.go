package machine

import (
	"bytes"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// TestShapes compiles functions that are bad for a compiler, as far as the bounds let them be.
func TestShapes(t *testing.T) {
	m := machine(t)
	get := func(n int) (b []byte) { // each local, twice
		for i := range n {
			b = cat(b, []byte{0x20}, leb(i), []byte{0x1a})
		}
		return b
	}
	set := func(n int) (b []byte) {
		for i := range n {
			b = cat(b, []byte{0x41, 1, 0x21}, leb(i))
		}
		return b
	}
	loops := func(n, locals int) []byte {
		return cat(bytes.Repeat([]byte{0x03, 0x40}, n), get(locals), set(locals),
			bytes.Repeat([]byte{0x41, 0, 0x0d, 0, 0x0b}, n))
	}
	joins := func(n, locals int) (b []byte) {
		one := cat([]byte{0x02, 0x40, 0x41, 0, 0x0d, 0}, []byte{0x41, 1, 0x21, 0, 0x0b})
		return cat(bytes.Repeat(one, n), get(locals))
	}
	nested := func(n, locals int) []byte {
		return cat(bytes.Repeat([]byte{0x02, 0x40}, n), set(locals),
			bytes.Repeat([]byte{0x41, 0, 0x0d, 0, 0x0b}, n), get(locals))
	}
	for name, c := range map[string]struct {
		locals int
		code   []byte
	}{
		"loops":        {150, loops(200, 150)},
		"joins":        {4, joins(1500, 4)},
		"more locals":  {4000, joins(10, 4000)},
		"nested":       {150, nested(200, 150)},
		"nested, wide": {2000, nested(30, 2000)},
	} {
		a := asm{Locals: cat([]byte{1}, leb(c.locals), []byte{0x7f}), Start: c.code}
		code := a.Bytes()
		began := time.Now()
		p, err := m.Load(t.Context(), blake3.Sum256(code), code)
		if err == nil {
			p.Release()
		} else {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %d bytes in %v", name, len(code), time.Since(began))
	}
}
