package rollup

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// MaxClientListSize is the size in bytes of the longest client list.
const MaxClientListSize = 4 + MaxStatements*6

var clientListKey = blake3.ContextKey("waybill/client-list/2")

// ListedClient stands for one statement of a client.
type ListedClient struct {
	Client uint64 `json:"client"`
	Signed bool   `json:"signed"` // the same for all of a client's statements
}

// ClientList names the client of every statement of a window, in their order, and says who signed
// (section 14).
type ClientList []ListedClient

// NewClientList returns the list for statements in order.
func NewClientList(statements []Statement, signed func(client uint64) bool) ClientList {
	list := make(ClientList, len(statements))
	for i := range statements {
		client := statements[i].Client
		list[i].Client = client
		if i > 0 && list[i-1].Client == client {
			list[i].Signed = list[i-1].Signed
		} else {
			list[i].Signed = signed(client)
		}
	}
	return list
}

// Append appends the encoding: a u32 count, then per entry the shortest unsigned LEB128 of twice
// the distance from the client before, plus one for a signed one.
func (l ClientList) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, uint32(len(l)))
	var last uint64
	for _, c := range l {
		v := (c.Client - last) << 1
		if c.Signed {
			v |= 1
		}
		dst = binary.AppendUvarint(dst, v)
		last = c.Client
	}
	return dst
}

// Digest returns what the header holds of the list.
func (l ClientList) Digest() Hash { return blake3.Keyed(&clientListKey, l.Append(nil)) }

// ParseClientList decodes a list and nothing after it. Errors: ErrMalformed, ErrCount, and
// ErrClientList for a client with both flags or a list in which nobody signed.
func ParseClientList(b []byte) (ClientList, error) {
	r := newReader(b)
	l := r.clientList()
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("client list: %w", err)
	}
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("client list: %w", err)
	}
	return l, nil
}

func (r *reader) clientList() ClientList {
	n := r.U32()
	if r.Err == nil && (n == 0 || n > MaxStatements) {
		r.Err = fmt.Errorf("%w: %d in the client list, where 1 to %d may be", ErrCount, n, MaxStatements)
	}
	l := make(ClientList, r.Count(uint64(n), 1)) // an entry has at least a byte
	var last uint64
	for i := range l {
		v := r.uvarint()
		if last += v >> 1; last >= MaxClients {
			r.Fail("entry %d: client %d", i, last)
		}
		l[i] = ListedClient{Client: last, Signed: v&1 == 1}
	}
	return l
}

// uvarint reads an unsigned LEB128 of at most six bytes, in its shortest form.
func (r *reader) uvarint() (v uint64) {
	for shift := 0; shift < 42; shift += 7 {
		b := r.U8()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if b == 0 && shift > 0 {
				r.Fail("a number that is not in its shortest form")
			}
			return v
		}
	}
	r.Fail("a number of more than six bytes")
	return 0
}

// check holds what a list must be besides its encoding.
func (l ClientList) check() error {
	anyone := false
	for i, c := range l {
		if i > 0 && l[i-1].Client == c.Client && l[i-1].Signed != c.Signed {
			return at("list entry", i, fmt.Errorf("%w: client %d signed and did not sign", ErrClientList,
				c.Client))
		}
		anyone = anyone || c.Signed
	}
	if !anyone {
		return fmt.Errorf("%w: nobody signed", ErrClientList)
	}
	return nil
}

// Signers returns the clients that signed, ascending, each once.
func (l ClientList) Signers() []uint64 {
	var clients []uint64
	for _, c := range l {
		if c.Signed && (len(clients) == 0 || clients[len(clients)-1] != c.Client) {
			clients = append(clients, c.Client)
		}
	}
	return clients
}

// Clients returns the clients of the list, ascending, each once.
func (l ClientList) Clients() []uint64 {
	var clients []uint64
	for i, c := range l {
		if i == 0 || l[i-1].Client != c.Client {
			clients = append(clients, c.Client)
		}
	}
	return clients
}

// Has returns a function that tells whether a client is in the list.
func (l ClientList) Has() func(client uint64) bool {
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
