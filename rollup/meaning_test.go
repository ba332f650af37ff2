package rollup_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
)

// A field is part of an export file, with the errors that refuse another value of it.
type field struct {
	name string
	size int
	want []error
}

// layout cuts a file into its fields, by section 10 of the document.
type layout struct {
	file   []byte
	at     int
	fields []field
}

func (l *layout) add(name string, size int, want ...error) []byte {
	l.fields = append(l.fields, field{name, size, want})
	l.at += size
	return l.file[l.at-size : l.at]
}

func (l *layout) u32(name string, want ...error) int {
	b := l.add(name, 4, want...)
	return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 | int(b[3])<<24
}

func (l *layout) u8(name string, want ...error) int { return int(l.add(name, 1, want...)[0]) }

func (l *layout) path(name string, want ...error) {
	for range l.u8(name+" length", rollup.ErrMalformed) {
		l.add(name, 32, want...)
	}
}

// bound is what refuses another value of a field of the header when no check before does: the node
// signed another rollup.
var bound = []error{rollup.ErrWord}

func (l *layout) ticket(t export.Type) {
	inclusion := t == export.TypeAck || t == export.TypeStatementAck
	// of is what refuses a field of the header in a file of an ack, whose path is looked at first
	of := func(err error) []error {
		if inclusion {
			return []error{err}
		}
		return bound
	}
	l.add("node key", 32, rollup.ErrWord)
	l.u32("ticket length", rollup.ErrMalformed)
	l.add("header tag", 8, rollup.ErrMalformed)
	l.add("header network", 32, rollup.ErrNetwork)
	l.add("epoch", 4, of(rollup.ErrWindow)...)
	l.add("window", 4, bound...)
	l.add("node", 4, of(rollup.ErrWindow)...)
	acks := l.u32("ack count", rollup.ErrRows, rollup.ErrCount, rollup.ErrWord)
	part := func(absent bool, first error) []error {
		if absent {
			return []error{rollup.ErrMalformed}
		} else if first != nil && inclusion {
			return []error{first}
		}
		return bound
	}
	ackRoot, listRoot, statementRoot := error(rollup.ErrPath), error(nil), error(nil)
	if t == export.TypeStatementAck {
		ackRoot, listRoot, statementRoot = nil, rollup.ErrPath, rollup.ErrPath
	}
	l.add("ack root", 32, part(acks == 0, ackRoot)...)
	l.add("ack signature", 48, part(acks == 0, nil)...)
	statements := l.u32("statement count", rollup.ErrMalformed, rollup.ErrRows, rollup.ErrCount,
		rollup.ErrPath, rollup.ErrWord)
	l.add("statement root", 32, part(statements == 0, statementRoot)...)
	l.add("list root", 32, part(statements == 0, listRoot)...)
	l.add("multi-signature", 48, part(statements == 0, nil)...)
	rows := int(l.add("row count", 1, rollup.ErrRows, rollup.ErrMalformed)[0])
	l.add("row count", 1, rollup.ErrMalformed)
	l.add("rows root", 32, rollup.ErrRows)
	l.add("rows", 24*rows, rollup.ErrRows)
	l.add("word", 64, rollup.ErrWord)
	l.add("term", 4, rollup.ErrTerm)
	bitmap := l.u8("bitmap length", rollup.ErrMalformed)
	l.add("bitmap", bitmap, rollup.ErrBitmap, rollup.ErrQuorum, rollup.ErrSignature)
	l.add("committee's signature", 48, rollup.ErrSignature)
}

// ack is bytes 16 to 79 of one.
func (l *layout) ack() {
	l.add("ack's epoch and node", 8, rollup.ErrWindow)
	l.add("ack", 56, rollup.ErrPath, rollup.ErrNumbers)
}

func (l *layout) acksPart() {
	acks := 0
	for range l.u32("run count", rollup.ErrMalformed, rollup.ErrCount, rollup.ErrUnsorted,
		rollup.ErrNumbers) {
		l.add("run's client", 8, rollup.ErrClients, rollup.ErrUnsorted, rollup.ErrMalformed)
		l.add("run's service", 4, rollup.ErrNotGranted, rollup.ErrRows, rollup.ErrUnsorted,
			rollup.ErrRoot)
		l.add("run's first number", 4, rollup.ErrRoot, rollup.ErrNumbers)
		acks += l.u32("run's length", rollup.ErrCount, rollup.ErrMalformed, rollup.ErrNumbers)
	}
	for range acks {
		l.add("units", 8, rollup.ErrUnits, rollup.ErrRows)
		l.add("request", 32, rollup.ErrRoot)
	}
}

func (l *layout) leb128(name string, want ...error) (v uint64) {
	size := 1
	for l.file[l.at+size-1] >= 0x80 {
		size++
	}
	for i, b := range l.add(name, size, want...) {
		v |= uint64(b&0x7f) << (7 * i)
	}
	return v
}

func (l *layout) statementsPart() (rung int) {
	rung = l.u8("rung", rollup.ErrMalformed, rollup.ErrParts, rollup.ErrCount)
	l.u32("list length", rollup.ErrMalformed)
	entries := l.u32("list count", rollup.ErrMalformed, rollup.ErrCount, rollup.ErrList,
		rollup.ErrUnsorted)
	for range entries {
		l.leb128("entry's client", rollup.ErrList, rollup.ErrUnsorted, rollup.ErrMalformed,
			rollup.ErrClients)
		l.leb128("entry's service", rollup.ErrList, rollup.ErrUnsorted, rollup.ErrMalformed)
		l.leb128("entry's first number", rollup.ErrList, rollup.ErrMalformed)
		l.leb128("entry's acks", rollup.ErrList, rollup.ErrMalformed, rollup.ErrStatement)
	}
	for range entries {
		l.add("statement's units", 8, rollup.ErrRows, rollup.ErrStatement, rollup.ErrRoot)
		l.add("statement's root", 32, rollup.ErrRoot, rollup.ErrStatement, rollup.ErrMalformed)
	}
	return rung
}

// extract is the part of the registry. Its free bytes have no error.
func (l *layout) extract() {
	for range l.u32("client count", rollup.ErrMalformed) {
		l.add("client", 8, rollup.ErrClients, rollup.ErrUnsorted, rollup.ErrMalformed)
		l.add("client's key", 96, rollup.ErrMalformed)
		l.add("client's payer", 4, rollup.ErrRows)
		l.add("client's limits", 24)
		l.add("client's last bytes", 4, rollup.ErrMalformed)
	}
	for range l.u32("service count", rollup.ErrMalformed) {
		l.add("service", 4, rollup.ErrClients, rollup.ErrUnsorted)
		l.add("service's cap", 8)
	}
}

func layoutOf(file []byte) *layout {
	l := &layout{file: file}
	l.add("tag", 8, rollup.ErrMalformed)
	l.add("network", 32, rollup.ErrNetwork)
	kind := export.Type(l.u8("type", rollup.ErrMalformed, rollup.ErrCount))
	switch kind {
	case export.TypeAck:
		l.ticket(kind)
		l.ack()
		l.u32("leaf index", rollup.ErrPath)
		l.path("path", rollup.ErrPath)
	case export.TypeRollup:
		l.ticket(kind)
		end := l.u32("evidence length", rollup.ErrMalformed, rollup.ErrCount) + l.at
		l.acksPart()
		if l.at < end {
			l.statementsPart()
		}
		l.extract()
	case export.TypeSettlement:
		l.add("epoch", 4, rollup.ErrSignature)
		for range l.u32("row count", rollup.ErrMalformed, rollup.ErrUnsorted) {
			l.add("row's node, service, payer", 12, rollup.ErrUnsorted, rollup.ErrSettlement,
				rollup.ErrSignature)
			l.add("row's acks and units", 16, rollup.ErrSettlement, rollup.ErrSignature,
				rollup.ErrOverflow)
			l.add("row's money", 32, rollup.ErrSettlement, rollup.ErrSignature, rollup.ErrOverflow)
		}
		l.add("next committee", 32, rollup.ErrSettlement)
		bitmap := l.u8("bitmap length", rollup.ErrMalformed)
		l.add("bitmap", bitmap, rollup.ErrBitmap, rollup.ErrQuorum, rollup.ErrSignature)
		l.add("committee's signature", 48, rollup.ErrSignature)
	case export.TypeStatementAck:
		l.ticket(kind)
		l.ack()
		l.path("path", rollup.ErrPath)
		l.add("payer", 4, rollup.ErrPath)
		l.add("first and acks", 8, rollup.ErrPath, rollup.ErrNumbers, rollup.ErrStatement)
		l.add("units", 8, rollup.ErrPath, rollup.ErrStatement)
		l.add("statement index", 4, rollup.ErrPath)
		l.path("list path", rollup.ErrPath)
		l.path("statement path", rollup.ErrPath)
	}
	return l
}

// TestBytesMean changes every byte of every file, and wants it refused by a check of what the byte
// is about. Where the exporter's word stands (section 10) it may be valid: testdata/free.json lists
// these bytes, for the independent verifier to find the same.
func TestBytesMean(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
	free := map[string][]int{}
	for name, file := range testExports(t) {
		l := layoutOf(file)
		if l.at != len(file) {
			t.Fatalf("%s: the fields have %d bytes, the file %d", name, l.at, len(file))
		}
		faults := map[string]error{}
		i := 0
		for _, f := range l.fields {
			for end := i + f.size; i < end; i++ {
				if i%step != 0 {
					continue
				}
				b := slices.Clone(file)
				b[i] ^= 1 << (i % 8)
				_, err := export.Verify(b, trust())
				right := func(want error) bool { return errors.Is(err, want) }
				if err == nil && len(f.want) == 0 {
					free[name] = append(free[name], i)
				} else if len(f.want) > 0 && !slices.ContainsFunc(f.want, right) {
					faults[fmt.Sprintf("%s: %s", name, f.name)] = err
				}
			}
		}
		for what, err := range faults {
			t.Errorf("%s: %v", what, err)
		}
	}
	if step == 1 {
		text, err := json.Marshal(free)
		if err != nil {
			t.Fatal(err)
		}
		rollup.FixtureGolden(t, "testdata/free.json", append(text, '\n'))
	}
}

// TestLimitsMean wants of what is the exporter's word that it is looked at all the same.
func TestLimitsMean(t *testing.T) {
	files := testExports(t)
	for _, c := range []struct {
		name   string
		change func(e *export.Rollup, c *export.Client) // of the first client
		want   error
	}{
		{"as it is", func(e *export.Rollup, c *export.Client) {}, nil},
		{"valid in this epoch alone", func(e *export.Rollup, c *export.Client) {
			c.Since, c.Until = e.Header.Epoch, e.Header.Epoch+1
		}, nil},
		{"not valid yet", func(e *export.Rollup, c *export.Client) { c.Since = e.Header.Epoch + 1 },
			rollup.ErrNotValid},
		{"not valid any more", func(e *export.Rollup, c *export.Client) { c.Until = e.Header.Epoch },
			rollup.ErrNotValid},
		{"numbers", func(e *export.Rollup, c *export.Client) { c.Numbers = 0 }, rollup.ErrNumbers},
		{"services", func(e *export.Rollup, c *export.Client) {
			c.Services = [3]uint32{7, 8, rollup.NoService}
		}, rollup.ErrNotGranted},
		{"cap", func(e *export.Rollup, c *export.Client) { e.Services[0].Cap = 1 }, rollup.ErrUnits},
		{"no cap", func(e *export.Rollup, c *export.Client) { e.Services[0].Cap = 0 },
			rollup.ErrMalformed},
		{"services turned around", func(e *export.Rollup, c *export.Client) {
			c.Services = [3]uint32{1, 0, rollup.NoService}
		}, rollup.ErrMalformed},
		{"never valid", func(e *export.Rollup, c *export.Client) { c.Until = 0 }, rollup.ErrMalformed},
	} {
		for _, name := range []string{"rollup", "statements"} { // the first client has a run, or signed
			parsed, err := export.Parse(files[name])
			if err != nil {
				t.Fatal(err)
			}
			e := parsed.(*export.Rollup)
			c.change(e, &e.Clients[0])
			_, err = export.Verify(e.Append(nil), trust())
			t.Run(name+": "+c.name, func(t *testing.T) { rollup.FixtureWantError(t, err, c.want) })
		}
	}
}
