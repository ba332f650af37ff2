// Package cosign is the pure half of co-signing (protocol section 16): what a node says to its
// clients about a closed window, in which form, and what a client must find true before it signs.
//
// # The exchange
//
// When a window closes, its node makes a statement for every client and service: so many acks, for
// so many units, with this root. The statements form a tree. The node asks each client program for
// a signature under the root of the tree. With it the acks of that client need no verification one
// by one any more.
//
// A program sees only what concerns its own clients: a [Window] is cut into [Offer] values, each
// with the statements about some clients, those beside them, and their paths to the root. An offer
// travels as an [Encoded], which has the fields of the wire's message.
//
// # What a client checks
//
// A signature under a wrong statement is money given away. [Offer.Check] therefore holds an offer
// against what the clients [Signed] for the node and epoch, and gives a [Reason] for each client
// that must not sign:
//
//   - The statements are under the root, and the client's stand between those of smaller and of
//     larger clients: there can be no others in its name.
//   - Each is about a run of acks that the client signed: it names the first number and how many,
//     and units and root are those of these acks. The payer is the client's, and the node refused
//     none of them for good.
//   - No other root was signed for the window before.
//
// What a statement leaves out is its node's own loss, so that nobody looks for it.
//
// The package reads no clock, starts nothing and keeps nothing; its values may be used by one
// goroutine at a time.
package cosign

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

const (
	// offerSize is about how many bytes one offer has; a client's own part is never split.
	offerSize = 256 << 10
	// rangeGap is how many statements of others may stand between two that an offer shows as one
	// range: below that, the path to another range is longer.
	rangeGap = 8
)

var le = binary.LittleEndian

// Window is a closed window as its node knows it.
type Window struct {
	Network rollup.Network
	Key     rollup.WindowKey
	Tree    *rollup.StatementTree
}

// Asked is a client that is asked to co-sign, and where in the tree its statements stand.
type Asked struct {
	Client                     uint64
	FirstStatement, Statements int
}

// behind is the index behind a client's statements.
func (a *Asked) behind() int { return a.FirstStatement + a.Statements }

// Offers yields what the clients, which are in ascending order, are asked: each of them in one
// offer. An offer is made when it is its turn, so that what nobody takes costs nothing.
func (w *Window) Offers(clients []Asked) iter.Seq[*Offer] {
	return func(yield func(*Offer) bool) {
		for len(clients) > 0 {
			n := w.fitting(clients)
			if !yield(w.offer(clients[:n])) {
				return
			}
			clients = clients[n:]
		}
	}
}

// fitting is how many of the clients, at least one, go into one offer.
func (w *Window) fitting(clients []Asked) int {
	size := 0
	path := 32 * rollup.StatementPathLen(w.Tree.Len())
	for i := range clients {
		c := &clients[i]
		size += (c.Statements+2)*(rollup.StatementSize+4) + 8
		if i == 0 || c.FirstStatement > clients[i-1].behind()+rangeGap {
			size += path
		}
		if i > 0 && size > offerSize {
			return i
		}
	}
	return len(clients)
}

func (w *Window) offer(clients []Asked) *Offer {
	o := &Offer{Network: w.Network, Key: w.Key, Count: uint32(w.Tree.Len()), Root: w.Tree.Root()}
	for i := 0; i < len(clients); {
		lo, hi := max(0, clients[i].FirstStatement-1), clients[i].behind()+1
		for i++; i < len(clients) && clients[i].FirstStatement <= hi+rangeGap; i++ {
			hi = clients[i].behind() + 1
		}
		o.Ranges = append(o.Ranges, RangeOf(w.Tree, lo, min(hi, w.Tree.Len())))
	}
	for _, c := range clients {
		o.Clients = append(o.Clients, c.Client)
	}
	return o
}

// RangeOf returns statements lo to hi-1 of a tree with their path.
func RangeOf(tree *rollup.StatementTree, lo, hi int) Range {
	return Range{
		First:      uint32(lo),
		Statements: slices.Clone(tree.Statements()[lo:hi]),
		Path:       tree.RangePath(lo, hi),
	}
}

// Offer is what some clients of one program are asked about a window. That it decodes says nothing
// of whether it is true.
type Offer struct {
	Network rollup.Network
	Key     rollup.WindowKey
	Count   uint32 // statements in the tree
	Root    rollup.Hash
	Ranges  []Range
	Clients []uint64 // that are asked, ascending
}

// Range is neighbouring statements, from the tree's statement First on, with their path to the
// root.
type Range struct {
	First      uint32
	Statements []rollup.Statement
	Path       []rollup.Hash
}

// Message returns what the clients sign.
func (o *Offer) Message() [rollup.CosignMessageSize]byte {
	return rollup.CosignMessage(o.Network, o.Key, o.Count, o.Root)
}

// Encoded is an offer as it travels: the fields of the message waybill.v1.CosignOffer.
type Encoded struct {
	Network string // 64 hexadecimal digits
	Key     rollup.WindowKey
	Count   uint32
	Root    []byte // 32 bytes
	Ranges  []EncodedRange
	Clients []uint64
}

// EncodedRange is a range as it travels.
type EncodedRange struct {
	First      uint32
	Statements []byte // end to end
	Payers     []byte // 4 bytes for each statement
	Siblings   []byte // the path, 32 bytes each
}

// Encode returns the offer as it travels.
func (o *Offer) Encode() *Encoded {
	e := &Encoded{Network: o.Network.String(), Key: o.Key, Count: o.Count, Root: o.Root[:],
		Ranges: make([]EncodedRange, len(o.Ranges)), Clients: o.Clients}
	for i := range o.Ranges {
		e.Ranges[i] = o.Ranges[i].encode()
	}
	return e
}

func (r *Range) encode() EncodedRange {
	e := EncodedRange{First: r.First}
	for i := range r.Statements {
		e.Statements = r.Statements[i].Append(e.Statements)
		e.Payers = le.AppendUint32(e.Payers, r.Statements[i].Payer)
	}
	for _, node := range r.Path {
		e.Siblings = append(e.Siblings, node[:]...)
	}
	return e
}

// Decode returns the offer. The error wraps rollup.ErrMalformed or another of rollup's. What it
// allocates is in proportion to the bytes of e.
func (e *Encoded) Decode() (*Offer, error) {
	o := &Offer{Key: e.Key, Count: e.Count}
	if err := o.Network.UnmarshalText([]byte(e.Network)); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	if len(e.Root) != len(o.Root) {
		return nil, fmt.Errorf("%w: a root of %d bytes", rollup.ErrMalformed, len(e.Root))
	}
	o.Root = rollup.Hash(e.Root)
	for i := range e.Ranges {
		r, err := e.Ranges[i].decode()
		if err != nil {
			return nil, err
		}
		o.Ranges = append(o.Ranges, r)
	}
	o.Clients = e.Clients
	for i := range o.Clients {
		if i > 0 && o.Clients[i] <= o.Clients[i-1] {
			return nil, fmt.Errorf("%w: the clients are not in order", rollup.ErrMalformed)
		}
	}
	return o, nil
}

func (e *EncodedRange) decode() (Range, error) {
	r := Range{First: e.First}
	n := len(e.Statements) / rollup.StatementSize
	if n == 0 || len(e.Statements)%rollup.StatementSize != 0 || len(e.Payers) != 4*n ||
		len(e.Siblings)%len(rollup.Hash{}) != 0 {
		return r, fmt.Errorf("%w: %d bytes of statements, %d of payers, %d of siblings",
			rollup.ErrMalformed, len(e.Statements), len(e.Payers), len(e.Siblings))
	}
	for i := range n {
		s, err := rollup.ParseStatement(
			e.Statements[i*rollup.StatementSize:][:rollup.StatementSize],
		)
		if err != nil {
			return r, err
		}
		s.Payer = le.Uint32(e.Payers[4*i:])
		r.Statements = append(r.Statements, s)
	}
	for b := range slices.Chunk(e.Siblings, len(rollup.Hash{})) {
		r.Path = append(r.Path, rollup.Hash(b))
	}
	return r, nil
}
