package rollup_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/registry"
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

// sum is a bitmap and the signature of its members.
func (l *layout) sum(want ...error) {
	bitmap := l.u8("bitmap length", append(want, rollup.ErrMalformed, rollup.ErrBitmap)...)
	l.add("bitmap", bitmap, rollup.ErrBitmap, rollup.ErrQuorum, rollup.ErrSignature)
	l.add("committee's signature", 48, rollup.ErrSignature)
}

// witness is the record of a block with its certificate. What no check before is about is refused
// for the signature.
func (l *layout) witness(t export.Type) {
	l.add("record's tag", 8, rollup.ErrMalformed)
	l.add("record's network", 32, rollup.ErrNetwork)
	l.add("term", 4, rollup.ErrTerm)
	l.add("height, time and epoch", 20, rollup.ErrSignature)
	rollups, settlement := rollup.ErrPath, rollup.ErrSignature
	if t == export.TypeSettlement { // of a block that ordered none
		rollups, settlement = rollup.ErrMalformed, rollup.ErrSettlement
	}
	l.add("number of rollups", 4, rollups)
	l.add("rollups root", 32, rollups)
	l.add("registry root", 32, rollup.ErrSignature)
	l.add("settled epoch", 4, rollup.ErrSignature)
	l.add("settlement root", 32, settlement)
	l.sum(rollups)
}

// bound is what refuses another value of a field of the header when no check before does: the block
// ordered another rollup.
var bound = []error{rollup.ErrPath}

func (l *layout) anchor(t export.Type) {
	inclusion := t == export.TypeAck || t == export.TypeStatementAck
	// of is what refuses a field of the header in a file of an ack, whose path is looked at first
	of := func(err error) []error {
		if inclusion {
			return []error{err}
		}
		return bound
	}
	l.witness(t)
	l.u32("place in the block", rollup.ErrPath)
	l.path("path to the block", rollup.ErrPath)
	l.u32("header's length", rollup.ErrMalformed)
	l.add("header tag", 8, rollup.ErrMalformed)
	l.add("header network", 32, rollup.ErrNetwork)
	l.add("epoch", 4, of(rollup.ErrWindow)...)
	l.add("window", 4, bound...)
	l.add("node", 4, append(of(rollup.ErrWindow), rollup.ErrMalformed)...)
	acks := l.u32("ack count", rollup.ErrRows, rollup.ErrCount, rollup.ErrPath)
	part := func(absent bool) []error {
		if absent {
			return []error{rollup.ErrMalformed}
		}
		return bound
	}
	l.add("ack root", 32, part(acks == 0)...)
	l.add("ack signature", 48, part(acks == 0)...)
	statements := l.u32("statement count", rollup.ErrMalformed, rollup.ErrRows, rollup.ErrCount,
		rollup.ErrPath)
	l.add("statement root, list root, multi-signature", 32+32+48, part(statements == 0)...)
	rows := int(l.add("row count", 1, rollup.ErrRows, rollup.ErrMalformed)[0])
	l.add("row count", 1, rollup.ErrMalformed)
	l.add("rows root", 32, rollup.ErrRows)
	l.add("rows", 24*rows, rollup.ErrRows)
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

// u64 is one of a number that is below 2^63.
func (l *layout) u64(name string, want ...error) uint64 {
	return binary.LittleEndian.Uint64(l.add(name, 8, want...))
}

// proof is as many hashes as one of these entries has.
func (l *layout) proof(name string, count uint64, indices []uint64) {
	n, err := registry.ProofHashes(count, indices)
	if err != nil {
		panic(err)
	}
	l.add(name, 32*n, rollup.ErrRegistry)
}

// extract is the part of the registry. Another count asks for another number of hashes.
func (l *layout) extract(node uint64) {
	leaf := []error{rollup.ErrRegistry, rollup.ErrMalformed}
	listed := []error{rollup.ErrClients, rollup.ErrMalformed}
	clients := l.u64("count of clients", leaf...)
	l.add("root of clients", 32, rollup.ErrRegistry)
	nodes := l.u32("count of nodes", leaf...)
	l.add("root of nodes", 32, rollup.ErrRegistry)
	services := l.u32("count of services", leaf...)
	l.add("root of services", 32, rollup.ErrRegistry)
	l.add("root of proof keys", 32, rollup.ErrRegistry)
	var indices []uint64
	for range l.u32("number of clients", listed...) {
		indices = append(indices, l.u64("client", listed...))
		l.add("client's key", 96, rollup.ErrRegistry)
		l.add("client's payer", 4, rollup.ErrRegistry)
		l.add("client's since and until", 8, leaf...)
		l.add("client's numbers", 4, rollup.ErrRegistry)
		l.add("client's services", 12, leaf...)
		l.add("client's last bytes", 4, rollup.ErrMalformed)
	}
	l.proof("proof of clients", clients, indices)
	indices = nil
	for range l.u32("number of services", listed...) {
		indices = append(indices, uint64(l.u32("service", listed...)))
		l.add("service's owner", 4, rollup.ErrRegistry)
		l.add("service's cap and prices", 24, leaf...)
		l.add("service's from", 4, rollup.ErrRegistry)
	}
	l.proof("proof of services", uint64(services), indices)
	l.add("node's keys and owner", 96+32+4, rollup.ErrRegistry)
	l.add("node's since and until", 8, leaf...)
	l.add("node's stake", 8, rollup.ErrRegistry)
	l.add("node's status", 1, leaf...)
	l.add("node's last byte", 1, rollup.ErrMalformed)
	l.proof("node's path", uint64(nodes), []uint64{node})
}

func layoutOf(file []byte) *layout {
	l := &layout{file: file}
	l.add("tag", 8, rollup.ErrMalformed)
	l.add("network", 32, rollup.ErrNetwork)
	kind := export.Type(l.u8("type", rollup.ErrMalformed, rollup.ErrCount))
	switch kind {
	case export.TypeAck:
		l.anchor(kind)
		l.ack()
		l.u32("leaf index", rollup.ErrPath)
		l.path("path", rollup.ErrPath)
	case export.TypeRollup:
		l.anchor(kind)
		end := l.u32("evidence length", rollup.ErrMalformed, rollup.ErrCount) + l.at
		l.acksPart()
		if l.at < end {
			l.statementsPart()
		}
		l.extract(2)
	case export.TypeSettlement:
		l.witness(kind)
		for range l.u32("row count", rollup.ErrMalformed, rollup.ErrUnsorted) {
			l.add("row's node, service, payer", 12, rollup.ErrUnsorted, rollup.ErrSettlement)
			l.add("row's windows", 4, rollup.ErrSettlement)
			l.add("row's price, acks and units", 24, rollup.ErrSettlement, rollup.ErrOverflow)
			l.add("row's money", 40, rollup.ErrSettlement, rollup.ErrOverflow)
		}
		for range l.u32("payer count", rollup.ErrMalformed, rollup.ErrUnsorted) {
			l.add("payer", 4, rollup.ErrUnsorted, rollup.ErrSettlement)
			l.add("payer's key, reserve and thawing", 48, rollup.ErrSettlement)
			l.add("payer's allowance and payment", 16, rollup.ErrSettlement)
		}
	case export.TypeStatementAck:
		l.anchor(kind)
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
// is about.
func TestBytesMean(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
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
				if !slices.ContainsFunc(f.want, right) {
					faults[fmt.Sprintf("%s: %s", name, f.name)] = err
				}
			}
		}
		for what, err := range faults {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestLimitsMean wants of what the registry says that it is looked at, and not only proven: the
// committee signed a record of such a registry.
func TestLimitsMean(t *testing.T) {
	h, ev := rollup.FixtureForge(t, rollup.FixtureKey, rollup.FixtureAcks())
	w := rollup.FixtureCosigned(t)
	epoch := h.Epoch
	for _, c := range []struct {
		name   string
		change func(c *registry.Client, s *registry.Service) // the first of each
		want   error
	}{
		{"as it is", func(c *registry.Client, s *registry.Service) {}, nil},
		{"valid in this epoch alone", func(c *registry.Client, s *registry.Service) {
			c.Since, c.Until = epoch, epoch+1
		}, nil},
		{"not valid yet", func(c *registry.Client, s *registry.Service) { c.Since = epoch + 1 },
			rollup.ErrNotValid},
		{"not valid any more", func(c *registry.Client, s *registry.Service) { c.Until = epoch },
			rollup.ErrNotValid},
		{"numbers", func(c *registry.Client, s *registry.Service) { c.Numbers = 0 },
			rollup.ErrNumbers},
		{"services", func(c *registry.Client, s *registry.Service) {
			c.Services = [3]uint32{7, 8, rollup.NoService}
		}, rollup.ErrNotGranted},
		{"another payer", func(c *registry.Client, s *registry.Service) { c.Payer = 9 },
			rollup.ErrRows},
		{"another key", func(c *registry.Client, s *registry.Service) {
			other, _ := rollup.FixtureRegistry().Client(1)
			c.Key = other.Key.Bytes()
		}, rollup.ErrSignature},
		{"no key", func(c *registry.Client, s *registry.Service) { c.Key = [96]byte{} },
			rollup.ErrMalformed},
		{"cap", func(c *registry.Client, s *registry.Service) { s.Cap = 1 }, rollup.ErrUnits},
	} {
		for name, e := range map[string]*export.Rollup{ // the first client has a run, or signed
			"rollup":     {Anchor: export.Anchor{Header: h}, Evidence: rollup.AcksEvidence(ev)},
			"statements": {Anchor: export.Anchor{Header: w.Header}, Evidence: w.Evidence},
		} {
			p := newProver(c.change)
			ids := []rollup.Hash{e.Header.ID()}
			a, err := export.NewAnchor(p.witness(ids, rollup.Hash{}, 0, 1, 3), ids, e.Header)
			if err != nil {
				t.Fatal(err)
			}
			if e, err = export.NewRollup(a, e.Evidence, p, nil); err != nil {
				t.Fatal(err)
			}
			_, err = export.Verify(e.Append(nil), trust())
			t.Run(name+": "+c.name, func(t *testing.T) { rollup.FixtureWantError(t, err, c.want) })
		}
	}
}
