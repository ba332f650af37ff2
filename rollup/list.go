package rollup

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// MaxListSize is the size in bytes of the longest list.
const MaxListSize = 4 + MaxStatements*(6+5+5+4)

// ListTreeKind is the tree whose root a header holds of its list.
var ListTreeKind = NewTreeKind("list")

// listLeafSize is the size in bytes of an entry of that tree.
const listLeafSize = 8 + 3*4 + 1

// ListEntry is what everybody sees of a statement: all but its units and its root.
type ListEntry struct {
	Run
	Signed bool `json:"signed"` // the same for all of a client's statements
}

// List has an entry for every statement of a window, in their order (section 14).
type List []ListEntry

// NewList returns the list for statements in order.
func NewList(statements []Statement, signed func(client uint64) bool) List {
	list := make(List, len(statements))
	for i := range statements {
		list[i].Run = statements[i].Run()
		if i > 0 && list[i-1].Client == list[i].Client {
			list[i].Signed = list[i-1].Signed
		} else {
			list[i].Signed = signed(list[i].Client)
		}
	}
	return list
}

// Append appends the encoding: a u32 count, then per entry four unsigned LEB128 in their shortest
// form, twice the distance from the client before, plus one for a signed one; service; first; acks.
func (l List) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, uint32(len(l)))
	var last uint64
	for i := range l {
		e := &l[i]
		v := (e.Client - last) << 1
		if e.Signed {
			v |= 1
		}
		dst = binary.AppendUvarint(dst, v)
		dst = binary.AppendUvarint(dst, uint64(e.Service))
		dst = binary.AppendUvarint(dst, uint64(e.First))
		dst = binary.AppendUvarint(dst, uint64(e.Count))
		last = e.Client
	}
	return dst
}

// appendLeaf appends the entry of the list's tree.
func (e *ListEntry) appendLeaf(dst []byte) []byte {
	dst = appendRun(dst, e.Run)
	if e.Signed {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// LeafHash returns the hash of the entry in the list's tree.
func (e *ListEntry) LeafHash() Hash { return ListTreeKind.LeafHash(e.appendLeaf(nil)) }

// Root returns the root of the tree over the entries: what the header holds of the list.
func (l List) Root() Hash { return RootOf(ListTreeKind, l.leaves(), listLeafSize) }

// Tree returns the tree over the entries.
func (l List) Tree() *Tree { return NewTree(ListTreeKind, l.leaves(), listLeafSize) }

func (l List) leaves() []byte {
	entries := make([]byte, 0, len(l)*listLeafSize)
	for i := range l {
		entries = l[i].appendLeaf(entries)
	}
	return entries
}

// ParseList decodes a list and nothing after it. Errors: ErrMalformed, ErrCount, ErrUnsorted, and
// ErrList for acks that no statement has, a client with both flags or a list in which nobody
// signed.
func ParseList(b []byte) (List, error) {
	r := newReader(b)
	l := r.list()
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return l, nil
}

func (r *reader) list() List {
	n := r.U32()
	if r.Err == nil && (n == 0 || n > MaxStatements) {
		r.Err = fmt.Errorf("%w: %d in the list, where 1 to %d may be", ErrCount, n, MaxStatements)
	}
	l := make(List, r.Count(uint64(n), 4)) // an entry has at least four bytes
	var client uint64
	for i := range l {
		v, service, first, acks := r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
		client += v >> 1
		if client >= MaxClients || v>>1 >= MaxClients || max(service, first, acks) > math.MaxUint32 {
			r.Fail("list entry %d: client %d, service %d, first %d, acks %d", i, client, service, first,
				acks)
		}
		if r.Err != nil {
			return nil
		}
		l[i] = ListEntry{Run{Client: client, Service: uint32(service), First: uint32(first),
			Count: uint32(acks)}, v&1 == 1}
	}
	return l
}

// uvarint reads an unsigned LEB128 below 2^63 in its shortest form.
func (r *reader) uvarint() uint64 {
	if len(r.B) > 0 && r.B[0] < 0x80 { // most are
		v := uint64(r.B[0])
		r.B = r.B[1:]
		return v
	}
	v, n := binary.Uvarint(r.B)
	switch {
	case n <= 0:
		r.Fail("a number that ends too late, or not at all")
		return 0
	case r.B[n-1] == 0 || v > math.MaxInt64:
		r.Fail("a number that is too large, or not in its shortest form")
		return 0
	}
	r.B = r.B[n:]
	return v
}

// check holds what a list must be besides its encoding: ErrUnsorted, ErrList.
func (l List) check() error {
	anyone := false
	for i := range l {
		e := &l[i]
		switch {
		case i > 0 && compareRuns(l[i-1].Run, e.Run) >= 0:
			return at("list entry", i, ErrUnsorted)
		case e.Count == 0 || e.Count > MaxStatementAcks:
			return at("list entry", i, fmt.Errorf("%w: %d acks", ErrList, e.Count))
		case i > 0 && l[i-1].Client == e.Client && l[i-1].Signed != e.Signed:
			return at("list entry", i, fmt.Errorf("%w: client %d signed and did not sign", ErrList,
				e.Client))
		}
		anyone = anyone || e.Signed
	}
	if !anyone {
		return fmt.Errorf("%w: nobody signed", ErrList)
	}
	return nil
}

// of checks that the list is one for the statements: ErrList.
func (l List) of(statements []Statement) error {
	if len(l) != len(statements) {
		return fmt.Errorf("%w: %d entries for %d statements", ErrList, len(l), len(statements))
	}
	for i := range l {
		if s := &statements[i]; l[i].Run != s.Run() {
			return at("list entry", i, fmt.Errorf("%w: client %d, service %d", ErrList, l[i].Client,
				l[i].Service))
		}
	}
	return nil
}

// Signers returns the clients that signed, ascending, each once.
func (l List) Signers() []uint64 {
	var clients []uint64
	for i := range l {
		if c := &l[i]; c.Signed && (len(clients) == 0 || clients[len(clients)-1] != c.Client) {
			clients = append(clients, c.Client)
		}
	}
	return clients
}

// Clients returns the clients of the list, ascending, each once.
func (l List) Clients() []uint64 {
	var clients []uint64
	for i := range l {
		if i == 0 || l[i-1].Client != l[i].Client {
			clients = append(clients, l[i].Client)
		}
	}
	return clients
}

// Has returns a function that tells whether a client is in the list.
func (l List) Has() func(client uint64) bool {
	clients := l.Clients()
	return func(client uint64) bool {
		_, ok := slices.BinarySearch(clients, client)
		return ok
	}
}

// CosignMessageSize is the size in bytes of what a client signs at the close of a window.
const CosignMessageSize = 88

const cosignTag = "wb-win/2"

// CosignMessage returns what the clients of a window's statements sign (section 14): count and root
// are those of the whole tree.
func CosignMessage(network Network, key WindowKey, count uint32,
	root Hash) (m [CosignMessageSize]byte) {
	b := append(m[:0], cosignTag...)
	b = append(b, network[:]...)
	b = le.AppendUint32(b, key.Epoch)
	b = le.AppendUint32(b, key.Window)
	b = le.AppendUint32(b, key.Node)
	b = le.AppendUint32(b, count)
	copy(m[len(b):], root[:])
	return m
}
